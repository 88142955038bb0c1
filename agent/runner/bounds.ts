/** Owns the size of what a runner journals: every event is cut to the wire's limits, and says by how much. */

import { runnerItem, type RunnerItem } from "../../sdk/protocol/event.ts";
import { MAX_EVENT_CHARS, MAX_INPUT_CHARS, MAX_RAW_CHARS, MAX_TEXT_CHARS } from "../../sdk/protocol/limits.ts";
import type { Json } from "../../sdk/protocol/values.ts";
import type { Emitted } from "../adapters/adapter.ts";

/** An event before it has a time; the runner's own kinds are among them. */
export type Unstamped = Emitted | { [T in RunnerItem["type"]]: Omit<Extract<RunnerItem, { type: T }>, "at"> }[RunnerItem["type"]];

/** Room for the time, the type and the other fields around a text. */
const ENVELOPE_CHARS = 4_096;

/** Cuts a text without parting a surrogate pair. */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = max > 0 && isHighSurrogate(text.charCodeAt(max - 1)) ? max - 1 : max;
  return text.slice(0, end);
}

/** A value whose JSON is at most `max` characters: long strings in it are cut with a mark, and what is left of too much is told in one. */
export function cutJson(value: Json, max = MAX_INPUT_CHARS): { value: Json; truncated: number } {
  const whole = JSON.stringify(value);
  if (whole.length <= max) return { value, truncated: 0 };
  for (const longest of [max >> 2, max >> 4, max >> 6]) {
    const shorter = shorten(value, longest);
    const { length } = JSON.stringify(shorter);
    if (length <= max) return { value: shorter, truncated: whole.length - length };
  }
  // Six characters is the most that one becomes in JSON, twice where it is JSON in a string.
  const beginning = cut(whole, Math.floor(max / 12));
  return { value: { beginning }, truncated: whole.length - beginning.length };
}

function shorten(value: Json, longest: number): Json {
  if (typeof value === "string") return value.length <= longest ? value : `${cut(value, longest)}… (${value.length - longest} more characters)`;
  if (Array.isArray(value)) return value.map((each) => shorten(each, longest));
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [cut(key, 200), shorten(each, longest)]));
  return value;
}

/**
 * The events as JSON, each within the limits of the wire: a long log becomes several events, any other long text is cut and marked.
 * What cannot be said in an event at all becomes an `error` event that says so: nothing is dropped in silence.
 */
export function encode(event: Unstamped, at: string, keepRaw: boolean): string[] {
  if (event.type === "log") return encodeLog(event, at, keepRaw);
  const bounded = bound(event);
  const item = { at, type: bounded.type, data: bounded.data };
  if (bounded.type !== "message.delta") {
    const parsed = runnerItem.safeParse(item);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const message = `an event of type ${event.type} could not be recorded: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`;
      return [JSON.stringify({ at, type: "error", data: { message: cut(message, 1_000) } })];
    }
  }
  const text = JSON.stringify(item);
  if (text.length > MAX_EVENT_CHARS) return [JSON.stringify({ at, type: "error", data: { message: `an event of type ${event.type} with ${text.length} characters was too large to be recorded` } })];
  return [withRaw(text, event.raw, keepRaw)];
}

function encodeLog(event: Extract<Unstamped, { type: "log" }>, at: string, keepRaw: boolean): string[] {
  const { text, stream, truncated, encoding } = event.data;
  const rest = { ...(truncated !== undefined && truncated > 0 && { truncated }), ...(encoding && { encoding }) };
  if (text.length <= MAX_TEXT_CHARS) {
    const whole = JSON.stringify({ at, type: "log", data: { stream, text, ...rest } });
    if (whole.length <= MAX_EVENT_CHARS) return [withRaw(whole, event.raw, keepRaw)];
  }
  // Control characters grow six times as JSON; a quarter of the limit always fits. Base64 stays decodable piece by piece, as 4 divides the size.
  const size = text.length > MAX_TEXT_CHARS && !/[\0-\x1f\ud800-\udfff]/.test(text) ? MAX_TEXT_CHARS : MAX_TEXT_CHARS / 2;
  const pieces: string[] = [];
  for (let from = 0; from < text.length; ) {
    const piece = cut(text.slice(from, from + size + 1), size);
    from += piece.length;
    pieces.push(JSON.stringify({ at, type: "log", data: { stream, text: piece, ...(encoding && { encoding }), ...(from >= text.length && rest) } }));
  }
  return pieces;
}

