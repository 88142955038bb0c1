/** Owns the translation of Claude's records into events: each record in, the events that it means out. */

import type { Json } from "../../sdk/protocol/index.ts";
import type { Emitted } from "./adapter.ts";
import { fileResult, todos, type Block, type ClaudeRecord, type RecordOf } from "./claude-records.ts";
import { ClaudeUsage } from "./claude-usage.ts";
import { diffTexts, unified, workspacePath } from "./unified-diff.ts";

interface Call {
  tool: string;
  input: Json;
  /** When it was let through, in milliseconds. */
  started: number;
}

/** Told all the time, and meaning nothing to anyone who watches. */
const SILENT = new Set(["init", "status", "thinking_tokens", "ui_invalidate", "background_tasks_changed", "task_progress", "task_updated"]);
const FILE_TOOLS = new Set(["Edit", "Write", "MultiEdit", "NotebookEdit"]);

export class ClaudeEvents {
  readonly #workspace: string;
  readonly #now: () => number;
  readonly #usage: ClaudeUsage;
  readonly #calls = new Map<string, Call>();
  readonly #told = new Set<string>();

  constructor(options: { workspace: string; resumed: boolean; now: () => number }) {
    this.#workspace = options.workspace;
    this.#now = options.now;
    this.#usage = new ClaudeUsage(options.resumed);
  }

  /** A call's clock starts when it is let through, not when the model wrote it: a person may take an hour. */
  letThrough(callId: string): void {
    const call = this.#calls.get(callId);
    if (call) call.started = this.#now();
  }

  /** The events that a record means; `raw` goes to the first of them. */
  of(record: ClaudeRecord, raw: Json): Emitted[] {
    const [first, ...rest] = this.#translate(record);
    return first === undefined ? [] : [{ ...first, raw }, ...rest];
  }

  #translate(record: ClaudeRecord): Emitted[] {
    switch (record.type) {
      case "stream_event":
        return this.#stream(record);
      case "assistant":
        return record.message.content.flatMap((block) => this.#said(block, record));
      case "user":
        return record.message.content.flatMap((block) => (block.type === "tool_result" ? this.#result(block, record.tool_use_result) : []));
      case "system":
        return system(record);
      case "result":
        return this.#usage.resultEnds(record).map((data) => ({ type: "usage", data }));
      default:
        return [];
    }
  }

  #stream({ event, parent_tool_use_id }: RecordOf<"stream_event">): Emitted[] {
    if (event.type === "message_start" && event.message) this.#usage.replyBegins(event.message.model);
    if (event.type === "message_delta" && event.usage) return [{ type: "usage", data: this.#usage.replyEnds(event.usage) }];
    const mine = (parent_tool_use_id ?? null) === null;
    if (mine && event.type === "content_block_delta" && event.delta?.type === "text_delta" && event.delta.text) return [{ type: "message.delta", data: { text: event.delta.text } }];
    return [];
  }

  #said(block: Block, record: RecordOf<"assistant">): Emitted[] {
    if (block.type === "text") {
      if (record.error !== undefined) return [{ type: "error", data: { message: block.text.slice(0, 8_192), hint: record.error } }];
      return [{ type: "message", data: { text: block.text } }];
    }
    if (block.type === "thinking") return block.thinking === "" ? [] : [{ type: "thinking", data: { text: block.thinking } }];
    if (block.type !== "tool_use" || this.#told.has(block.id)) return [];
    this.#told.add(block.id);
    this.#calls.set(block.id, { tool: block.name, input: block.input, started: this.#now() });
    const call: Emitted = { type: "tool.call", data: { call_id: block.id, tool: block.name, input: block.input } };
    return block.name === "TodoWrite" ? [call, ...plan(block.input)] : [call];
  }

  #result(block: Extract<Block, { type: "tool_result" }>, result: unknown): Emitted[] {
    const call = this.#calls.get(block.tool_use_id);
    this.#calls.delete(block.tool_use_id);
    const is_error = block.is_error ?? false;
    const output = typeof block.content === "string" ? block.content : (block.content ?? []).map((part) => part.text ?? `[${part.type}]`).join("\n");
    const data = { call_id: block.tool_use_id, output, is_error, ...(call && { duration_ms: Math.max(0, Math.round(this.#now() - call.started)) }) };
    const told: Emitted = { type: "tool.result", data };
    return call && !is_error && FILE_TOOLS.has(call.tool) ? [told, ...this.#changed(call, result)] : [told];
  }

  #changed(call: Call, result: unknown): Emitted[] {
    const done = fileResult.safeParse(result).data;
    const input = call.input as { file_path?: unknown; notebook_path?: unknown } | null;
    const named = done?.filePath ?? (typeof input?.file_path === "string" ? input.file_path : input?.notebook_path);
    if (typeof named !== "string") return [];
    const path = workspacePath(this.#workspace, named);
    const created = done?.type === "create";
    const patch = done?.structuredPatch ?? [];
    const diff = patch.length > 0 ? unified(path, patch) : created && done?.content !== undefined ? diffTexts(path, null, done.content) : undefined;
    return [{ type: "file.changed", data: { path, change: created ? "created" : "modified", ...(diff !== undefined && { diff }) } }];
  }
}

function plan(input: Json): Emitted[] {
  const list = todos.safeParse(input).data?.todos;
  return list ? [{ type: "plan", data: { items: list.slice(0, 200).map(({ content, status }) => ({ text: content.slice(0, 4_096), status })) } }] : [];
}

function system(record: RecordOf<"system">): Emitted[] {
  if (record.subtype === "api_retry") {
    const what = [record.error_status ?? "no answer", record.error].filter(Boolean).join(" ");
    const again = record.retry_delay_ms === undefined ? "soon" : `in ${(record.retry_delay_ms / 1_000).toFixed(1)} s`;
    return [{ type: "error", data: { message: `The model's service failed (${what}); trying again ${again} (${record.attempt ?? "?"} of ${record.max_retries ?? "?"})`, fatal: false } }];
  }
  return SILENT.has(record.subtype) ? [] : [{ type: "log", data: { stream: "system", text: `claude: ${record.subtype}` } }];
}
