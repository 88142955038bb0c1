/** Owns the most that a request can cost, from what it says before it is sent. Pure. */

import type { ModelPrice } from "../../sdk/protocol/index.ts";
import { PICTURE_TOKENS } from "./pictures.ts";
import { costOf, NO_TOKENS, tierOf, type Price } from "./prices.ts";

/**
 * Fewest bytes of a request that make one token. Text, code and JSON have three and more; two leaves room for the worst that is sent.
 * Documents in base64 have more bytes than tokens; pictures are weighed by themselves.
 */
export const BYTES_PER_TOKEN = 2;
/** Where neither the request nor the price book says how long an answer may be. */
const LONGEST_ANSWER = 128_000;
/** A picture or document that is only named by its address is fetched by the provider. */
const LINKED_TOKENS = PICTURE_TOKENS;
/** What a conversation that the provider keeps may have come to: as long as models read. */
const STORED_TOKENS = 400_000;

export interface RequestSize {
  /** Bytes of the body as it is unpacked, each picture in it as at most `PICTURE_TOKENS`. */
  bytes: number;
  /** The limit that the request sets on the answer; null: none. */
  max_output_tokens: number | null;
  /** Answers asked for at once (`n`). */
  answers: number;
  /** Pictures and documents that are named by address. */
  linked: number;
  /** It goes on from what the provider keeps. */
  stored: boolean;
}

export interface Largest {
  cost_usd: number | null;
  tokens: number;
}

/** Tokens in at their dearest (as written to the cache for an hour), and the longest answer. */
export function largestOf(size: RequestSize, { price }: Price): Largest {
  const input = Math.ceil(size.bytes / BYTES_PER_TOKEN) + size.linked * LINKED_TOKENS + (size.stored ? STORED_TOKENS : 0);
  const output = (size.max_output_tokens ?? price?.max_output_tokens ?? LONGEST_ANSWER) * size.answers;
  return { tokens: input + output, cost_usd: price && costOf(dearest(price, input), { ...NO_TOKENS, input, output }) };
}

function dearest(price: ModelPrice, prompt: number): ModelPrice {
  const { input, output, cache_read = 0, cache_write = 0, cache_write_1h = 0 } = tierOf(price, prompt);
  return { match: price.match, output, input: Math.max(input, cache_write, cache_write_1h, cache_read) };
}
