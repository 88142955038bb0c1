/** Owns deadlines as data: the earliest of many, exponential backoff, and the rule by which the one alarm is moved. */

/** The earliest of some deadlines (epoch milliseconds); null where there is none. */
export function earliest(...deadlines: (number | null | undefined)[]): number | null {
  let first: number | null = null;
  for (const deadline of deadlines) if (deadline !== null && deadline !== undefined && (first === null || deadline < first)) first = deadline;
  return first;
}

export interface Backoff {
  base_ms: number;
  cap_ms: number;
}

/** Milliseconds to wait after the `tries`-th failure in a row (1, 2, 3 …): base, twice that, and so on up to the cap. */
export function backoff(tries: number, { base_ms, cap_ms }: Backoff): number {
  return Math.min(cap_ms, base_ms * 2 ** Math.min(30, Math.max(0, tries - 1)));
}

/** An alarm may be late by so much, ms; one that has not rung by then will not ring any more. */
const LOST_MS = 10_000;

/**
 * Where the alarm must be set anew: only ever earlier, unless the one that is set should have rung long ago. An alarm that comes too early finds
 * nothing due and sets the next one, which is cheaper than a write for every deadline that passes by.
 */
export function alarmMove(current: number | null, wanted: number | null, now: number): number | null {
  return wanted !== null && (current === null || wanted < current || current < now - LOST_MS) ? wanted : null;
}
