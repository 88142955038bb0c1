/** Owns the words of a run's error for what went wrong with a tree, and whether it may go right later. */

import { Failure } from "../../sdk/protocol/errors.ts";
import type { RunError } from "../../sdk/protocol/task.ts";
import { treeReason } from "../../sdk/workspace/failure.ts";

/** `otherwise` is the code where there is no better word. */
export function treeError(error: unknown, otherwise: "sync_failed" | "restore_failed"): RunError {
  const reason = treeReason(error);
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 4_096);
  const hint = error instanceof Failure ? error.hint : undefined;
  // What a deployment allows in all is said with the same status as what this workspace may have.
  const full = reason === "quota_exceeded" || (error instanceof Failure && error.code === "payload_too_large");
  const code = reason === "disk_full" ? "disk_full" : full ? "quota_exceeded" : otherwise;
  return { code, message, ...(hint !== undefined && { hint: hint.slice(0, 1_024) }) };
}

/** The control plane or its database is away, or is asked too much: it may answer later. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof Failure)) return false;
  const reason = treeReason(error);
  if (reason !== null) return reason === "unreachable";
  return error.status >= 500 || error.status === 429;
}
