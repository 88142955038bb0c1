/** Owns what a turn may use: the budget, and the meter that knows when it is used up. */

import * as z from "zod";
import { addUsage, NO_USAGE, type BudgetLimit, type Usage } from "./events.ts";
import { MAX_TIMER_MS } from "./timers.ts";

export const budget = z.strictObject({
  maxModelCallsPerTurn: z.number().int().min(1).optional(),
  maxCostUsdPerTurn: z.number().positive().optional(),
  /** Tokens in and out, those of the cache among them. */
  maxTokensPerTurn: z.number().int().min(1).optional(),
  maxSecondsPerTurn: z.number().positive().optional(),
});
/** Limits of one turn; whatever is absent is not limited, but for the model calls, of which there are `DEFAULT_MODEL_CALLS`. Subagents use up their parent's. */
export type Budget = z.infer<typeof budget>;

/** A turn that needs more is more likely lost than nearly done. */
export const DEFAULT_MODEL_CALLS = 200;

export interface Exhausted {
  limit: BudgetLimit;
  note: string;
}

export class Meter {
  readonly #budget: Budget;
  readonly #parent: Meter | null;
  readonly #calls: number;
  #usage: Usage = NO_USAGE;
  #modelCalls = 0;
  /** Tokens and cost of calls whose price is known; a sum that is partly unknown still bounds from below. */
  #knownCost = 0;

  constructor(limits: Budget, parent: Meter | null = null) {
    this.#budget = limits;
    this.#parent = parent;
    this.#calls = limits.maxModelCallsPerTurn ?? DEFAULT_MODEL_CALLS;
  }

  get modelCalls(): number {
    return this.#modelCalls;
  }

  get usage(): Usage {
    return this.#usage;
  }

  /** Whole milliseconds that this turn may take; null where that is not limited, by anybody who will see the end of it. */
  get milliseconds(): number | null {
    const { maxSecondsPerTurn: seconds } = this.#budget;
    return seconds === undefined || seconds * 1_000 > MAX_TIMER_MS ? null : Math.ceil(seconds * 1_000);
  }

  /** A limit on cost is asked for, by this turn or one above it. */
  get limitsCost(): boolean {
    return this.#budget.maxCostUsdPerTurn !== undefined || (this.#parent?.limitsCost ?? false);
  }

  /** Counts one model call, here and in every turn above. */
  add(usage: Usage): void {
    this.#modelCalls += 1;
    this.#usage = addUsage(this.#usage, usage);
    this.#knownCost += usage.costUsd ?? 0;
    this.#parent?.add(usage);
  }

  /** The limit that the next model call would break; null where there is none. */
  get exhausted(): Exhausted | null {
    const { maxCostUsdPerTurn: cost, maxTokensPerTurn: tokens } = this.#budget;
    const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = this.#usage;
    const used = inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens;
    if (this.#modelCalls >= this.#calls) return { limit: "maxModelCallsPerTurn", note: `this turn has made all of its ${this.#calls} model calls` };
    if (cost !== undefined && this.#knownCost >= cost) return { limit: "maxCostUsdPerTurn", note: `this turn has cost $${this.#knownCost.toFixed(4)} of $${cost}` };
    if (tokens !== undefined && used >= tokens) return { limit: "maxTokensPerTurn", note: `this turn has used ${used} of ${tokens} tokens` };
    const above = this.#parent?.exhausted ?? null;
    return above && { ...above, note: `the turn above: ${above.note}` };
  }

  /** The words for a turn that ran out of time. */
  get outOfTime(): Exhausted {
    return { limit: "maxSecondsPerTurn", note: `this turn has taken all of its ${this.#budget.maxSecondsPerTurn ?? 0} s` };
  }
}
