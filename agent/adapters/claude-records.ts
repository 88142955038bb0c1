/** Owns what is read of Claude Code's stream-json: tolerant schemas of the records that matter here; unknown fields pass. */

import * as z from "zod";
import { json } from "../../sdk/protocol/index.ts";

const block = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text"), text: z.string() }),
  z.looseObject({ type: z.literal("thinking"), thinking: z.string() }),
  z.looseObject({ type: z.literal("tool_use"), id: z.string(), name: z.string(), input: json }),
  z.looseObject({ type: z.literal("tool_result"), tool_use_id: z.string(), content: z.union([z.string(), z.array(z.looseObject({ type: z.string(), text: z.string().optional() }))]).optional(), is_error: z.boolean().nullish() }),
]);
/** Blocks of other kinds are passed over. */
const blocks = z.union([z.string().transform((text) => [{ type: "text" as const, text }]), z.array(z.unknown()).transform((all) => all.flatMap((one) => block.safeParse(one).data ?? []))]);
export type Block = z.infer<typeof block>;

const count = z.number().min(0).catch(0).default(0);
export const modelUsage = z.looseObject({
  inputTokens: count,
  outputTokens: count,
  cacheReadInputTokens: count,
  cacheCreationInputTokens: count,
  thinkingTokens: count,
  costUSD: z.number().min(0).nullable().catch(null).default(null),
});
export type ModelUsage = z.infer<typeof modelUsage>;

/** Counts of one reply of the model, as its stream tells them; they are cumulative within the reply. */
const streamUsage = z.looseObject({ input_tokens: count, output_tokens: count, cache_read_input_tokens: count, cache_creation_input_tokens: count });
export type StreamUsage = z.infer<typeof streamUsage>;

const delta = z.looseObject({ type: z.string(), text: z.string().optional() });
const streamEvent = z.looseObject({
  type: z.string(),
  delta: delta.optional().catch(undefined),
  usage: streamUsage.optional().catch(undefined),
  message: z.looseObject({ model: z.string() }).optional().catch(undefined),
});

export const hunk = z.looseObject({ oldStart: z.number(), oldLines: z.number(), newStart: z.number(), newLines: z.number(), lines: z.array(z.string()) });
/** What a file tool did, as Claude keeps it beside the result that the model sees. */
export const fileResult = z.looseObject({
  type: z.string().optional(),
  filePath: z.string(),
  content: z.string().optional(),
  structuredPatch: z.array(hunk).default([]),
  originalFile: z.string().nullish(),
});
export const todos = z.looseObject({ todos: z.array(z.looseObject({ content: z.string(), status: z.enum(["pending", "in_progress", "completed"]).catch("pending") })) });

const parent = z.string().nullish();
export const record = z.discriminatedUnion("type", [
  z.looseObject({
    type: z.literal("system"),
    subtype: z.string(),
    session_id: z.string().optional(),
    attempt: z.number().optional(),
    max_retries: z.number().optional(),
    retry_delay_ms: z.number().optional(),
    error_status: z.number().nullish(),
    error: z.string().optional().catch(undefined),
    tasks: z.array(z.looseObject({ task_type: z.string().default("") })).optional().catch(undefined),
  }),
  z.looseObject({ type: z.literal("stream_event"), event: streamEvent, parent_tool_use_id: parent }),
  z.looseObject({ type: z.literal("assistant"), message: z.looseObject({ model: z.string().default(""), content: blocks }), parent_tool_use_id: parent, error: z.string().optional() }),
  z.looseObject({ type: z.literal("user"), message: z.looseObject({ content: blocks }), parent_tool_use_id: parent, tool_use_result: z.unknown().optional() }),
  z.looseObject({
    type: z.literal("control_request"),
    request_id: z.string(),
    request: z.looseObject({ subtype: z.string(), tool_name: z.string().optional(), input: json.optional(), tool_use_id: z.string().optional() }),
  }),
  z.looseObject({ type: z.literal("control_cancel_request"), request_id: z.string() }),
  z.looseObject({ type: z.literal("control_response"), response: z.looseObject({ subtype: z.string(), request_id: z.string(), error: z.string().optional() }) }),
  z.looseObject({
    type: z.literal("result"),
    subtype: z.string(),
    is_error: z.boolean().default(false),
    result: z.string().optional(),
    errors: z.array(z.string()).default([]),
    session_id: z.string().optional(),
    terminal_reason: z.string().optional(),
    total_cost_usd: z.number().optional(),
    modelUsage: z.record(z.string(), modelUsage).default({}),
    /** Counted from the last result of the conversation, also across a resume; older versions do not tell it. */
    model_usage_since_last_result: z.record(z.string(), modelUsage).optional(),
  }),
]);
export type ClaudeRecord = z.infer<typeof record>;
export type RecordOf<T extends ClaudeRecord["type"]> = Extract<ClaudeRecord, { type: T }>;
