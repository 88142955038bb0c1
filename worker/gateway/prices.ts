/** Owns what model calls cost: the price book of the file, a tenant's own prices before it, and the cost of given tokens. Pure. */

import { priceBook, type ModelPrice, type PriceBook, type Pricing } from "../../sdk/protocol/index.ts";
import file from "./prices.json" with { type: "json" };

/** The book that a release brings; US dollars for a million tokens, as the providers list them. */
export const BOOK: PriceBook = priceBook.parse(file);

export interface Tokens {
  /** Without those of the cache. */
  input: number;
  output: number;
  cache_read: number;
  /** All that was written; of these, `cache_write_1h` are kept for an hour. */
  cache_write: number;
  cache_write_1h: number;
  /** Among `output`. */
  reasoning: number;
}
export const NO_TOKENS: Tokens = { input: 0, output: 0, cache_read: 0, cache_write: 0, cache_write_1h: 0, reasoning: 0 };

/** The price that holds for a model, and the book's version; null where no book has the model. */
export interface Price {
  price: ModelPrice | null;
  version: string;
}

/** True where `pattern` (`*`: any run of characters) is the whole name. Linear in the name for each star. */
export function matches(pattern: string, name: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (!name.startsWith(first)) return false;
  if (rest.length === 0) return name === first;
  const last = rest.pop() ?? "";
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

const best = (models: readonly ModelPrice[], name: string): ModelPrice | null => {
  let found: ModelPrice | null = null;
  for (const price of models) if (matches(price.match, name) && (found === null || price.match.length > found.match.length)) found = price;
  return found;
};

/** Looks a model up: the tenant's own prices go before the book's, whatever is the longer match. */
export function priceOf(model: string | null, own: readonly ModelPrice[], book: PriceBook = BOOK): Price {
  if (model === null) return { price: null, version: book.version };
  const tenants = best(own, model);
  return tenants ? { price: tenants, version: `${book.version}+tenant` } : { price: best(book.models, model), version: book.version };
}

/** The prices that hold for a prompt of so many tokens, cached ones counted. */
export function tierOf(price: ModelPrice, prompt: number): Omit<ModelPrice, "match" | "long" | "max_output_tokens"> {
  return price.long && prompt > price.long.above ? price.long : price;
}

/** US dollars, to a billionth. */
export function costOf(price: ModelPrice, tokens: Tokens): number {
  const tier = tierOf(price, tokens.input + tokens.cache_read + tokens.cache_write);
  const { input, output, cache_read = input, cache_write = input } = tier;
  const { cache_write_1h = cache_write } = tier;
  const millionths =
    tokens.input * input + tokens.output * output + tokens.cache_read * cache_read + (tokens.cache_write - tokens.cache_write_1h) * cache_write + tokens.cache_write_1h * cache_write_1h;
  return Math.round(millionths * 1_000) / 1e9;
}

/** All prices that hold for a tenant. */
export function pricingOf(own: readonly ModelPrice[], book: PriceBook = BOOK): Pricing {
  return {
    version: own.length > 0 ? `${book.version}+tenant` : book.version,
    models: [...own.map((price) => ({ ...price, source: "tenant" as const })), ...book.models.map((price) => ({ ...price, source: "file" as const }))],
  };
}
