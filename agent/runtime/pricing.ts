/** Owns what tokens cost: a function from model and usage to US dollars, and the published prices of well-known models. */

import type { Usage } from "./events.ts";

/** US dollars for this usage of this model; null where the price is not known. */
export type Pricing = (model: string, usage: Usage) => number | null;

/** US dollars per million tokens. */
export interface Price {
  input: number;
  output: number;
  /** Read from the cache; a tenth of `input` where absent. */
  cacheRead?: number;
  /** Written to the cache; five quarters of `input` where absent. */
  cacheWrite?: number;
}

/** What makes another model of a name, with another price; a date, `-latest` or `:online` does not. */
const OTHER = /[-.](pro|mini|nano|lite|deep-research|audio|realtime|image|search|transcribe|tts)(?![a-z])/;

/**
 * Prices by the beginning of a model's name; the longest match counts, and none that leaves `-mini` or its like over: no price is better than a wrong one.
 * A vendor's prefix (`anthropic/…`) is passed over where the table has none of that name, and so is how routers write versions (`claude-sonnet-4.5`).
 */
export function pricingFrom(table: Readonly<Record<string, Price>>): Pricing {
  const names = Object.keys(table).sort((a, b) => b.length - a.length);
  const fits = (name: string, model: string) => {
    if (!model.startsWith(name)) return false;
    const rest = model.slice(name.length);
    // One that ends in a dash, or is empty, means whatever follows.
    return rest === "" || !/[A-Za-z0-9]$/.test(name) || (/^[-@:]/.test(rest) && !OTHER.test(rest));
  };
  const find = (model: string) => names.find((name) => fits(name, model));
  return (model, usage) => {
    const bare = model.slice(model.lastIndexOf("/") + 1);
    const name = find(model) ?? find(bare) ?? find(bare.replaceAll(/(?<=^claude-.*\d)\.(?=\d)/g, "-"));
    const price = name === undefined ? undefined : table[name];
    if (!price) return null;
    const { input, output, cacheRead = input / 10, cacheWrite = (input * 5) / 4 } = price;
    return (usage.inputTokens * input + usage.outputTokens * output + usage.cacheReadTokens * cacheRead + usage.cacheWriteTokens * cacheWrite) / 1_000_000;
  };
}

/**
 * List prices as the vendors published them on their pricing pages in October 2026, for prompts of common length (some cost more beyond 100,000 to
 * 272,000 tokens); for what is newer or your own, give `pricing`.
 */
export const LIST_PRICES: Readonly<Record<string, Price>> = {
  "claude-fable-5-1": { input: 10, output: 50, cacheRead: 0.25 },
  "claude-fable-5": { input: 10, output: 50 },
  "claude-opus-5-5": { input: 4, output: 20, cacheRead: 0.2 },
  "claude-opus-5": { input: 5, output: 25 },
  "claude-opus-4-8": { input: 5, output: 25 },
  "claude-opus-4-7": { input: 5, output: 25 },
  "claude-opus-4-6": { input: 5, output: 25 },
  "claude-opus-4-5": { input: 5, output: 25 },
  "claude-opus-4": { input: 15, output: 75 },
  "claude-sonnet-5-5": { input: 2, output: 10, cacheRead: 0.1 },
  "claude-sonnet-5": { input: 2, output: 10 },
  "claude-sonnet-4": { input: 3, output: 15 },
  "claude-3-7-sonnet": { input: 3, output: 15 },
  "claude-haiku-5-5": { input: 0.1, output: 0.5 },
  "claude-haiku-4-5": { input: 1, output: 5 },
  "claude-3-5-sonnet": { input: 3, output: 15 },
  "claude-3-5-haiku": { input: 0.8, output: 4 },
  "claude-3-haiku": { input: 0.25, output: 1.25, cacheRead: 0.03, cacheWrite: 0.3 },
  "claude-3-opus": { input: 15, output: 75 },
  "claude-mythos-5-1": { input: 10, output: 50, cacheRead: 0.25 },
  "claude-mythos-5": { input: 10, output: 50 },
  "gpt-6.1-sol": { input: 2, output: 10, cacheRead: 0.1 },
  "gpt-6.1-terra": { input: 1, output: 5, cacheRead: 0.05 },
  "gpt-6-astra": { input: 10, output: 50 },
  "gpt-6-sol": { input: 2, output: 10 },
  "gpt-6-luna": { input: 0.1, output: 0.5 },
  "gpt-5.6-terra": { input: 2, output: 12 },
  "gpt-5.6-luna": { input: 0.2, output: 1.2 },
  "gpt-5.6": { input: 4, output: 20 },
  "gpt-5.5-pro": { input: 30, output: 180, cacheRead: 30, cacheWrite: 30 },
  "gpt-5.5": { input: 5, output: 30, cacheWrite: 5 },
  "gpt-5.4-mini": { input: 0.75, output: 4.5, cacheWrite: 0.75 },
  "gpt-5.4-nano": { input: 0.2, output: 1.25, cacheWrite: 0.2 },
  "gpt-5.4": { input: 2.5, output: 15, cacheWrite: 2.5 },
  "gpt-5.3-codex": { input: 1.75, output: 14, cacheWrite: 1.75 },
  "gpt-5.2": { input: 1.75, output: 14, cacheWrite: 1.75 },
  "gpt-5.1-codex-mini": { input: 0.25, output: 2 },
  "gpt-5.1": { input: 1.25, output: 10 },
  "gpt-5-pro": { input: 15, output: 120, cacheRead: 15, cacheWrite: 15 },
  "gpt-5": { input: 1.25, output: 10 },
  "gpt-5-mini": { input: 0.25, output: 2 },
  "gpt-5-nano": { input: 0.05, output: 0.4 },
  "gpt-4.1": { input: 2, output: 8, cacheRead: 0.5 },
  "gpt-4.1-mini": { input: 0.4, output: 1.6, cacheRead: 0.1 },
  "gpt-4.1-nano": { input: 0.1, output: 0.4, cacheRead: 0.025 },
  "gpt-4o": { input: 2.5, output: 10, cacheRead: 1.25 },
  "gpt-4o-mini": { input: 0.15, output: 0.6, cacheRead: 0.075 },
  "o3": { input: 2, output: 8, cacheRead: 0.5 },
  "o4-mini": { input: 1.1, output: 4.4, cacheRead: 0.275 },
  "deepseek-chat": { input: 0.28, output: 0.42 },
  "deepseek-reasoner": { input: 0.28, output: 0.42 },
  "gemini-2.5-pro": { input: 1.25, output: 10 },
  "gemini-2.5-flash": { input: 0.3, output: 2.5 },
  "gemini-2.5-flash-lite": { input: 0.1, output: 0.4 },
  "gemini-3.1-pro": { input: 2, output: 12 },
  "gemini-3.5-flash": { input: 1.5, output: 9 },
  "gemini-3.6-flash": { input: 0.75, output: 3.75 },
  "gemini-3.7-flash": { input: 0.75, output: 3.75 },
  "gemini-3.8-flash": { input: 0.75, output: 3.75 },
};

export const listPricing: Pricing = pricingFrom(LIST_PRICES);
