/** Owns when a refused call is made again: as upstream says, a few times, and only while nothing has been heard of its answer. Pure but for the waiting. */

/** 529 is Anthropic's "overloaded". */
const AGAIN = new Set([429, 529]);
const MAX_RETRIES = 2;
/** A longer wait is the agent's own business: it can tell a person. */
const MAX_WAIT_MS = 15_000;

/** Milliseconds to wait before the next attempt; null where the answer is passed on. `tries`: attempts so far. */
export function waitFor(status: number, headers: Headers, tries: number, now: number): number | null {
  if (!AGAIN.has(status) || tries > MAX_RETRIES || headers.get("x-should-retry") === "false") return null;
  const asked = told(headers, now);
  const wait = asked ?? 500 * 2 ** (tries - 1);
  return wait <= MAX_WAIT_MS ? wait : null;
}

function told(headers: Headers, now: number): number | null {
  const exact = Number(headers.get("retry-after-ms") ?? Number.NaN);
  if (Number.isFinite(exact) && exact >= 0) return exact;
  const after = headers.get("retry-after");
  if (after === null) return null;
  const seconds = Number(after);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1_000);
  const at = Date.parse(after);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

/** Waits; rejects at once where the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const left = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", left);
      resolve();
    }, ms);
    signal.addEventListener("abort", left, { once: true });
  });
}
