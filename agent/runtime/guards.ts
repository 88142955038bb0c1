/** Owns when a turn is stopped for its own good: failure after failure, input that never fits, the same calls again and again. Pure. */

import type { DoneReason } from "./events.ts";

/** Failed results in a row, over all tools: then the model is warned, then stopped. */
export const FAILURES_WARN = 5;
export const FAILURES_STOP = 10;
/** So often in a row one tool's unfit input goes back to the model; the next ends the turn. */
export const MISFITS = 3;
/** The same call, or the same round of up to `LONGEST_ROUND` calls, with the same results: so often, then the model is warned, then stopped. */
export const REPEATS_WARN = 3;
export const REPEATS_STOP = 5;
export const LONGEST_ROUND = 4;

export type Verdict = { kind: "go-on" } | { kind: "warn"; note: string } | { kind: "stop"; reason: Extract<DoneReason, "stop-loss" | "doom-loop">; note: string };

export interface Outcome {
  tool: string;
  /** The call and its result as one key; equal keys are the same call with the same outcome. Null where repeating it means nothing. */
  key: string | null;
  isError: boolean;
  /** The input did not fit the tool's schema. */
  misfit: boolean;
}

export class Guards {
  #failures = 0;
  readonly #misfits = new Map<string, number>();
  #keys: string[] = [];

  /** Takes the outcomes of one round of calls, in their order; the sternest verdict counts. What was called at once is answered before it stops anything: nobody has been warned yet. */
  take(outcomes: readonly Outcome[]): Verdict {
    const warned = { failures: this.#failures >= FAILURES_WARN, repeats: repeated(this.#keys).times >= REPEATS_WARN };
    const misfit = new Set<string>();
    return outcomes.map((outcome) => this.#one(outcome, warned, misfit)).reduce<Verdict>((worst, next) => (rank(next) > rank(worst) ? next : worst), { kind: "go-on" });
  }

  #one({ tool, key, isError, misfit }: Outcome, warned: { failures: boolean; repeats: boolean }, counted: Set<string>): Verdict {
    this.#failures = isError ? this.#failures + 1 : 0;
    const before = this.#misfits.get(tool) ?? 0;
    const misfits = !misfit ? 0 : counted.has(tool) ? Math.max(1, before) : before + 1;
    this.#misfits.set(tool, misfits);
    if (misfit) counted.add(tool);
    if (key !== null) this.#keys = [...this.#keys, key].slice(-REPEATS_STOP * LONGEST_ROUND);
    if (misfits > MISFITS) return { kind: "stop", reason: "stop-loss", note: `the input of ${tool} did not fit its schema ${misfits} times in a row` };
    const repeats = key === null ? { times: 1, length: 1 } : repeated(this.#keys);
    if (repeats.times >= REPEATS_STOP && warned.repeats) return { kind: "stop", reason: "doom-loop", note: `${rounds(repeats.length, tool)} gave the same result ${repeats.times} times in a row` };
    if (this.#failures >= FAILURES_STOP && warned.failures) return { kind: "stop", reason: "stop-loss", note: `${this.#failures} tool calls failed in a row, the last of ${tool}` };
    if (repeats.times >= REPEATS_WARN) {
      return { kind: "warn", note: `${rounds(repeats.length, tool)} has now given the same result ${repeats.times} times in a row. Repeating it will not help; ${at(repeats.times, REPEATS_STOP)} this turn is stopped. Do something else, or say what blocks you.` };
    }
    if (this.#failures >= FAILURES_WARN) {
      return { kind: "warn", note: `${this.#failures} tool calls in a row have failed; ${at(this.#failures, FAILURES_STOP)} this turn is stopped. Find out why before you go on: look instead of guessing, try another way, or say what blocks you.` };
    }
    return { kind: "go-on" };
  }
}

/** How often the last round of 1 to `LONGEST_ROUND` keys stands at the end, one after the other: the most of all lengths. */
export function repeated(keys: readonly string[]): { times: number; length: number } {
  let most = { times: 1, length: 1 };
  for (let length = 1; length <= LONGEST_ROUND; length++) {
    let times = 1;
    while ((times + 1) * length <= keys.length && same(keys, length, times)) times++;
    if (times > most.times) most = { times, length };
  }
  return most;
}

function same(keys: readonly string[], length: number, times: number): boolean {
  return Array.from({ length }, (_, i) => keys.length - 1 - i).every((at) => keys[at] === keys[at - times * length]);
}

function rounds(length: number, tool: string): string {
  return length === 1 ? `the same call of ${tool}` : `the same round of ${length} calls`;
}

function at(count: number, stop: number): string {
  return count < stop ? `at ${stop}` : "with one more";
}

function rank({ kind }: Verdict): number {
  return ["go-on", "warn", "stop"].indexOf(kind);
}
