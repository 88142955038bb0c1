/** Owns the records that a custom agent may write on its stdout; CUSTOM.md is their description for people. */

import * as z from "zod";
import { eventData } from "../../sdk/protocol/event.ts";
import { json } from "../../sdk/protocol/values.ts";

const id = z.string().min(1).max(200);
const count = z.number().int().min(0).default(0);
/** Cut by the runner where it is too long for an event. */
const text = z.string();

export const customRecord = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message"), text }),
  z.object({ type: z.literal("message.delta"), text }),
  z.object({ type: z.literal("thinking"), text }),
  z.object({ type: z.literal("tool.call"), call_id: id, tool: id, input: json.default({}), summary: z.string().optional() }),
  z.object({ type: z.literal("tool.result"), call_id: id, output: text.default(""), is_error: z.boolean().default(false), duration_ms: z.number().min(0).optional() }),
  z.object({ type: z.literal("file.changed"), path: z.string().min(1).max(4_096), change: z.enum(["created", "modified", "deleted"]), diff: text.optional() }),
  z.object({
    type: z.literal("usage"),
    input_tokens: count, output_tokens: count, cache_read_tokens: count, cache_write_tokens: count, reasoning_tokens: count,
    cost_usd: z.number().min(0).nullable().default(null),
    model: z.string().max(200).nullable().default(null),
  }),
  z.object({ type: z.literal("plan"), ...eventData["plan"].shape }),
  z.object({ type: z.literal("progress"), text, fraction: z.number().min(0).max(1).optional() }),
  z.object({ type: z.literal("error"), message: text, hint: z.string().optional() }),
  z.object({ type: z.literal("permission_request"), id, tool: id, input: json.default({}), call_id: id.optional() }),
  z.object({ type: z.literal("result"), text: text.nullable().default(null), conversation: z.string().max(500).nullable().default(null) }),
]);
export type CustomRecord = z.infer<typeof customRecord>;

/** Types by which a line is taken for a record; any other line is output. */
export const CUSTOM_TYPES: ReadonlySet<unknown> = new Set(customRecord.options.map((option) => option.shape.type.value));
