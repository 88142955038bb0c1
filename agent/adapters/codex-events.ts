/** Owns the translation of Codex's notifications into events. */

import type { Json } from "../../sdk/protocol/index.ts";
import type { Emitted } from "./adapter.ts";
import { delta, errorNotice, itemNotice, plan, tokenUsage, warning, type Item, type ItemOf, type Tokens, type TurnError } from "./codex-records.ts";
import { unwrapShell } from "./shell-words.ts";
import { diffTexts, workspacePath } from "./unified-diff.ts";

const NOTHING: Tokens = { inputTokens: 0, cachedInputTokens: 0, cacheWriteInputTokens: 0, outputTokens: 0, reasoningOutputTokens: 0 };

export class CodexEvents {
  readonly #workspace: string;
  readonly #started = new Map<string, number>();
  readonly #now: () => number;
  /** Why a call was denied, to tell with its result. */
  readonly #denials = new Map<string, string>();
  /** Totals of the thread that are told already; null while a resumed thread has not said where it stood. */
  #told: Tokens | null;
  #model: string | null = null;
  thread = "";
  turn = "";
  /** The last thing that the agent said. */
  lastWords: string | null = null;

  constructor(options: { workspace: string; resumed: boolean; now: () => number }) {
    this.#workspace = options.workspace;
    this.#told = options.resumed ? null : NOTHING;
    this.#now = options.now;
  }

  set model(model: string | undefined) {
    this.#model = model ?? null;
  }

  /** A call's clock starts when it is let through. */
  letThrough(itemId: string): void {
    this.#started.set(itemId, this.#now());
  }
  denied(itemId: string, reason: string): void {
    this.#denials.set(itemId, reason);
  }

  /** The events that a notification means; `raw` goes to the first of them. */
  of(method: string, params: unknown, raw: Json): Emitted[] {
    const [first, ...rest] = this.#translate(method, params);
    return first === undefined ? [] : [{ ...first, raw }, ...rest];
  }

