/** Owns the Anthropic Messages wire: reads a request's conversation and renders a step as its events or as one message. */

import * as z from "zod";
import { isFurniture, pieces, tokens, type Conversation, type Step } from "./script.ts";
import type { Rendered, WireEvent } from "./wire.ts";

const block = z.looseObject({ type: z.string(), text: z.string().optional(), id: z.string().optional(), tool_use_id: z.string().optional() });
const message = z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(block)]) });
const request = z.looseObject({ model: z.string(), max_tokens: z.number(), messages: z.array(message).min(1), stream: z.boolean().default(false), system: z.unknown().optional(), tools: z.unknown().optional() });
type Request = z.infer<typeof request>;

const blocksOf = (m: z.infer<typeof message>) => (typeof m.content === "string" ? [{ type: "text", text: m.content }] : m.content);

/** The request, or in words what the real service would complain about. */
export function parseMessages(body: unknown): { request: Request } | { complaint: string } {
  const parsed = request.safeParse(body);
  if (!parsed.success) return { complaint: z.prettifyError(parsed.error) };
  const complaint = unanswered(parsed.data);
  return complaint === null ? { request: parsed.data } : { complaint };
}

/** Every call must be answered in the very next message, and every answer must have its call. */
function unanswered({ messages }: Request): string | null {
  for (const [i, m] of messages.entries()) {
    const calls = m.role === "assistant" ? blocksOf(m).flatMap((b) => (b.type === "tool_use" && b.id ? [b.id] : [])) : [];
    const next = messages[i + 1];
    const answers = next ? blocksOf(next).flatMap((b) => (b.type === "tool_result" && b.tool_use_id ? [b.tool_use_id] : [])) : [];
    const missing = calls.filter((id) => !answers.includes(id));
    if (missing.length > 0) return `messages.${i}: tool_use ids without tool_result in the next message: ${missing.join(", ")}`;
    if (m.role === "assistant" && answers.some((id) => !calls.includes(id))) return `messages.${i + 1}: tool_result without its tool_use`;
  }
  return null;
}

export function conversationOf({ messages }: Request): Conversation {
  for (let i = messages.length - 1; i >= 0; i--) {
    const m = messages[i];
    if (m?.role !== "user") continue;
    const prompt = blocksOf(m).flatMap((b) => (b.type === "text" && b.text && !isFurniture(b.text) ? [b.text] : []));
    if (prompt.length > 0) return { prompt, replies: messages.slice(i + 1).filter((later) => later.role === "assistant").length };
  }
  return { prompt: [], replies: 0 };
}

function usageOf(body: Request, step: Step) {
  const before = tokens({ system: body.system, tools: body.tools, messages: body.messages.slice(0, -1) });
  const cached = body.messages.length > 1 ? before : 0;
  const fresh = body.messages.length > 1 ? tokens(body.messages.at(-1)) : before + tokens(body.messages);
  const output = tokens(step.text ?? "") + tokens(step.thinking ?? "") + step.calls.reduce((sum, c) => sum + tokens(c), 0) + 1;
  return { input_tokens: 3, cache_creation_input_tokens: fresh, cache_read_input_tokens: cached, output_tokens: output };
}

/** The step as this API tells it; `serial` makes its ids unique. */
export function renderMessages(body: Request, step: Step, serial: number): Rendered {
  const usage = usageOf(body, step);
  const stop_reason = step.stop === "length" ? "max_tokens" : step.stop === "refusal" ? "refusal" : step.calls.length > 0 ? "tool_use" : "end_turn";
  const shell = { id: `msg_scripted_${serial}`, type: "message", role: "assistant", model: body.model, stop_sequence: null };
  const content = [
    ...(step.thinking === undefined ? [] : [{ type: "thinking" as const, thinking: step.thinking, signature: "c2NyaXB0ZWQ=" }]),
    ...(step.text === undefined ? [] : [{ type: "text" as const, text: step.text }]),
    ...step.calls.map((c, i) => ({ type: "tool_use" as const, id: `toolu_scripted_${serial}_${i}`, name: c.tool, input: c.input })),
  ];
  const detail = { cache_creation: { ephemeral_5m_input_tokens: usage.cache_creation_input_tokens, ephemeral_1h_input_tokens: 0 }, service_tier: "standard" };
  const events: WireEvent[] = [];
  const send = (type: string, data: object) => events.push({ event: type, data: { type, ...data } });
  send("message_start", { message: { ...shell, content: [], stop_reason: null, usage: { ...usage, ...detail, output_tokens: 1 } } });
  send("ping", {});
  for (const [index, b] of content.entries()) {
    const delta = (data: object) => send("content_block_delta", { index, delta: data });
    if (b.type === "thinking") {
      send("content_block_start", { index, content_block: { type: "thinking", thinking: "", signature: "" } });
      for (const piece of pieces(b.thinking)) delta({ type: "thinking_delta", thinking: piece });
      delta({ type: "signature_delta", signature: b.signature });
    } else if (b.type === "text") {
      send("content_block_start", { index, content_block: { type: "text", text: "" } });
      for (const piece of pieces(b.text)) delta({ type: "text_delta", text: piece });
    } else {
      send("content_block_start", { index, content_block: { ...b, input: {} } });
      for (const part of (typeof b.input === "string" ? b.input : JSON.stringify(b.input)).match(/.{1,24}/gs) ?? []) delta({ type: "input_json_delta", partial_json: part });
    }
    send("content_block_stop", { index });
  }
  send("message_delta", { delta: { stop_reason, stop_sequence: null }, usage });
  send("message_stop", {});
  return { events, whole: { ...shell, content, stop_reason, usage: { ...usage, ...detail } } };
}

const ERROR_TYPES: Record<number, string> = { 400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error" };

export function messagesError(status: number, message: string): object {
  return { type: "error", error: { type: ERROR_TYPES[status] ?? "api_error", message } };
}
