/** Owns the OpenAI Responses wire: reads a request's conversation and renders a step as its events or as one response. */

import * as z from "zod";
import { isFurniture, pieces, tokens, type Conversation, type Step } from "./script.ts";
import type { Rendered, WireEvent } from "./wire.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const item = z.looseObject({ type: z.string().default("message"), role: z.string().optional(), content: z.union([z.string(), z.array(part)]).nullish(), call_id: z.string().optional() });
const request = z.looseObject({ model: z.string(), input: z.union([z.string(), z.array(item)]), stream: z.boolean().default(false), instructions: z.unknown().optional(), tools: z.unknown().optional() });
type Request = z.infer<typeof request>;
type Item = z.infer<typeof item>;

const itemsOf = (body: Request): Item[] => (typeof body.input === "string" ? [{ type: "message", role: "user", content: body.input }] : body.input);
const textsOf = ({ content }: Item) => (typeof content === "string" ? [content] : (content ?? []).flatMap((p) => (p.text ? [p.text] : [])));
const isReply = (it: Item) => it.role === "assistant" || it.type.endsWith("_call") || it.type === "reasoning";

/** The request, or in words what the real service would complain about. */
export function parseResponses(body: unknown): { request: Request } | { complaint: string } {
  const parsed = request.safeParse(body);
  if (!parsed.success) return { complaint: z.prettifyError(parsed.error) };
  const items = itemsOf(parsed.data);
  const answered = new Set(items.filter((it) => it.type.endsWith("_call_output")).map((it) => it.call_id));
  const open = items.find((it) => (it.type === "function_call" || it.type === "custom_tool_call") && !answered.has(it.call_id));
  return open ? { complaint: `No tool output found for function call ${open.call_id ?? "?"}.` } : { request: parsed.data };
}

/** One reply is a run of assistant items; the tool outputs between two runs part them. */
export function responsesConversation(body: Request): Conversation {
  const items = itemsOf(body);
  for (let i = items.length - 1; i >= 0; i--) {
    const it = items[i];
    if (it?.role !== "user") continue;
    const prompt = textsOf(it).filter((text) => !isFurniture(text));
    if (prompt.length === 0) continue;
    const later = items.slice(i + 1);
    const replies = later.filter((one, k) => isReply(one) && !(k > 0 && isReply(later[k - 1] ?? one))).length;
    return { prompt, replies };
  }
  return { prompt: [], replies: 0 };
}

function usageOf(body: Request, step: Step) {
  const items = itemsOf(body);
  const input_tokens = tokens(body.instructions) + tokens(body.tools) + tokens(items);
  const before = items.length > 3 ? input_tokens - tokens(items.at(-1)) : 0;
  const reasoning_tokens = step.thinking === undefined ? 0 : tokens(step.thinking);
  const output_tokens = reasoning_tokens + tokens(step.text ?? "") + step.calls.reduce((sum, c) => sum + tokens(c), 0) + 1;
  return { input_tokens, input_tokens_details: { cached_tokens: before - (before % 128) }, output_tokens, output_tokens_details: { reasoning_tokens }, total_tokens: input_tokens + output_tokens };
}

function outputOf(step: Step, serial: number) {
  return [
    ...(step.thinking === undefined ? [] : [{ id: `rs_scripted_${serial}`, type: "reasoning" as const, summary: [{ type: "summary_text", text: step.thinking }], encrypted_content: "c2NyaXB0ZWQ=" }]),
    ...(step.text === undefined ? [] : [{ id: `msg_scripted_${serial}`, type: "message" as const, role: "assistant", status: "completed", content: [{ type: "output_text", text: step.text, annotations: [] }] }]),
    ...step.calls.map((c, i) => {
      const call_id = `call_scripted_${serial}_${i}`;
      return typeof c.input === "string"
        ? { id: `ctc_scripted_${serial}_${i}`, type: "custom_tool_call" as const, status: "completed", call_id, name: c.tool, input: c.input }
        : { id: `fc_scripted_${serial}_${i}`, type: "function_call" as const, status: "completed", call_id, name: c.tool, arguments: JSON.stringify(c.input) };
    }),
  ];
}

/** The step as this API tells it; `serial` makes its ids unique. */
export function renderResponses(body: Request, step: Step, serial: number): Rendered {
  const output = outputOf(step, serial);
  const base = { id: `resp_scripted_${serial}`, object: "response", created_at: 1_700_000_000 + serial, model: body.model, output: [], usage: null };
  const events: WireEvent[] = [];
  const send = (type: string, data: object) => events.push({ event: type, data: { type, sequence_number: events.length, ...data } });
  send("response.created", { response: { ...base, status: "in_progress" } });
  for (const [output_index, it] of output.entries()) {
    const place = { item_id: it.id, output_index };
    if (it.type === "reasoning") {
      send("response.output_item.added", { output_index, item: { ...it, summary: [] } });
      send("response.reasoning_summary_part.added", { ...place, summary_index: 0, part: { type: "summary_text", text: "" } });
      for (const delta of pieces(it.summary[0]?.text ?? "")) send("response.reasoning_summary_text.delta", { ...place, summary_index: 0, delta });
    } else if (it.type === "message") {
      send("response.output_item.added", { output_index, item: { ...it, status: "in_progress", content: [] } });
      send("response.content_part.added", { ...place, content_index: 0, part: { type: "output_text", text: "", annotations: [] } });
      for (const delta of pieces(it.content[0]?.text ?? "")) send("response.output_text.delta", { ...place, content_index: 0, delta });
    } else {
      send("response.output_item.added", { output_index, item: { ...it, status: "in_progress" } });
    }
    send("response.output_item.done", { output_index, item: it });
  }
  const whole = { ...base, status: "completed", output, usage: usageOf(body, step) };
  send("response.completed", { response: whole });
  return { events, whole };
}

export function openaiError(status: number, message: string): object {
  const type = status === 429 ? "rate_limit_exceeded" : status < 500 ? "invalid_request_error" : "server_error";
  return { error: { message, type, code: type, param: null } };
}