  #translate(method: string, params: unknown): Emitted[] {
    switch (method) {
      case "item/agentMessage/delta": {
        const told = delta.safeParse(params).data;
        return told && told.threadId === this.thread && told.delta !== "" ? [{ type: "message.delta", data: { text: told.delta } }] : [];
      }
      case "item/started":
      case "item/completed": {
        const told = itemNotice.safeParse(params).data;
        if (!told || told.item.type === "other") return [];
        return method === "item/started" ? this.#begun(told.item) : this.#done(told.item, told.threadId === this.thread);
      }
      case "turn/plan/updated": {
        const steps = plan.safeParse(params).data?.plan.slice(0, 200) ?? [];
        const status = (word: string) => (word === "inProgress" ? "in_progress" : word === "completed" ? "completed" : "pending");
        return [{ type: "plan", data: { items: steps.map((step) => ({ text: step.step.slice(0, 4_096), status: status(step.status) })) } }];
      }
      case "thread/tokenUsage/updated":
        return this.#usage(params);
      case "error": {
        const told = errorNotice.safeParse(params).data;
        if (!told) return [];
        const again = told.willRetry ? "The model's service failed; trying again: " : "";
        return [{ type: "error", data: { message: `${again}${errorText(told.error)}`.slice(0, 8_192), fatal: !told.willRetry } }];
      }
      case "warning":
      case "configWarning":
      case "deprecationNotice": {
        const told = warning.safeParse(params).data;
        return [{ type: "log", data: { stream: "system", text: `codex: ${told?.message ?? told?.summary ?? method}` } }];
      }
      default:
        return [];
    }
  }

  #begun(item: Item): Emitted[] {
    if (item.type !== "commandExecution" && item.type !== "fileChange") return [];
    this.#started.set(item.id, this.#now());
    const call = callOf(item, this.#workspace);
    return [{ type: "tool.call", data: { call_id: item.id, ...call } }];
  }

  #done(item: Item, mine: boolean): Emitted[] {
    if (item.type === "agentMessage") {
      if (!mine || item.text === "") return [];
      this.lastWords = item.text;
      return [{ type: "message", data: { text: item.text } }];
    }
    if (item.type === "reasoning") {
      const text = (item.summary.length > 0 ? item.summary : item.content).join("\n\n");
      return text === "" ? [] : [{ type: "thinking", data: { text } }];
    }
    const started = this.#started.get(item.id);
    this.#started.delete(item.id);
    const why = this.#denials.get(item.id);
    this.#denials.delete(item.id);
    const ended = item.status === "completed";
    const output = why === undefined ? (item.type === "commandExecution" ? (item.aggregatedOutput ?? "") : item.status) : `Denied: ${why}`;
    const is_error = !ended || (item.type === "commandExecution" && (item.exitCode ?? 0) !== 0);
    const result: Emitted = { type: "tool.result", data: { call_id: item.id, output, is_error, ...(started !== undefined && { duration_ms: Math.max(0, Math.round(this.#now() - started)) }) } };
    return item.type === "fileChange" && ended ? [result, ...item.changes.map((change) => changed(change, this.#workspace))] : [result];
  }

  #usage(params: unknown): Emitted[] {
    const told = tokenUsage.safeParse(params).data;
    if (!told || told.threadId !== this.thread) return [];
    const { total, last } = told.tokenUsage;
    const before = this.#told ?? (told.turnId === this.turn ? minus(total, last) : total);
    this.#told = total;
    const spent = minus(total, before);
    if (spent.inputTokens === 0 && spent.outputTokens === 0) return [];
    const data = {
      input_tokens: Math.max(0, spent.inputTokens - spent.cachedInputTokens - spent.cacheWriteInputTokens),
      output_tokens: spent.outputTokens,
      cache_read_tokens: spent.cachedInputTokens,
      cache_write_tokens: spent.cacheWriteInputTokens,
      reasoning_tokens: spent.reasoningOutputTokens,
      cost_usd: null,
      model: this.#model,
    };
    return [{ type: "usage", data }];
  }
}

/** A command or patch as the gate and the log name it. */
export function callOf(item: ItemOf<"commandExecution"> | ItemOf<"fileChange">, workspace: string): { tool: string; input: Json } {
  if (item.type === "commandExecution") return { tool: "shell", input: { command: unwrapShell(item.command), ...(item.cwd ? { cwd: item.cwd } : {}) } };
  const paths = item.changes.map(({ path }) => workspacePath(workspace, path));
  return { tool: "apply_patch", input: { paths, changes: item.changes.map(({ kind, diff }, i) => ({ path: paths[i] ?? "", kind: kind.type, diff })) } };
}

/** Codex gives hunks for an update, and the bare text for a file that is new or gone. */
function changed({ path, kind, diff }: ItemOf<"fileChange">["changes"][number], workspace: string): Emitted {
  const name = workspacePath(workspace, path);
  if (kind.type === "add") return { type: "file.changed", data: { path: name, change: "created", diff: diffTexts(name, null, diff) } };
  if (kind.type === "delete") return { type: "file.changed", data: { path: name, change: "deleted", diff: diffTexts(name, diff, null) } };
  const hunks = diff.startsWith("---") ? diff : `--- a/${name}\n+++ b/${name}\n${diff}`;
  return { type: "file.changed", data: { path: name, change: "modified", diff: hunks } };
}

function minus(a: Tokens, b: Tokens): Tokens {
  const less = (field: keyof typeof NOTHING) => Math.max(0, (a[field] as number) - (b[field] as number));
  return {
    inputTokens: less("inputTokens"),
    cachedInputTokens: less("cachedInputTokens"),
    cacheWriteInputTokens: less("cacheWriteInputTokens"),
    outputTokens: less("outputTokens"),
    reasoningOutputTokens: less("reasoningOutputTokens"),
  };
}

/** What went wrong, in words: a service's own JSON is opened, details are added. */
export function errorText({ message, additionalDetails }: TurnError): string {
  let text = message;
  try {
    const body = JSON.parse(message) as { error?: { message?: unknown } } | null;
    if (typeof body?.error?.message === "string") text = body.error.message;
  } catch {
    // Plain words already.
  }
  return additionalDetails ? `${text} (${additionalDetails})` : text;
}