function withRaw(text: string, raw: Json | undefined, keepRaw: boolean): string {
  if (!keepRaw || raw === undefined) return text;
  const own = JSON.stringify(raw);
  const kept = own.length > MAX_RAW_CHARS || own.length + text.length > MAX_EVENT_CHARS ? `{"truncated":${own.length}}` : own;
  return text.length + kept.length + 8 > MAX_EVENT_CHARS ? text : `${text.slice(0, -1)},"raw":${kept}}`;
}

function bound(event: Exclude<Unstamped, { type: "log" }>): Exclude<Unstamped, { type: "log" }> {
  switch (event.type) {
    case "message":
    case "thinking":
      return { type: event.type, data: { ...event.data, ...cutText(event.data.text, event.data.truncated) } };
    case "message.delta":
      return { type: event.type, data: { text: cutText(event.data.text, undefined).text } };
    case "tool.call": {
      const { value, truncated } = cutJson(event.data.input);
      const { summary } = event.data;
      return { type: event.type, data: { ...event.data, call_id: cut(event.data.call_id, 200), tool: cut(event.data.tool, 200), input: value, ...(summary !== undefined && { summary: cut(summary, 8_192) }), ...sum(event.data.truncated, truncated) } };
    }
    case "tool.result": {
      const { text, ...mark } = cutText(event.data.output, event.data.truncated);
      return { type: event.type, data: { ...event.data, call_id: cut(event.data.call_id, 200), output: text, ...mark } };
    }
    case "file.changed": {
      if (event.data.diff === undefined) return event;
      const { text, ...mark } = cutText(event.data.diff, event.data.truncated);
      return { type: event.type, data: { ...event.data, diff: text, ...mark } };
    }
    case "plan": {
      const items = event.data.items.slice(0, 200).map((item) => ({ ...item, text: cut(item.text, 4_096) }));
      // Two hundred items of full length would be no event any more.
      const longest = JSON.stringify(items).length > MAX_EVENT_CHARS / 2 ? 150 : 4_096;
      return { type: event.type, data: { items: items.map((item) => ({ ...item, text: cut(item.text, longest) })) } };
    }
    case "progress":
      return { type: event.type, data: { ...event.data, text: cut(event.data.text, 4_096) } };
    case "error": {
      const { message, hint } = event.data;
      return { type: event.type, data: { ...event.data, message: cut(message, 8_192), ...(hint !== undefined && { hint: cut(hint, 1_024) }) } };
    }
    case "run.status": {
      const { result, error, conversation } = event.data;
      return {
        type: event.type,
        data: {
          ...event.data,
          ...(typeof result === "string" && { result: cutText(result, undefined).text }),
          ...(error && { error: { ...error, message: cut(error.message, 4_096), ...(error.hint !== undefined && { hint: cut(error.hint, 1_024) }) } }),
          // Half a conversation's id resumes nothing.
          ...(conversation && conversation.length > 500 && { conversation: null }),
        },
      };
    }
    default:
      return event;
  }
}

function cutText(text: string, before: number | undefined): { text: string; truncated?: number } {
  let kept = cut(text, MAX_TEXT_CHARS);
  // Characters that grow in JSON: halve until the event fits.
  while (kept.length > 1_024 && JSON.stringify(kept).length > MAX_EVENT_CHARS - ENVELOPE_CHARS) kept = cut(kept, kept.length >> 1);
  return { text: kept, ...sum(before, text.length - kept.length) };
}

function sum(before: number | undefined, now: number): { truncated?: number } {
  const truncated = (before ?? 0) + now;
  return truncated > 0 ? { truncated } : {};
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
