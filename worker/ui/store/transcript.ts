/** Owns what a person reads of a session: its events, folded into the things that happened. Pure: no page, no clock, no network. */

import type { Attachment, Event, EventData, EventType } from "../../../sdk/index.ts";

interface Base {
  /** The event that began it: unique, and in order. */
  seq: number;
  at: string;
  task_id: string | null;
  /** Grows whenever the item changes, so that a view draws it again only then. */
  version: number;
}
export type ToolState = "running" | "done" | "failed";
export type Item = Base &
  (
    | { kind: "task"; task: string; session: string; preview: string; images: readonly Attachment[]; status: string; reason: string | null; error: { code: string; message: string; hint?: string | undefined } | null }
    | { kind: "message"; text: string; open: boolean; truncated?: number | undefined }
    | { kind: "thinking"; text: string; truncated?: number | undefined }
    | { kind: "tool"; call_id: string; tool: string; input: unknown; summary: string | null; output: string | null; state: ToolState; duration_ms: number | null; permission: string | null; truncated?: number | undefined }
    | { kind: "file"; path: string; change: string; diff: string | null }
    | { kind: "terminal"; text: string; stream: string }
    | { kind: "permission"; permission_id: string; request: EventData<"permission.requested">; status: string; by: string | null; reason: string | null; scope: string | null }
    | { kind: "error"; message: string; hint: string | null }
    | { kind: "note"; type: EventType | "gap"; text: string; detail: string | null; tone: "plain" | "good" | "warn" | "bad" }
  );
export type ItemOf<K extends Item["kind"]> = Extract<Item, { kind: K }>;

/** The session as its log tells it now, beside the items. */
export interface Now {
  plan: EventData<"plan">["items"] | null;
  progress: EventData<"progress"> | null;
  /** What the agent does at this moment; null where it does nothing. */
  doing: { what: "thinking" | "writing" | "tool" | "starting"; tool: string | null; since: string } | null;
  lastAt: string | null;
}

/** Longest terminal item; a longer output goes on in the next one, so that no single one grows without end. */
const MAX_TERMINAL_CHARS = 64 * 1024;

/** A part of a log, folded. `append` takes later events, `prepend` an earlier part; every number may come again and counts once. */
export class Transcript {
  readonly items: Item[] = [];
  readonly now: Now = { plan: null, progress: null, doing: null, lastAt: null };
  /** First and last number that were taken in; 0 before any. */
  first = 0;
  last = 0;
  /** Grows with every change, so that a view knows when to look again. */
  revision = 0;
  #message: ItemOf<"message"> | null = null;
  readonly #tools = new Map<string, ItemOf<"tool">>();
  readonly #permissions = new Map<string, ItemOf<"permission">>();
  readonly #tasks = new Map<string, ItemOf<"task">>();
  /** Ends whose beginnings lie before this part. */
  readonly #orphans = { results: new Map<string, EventData<"tool.result">>(), answers: new Map<string, EventData<"permission.answered">>(), tasks: new Map<string, EventData<"task.status">>() };

