/** Owns the adapter for Codex: one app-server for each task, commands and patches through the gate. */

import * as z from "zod";
import { json, type Json, type RunError } from "../../sdk/protocol/index.ts";
import type { Adapter, AdapterContext, AdapterOutcome, AgentProcess } from "./adapter.ts";
import { prepareCodexHome } from "./codex-config.ts";
import { callOf, CodexEvents, errorText } from "./codex-events.ts";
import { approval, itemNotice, message, resolved, thread, turnCompleted, turnOf, type Approval, type Item, type ItemOf, type RequestId, type TurnError } from "./codex-records.ts";
import { gatewayEnvironment } from "./gateway-environment.ts";
import { jsonObject, lineBatches, type Line } from "./lines.ts";
import { unwrapShell } from "./shell-words.ts";
import { clip, crashed, leave, logLine, supervise, turnImages, turnTexts } from "./supervision.ts";

const MAX_FOREIGN_LINES = 1_000;
/** Kinds of work that Codex does without asking. They are switched off; one that shows up all the same ends the task. */
const UNASKED = new Set(["mcpToolCall", "dynamicToolCall", "collabAgentToolCall", "webSearch", "imageView", "imageGeneration"]);

export const codex: Adapter = {
  name: "codex",
  keyVariables: ["OPENAI_API_KEY"],
  continues: () => true,
  // The threads. The configuration is written afresh for each task, and a login stays where it is.
  stateFiles: () => [".codex/sessions"],
  async run(context) {
    const home = await prepareCodexHome(context);
    if (!home.hasKey) {
      return { status: "failed", result: null, exit_code: null, conversation: context.task.conversation, error: { code: "key_missing", message: "Codex has no model key and no login", hint: "Create the session with api_key or agent_config, or set OPENAI_BASE_URL in its environment" } };
    }
    return new CodexTask(context, home.path, home.instructions).run();
  },
};

/** The server refused one of our requests. */
class Refused extends Error {}
/** The server ended, or was ended, before it answered. */
class Gone extends Error {}

class CodexTask {
  readonly #context: AdapterContext;
  readonly #process: AgentProcess;
  readonly #events: CodexEvents;
  readonly #instructions: string | null;
  readonly #waiting = new Map<string, { resolve(result: unknown): void; reject(error: Error): void }>();
  readonly #asks = new Map<RequestId, AbortController>();
  readonly #items = new Map<string, ItemOf<"commandExecution"> | ItemOf<"fileChange">>();
  readonly #gated = new Set<string>();
  #requests = 0;
  #foreign = 0;
  #gone = false;
  #conversation: string | null;
  #fault: RunError | null = null;
  #ended: { status: string; error: TurnError | null } | null = null;

  constructor(context: AdapterContext, home: string, instructions: string | null) {
    this.#context = context;
    this.#instructions = instructions;
    this.#conversation = context.task.conversation;
    this.#events = new CodexEvents({ workspace: context.workspace, resumed: context.task.conversation !== null, now: () => performance.now() });
    this.#process = context.start([...context.launch.args, "app-server"], { CODEX_HOME: home, ...gatewayEnvironment(context.gateway, context.env) });
  }

