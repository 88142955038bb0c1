import { describe, expect, it } from "vitest";
import { ConnectionError, errorOf, ProtocolError, retryAfter, TimeoutError } from "./errors.ts";
import { backoff, isRetryable, MAX_BACKOFF_MS, retryDelay } from "./retry.ts";

const NOW = Date.parse("2026-11-21T10:00:00Z");
const answered = (status: number, headers: Record<string, string> = {}) => errorOf(status, new Headers(headers), "", NOW);

describe("which failures are tried again", () => {
  it.each([408, 425, 429, 500, 502, 503, 504])("%i is", (status) => {
    expect(isRetryable(answered(status))).toBe(true);
  });
  it.each([400, 401, 402, 403, 404, 409, 413, 501])("%i is not", (status) => {
    expect(isRetryable(answered(status))).toBe(false);
  });
  it("a broken connection and a silent server are; an answer of another kind and a bug are not", () => {
    expect([new ConnectionError("x"), new TimeoutError("x"), new ProtocolError("x"), new Error("x")].map(isRetryable)).toEqual([true, true, false, false]);
  });
});

describe("how long is waited", () => {
  it("doubles, up to a cap, and jitter takes at most half", () => {
    expect([1, 2, 3, 4, 5, 6, 7].map((n) => backoff(n, 0))).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, MAX_BACKOFF_MS]);
    expect(backoff(3, 0.998)).toBe(501);
  });
  it("is at least what Retry-After asks, in seconds or as a date", () => {
    expect(retryDelay(answered(429, { "retry-after": "7" }), 1, 3, 0)).toBe(7_000);
    expect(retryDelay(answered(503, { "retry-after": "Sat, 21 Nov 2026 10:00:05 GMT" }), 1, 3, 0)).toBe(5_000);
    expect(retryDelay(answered(429, { "retry-after": "0" }), 1, 3, 0)).toBe(250);
  });
  it("is nothing where the retries are used up, the error is final, or the server asks for more than a minute", () => {
    expect(retryDelay(answered(503), 4, 3, 0)).toBeNull();
    expect(retryDelay(answered(404), 1, 3, 0)).toBeNull();
    expect(retryDelay(answered(429, { "retry-after": "61" }), 1, 3, 0)).toBeNull();
  });
  it("ignores a Retry-After that says nothing", () => {
    expect([retryAfter(null, NOW), retryAfter("soon", NOW)]).toEqual([null, null]);
  });
});
