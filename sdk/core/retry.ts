/** Owns the decision whether a failed attempt is made again, and when: a pure table, with jitter given from outside. */

import { ApiError, ConnectionError } from "./errors.ts";

/** Statuses that say nothing of the request itself, so that the same request may succeed later. */
const RETRYABLE_STATUS: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/** First wait; each further one is twice as long. */
export const BACKOFF_MS = 250;
export const MAX_BACKOFF_MS = 8_000;
/** A server that asks for more patience than this gets none: the caller is told instead. */
const MAX_RETRY_AFTER_MS = 60_000;

/** True where the failure may pass by itself. Every call is safe to repeat: reads are, and changes carry an idempotency key. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof ApiError) return RETRYABLE_STATUS.has(error.status);
  return error instanceof ConnectionError;
}

/** Exponential backoff before attempt `failures + 1`; `random` in [0, 1) takes up to half of it away. */
export function backoff(failures: number, random: number, cap = MAX_BACKOFF_MS): number {
  const full = Math.min(cap, BACKOFF_MS * 2 ** Math.min(failures - 1, 30));
  return Math.round(full * (1 - random / 2));
}

/**
 * Milliseconds to wait before the next attempt after `failures` failed ones, or null where the error is final.
 * `Retry-After` is honoured as a lower bound.
 */
export function retryDelay(error: unknown, failures: number, maxRetries: number, random: number): number | null {
  if (failures > maxRetries || !isRetryable(error)) return null;
  const asked = error instanceof ApiError ? error.retry_after_ms : null;
  if (asked !== null && asked > MAX_RETRY_AFTER_MS) return null;
  return Math.max(asked ?? 0, backoff(failures, random));
}
