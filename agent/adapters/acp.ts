/** Owns the adapter for any agent that speaks the Agent Client Protocol over stdio. */

import { client, methods, PROTOCOL_VERSION, RequestError, type ClientContext, type InitializeResponse, type NewSessionRequest, type PromptResponse, type RequestPermissionRequest, type RequestPermissionResponse, type SessionUpdate } from "@agentclientprotocol/sdk";
import * as z from "zod";
import type { RunError } from "../../sdk/protocol/index.ts";
import type { Adapter, AdapterContext, AdapterOutcome, AgentProcess, Emitted, GateAnswer } from "./adapter.ts";
import { AcpEvents, describe, fileChanged, pathsOf } from "./acp-events.ts";
import { insideWorkspace, readText, writeText } from "./acp-files.ts";
import { acpStream } from "./acp-stream.ts";
import { gatewayEnvironment } from "./gateway-environment.ts";
import type { Line } from "./lines.ts";
import { clip, crashed, imageData, leave, logLine, supervise, turnImages, turnTexts } from "./supervision.ts";
import { workspacePath } from "./unified-diff.ts";

const MAX_FOREIGN_LINES = 1_000;
/** Events that may wait for the journal before no more is read from the agent. */
const MAX_UNTOLD = 64;
/** Kinds of calls that change something: one that ends without having asked means that this agent is not guarded. */
const MUST_ASK = new Set(["execute", "edit", "delete", "move"]);
export const acp: Adapter = {
  name: "acp",
  keyVariables: ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MODEL_API_KEY"],
  continues: (launch) => launch.continues ?? false,
  stateFiles: (launch) => launch.state_files ?? [],
  run: async (context) => new AcpTask(context).run(),
};

const count = z.number().int().min(0).catch(0).default(0);
/** Not part of the stable protocol yet; read where an agent gives it. */
const promptUsage = z.looseObject({ inputTokens: count, outputTokens: count, cachedReadTokens: count, cachedWriteTokens: count, thoughtTokens: count });

class AcpTask {
  readonly #context: AdapterContext;
  readonly #process: AgentProcess;
  readonly #events: AcpEvents;
  readonly #asks = new Set<AbortController>();
  readonly #gated = new Set<string>();
  /** Why calls of this turn were denied, as the agent will be told. */
  readonly #reasons: string[] = [];
  /** Contents and paths that an answered question covers already. */
  readonly #covered = new Set<string>();
  /** Paths whose change is told by the write itself. */
  readonly #written = new Set<string>();
  #journal: Promise<void> = Promise.resolve();
  #untold = 0;
  #foreign = 0;
  #conversation: string | null;
  /** Updates before the prompt repeat an old conversation. */
  #live = false;
  #fault: RunError | null = null;
  #stop: PromptResponse | null = null;
  #cancel: (() => void) | null = null;

  constructor(context: AdapterContext) {
    this.#context = context;
    this.#conversation = context.task.conversation;
    this.#events = new AcpEvents({ workspace: context.workspace, now: () => performance.now() });
    const { gateway, launch, env } = context;
    this.#process = context.start(launch.args, gatewayEnvironment(gateway, env));
  }

