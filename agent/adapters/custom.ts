/** Owns the adapter for any program: the task as a line of JSON on its stdin, its stdout read as records or plain output. */

import type { RunError } from "../../sdk/protocol/task.ts";
import { json, type Json } from "../../sdk/protocol/values.ts";
import type { Adapter, AdapterContext, AdapterOutcome, AgentProcess, Emitted } from "./adapter.ts";
import { CUSTOM_TYPES, customRecord, type CustomRecord } from "./custom-records.ts";
import { gatewayEnvironment } from "./gateway-environment.ts";
import { jsonObject, lineBatches, type Line } from "./lines.ts";
import { clip, logLine, supervise } from "./supervision.ts";

/** What an interrupted agent may take to leave by itself before SIGINT, in milliseconds. */
const SIGINT_AFTER_MS = 500;
/** A record is at most so long; plain output is handed on in pieces of this size. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;

export const custom: Adapter = {
  name: "custom",
  keyVariables: ["MODEL_API_KEY"],
  continues: (launch) => launch.continues ?? false,
  stateFiles: (launch) => launch.state_files ?? [],
  run: (context) => new CustomTask(context, { env: gatewayEnvironment(context.gateway, context.env) }).run(),
};

/** Where an agent that speaks these records differs from others. */
export interface CustomOptions {
  /** What goes into its environment. */
  env: Readonly<Record<string, string>>;
  /** Its last `error` record says why it failed. */
  failsInWords?: boolean;
}

/** One task of an agent that speaks these records. */
export class CustomTask {
  readonly #context: AdapterContext;
  readonly #process: AgentProcess;
  readonly #asks = new Map<string, AbortController>();
  /** Calls that the agent or we have told about. */
  readonly #told = new Set<string>();
  #result: string | null = null;
  #said: string | null = null;
  #conversation: string | null;
  #sigint: NodeJS.Timeout | undefined;
  readonly #failsInWords: boolean;
  #failure: { message: string; hint?: string | undefined } | null = null;

  constructor(context: AdapterContext, { env, failsInWords = false }: CustomOptions) {
    this.#failsInWords = failsInWords;
    this.#context = context;
    this.#conversation = context.task.conversation;
    this.#process = context.start(context.launch.args, env);
  }

  async run(): Promise<AdapterOutcome> {
    const { interrupt, task, workspace, model } = this.#context;
    const stderr = supervise(this.#context, this.#process);
    const stop = () => this.#interrupt();
    interrupt.addEventListener("abort", stop, { once: true });
    try {
      this.#send({ type: "task", task_id: task.task_id, run_id: task.run_id, attempt: task.attempt, prompt: task.prompt, conversation: task.conversation, notice: task.notice, interrupted: task.interrupted, attachments: task.attachments.map(({ path, name, media_type, size }) => ({ path, name, media_type, size })), workspace, model });
      if (interrupt.aborted) stop();
      for await (const batch of lineBatches(this.#process.stdout, MAX_LINE_BYTES)) {
        for (const line of batch) await this.#line(line);
      }
      // An agent that has closed its stdout has nothing more to say, but may still have to end.
      const exit = await this.#process.exited;
      await stderr.done;
      return this.#outcome(exit, stderr.tail());
    } finally {
      interrupt.removeEventListener("abort", stop);
      clearTimeout(this.#sigint);
      for (const ask of this.#asks.values()) ask.abort();
    }
  }

  async #line(line: Line): Promise<void> {
    const value = jsonObject(line);
    if (value === undefined || !CUSTOM_TYPES.has(value["type"])) {
      if (line.text !== "") await logLine(this.#context, "stdout", line);
      return;
    }
    const parsed = customRecord.safeParse(value);
    if (parsed.success) return this.#record(parsed.data, json.safeParse(value).data ?? null);
    const [issue] = parsed.error.issues;
    const why = `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`;
    await logLine(this.#context, "stdout", line);
    await this.#context.emit({ type: "error", data: { message: clip(`the agent's ${String(value["type"])} record is not valid: ${why}`, 1_000), hint: "see agent/adapters/CUSTOM.md" } });
    // It waits for an answer all the same.
    if (value["type"] === "permission_request" && typeof value["id"] === "string") this.#answer(value["id"], "denied", `the request is not valid: ${why}`);
  }

  async #record(record: CustomRecord, raw: Json): Promise<void> {
    switch (record.type) {
      case "permission_request":
        return this.#asked(record, raw);
      case "result":
        this.#result = record.text;
        if (record.conversation !== null) {
          this.#conversation = record.conversation;
          this.#context.setConversation(record.conversation);
        }
        // It may be waiting for more to come.
        this.#process.stdin.end();
        return;
      case "message":
        this.#said = record.text;
        break;
      case "tool.call":
        if (this.#told.has(record.call_id)) return;
        this.#told.add(record.call_id);
        break;
      case "error":
        this.#failure = record;
        break;
      default:
        break;
    }
    const { type, ...data } = record;
    await this.#context.emit({ type, data, raw } as Emitted);
  }

  async #asked({ id, tool, input, call_id = id }: Extract<CustomRecord, { type: "permission_request" }>, raw: Json): Promise<void> {
    if (!this.#told.has(call_id)) {
      this.#told.add(call_id);
      await this.#context.emit({ type: "tool.call", data: { call_id, tool, input }, raw });
    }
    const ask = new AbortController();
    this.#asks.get(id)?.abort();
    this.#asks.set(id, ask);
    // Not awaited: the agent may go on talking, and ask more, while a person thinks.
    void this.#context.gate({ tool, input, call_id, signal: ask.signal }).then((answer) => {
      if (this.#asks.get(id) !== ask) return;
      this.#asks.delete(id);
      if (answer.allow) this.#answer(id, "approved", null);
      else this.#answer(id, "denied", answer.reason);
    });
  }

  #answer(id: string, decision: "approved" | "denied", reason: string | null): void {
    this.#send({ type: "permission_response", id, decision, reason });
  }

  #interrupt(): void {
    this.#send({ type: "interrupt" });
    this.#sigint = setTimeout(() => this.#process.kill("SIGINT"), SIGINT_AFTER_MS);
  }

  #send(record: Json): void {
    const { stdin } = this.#process;
    if (stdin.writable) stdin.write(`${JSON.stringify(record)}\n`);
  }

  #outcome({ code, signal }: { code: number | null; signal: string | null }, tail: string): AdapterOutcome {
    const outcome = { result: this.#result ?? this.#said, exit_code: code, conversation: this.#conversation };
    if (code === 0) return { status: "completed", ...outcome };
    const hint = tail === "" ? {} : { hint: clip(`its last words: ${tail}`, 1_000) };
    const { name } = this.#context.launch;
    if (this.#failsInWords && this.#failure !== null && signal === null) {
      const { message, hint: more } = this.#failure;
      return { status: "failed", ...outcome, error: { code: "agent_failed", message: clip(message, 4_000), ...(more !== undefined && { hint: clip(more, 1_000) }) } };
    }
    const error: RunError =
      signal === null ? { code: "agent_failed", message: `${name} ended with exit code ${code ?? "?"}`, ...hint } : { code: "agent_crashed", message: `${name} was ended by ${signal}`, ...hint };
    return { status: "failed", ...outcome, error };
  }
}
