/** Owns what model calls cost: the record of one call through the gateway, sums of many, and the price book's shape. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { timestamp } from "./values.ts";

const tokens = z.number().int().min(0);

/** Which wire a call speaks. `other`: a door that the gateway lets through without understanding it. */
export const modelApi = z.enum(["anthropic.messages", "openai.responses", "openai.chat", "other"]);
export type ModelApi = z.infer<typeof modelApi>;

/**
 * How a call ended. `completed`: whole; `cut`: the stream broke; `client_left`: the agent went away; `failed`: upstream said no (`status`);
 * `unreachable`: upstream did not answer; `refused`: by a budget or a limit, and nothing was sent; `lost`: the edge died in the midst of it.
 */
export const callOutcome = z.enum(["completed", "cut", "client_left", "failed", "unreachable", "refused", "lost"]);
export type CallOutcome = z.infer<typeof callOutcome>;

/** One model call. Tokens in are without those of the cache; reasoning tokens are among those out. */
export const modelRequest = z.object({
  id: idOf("model_request"),
  tenant_id: idOf("tenant"),
  session_id: idOf("session"),
  task_id: idOf("task").nullable(),
  run_id: idOf("run").nullable(),
  /** Of the session and of the task, as they were. */
  labels: z.record(z.string(), z.string()),
  agent: z.string(),
  /** Whose key was used. */
  key_source: z.enum(["byok", "agent_config", "deployment"]),
  agent_config_id: idOf("agent_config").nullable(),
  api: modelApi,
  /** Host of the upstream. */
  upstream: z.string(),
  model: z.string().nullable(),
  outcome: callOutcome,
  /** The answer's status; null where none came. */
  status: z.number().int().nullable(),
  stop_reason: z.string().nullable(),
  stream: z.boolean(),
  input_tokens: tokens,
  output_tokens: tokens,
  cache_read_tokens: tokens,
  cache_write_tokens: tokens,
  reasoning_tokens: tokens,
  /** US dollars; null where the model has no price. */
  cost_usd: z.number().min(0).nullable(),
  /** False: the model is in no price book, and the cost is unknown, not zero. */
  priced: z.boolean(),
  /** Version of the price book, with `+tenant` where the tenant's own price was used. */
  price_version: z.string(),
  /** The tokens were counted from what passed, because upstream's own count did not come. */
  estimated: z.boolean(),
  /** Further attempts after 429 or 529. */
  retries: z.number().int().min(0),
  /** To the first byte of the answer's body, and to the last, in milliseconds. */
  ttft_ms: z.number().min(0).nullable(),
  duration_ms: z.number().min(0),
  error: z.string().nullable(),
  created_at: timestamp,
});
export type ModelRequest = z.infer<typeof modelRequest>;

/** Sums over calls. `cost_usd` leaves out the `unpriced_requests`. */
export const usageTotals = z.object({
  requests: z.number().int(),
  failed_requests: z.number().int(),
  unpriced_requests: z.number().int(),
  estimated_requests: z.number().int(),
  input_tokens: tokens,
  output_tokens: tokens,
  cache_read_tokens: tokens,
  cache_write_tokens: tokens,
  reasoning_tokens: tokens,
  cost_usd: z.number().min(0),
  /** read / (in + read + write); null where nothing was read in. */
  cache_hit_rate: z.number().min(0).max(1).nullable(),
  /** Medians in milliseconds. */
  median_duration_ms: z.number().nullable(),
  median_ttft_ms: z.number().nullable(),
});
export type UsageTotals = z.infer<typeof usageTotals>;

export const USAGE_GROUPS = ["hour", "day", "month", "model", "agent", "session", "task", "run", "api", "upstream", "key_source", "agent_config", "outcome"] as const;
/** A group, or `label:<name>`. */
export const usageGroup = z.string().max(80).refine((text) => (USAGE_GROUPS as readonly string[]).includes(text) || (text.startsWith("label:") && text.length > 6), `one of ${USAGE_GROUPS.join(", ")} or label:<name>`);

/** `key` is null where the calls have no such thing (a label that is not set). */
export const usageRow = usageTotals.extend({ key: z.string().nullable() });
export type UsageRow = z.infer<typeof usageRow>;
export const usageReport = z.object({ group_by: z.string(), from: timestamp.nullable(), to: timestamp.nullable(), rows: z.array(usageRow), total: usageTotals });
export type UsageReport = z.infer<typeof usageReport>;

/** Seen whole, by model and by agent: what a dashboard's first page shows. */
export const metricsSummary = z.object({ from: timestamp.nullable(), to: timestamp.nullable(), total: usageTotals, by_model: z.array(usageRow), by_agent: z.array(usageRow) });
export type MetricsSummary = z.infer<typeof metricsSummary>;

const price = z.number().min(0).max(1_000_000);
const tokenPrices = {
  input: price,
  output: price,
  /** Absent: as `input`. */
  cache_read: price.optional(),
  /** Writing what is kept for five minutes, and for an hour; absent: as `input`. */
  cache_write: price.optional(),
  cache_write_1h: price.optional(),
};
/** Prices of the models whose name matches, in US dollars for a million tokens. */
export const modelPrice = z.strictObject({
  /** A model's name; `*` stands for any run of characters. The longest match wins. */
  match: z.string().min(1).max(200),
  ...tokenPrices,
  /** Prices of the whole call, answer and all, where its prompt has more than `above` tokens, cached ones counted. */
  long: z.strictObject({ above: z.number().int().min(1), ...tokenPrices }).optional(),
  /** Most tokens that one answer can have, where the request sets no limit. */
  max_output_tokens: z.number().int().min(1).optional(),
});
export type ModelPrice = z.infer<typeof modelPrice>;

/** `sources`: where the prices were read, and when. */
export const priceBook = z.strictObject({ version: z.string().min(1).max(60), sources: z.array(z.string().max(500)).default([]), models: z.array(modelPrice).max(1_000) });
export type PriceBook = z.infer<typeof priceBook>;

/** A tenant's own prices; they go before the file's. */
export const pricingPut = z.strictObject({ models: z.array(modelPrice).max(500) });
export const pricing = z.object({ version: z.string(), models: z.array(modelPrice.extend({ source: z.enum(["file", "tenant"]) })) });
export type Pricing = z.infer<typeof pricing>;
