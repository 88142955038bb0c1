/** Owns the token counts of one Claude task: each reply's as it ends, then what the result knows beyond them. */

import type { Emitted } from "./adapter.ts";
import type { ModelUsage, RecordOf, StreamUsage } from "./claude-records.ts";

type Usage = Extract<Emitted, { type: "usage" }>["data"];
type Counts = Omit<Usage, "model" | "cost_usd">;
const FIELDS = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"] as const;

/** Every `usage` event is an increment: their sum is the task's usage. Cost comes with the result alone. */
export class ClaudeUsage {
  readonly #resumed: boolean;
  readonly #told = new Map<string, Counts>();
  #model: string | null = null;

  constructor(resumed: boolean) {
    this.#resumed = resumed;
  }

  replyBegins(model: string): void {
    this.#model = model;
  }

  /** The final counts of one reply of the model. */
  replyEnds(usage: StreamUsage): Usage {
    const counts: Counts = {
      input_tokens: Math.round(usage.input_tokens),
      output_tokens: Math.round(usage.output_tokens),
      cache_read_tokens: Math.round(usage.cache_read_input_tokens),
      cache_write_tokens: Math.round(usage.cache_creation_input_tokens),
      reasoning_tokens: 0,
    };
    const key = this.#model ?? "";
    const before = this.#told.get(key);
    this.#told.set(key, before ? combine(before, counts, (a, b) => a + b) : counts);
    return { ...counts, cost_usd: null, model: this.#model };
  }

  /** What a result adds: cost, and tokens that no reply told of (those of subagents). One for each model. */
  resultEnds(result: RecordOf<"result">): Usage[] {
    // Without the difference, the totals are this task's own only in a conversation that began with it.
    const models = result.model_usage_since_last_result ?? (this.#resumed ? {} : result.modelUsage);
    const usages = Object.entries(models).map(([model, total]) => {
      const key = this.#told.has(model) ? model : ([...this.#told.keys()].find((told) => model.startsWith(told) || told.startsWith(model)) ?? model);
      const told = this.#told.get(key);
      const counts = told ? combine(ofModel(total), told, (a, b) => Math.max(0, a - b)) : ofModel(total);
      this.#told.delete(key);
      return { ...counts, cost_usd: total.costUSD, model };
    });
    return usages.filter((usage) => usage.cost_usd !== null || FIELDS.some((field) => usage[field] > 0));
  }
}

function ofModel(total: ModelUsage): Counts {
  return {
    input_tokens: Math.round(total.inputTokens),
    output_tokens: Math.round(total.outputTokens),
    cache_read_tokens: Math.round(total.cacheReadInputTokens),
    cache_write_tokens: Math.round(total.cacheCreationInputTokens),
    reasoning_tokens: Math.round(total.thinkingTokens),
  };
}

function combine(a: Counts, b: Counts, with_: (a: number, b: number) => number): Counts {
  return Object.fromEntries(FIELDS.map((field) => [field, with_(a[field], b[field])])) as unknown as Counts;
}