  async run(): Promise<AdapterOutcome> {
    const { interrupt } = this.#context;
    const stderr = supervise(this.#context, this.#process);
    const stop = () => this.#interrupt();
    interrupt.addEventListener("abort", stop, { once: true });
    try {
      const reading = this.#read();
      const [refusal] = await Promise.all([this.#converse().catch((error: unknown) => this.#refused(error)), reading]);
      const exit = await leave(this.#process);
      await stderr.done;
      return this.#outcome(exit, stderr.tail(), refusal ?? null);
    } finally {
      interrupt.removeEventListener("abort", stop);
      for (const ask of this.#asks.values()) ask.abort();
    }
  }

  async #converse(): Promise<undefined> {
    const { task, model, workspace, interrupt } = this.#context;
    await this.#request("initialize", { clientInfo: { name: "marionette", title: "Marionette", version: "1" }, capabilities: { experimentalApi: true } });
    this.#send({ method: "initialized" });
    const settings = { cwd: workspace, approvalPolicy: "untrusted", sandbox: "danger-full-access", ...(model !== null && { model }), ...(this.#instructions !== null && { developerInstructions: this.#instructions }) };
    const opened = thread.parse(await (task.conversation === null ? this.#request("thread/start", settings) : this.#request("thread/resume", { threadId: task.conversation, excludeTurns: true, ...settings })));
    this.#events.thread = opened.thread.id;
    this.#events.model = opened.model;
    if (this.#conversation !== opened.thread.id) this.#context.setConversation(opened.thread.id);
    this.#conversation = opened.thread.id;
    if (interrupt.aborted) return void this.#process.stdin.end();
    const started = turnOf.parse(await this.#request("turn/start", { threadId: opened.thread.id, input: [...turnImages(task).map(({ path }) => ({ type: "localImage", path })), ...turnTexts(task).map((text) => ({ type: "text", text, text_elements: [] }))] }));
    this.#events.turn = started.turn.id;
    if (interrupt.aborted) this.#interrupt();
    return undefined;
  }

  #refused(error: unknown): RunError | undefined {
    this.#process.stdin.end();
    if (error instanceof Gone) return undefined;
    if (error instanceof z.ZodError) return { code: "agent_protocol", message: `Codex answered what cannot be read: ${clip(z.prettifyError(error), 2_000)}` };
    const text = error instanceof Error ? error.message : String(error);
    const hint = /no rollout|not found/i.test(text) ? "The conversation is not on this host any more; create a new session to begin a new one" : undefined;
    return { code: "agent_failed", message: clip(text, 4_096), ...(hint && { hint }) };
  }

  async #read(): Promise<void> {
    for await (const batch of lineBatches(this.#process.stdout)) for (const line of batch) await this.#line(line);
    this.#gone = true;
    for (const waiting of this.#waiting.values()) waiting.reject(new Gone());
  }

  async #line(line: Line): Promise<void> {
    if (this.#fault) return;
    const value = jsonObject(line);
    if (value === undefined) {
      if (line.overlong !== undefined) return this.#fail({ code: "output_limit", message: `Codex wrote a message of more than ${line.text.length + line.overlong} bytes` });
      if (line.text.trim() !== "") await logLine(this.#context, "stdout", line);
      if (++this.#foreign > MAX_FOREIGN_LINES) this.#fail({ code: "agent_protocol", message: `Codex wrote ${MAX_FOREIGN_LINES} lines that are no messages` });
      return;
    }
    this.#foreign = 0;
    const told = message.safeParse(value).data;
    if (!told) return;
    if (told.method === undefined) return this.#response(told);
    const raw = json.safeParse(value).data ?? null;
    if (told.id === undefined) return this.#notice(told.method, told.params, raw);
    this.#question(told.method, told.id, told.params);
  }

  #response({ id, result, error }: z.infer<typeof message>): void {
    const waiting = this.#waiting.get(String(id));
    this.#waiting.delete(String(id));
    if (error) waiting?.reject(new Refused(error.message));
    else waiting?.resolve(result);
  }

  async #notice(method: string, params: unknown, raw: Json): Promise<void> {
    if (method === "item/started" || method === "item/completed") this.#follow(method, params);
    if (method === "serverRequest/resolved") {
      const id = resolved.safeParse(params).data?.requestId;
      if (id !== undefined) this.#asks.get(id)?.abort();
    }
    for (const event of this.#events.of(method, params, raw)) await this.#context.emit(event);
    if (method !== "turn/completed") return;
    const told = turnCompleted.safeParse(params).data;
    if (!told || told.threadId !== this.#events.thread) return;
    this.#ended = { status: told.turn.status, error: told.turn.error ?? null };
    this.#process.stdin.end();
  }

  /** Remembers what a question will be about, and sees that nothing was done that was not asked. */
  #follow(method: string, params: unknown): void {
    const item = itemNotice.safeParse(params).data?.item;
    if (!item) return;
    if (item.type === "other") {
      if (UNASKED.has(item.kind)) this.#fail({ code: "gate_failed", message: `Codex used ${item.kind}, which does not ask` });
    } else if (isCall(item)) {
      if (method === "item/started") return void this.#items.set(item.id, item);
      this.#items.delete(item.id);
      if (item.status === "completed" && !this.#gated.has(item.id)) this.#fail({ code: "gate_failed", message: `Codex ran ${clip(item.id, 100)} without asking` });
    }
  }

  #question(method: string, id: RequestId, params: unknown): void {
    const asked = approval.safeParse(params).data;
    if (asked && (method === "item/commandExecution/requestApproval" || method === "item/fileChange/requestApproval")) return void this.#ask(id, asked);
    if (method === "item/tool/requestUserInput") return this.#send({ id, result: { answers: {} } });
    if (method === "mcpServer/elicitation/request") return this.#send({ id, result: { action: "decline", content: null, _meta: null } });
    if (method === "item/permissions/requestApproval") return this.#send({ id, result: { permissions: {}, scope: "turn" } });
    this.#send({ id, error: { code: -32_601, message: `not served here: ${method}` } });
  }

  async #ask(id: RequestId, asked: Approval): Promise<void> {
    const ask = new AbortController();
    this.#asks.set(id, ask);
    const call = this.#callOf(asked);
    const answer = await this.#context.gate({ ...call, call_id: asked.itemId, signal: ask.signal });
    this.#asks.delete(id);
    if (ask.signal.aborted || this.#fault) return;
    if (answer.allow) {
      this.#gated.add(asked.itemId);
      this.#events.letThrough(asked.itemId);
      return this.#send({ id, result: { decision: "accept" } });
    }
    this.#events.denied(asked.itemId, answer.reason);
    // A refusal carries no reason, so the reason goes ahead of it as a message that the model reads with its next reply.
    const text = `<permission_denied call="${asked.itemId}">${answer.reason}</permission_denied>`;
    const steered = this.#request("turn/steer", { threadId: this.#events.thread, expectedTurnId: this.#events.turn, input: [{ type: "text", text, text_elements: [] }] });
    this.#send({ id, result: { decision: "decline" } });
    await steered.catch(() => this.#context.emit({ type: "log", data: { stream: "system", text: "codex: the reason of the denial did not reach the model" } }));
  }

  #callOf(asked: Approval): { tool: string; input: Json } {
    const item = this.#items.get(asked.itemId);
    const where: Record<string, Json> = asked.cwd ? { cwd: asked.cwd } : {};
    if (asked.networkApprovalContext) return { tool: "network", input: { request: asked.networkApprovalContext, ...where } };
    if (asked.kind === "writeStdin") return { tool: "shell_stdin", input: { command: asked.command ?? "", ...where, reason: asked.reason ?? "" } };
    if (asked.command) return { tool: "shell", input: { command: unwrapShell(asked.command), ...where } };
    return item ? callOf(item, this.#context.workspace) : { tool: "unknown", input: { reason: asked.reason ?? "" } };
  }

  #interrupt(): void {
    for (const ask of this.#asks.values()) ask.abort();
    if (this.#events.turn === "" || this.#ended) {
      this.#process.stdin.end();
      this.#process.kill("SIGTERM");
      return;
    }
    this.#request("turn/interrupt", { threadId: this.#events.thread, turnId: this.#events.turn }).catch(() => this.#process.stdin.end());
  }

  #fail(error: RunError): void {
    this.#fault ??= error;
    this.#process.kill("SIGKILL");
  }

  #request(method: string, params: object): Promise<unknown> {
    if (this.#gone) return Promise.reject(new Gone());
    const id = `marionette-${++this.#requests}`;
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#send({ method, id, params });
    return answered;
  }

  #send(told: object): void {
    if (this.#process.stdin.writable) this.#process.stdin.write(`${JSON.stringify(told)}\n`);
  }

  #outcome(exit: { code: number | null; signal: string | null }, tail: string, refusal: RunError | null): AdapterOutcome {
    const common = { result: this.#events.lastWords, exit_code: exit.code, conversation: this.#conversation };
    const failed = (error: RunError): AdapterOutcome => ({ status: "failed", ...common, error });
    if (this.#fault) return failed(this.#fault);
    if (this.#context.interrupt.aborted) return failed({ code: "canceled", message: "Codex was interrupted" });
    if (refusal) return failed(refusal);
    if (!this.#ended) return failed(crashed("Codex", exit, tail));
    const { status, error } = this.#ended;
    if (status === "completed") return { status: "completed", ...common };
    const text = error ? errorText(error) : `the turn ended as ${status}`;
    if (error?.codexErrorInfo === "unauthorized") return failed({ code: "key_missing", message: clip(text, 4_096), hint: "Give the session a valid model key, or log in where the agent runs" });
    return failed({ code: "agent_failed", message: clip(text, 4_096) });
  }
}

function isCall(item: Item): item is ItemOf<"commandExecution"> | ItemOf<"fileChange"> {
  return item.type === "commandExecution" || item.type === "fileChange";
}