  async run(): Promise<AdapterOutcome> {
    const { interrupt } = this.#context;
    const stderr = supervise(this.#context, this.#process);
    const stop = () => this.#interrupt();
    interrupt.addEventListener("abort", stop, { once: true });
    const stream = acpStream(this.#process, { onForeign: (line) => this.#foreignLine(line), ready: () => (this.#untold < MAX_UNTOLD ? Promise.resolve() : this.#journal) });
    const app = client({ name: "marionette" })
      .onRequest(methods.client.session.requestPermission, ({ params }) => this.#permission(params))
      .onRequest(methods.client.fs.readTextFile, async ({ params }) => ({ content: await refusable(readText(this.#context.workspace, params.path, params.line, params.limit)) }))
      .onRequest(methods.client.fs.writeTextFile, ({ params }) => this.#write(params.path, params.content))
      .onNotification(methods.client.session.update, ({ params }) => this.#update(params.update));
    const connection = app.connect(stream);
    let refusal: RunError | null = null;
    try {
      await this.#converse(connection.agent);
    } catch (error) {
      refusal = connection.signal.aborted ? null : refusedBy(error);
    } finally {
      interrupt.removeEventListener("abort", stop);
      for (const ask of this.#asks) ask.abort();
    }
    // Its updates may still be on the way behind its answer.
    await this.#journal;
    for (const event of this.#events.flush()) await this.#context.emit(event);
    const exit = await leave(this.#process);
    connection.close();
    await stderr.done;
    return this.#outcome(exit, stderr.tail(), refusal);
  }

  async #converse(agent: ClientContext): Promise<void> {
    const { task, interrupt } = this.#context;
    const hello = await agent.request(methods.agent.initialize, {
      protocolVersion: PROTOCOL_VERSION,
      clientCapabilities: { fs: { readTextFile: true, writeTextFile: true }, terminal: false },
      clientInfo: { name: "marionette", version: "1" },
    });
    const sessionId = await this.#open(agent, hello);
    if (this.#conversation !== sessionId) this.#context.setConversation(sessionId);
    this.#conversation = sessionId;
    if (interrupt.aborted) return;
    const costBefore = task.conversation === null ? 0 : this.#events.cost;
    this.#cancel = () => void agent.notify(methods.agent.session.cancel, { sessionId }).catch(() => this.#process.kill("SIGTERM"));
    this.#live = true;
    const turn = { ...task, conversation: sessionId === task.conversation ? sessionId : null };
    // One that sees no images is told where they lie.
    let images = hello.agentCapabilities?.promptCapabilities?.image ? turnImages(turn).map((image) => ({ type: "image" as const, data: imageData(image), mimeType: image.media_type })) : [];
    let texts = turnTexts(turn);
    do {
      this.#stop = await agent.request(methods.agent.session.prompt, { sessionId, prompt: [...images, ...texts.map((text) => ({ type: "text" as const, text }))] });
      images = [];
      // A refusal carries no reason here, and ends the turn of some agents: these hear the reason as the next turn.
      texts = this.#reasons.length === 0 ? [] : [this.#reasons.splice(0).join("\n")];
    } while (texts.length > 0 && this.#stop?.stopReason === "cancelled" && !interrupt.aborted);
    this.#cancel = null;
    await this.#usage(costBefore);
  }

  async #open(agent: ClientContext, hello: InitializeResponse): Promise<string> {
    const { task, workspace, model } = this.#context;
    const place: NewSessionRequest = { cwd: workspace, mcpServers: [] };
    const known = task.conversation;
    let session: { configOptions?: { id: string; category?: string | null }[] | null };
    let sessionId = known ?? "";
    const able = hello.agentCapabilities;
    const continuable = Boolean(able?.sessionCapabilities?.resume) || able?.loadSession === true;
    // One that cannot go on with an interrupted task begins it anew.
    if (known === null || (task.interrupted && !continuable)) {
      const opened = await agent.request(methods.agent.session.new, place);
      sessionId = opened.sessionId;
      session = opened;
    } else if (able?.sessionCapabilities?.resume) {
      session = await agent.request(methods.agent.session.resume, { sessionId: known, ...place });
    } else if (able?.loadSession) {
      session = await agent.request(methods.agent.session.load, { sessionId: known, ...place });
    } else {
      throw new Error("This agent cannot continue a conversation; create a new session to begin a new one");
    }
    if (model === null) return sessionId;
    const option = session.configOptions?.find(({ category }) => category === "model");
    if (!option) throw new Error("This agent takes no model through the protocol; set it in the agent's own arguments or environment");
    await agent.request(methods.agent.session.setConfigOption, { sessionId, configId: option.id, value: model });
    return sessionId;
  }

  async #foreignLine(line: Line): Promise<void> {
    if (this.#fault) return;
    if (line.overlong !== undefined) return this.#fail({ code: "output_limit", message: `The agent wrote a message of more than ${line.text.length + line.overlong} bytes` });
    if (line.text.trim() === "") return;
    await logLine(this.#context, "stdout", line);
    if (++this.#foreign > MAX_FOREIGN_LINES) this.#fail({ code: "agent_protocol", message: `The agent wrote ${MAX_FOREIGN_LINES} lines that are no messages` });
  }

  #update(update: SessionUpdate): void {
    this.#foreign = 0;
    if (this.#fault) return;
    if (!this.#live) return void (update.sessionUpdate === "usage_update" && this.#events.of(update));
    const calling = update.sessionUpdate === "tool_call" || update.sessionUpdate === "tool_call_update";
    const told = this.#events.of(update);
    this.#tell(told.filter((event) => !(event.type === "file.changed" && this.#written.has(event.data.path))));
    if (!calling || update.status !== "completed" || this.#gated.has(update.toolCallId)) return;
    const ended = this.#events.seen(update.toolCallId);
    if (!ended?.kind || !MUST_ASK.has(ended.kind)) return;
    const paths = pathsOf(ended, this.#context.workspace);
    if (paths.length > 0 && paths.every((path) => this.#written.has(path))) return;
    this.#fail({ code: "gate_failed", message: `The agent did ${clip(ended.title ?? ended.kind, 200)} without asking`, hint: "Set the agent to ask before every command and edit, in its arguments or its own settings" });
  }

  async #permission({ toolCall, options }: RequestPermissionRequest): Promise<RequestPermissionResponse> {
    const { call, events } = this.#events.call(toolCall);
    this.#tell(events);
    const answer = await this.#ask({ ...describe(call, this.#context.workspace), call_id: call.toolCallId.slice(0, 200) });
    if (answer === null) return { outcome: { outcome: "cancelled" } };
    const wanted = answer.allow ? (["allow_once", "allow_always"] as const) : (["reject_once", "reject_always"] as const);
    const option = wanted.map((kind) => options.find((one) => one.kind === kind)).find((one) => one !== undefined);
    // An agent that offers no way to say no is told that the question was given up: that is a no everywhere.
    if (!option) return { outcome: { outcome: "cancelled" } };
    if (answer.allow) {
      this.#gated.add(call.toolCallId);
      this.#events.letThrough(call.toolCallId);
      for (const content of call.content ?? []) if (content.type === "diff") this.#covered.add(key(workspacePath(this.#context.workspace, content.path), content.newText));
    } else {
      this.#reasons.push(`<permission_denied call="${call.title ?? call.toolCallId}">${answer.reason}</permission_denied>`);
    }
    return { outcome: { outcome: "selected", optionId: option.optionId } };
  }

  async #write(path: string, content: string): Promise<Record<string, never>> {
    const { workspace } = this.#context;
    const name = workspacePath(workspace, path);
    await refusable(insideWorkspace(workspace, path));
    if (!this.#covered.delete(key(name, content))) {
      const answer = await this.#ask({ tool: "edit", input: { paths: [name], path: name, content } });
      if (answer === null) throw RequestError.requestCancelled();
      if (!answer.allow) throw RequestError.invalidParams({ path }, `Denied: ${answer.reason}`);
    }
    const before = await refusable(writeText(workspace, path, content));
    this.#written.add(name);
    this.#tell([fileChanged(workspace, path, before, content)]);
    return {};
  }

  /** The gate's answer; null where the task was interrupted first. */
  async #ask(call: { tool: string; input: Parameters<AdapterContext["gate"]>[0]["input"]; call_id?: string }): Promise<GateAnswer | null> {
    if (this.#fault || this.#context.interrupt.aborted) return null;
    const ask = new AbortController();
    this.#asks.add(ask);
    const answer = await this.#context.gate({ ...call, signal: ask.signal });
    this.#asks.delete(ask);
    return ask.signal.aborted || this.#fault ? null : answer;
  }

  /** Events go to the journal one after another; the library does not wait for who handles its messages. */
  #tell(events: Emitted[]): void {
    for (const event of events) {
      this.#untold++;
      this.#journal = this.#journal.then(() => this.#context.emit(event)).finally(() => this.#untold--);
    }
  }

  async #usage(costBefore: number | null): Promise<void> {
    const tokens = promptUsage.safeParse((this.#stop as { usage?: unknown } | null)?.usage).data;
    const spent = this.#events.cost === null || costBefore === null ? null : Math.max(0, this.#events.cost - costBefore);
    if (!tokens && spent === null) return;
    const data = { input_tokens: tokens?.inputTokens ?? 0, output_tokens: tokens?.outputTokens ?? 0, cache_read_tokens: tokens?.cachedReadTokens ?? 0, cache_write_tokens: tokens?.cachedWriteTokens ?? 0, reasoning_tokens: tokens?.thoughtTokens ?? 0 };
    this.#tell([...this.#events.flush(), { type: "usage", data: { ...data, cost_usd: spent, model: this.#context.model } }]);
  }

  #interrupt(): void {
    for (const ask of this.#asks) ask.abort();
    if (this.#cancel) this.#cancel();
    else this.#process.kill("SIGTERM");
  }

  #fail(error: RunError): void {
    this.#fault ??= error;
    this.#process.kill("SIGKILL");
  }

  #outcome(exit: { code: number | null; signal: string | null }, tail: string, refusal: RunError | null): AdapterOutcome {
    const common = { result: this.#events.lastWords, exit_code: exit.code, conversation: this.#conversation };
    const failed = (error: RunError): AdapterOutcome => ({ status: "failed", ...common, error });
    if (this.#fault) return failed(this.#fault);
    if (this.#context.interrupt.aborted) return failed({ code: "canceled", message: "The agent was interrupted" });
    if (refusal) return failed(refusal);
    if (!this.#stop) return failed(crashed("The agent", exit, tail));
    if (this.#stop.stopReason === "end_turn") return { status: "completed", ...common };
    return failed({ code: "agent_failed", message: `The agent stopped: ${this.#stop.stopReason}` });
  }
}

function refusedBy(error: unknown): RunError {
  if (error instanceof RequestError && error.code === -32_000) return { code: "key_missing", message: clip(error.message, 4_096), hint: "Give the session a model key, or log the agent in where it runs" };
  const detail = error instanceof RequestError && error.data !== undefined ? `: ${clip(JSON.stringify(error.data), 1_000)}` : "";
  return { code: "agent_failed", message: clip(`${error instanceof Error ? error.message : String(error)}${detail}`, 4_096) };
}

/** What a file's trouble is, told to the agent in words. */
async function refusable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw RequestError.invalidParams(undefined, error instanceof Error ? error.message : String(error));
  }
}

function key(path: string, content: string): string {
  return `${path}\0${content}`;
}
