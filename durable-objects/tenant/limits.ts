/** Owns the token bucket behind rate limits. Pure: times in epoch milliseconds come in from outside. */

import type { Admission } from "../rpc.ts";

const MINUTE_MS = 60_000;

export interface Bucket {
  tokens: number;
  /** When `tokens` was true. */
  at: number;
}

/** Takes one of `limit` tokens a minute. A bucket starts full and fills evenly; a refused try takes nothing. */
export function take(bucket: Bucket | undefined, limit: number, now: number): { bucket: Bucket; admission: Admission } {
  // A clock that went backwards fills nothing and drains nothing.
  const passed = bucket ? Math.max(0, now - bucket.at) : 0;
  const tokens = Math.min(limit, bucket ? bucket.tokens + (passed * limit) / MINUTE_MS : limit);
  // A hair below one token is one: a third of a token three times over must be.
  if (tokens < 1 - 1e-9) {
    const wait = limit === 0 ? MINUTE_MS : ((1 - tokens) * MINUTE_MS) / limit;
    return { bucket: { tokens, at: now }, admission: { admitted: false, limit, retry_after_seconds: wait / 1_000 } };
  }
  const left = Math.max(0, tokens - 1);
  return { bucket: { tokens: left, at: now }, admission: { admitted: true, limit, remaining: Math.floor(left + 1e-9), reset_seconds: ((limit - left) * 60) / limit } };
}

/** Buckets by key, in memory: an object that was evicted forgets at most one minute of them. */
export class Buckets {
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = 1_000;

  take(key: string, limit: number, now: number): Admission {
    const { bucket, admission } = take(this.#buckets.get(key), limit, now);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#sweepAt) this.#sweep(now);
    return admission;
  }

  #sweep(now: number): void {
    // After a minute every bucket is full, and as good as none.
    for (const [key, bucket] of this.#buckets) if (now - bucket.at >= MINUTE_MS) this.#buckets.delete(key);
    this.#sweepAt = Math.max(1_000, this.#buckets.size * 2);
  }
}
