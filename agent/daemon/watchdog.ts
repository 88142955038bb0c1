/** Owns the decision what follows when a runner's process has ended: start it again on its journal, or let it be. Pure. */

import { EXIT } from "../runner/spec.ts";

export const WINDOW_MS = 60_000;
export const MAX_RESTARTS = 5;
const FIRST_DELAY_MS = 50;

export interface RunnerExit {
  code: number | null;
  signal: string | null;
  reason: string | null;
}
export type Verdict =
  | { action: "restart"; delay_ms: number; /** Times of the restarts that still count, with this one. */ restarts: number[] }
  | { action: "end"; reason: string };

/**
 * What to do about `exit` at `now` (epoch milliseconds), where `restarts` are the times of earlier restarts.
 * The first restart comes at once, the following ones later and later, and after five in a minute it is over.
 */
export function judge(restarts: readonly number[], exit: RunnerExit, now: number): Verdict {
  const ended = ending(exit);
  if (ended !== null) return { action: "end", reason: ended };
  const counted = restarts.filter((time) => now - time < WINDOW_MS);
  if (counted.length >= MAX_RESTARTS) return { action: "end", reason: `the runner ended ${MAX_RESTARTS + 1} times within a minute, last ${described(exit)}` };
  const delay = counted.length === 0 ? 0 : FIRST_DELAY_MS * 2 ** counted.length;
  return { action: "restart", delay_ms: delay, restarts: [...counted, now + delay] };
}

function ending({ code, signal }: RunnerExit): string | null {
  if (signal !== null) return null;
  if (code === EXIT.stopped) return "stopped in order";
  if (code === EXIT.stale) return "its attachment is over";
  if (code === EXIT.bad_spec) return "it could not read what it was started with";
  if (code === EXIT.wrong_directory) return "the directory that it was to work in was replaced while it started";
  return null;
}

/** An exit in words. */
export function described({ code, signal, reason }: RunnerExit): string {
  const how = signal !== null ? `by signal ${signal}` : code !== null ? `with exit code ${code}` : "in a way that nobody saw";
  return reason === null ? how : `${how} (${reason})`;
}
