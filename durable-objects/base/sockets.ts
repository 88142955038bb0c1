/** Owns the second half of a socket's goodbye. */

/**
 * Answers a peer's close. The runtime does not do it for a hibernatable socket: unanswered, the peer waits until the object is evicted and then
 * sees a broken connection. Does nothing where the close was ours.
 */
export function answerClose(socket: WebSocket, code: number): void {
  if (socket.readyState === WebSocket.CLOSED) return;
  try {
    // 1005 and 1006 say that no code came; they cannot be sent.
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  } catch {
    // It has broken meanwhile.
  }
}