  append(events: readonly Event[]): void {
    for (const event of events) {
      if (event.seq <= this.last) continue;
      if (this.last > 0 && event.seq > this.last + 1 && this.#whole) this.#push({ kind: "note", type: "gap", text: `Events ${this.last + 1} to ${event.seq - 1} are missing here`, detail: null, tone: "bad", ...this.#base(event), seq: event.seq - 0.5 });
      if (this.first === 0) this.first = event.seq;
      this.last = event.seq;
      this.now.lastAt = event.at;
      this.#take(event);
    }
    this.revision++;
  }
  /** Whether every number is expected to come: not where the log is read through a filter. */
  readonly #whole: boolean;
  readonly #terminalChars: number;
  constructor({ whole = true, terminalChars = MAX_TERMINAL_CHARS }: { whole?: boolean; terminalChars?: number } = {}) {
    this.#whole = whole;
    this.#terminalChars = terminalChars;
  }

  /** Puts an earlier part in front, and ties together what the cut had parted. Answers how many items came in front. */
  prepend(earlier: Transcript): number {
    if (earlier.last === 0 || (this.first > 0 && earlier.last >= this.first)) return 0;
    for (const [id, tool] of earlier.#tools) {
      const result = this.#orphans.results.get(id);
      if (result) finishTool(tool, result);
      this.#orphans.results.delete(id);
      if (!this.#tools.has(id)) this.#tools.set(id, tool);
    }
    for (const [id, permission] of earlier.#permissions) {
      const answer = this.#orphans.answers.get(id);
      if (answer) finishPermission(permission, answer);
      this.#orphans.answers.delete(id);
      if (!this.#permissions.has(id)) this.#permissions.set(id, permission);
    }
    for (const [id, task] of earlier.#tasks) {
      const status = this.#orphans.tasks.get(id);
      if (status) finishTask(task, status);
      this.#orphans.tasks.delete(id);
      if (!this.#tasks.has(id)) this.#tasks.set(id, task);
    }
    for (const [id, result] of earlier.#orphans.results) this.#orphans.results.set(id, result);
    for (const [id, answer] of earlier.#orphans.answers) this.#orphans.answers.set(id, answer);
    for (const [id, status] of earlier.#orphans.tasks) if (!this.#orphans.tasks.has(id)) this.#orphans.tasks.set(id, status);
    earlier.#close();
    this.items.unshift(...earlier.items);
    this.first = earlier.first;
    this.now.plan ??= earlier.now.plan;
    this.revision++;
    return earlier.items.length;
  }

  #base(event: Event): Base {
    return { seq: event.seq, at: event.at, task_id: event.task_id, version: 0 };
  }
  #push(item: Item): void {
    if (item.kind !== "message") this.#close();
    this.items.push(item);
  }
  #close(): void {
    if (this.#message) change(this.#message, { open: false });
    this.#message = null;
  }
  #note(event: Event, text: string, tone: ItemOf<"note">["tone"] = "plain", detail: string | null = null): void {
    this.#push({ kind: "note", type: event.type, text, detail, tone, ...this.#base(event) });
  }
  #doing(what: NonNullable<Now["doing"]>["what"], event: Event, tool: string | null = null): void {
    if (this.now.doing?.what !== what || this.now.doing.tool !== tool) this.now.doing = { what, tool, since: event.at };
  }

  #take(event: Event): void {
    const base = this.#base(event);
    switch (event.type) {
      case "task.created": {
        const item: ItemOf<"task"> = { kind: "task", task: event.data.task_id, session: event.session_id, preview: event.data.prompt_preview, images: event.data.attachments ?? [], status: "pending", reason: null, error: null, ...base };
        this.#tasks.set(item.task, item);
        return this.#push(item);
      }
      case "task.status": {
        const id = event.task_id ?? "";
        const task = this.#tasks.get(id);
        if (task) finishTask(task, event.data);
        else this.#orphans.tasks.set(id, event.data);
        if (event.data.status !== "running") this.now.doing = null;
        this.now.progress = null;
        if (event.data.status === "running") return;
        const { error, status } = event.data;
        if (status === "failed" || status === "timeout") return this.#note(event, `Task ${status === "timeout" ? "ran out of time" : "failed"}${error ? `: ${error.message}` : ""}`, "bad", error?.hint ?? null);
        if (status === "canceled") return this.#note(event, `Task canceled${event.data.reason ? `: ${event.data.reason}` : ""}`, "warn");
        return this.#close();
      }
      case "run.status":
        if (event.data.status === "running" || event.data.status === "assigned") this.#doing("starting", event);
        else if (event.data.status === "lost") this.#note(event, "The run was lost", "warn", event.data.error?.message ?? null);
        return;
      case "message.delta":
        this.#doing("writing", event);
        if (this.#message) change(this.#message, { text: this.#message.text + event.data.text });
        else {
          this.#message = { kind: "message", text: event.data.text, open: true, ...base };
          this.items.push(this.#message);
        }
        return;
      case "message":
        this.#doing("thinking", event);
        // The whole text stands for its parts.
        if (this.#message) change(this.#message, { text: event.data.text, truncated: event.data.truncated });
        else this.items.push({ kind: "message", text: event.data.text, truncated: event.data.truncated, open: false, ...base });
        return this.#close();
      case "thinking":
        this.#doing("thinking", event);
        return this.#push({ kind: "thinking", text: event.data.text, truncated: event.data.truncated, ...base });
      case "tool.call": {
        this.#doing("tool", event, event.data.tool);
        const { call_id, tool, input, summary, truncated } = event.data;
        const item: ItemOf<"tool"> = { kind: "tool", call_id, tool, input, summary: summary ?? null, output: null, state: "running", duration_ms: null, permission: null, truncated, ...base };
        this.#tools.set(call_id, item);
        return this.#push(item);
      }
      case "tool.result": {
        this.#doing("thinking", event);
        const tool = this.#tools.get(event.data.call_id);
        if (tool) finishTool(tool, event.data, event.at);
        else this.#orphans.results.set(event.data.call_id, event.data);
        return;
      }
      case "file.changed":
        return this.#push({ kind: "file", path: event.data.path, change: event.data.change, diff: event.data.diff ?? null, ...base });
      case "log":
        return this.#log(event, base);
      case "plan":
        this.now.plan = event.data.items;
        return;
      case "progress":
        this.now.progress = event.data;
        return;
      case "permission.requested": {
        const item: ItemOf<"permission"> = { kind: "permission", permission_id: event.data.permission_id, request: event.data, status: "pending", by: null, reason: null, scope: null, ...base };
        this.#permissions.set(item.permission_id, item);
        return this.#push(item);
      }
      case "permission.answered":
      case "permission.withdrawn": {
        const permission = this.#permissions.get(event.data.permission_id);
        const answer = event.type === "permission.answered" ? event.data : { permission_id: event.data.permission_id, status: "canceled" as const, by: null, reason: null, scope: "once" as const };
        if (permission) finishPermission(permission, answer);
        else this.#orphans.answers.set(event.data.permission_id, answer);
        return;
      }
      case "error":
        return this.#push({ kind: "error", message: event.data.message, hint: event.data.hint ?? null, ...base });
      case "session.status":
        if (event.data.status !== "active") this.now.doing = null;
        return this.#note(event, `Session ${event.data.status}${event.data.reason ? `: ${event.data.reason}` : ""}`, event.data.status === "terminated" ? "warn" : "plain");
      case "runner.attached":
        return this.#note(event, `Runner attached${event.data.sandbox ? ` in ${event.data.sandbox}` : ""}`, "plain", event.data.isolation);
      case "runner.lost":
        return this.#note(event, `Runner lost: ${event.data.reason}`, "warn");
      case "schedule.run": {
        const { status, by, reason } = event.data;
        const words = { started: by ? `Run by ${by}` : "Run by its schedule", caught_up: "Run to catch up", skipped: "Run skipped", stopped: "Schedule stopped" }[status];
        return this.#note(event, `${words}${reason ? `: ${reason}` : ""}`, status === "stopped" ? "bad" : status === "skipped" ? "warn" : "plain");
      }
      case "session.receipt":
        return this.#note(event, "Resumed", "good", event.data.text);
      case "workspace.sync_failed":
      case "workspace.restore_failed":
        return this.#note(event, `${event.type === "workspace.sync_failed" ? "The workspace was not saved" : "The workspace was not restored"}: ${event.data.error.message}`, "bad", event.data.error.hint ?? null);
      default:
    }
  }

  #log(event: Event & { type: "log" }, base: Base): void {
    const { stream, text, encoding } = event.data;
    const shown = encoding === "base64" ? `[${Math.floor((text.length * 3) / 4)} bytes that are no text]` : text;
    const before = this.items.at(-1);
    if (before?.kind === "terminal" && before.stream === stream && before.text.length + shown.length < this.#terminalChars) change(before, { text: before.text + shown });
    else this.#push({ kind: "terminal", stream, text: shown, ...base });
  }
}

function change<T extends Item>(item: T, to: Partial<T>): void {
  Object.assign(item, to);
  item.version++;
}
function finishTool(tool: ItemOf<"tool">, result: EventData<"tool.result">, at?: string): void {
  change(tool, { output: result.output, state: result.is_error ? "failed" : "done", duration_ms: result.duration_ms ?? (at === undefined ? null : Date.parse(at) - Date.parse(tool.at)) });
}
function finishPermission(permission: ItemOf<"permission">, { status, by, reason, scope }: EventData<"permission.answered">): void {
  change(permission, { status, by, reason, scope });
}
function finishTask(task: ItemOf<"task">, { status, reason, error }: EventData<"task.status">): void {
  change(task, { status, reason, error });
}
