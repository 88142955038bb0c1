/** Owns the OpenAI Chat Completions wire: reads a request's conversation and renders a step as chunks or as one completion. */

import * as z from "zod";
import { isFurniture, pieces, tokens, type Conversation, type Step } from "./script.ts";
import type { Rendered, WireEvent } from "./wire.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tool_calls: z.array(z.looseObject({ id: z.string() })).optional(),
  tool_call_id: z.string().optional(),
});
const request = z.looseObject({
  model: z.string(),
  messages: z.array(message).min(1),
  stream: z.boolean().default(false),
  stream_options: z.looseObject({ include_usage: z.boolean().default(false) }).optional(),
  tools: z.unknown().optional(),
});
type Request = z.infer<typeof request>;

/** The request, or in words what the real service would complain about. */
export function parseChat(body: unknown): { request: Request } | { complaint: string } {
  const parsed = request.safeParse(body);
  if (!parsed.success) return { complaint: z.prettifyError(parsed.error) };
  const answered = new Set(parsed.data.messages.map((m) => m.tool_call_id));
  const open = parsed.data.messages.flatMap((m) => m.tool_calls ?? []).find(({ id }) => !answered.has(id));
  return open ? { complaint: `tool_calls must be followed by tool messages; no answer to ${open.id}` } : { request: parsed.data };
}

export function chatConversation({ messages }: Request): Conversation {
  for (let i = messages.length - 1; i >= 0; i--) {
    const m = messages[i];
    if (m?.role !== "user") continue;
    const texts = typeof m.content === "string" ? [m.content] : (m.content ?? []).flatMap((p) => (p.text ? [p.text] : []));
    const prompt = texts.filter((text) => !isFurniture(text));
    if (prompt.length > 0) return { prompt, replies: messages.slice(i + 1).filter((later) => later.role === "assistant").length };
  }
  return { prompt: [], replies: 0 };
}

/** The step as this API tells it; `serial` makes its ids unique. */
export function renderChat(body: Request, step: Step, serial: number): Rendered {
  const prompt_tokens = tokens(body.tools) + tokens(body.messages);
  const before = body.messages.length > 2 ? prompt_tokens - tokens(body.messages.at(-1)) : 0;
  const reasoning_tokens = step.thinking === undefined ? 0 : tokens(step.thinking);
  const completion_tokens = reasoning_tokens + tokens(step.text ?? "") + step.calls.reduce((sum, c) => sum + tokens(c), 0) + 1;
  const usage = {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: before - (before % 128) },
    completion_tokens_details: { reasoning_tokens },
  };
  const finish_reason = step.stop === "length" ? "length" : step.stop === "refusal" ? "content_filter" : step.calls.length > 0 ? "tool_calls" : "stop";
  const calls = step.calls.map((c, i) => ({
    id: `call_scripted_${serial}_${i}`,
    type: "function",
    function: { name: c.tool, arguments: typeof c.input === "string" ? c.input : JSON.stringify(c.input) },
  }));
  const base = { id: `chatcmpl-scripted-${serial}`, created: 1_700_000_000 + serial, model: body.model };
  const events: WireEvent[] = [];
  const withUsage = body.stream_options?.include_usage ?? false;
  const chunk = (delta: object, finish: string | null = null) =>
    events.push({ event: null, data: { ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }], ...(withUsage && { usage: null }) } });
  chunk({ role: "assistant", content: "" });
  for (const piece of pieces(step.thinking ?? "")) chunk({ reasoning_content: piece });
  for (const piece of pieces(step.text ?? "")) chunk({ content: piece });
  for (const [index, c] of calls.entries()) {
    chunk({ tool_calls: [{ index, id: c.id, type: "function", function: { name: c.function.name, arguments: "" } }] });
    for (const piece of c.function.arguments.match(/.{1,24}/gs) ?? []) chunk({ tool_calls: [{ index, function: { arguments: piece } }] });
  }
  chunk({}, finish_reason);
  if (withUsage) events.push({ event: null, data: { ...base, object: "chat.completion.chunk", choices: [], usage } });
  const message = {
    role: "assistant",
    content: step.text ?? null,
    ...(step.thinking !== undefined && { reasoning_content: step.thinking }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
  return { events, whole: { ...base, object: "chat.completion", choices: [{ index: 0, message, finish_reason }], usage }, end: "data: [DONE]\n\n" };
}
