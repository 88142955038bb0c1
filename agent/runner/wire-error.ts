/** Owns the complaint about a message that breaks the protocol. */

/** The link is closed and says why. */
export class WireError extends Error {}
