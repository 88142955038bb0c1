/** Owns the plain words of the links, which need no schema: liveness texts and close codes. */

/* Liveness: the runner sends the text `ping`, the runtime answers `pong` without waking the object. */
export const PING = "ping";
export const PONG = "pong";

/** WebSocket close codes of both links. */
export const CLOSE = {
  /** The runner stopped in order; everything it had was acknowledged. */
  stopped: 4000,
  /** Another connection of the same attachment took over. */
  replaced: 4001,
  /** The attachment is over; do not come back. */
  stale: 4002,
  /** A frame was malformed, out of order or too large. */
  protocol: 4003,
  /** Version not understood. */
  version: 4004,
  /** A viewer's log has ended: no more events will come. */
  ended: 4005,
  /** The object restarts or is overloaded: come back. */
  again: 4006,
} as const;
