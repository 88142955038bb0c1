/** Owns the translation of ACP session updates into events. */

import type { SessionUpdate, ToolCallContent, ToolCallUpdate } from "@agentclientprotocol/sdk";
import { json, type Json } from "../../sdk/protocol/index.ts";
import type { Emitted } from "./adapter.ts";
import { unwrapShell } from "./shell-words.ts";
import { diffTexts, workspacePath } from "./unified-diff.ts";

/** A text that streams longer than this is told in parts. */
const MAX_HELD_CHARS = 60_000;

/** A call as its updates have described it so far. */
export interface AcpCall extends ToolCallUpdate {
  told: boolean;
  started: number;
}

export class AcpEvents {
  readonly #workspace: string;
  readonly #now: () => number;
  readonly #calls = new Map<string, AcpCall>();
  #last: AcpCall | null = null;
  #held: { type: "message" | "thinking"; text: string } | null = null;
  /** What the agent said last. */
  lastWords: string | null = null;
  /** What the session has cost so far, where the agent tells. */
  cost: number | null = null;

  constructor(options: { workspace: string; now: () => number }) {
    this.#workspace = options.workspace;
    this.#now = options.now;
  }

  /** The events that an update means. */
  of(update: SessionUpdate): Emitted[] {
    const raw = json.safeParse(update).data ?? null;
    if (update.sessionUpdate === "agent_message_chunk" || update.sessionUpdate === "agent_thought_chunk") {
      const text = update.content.type === "text" ? update.content.text : `[${update.content.type}]`;
      return this.#chunk(update.sessionUpdate === "agent_message_chunk" ? "message" : "thinking", text, raw);
    }
    const told = this.#translate(update);
    if (told.length === 0) return [];
    const [first, ...rest] = told as [Emitted, ...Emitted[]];
    return [...this.flush(), { ...first, raw }, ...rest];
  }

  /** Tells the text that was held back until it was whole. */
  flush(): Emitted[] {
    const held = this.#held;
    this.#held = null;
    if (!held || held.text === "") return [];
    if (held.type === "message") this.lastWords = held.text;
    return [{ type: held.type, data: { text: held.text } }];
  }

  /** Takes in what a question or an update says of a call, and tells of the call the first time. */
  call(update: ToolCallUpdate): { call: AcpCall; events: Emitted[] } {
    const call = this.#merge(update);
    const raw = json.safeParse(update).data ?? null;
    const told = this.#tell(call).map((event) => ({ ...event, raw }));
    return { call, events: told.length === 0 ? [] : [...this.flush(), ...told] };
  }

  /** A call's clock starts when it is let through. */
  letThrough(callId: string): void {
    const call = this.#calls.get(callId);
    if (call) call.started = this.#now();
  }

  /** A call that has just ended, for a last look at it. */
  seen(callId: string): AcpCall | undefined {
    return this.#last?.toolCallId === callId ? this.#last : undefined;
  }

