/** Owns the ways in which keeping or bringing back a tree fails, each with a word that a run's error can carry. */

import { Failure, type ErrorCode } from "../protocol/errors.ts";

const CODES = {
  quota_exceeded: "payload_too_large",
  disk_full: "unavailable",
  /** The manifest, a chunk or a path is not what it should be. */
  refused: "bad_request",
  /** A chunk or a manifest is not in the store. */
  missing: "not_found",
  /** The tree or its place cannot be read or written. */
  unreadable: "conflict",
  unreachable: "unavailable",
  unsupported: "bad_request",
  aborted: "conflict",
} as const satisfies Record<string, ErrorCode>;

export type TreeReason = keyof typeof CODES;

/** A `Failure` whose `details.reason` is the word. */
export function treeFailure(reason: TreeReason, message: string, details: Record<string, unknown> = {}): Failure {
  return new Failure(CODES[reason], message, { details: { reason, ...details } });
}

/** The word of a failure; null where it is none of ours. */
export function treeReason(error: unknown): TreeReason | null {
  const reason = error instanceof Failure ? error.details?.["reason"] : undefined;
  return typeof reason === "string" && reason in CODES ? (reason as TreeReason) : null;
}

/** What the operating system said, in words that a user can act on. Anything else is given back as it is. */
export function fromSystem(error: unknown, doing: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "ENOSPC" || code === "EDQUOT") return treeFailure("disk_full", `the disk is full: ${doing}`, { system: code });
  if (code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "EBUSY" || code === "ENOTDIR" || code === "ELOOP" || code === "EEXIST" || code === "ENOENT" || code === "EIO" || code === "ENAMETOOLONG")
    return treeFailure("unreadable", `${doing}: ${(error as Error).message.slice(0, 500)}`, { system: code });
  return error;
}

/** Throws the signal's reason, as `aborted` where it is a plain abort. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw signal.reason instanceof Failure ? signal.reason : treeFailure("aborted", "it was called off; nothing was changed");
}
