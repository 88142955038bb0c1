/** Owns the integer versions of the links, one dated line per change; a hello states its version and one version back is understood. */

/**
 * Runner link.
 * - 1 (2026-11-02): one frame a WebSocket message.
 * - 2 (2026-11-21): a message may carry an array of frames (an acknowledgement travels with events).
 * - 3 (2026-11-21): command `capsule`, events `workspace.*`, what a run needs to continue an interrupted turn, the images of a task, and what
 *   people approved for the turn or the session.
 */
export const RUNNER_LINK_VERSION = 3;

/**
 * Host link.
 * - 1 (2026-11-21): Cap'n Web session; the daemon says hello, the object calls spawn, destroy and files.
 * - 2 (2026-11-21): suspend, resume, discardFiles, browse; a spawn may carry an order to restore, and a directory to work in.
 */
export const HOST_LINK_VERSION = 2;

/** True for the current version and the one before it. */
export function understands(current: number, offered: number): boolean {
  return Number.isInteger(offered) && offered >= 1 && offered <= current && offered >= current - 1;
}
