/** Owns what a session is told of a turn: the runtime's events as records of the custom protocol, those of subagents under the call that started them. */

import type { AgentEvent, FinalEvent } from "../events.ts";

export type Fields = Readonly<Record<string, unknown>>;
/** A record without its `type` beside the fields. */
export type SessionRecord = { type: string } & Fields;

/** Ids of calls, and names of subagents, from the outermost in. */
export interface Place {
  calls: readonly string[];
  names: readonly string[];
}

const OUTSIDE: Place = { calls: [], names: [] };
const MAX_PROGRESS = 4_000;
const MAX_ID = 200;

/** The records of one event, in order. Pure. */
export function recordsOf(event: AgentEvent, place: Place = OUTSIDE): SessionRecord[] {
  const nested = place.calls.length > 0;
  switch (event.type) {
    case "token":
      return nested ? [] : [{ type: "message.delta", text: event.text }];
    case "message":
      return nested ? said(event.text, place) : [...(event.thinking === undefined ? [] : [{ type: "thinking", text: event.thinking }]), ...(event.text === "" ? [] : [{ type: "message", text: event.text }])];
    case "tool-call":
      return [{ type: "tool.call", call_id: idOf(event.callId, place), tool: event.tool.slice(0, MAX_ID) || "unnamed", input: event.input ?? {}, ...(nested && { summary: `${place.names.join(" › ")}: ${event.tool} ${JSON.stringify(event.input ?? {})}`.slice(0, 1_000) }) }];
    case "tool-result": {
      const call_id = idOf(event.callId, place);
      return [
        { type: "tool.result", call_id, output: event.output, is_error: event.isError, duration_ms: Math.max(0, Math.round(event.durationMs)) },
        ...(event.changes ?? []).map(({ path, change, diff }) => ({ type: "file.changed", path, change, ...(diff !== undefined && { diff }) })),
      ];
    }
    case "usage": {
      const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, reasoningTokens, costUsd } = event.usage;
      return [{ type: "usage", input_tokens: inputTokens, output_tokens: outputTokens, cache_read_tokens: cacheReadTokens, cache_write_tokens: cacheWriteTokens, reasoning_tokens: reasoningTokens, cost_usd: costUsd, model: event.model }];
    }
    case "retry":
      return [{ type: "progress", text: `${named(place)}the model call failed (${event.reason}); trying again in ${Math.ceil(event.afterMs / 1_000)} s`.slice(0, MAX_PROGRESS) }];
    case "warning":
      return [{ type: "error", message: `${named(place)}${event.message}`.slice(0, MAX_PROGRESS) }];
    case "subagent":
      return recordsOf(event.event, { calls: [...place.calls, event.callId], names: [...place.names, event.name] });
    case "error":
    case "done":
      return nested ? [] : failureOf(event);
    default:
      return [];
  }
}

/** The records of a turn's events, one after the other: what was thought is told as a whole, before the first word that followed from it. */
export function teller(): (event: AgentEvent) => SessionRecord[] {
  let thought = "";
  let told = false;
  return (event) => {
    if (event.type === "thinking") thought += event.text;
    else if (event.type === "token" && thought !== "") {
      const records = [{ type: "thinking", text: thought }, ...recordsOf(event)];
      thought = "";
      told = true;
      return records;
    } else if (event.type === "message" || event.type === "retry") {
      const records = recordsOf(event.type === "message" && told ? { type: "message", text: event.text } : event);
      thought = "";
      told = false;
      return records;
    }
    return recordsOf(event);
  };
}

/** What a turn that did not complete ends with; none where it did. */
function failureOf(end: FinalEvent): SessionRecord[] {
  if (end.type === "error") return end.code === "aborted" ? [] : [{ type: "error", message: end.message.slice(0, MAX_PROGRESS), ...(end.hint !== undefined && { hint: end.hint }) }];
  if (end.reason === "completed") return [];
  return [{ type: "error", message: `${STOPPED[end.reason]}: ${end.note ?? end.reason}`.slice(0, MAX_PROGRESS) }];
}

const STOPPED = { refused: "the model refused", length: "the answer is not whole", budget: "the turn's budget is used up", "stop-loss": "the turn was stopped", "doom-loop": "the turn was stopped" } as const;

/** The id of a call as the session knows it: below those that it was made for. */
export function idOf(callId: string, { calls }: Pick<Place, "calls">): string {
  return [...calls, callId].join("/").slice(-MAX_ID);
}

function said(text: string, place: Place): SessionRecord[] {
  return text.trim() === "" ? [] : [{ type: "progress", text: `${named(place)}${text.trim()}`.slice(0, MAX_PROGRESS) }];
}

function named({ names }: Place): string {
  return names.length === 0 ? "" : `${names.join(" › ")}: `;
}