  #chunk(type: "message" | "thinking", text: string, raw: Json): Emitted[] {
    const before = this.#held && (this.#held.type !== type || this.#held.text.length + text.length > MAX_HELD_CHARS) ? this.flush() : [];
    this.#held ??= { type, text: "" };
    this.#held.text += text;
    return type === "message" && text !== "" ? [...before, { type: "message.delta", data: { text }, raw }] : before;
  }

  #translate(update: SessionUpdate): Emitted[] {
    switch (update.sessionUpdate) {
      case "tool_call":
      case "tool_call_update": {
        const call = this.#merge(update);
        const ended = call.status === "completed" || call.status === "failed";
        // An agent announces a call before its input is known; it is told of when it is.
        const known = ended || call.status === "in_progress" || (isRecord(call.rawInput) && Object.keys(call.rawInput).length > 0);
        return [...(known ? this.#tell(call) : []), ...(ended ? this.#ended(call) : [])];
      }
      case "plan":
        return [{ type: "plan", data: { items: update.entries.slice(0, 200).map(({ content, status }) => ({ text: content.slice(0, 4_096), status })) } }];
      case "usage_update":
        if (update.cost?.currency === "USD") this.cost = update.cost.amount;
        return [];
      default:
        return [];
    }
  }

  #merge({ toolCallId, ...update }: ToolCallUpdate): AcpCall {
    const call = this.#calls.get(toolCallId) ?? { toolCallId, told: false, started: this.#now() };
    Object.assign(call, Object.fromEntries(Object.entries(update).filter(([, value]) => value !== undefined && value !== null)));
    this.#calls.set(toolCallId, call);
    return call;
  }

  #tell(call: AcpCall): Emitted[] {
    if (call.told) return [];
    call.told = true;
    return [{ type: "tool.call", data: { call_id: call.toolCallId.slice(0, 200), ...describe(call, this.#workspace) } }];
  }

  #ended(call: AcpCall): Emitted[] {
    this.#calls.delete(call.toolCallId);
    this.#last = call;
    const failed = call.status === "failed";
    const contents = call.content ?? [];
    const text = contents.flatMap(textOf).join("\n") || (call.rawOutput === undefined ? "" : typeof call.rawOutput === "string" ? call.rawOutput : JSON.stringify(call.rawOutput));
    const result: Emitted = { type: "tool.result", data: { call_id: call.toolCallId.slice(0, 200), output: text, is_error: failed, duration_ms: Math.max(0, Math.round(this.#now() - call.started)) } };
    return failed ? [result] : [result, ...contents.flatMap((content) => (content.type === "diff" ? [fileChanged(this.#workspace, content.path, content.oldText ?? null, content.newText)] : []))];
  }
}

export function fileChanged(workspace: string, path: string, before: string | null, after: string): Emitted {
  const name = workspacePath(workspace, path);
  return { type: "file.changed", data: { path: name, change: before === null ? "created" : "modified", diff: diffTexts(name, before, after) } };
}

/** The files that a call names, as the log names them. */
export function pathsOf(call: ToolCallUpdate, workspace: string): string[] {
  const named = [...(call.locations ?? []).map(({ path }) => path), ...(call.content ?? []).flatMap((content) => (content.type === "diff" ? [content.path] : []))];
  return [...new Set(named.map((path) => workspacePath(workspace, path)))];
}

/**
 * A call as the gate and the log name it: `tool` is the protocol's kind of it (execute, edit, read, fetch …); the input
 * holds what the agent gives, with `command` and `paths` where they can be told.
 */
export function describe(call: ToolCallUpdate, workspace: string): { tool: string; input: Json } {
  const given = json.safeParse(call.rawInput).data;
  const input: Record<string, Json> = isRecord(given) ? { ...given } : given === undefined ? {} : { value: given };
  const paths = pathsOf(call, workspace);
  if (paths.length > 0) input["paths"] = paths;
  if (call.title) input["title"] = call.title;
  if (call.kind === "execute") input["command"] = commandOf(input["command"] ?? input["cmd"]) ?? call.title ?? "";
  return { tool: (call.kind ?? call.name ?? "other").slice(0, 200), input };
}

function commandOf(given: Json | undefined): string | undefined {
  if (typeof given === "string") return unwrapShell(given);
  if (!Array.isArray(given) || !given.every((word): word is string => typeof word === "string")) return undefined;
  const [shell, flag, text, ...rest] = given;
  if (shell !== undefined && /(^|\/)(ba|z|da)?sh$/.test(shell) && /^-l?c$/.test(flag ?? "") && text !== undefined && rest.length === 0) return text;
  return given.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}

function textOf(content: ToolCallContent): string[] {
  if (content.type !== "content") return [];
  return [content.content.type === "text" ? content.content.text : `[${content.content.type}]`];
}

function isRecord(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
