/** Owns when a failed model call is tried again: as long as the provider asks for, else exponentially longer, with jitter. */

import type { ModelError } from "./provider.ts";

export interface RetryPolicy {
  /** Attempts after the first. */
  maxRetries: number;
  /** First wait, in milliseconds; doubles with each. */
  baseMs: number;
  /** Longest wait of our own choosing, in milliseconds. */
  capMs: number;
  /** A provider that wants more than this, in milliseconds, is not waited for. */
  maxRetryAfterMs: number;
}

export const DEFAULT_RETRIES: RetryPolicy = { maxRetries: 5, baseMs: 500, capMs: 30_000, maxRetryAfterMs: 120_000 };

/** How long to wait before the next attempt, in milliseconds; null where there is none. `attempt` counts from 1; `random` is in [0, 1). */
export function retryDelay(error: ModelError, attempt: number, policy: RetryPolicy, random: number): number | null {
  if (!error.retryable || attempt > policy.maxRetries) return null;
  // "Full jitter" over the upper half: spreads clients without ever hammering.
  const own = Math.min(policy.capMs, policy.baseMs * 2 ** (attempt - 1)) * (0.5 + random / 2);
  if (error.retryAfterMs === null) return Math.round(own);
  return error.retryAfterMs > policy.maxRetryAfterMs ? null : Math.max(error.retryAfterMs, 0);
}

/** The wait that a response asks for, in milliseconds: `retry-after-ms`, else `retry-after` in seconds or as a date (RFC 9110, 10.2.3); null where it asks for none. */
export function retryAfterOf(headers: Readonly<Record<string, string>> | undefined, now: number): number | null {
  const milliseconds = Number(headers?.["retry-after-ms"] ?? Number.NaN);
  if (Number.isFinite(milliseconds) && milliseconds >= 0) return milliseconds;
  const given = headers?.["retry-after"]?.trim();
  if (given === undefined || given === "") return null;
  const seconds = Number(given);
  if (Number.isFinite(seconds)) return seconds >= 0 ? seconds * 1_000 : null;
  const date = Date.parse(given);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
