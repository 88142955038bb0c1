/** Owns the adapter for Claude Code: one process for each task, stream-json on its stdio, every tool call through the gate. */

import { json, type Json, type RunError } from "../../sdk/protocol/index.ts";
import type { Adapter, AdapterContext, AdapterOutcome, AgentProcess } from "./adapter.ts";
import { ClaudeEvents } from "./claude-events.ts";
import { record, type ClaudeRecord, type RecordOf } from "./claude-records.ts";
import { gatewayEnvironment } from "./gateway-environment.ts";
import { jsonObject, lineBatches, type Line } from "./lines.ts";
import { clip, crashed, imageData, leave, logLine, noticeText, supervise, turnImages, turnTexts } from "./supervision.ts";

const HANDSHAKE = "initialize";
const HOOK = "gate";
/** The hook must be in place by then, in milliseconds; until it is, the agent has no prompt. */
const HANDSHAKE_MS = 60_000;
/** So many lines that are no records, one after another, are not an agent talking. */
const MAX_FOREIGN_LINES = 1_000;
/** After a background agent has ended, Claude takes another turn by itself; so long it may take to begin, in milliseconds. */
const AFTERWORD_MS = 10_000;
/** Resumed in an interrupted turn, Claude begins it before it answers the handshake; where it has none to go on with, it is told to, after so many milliseconds. */
const CONTINUE_MS = 3_000;
/** Makes it go on with the turn in which it was killed, without a prompt. */
const CONTINUE = { CLAUDE_CODE_RESUME_INTERRUPTED_TURN: "1" };
/** Nobody could answer the first; the others only make sense where the process stays. */
const WITHOUT = ["AskUserQuestion", "CronCreate", "CronDelete", "CronList", "ScheduleWakeup"];

/**
 * Settings, skills and servers of the project and of the agent's home are left out: their hooks and commands would run past
 * the gate, and the agent itself may have written them in an earlier task. The project's CLAUDE.md is read all the same, as
 * that of an added directory. What a host's owner wants beside that comes in the launch's arguments, which stand last.
 */
const ARGS = `-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages
  --permission-prompt-tool stdio --permission-mode default --setting-sources= --strict-mcp-config --add-dir . --disallowedTools ${WITHOUT.join(",")}`.split(/\s+/);
const ENV = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1", DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD: "1" };

export const claude: Adapter = {
  name: "claude",
  keyVariables: ["ANTHROPIC_API_KEY"],
  continues: () => true,
  // One file for each conversation, beside it those of its subagents. Settings and logins stay where they are.
  stateFiles: () => [".claude/projects", ".claude/todos"],
  run: async (context) => new ClaudeTask(context).run(),
};

class ClaudeTask {
  readonly #context: AdapterContext;
  readonly #process: AgentProcess;
  readonly #events: ClaudeEvents;
  /** Questions that wait for the gate, by the control request that carries them. */
  readonly #asks = new Map<string, AbortController>();
  readonly #gated = new Set<string>();
  #guarded = false;
  /** A turn has begun that nobody prompted. */
  #continuing = false;
  #prompting: NodeJS.Timeout | undefined;
  #prompted = false;
  #noticed = false;
  #conversation: string | null;
  #result: RecordOf<"result"> | null = null;
  #fault: RunError | null = null;
  #keyRefused = false;
  #foreign = 0;
  /** Agents that Claude runs in the background, whose end it will want to talk about. */
  #background = 0;
  #afterword: NodeJS.Timeout | undefined;

  constructor(context: AdapterContext) {
    const { conversation, interrupted } = context.task;
    const goesOn = interrupted && conversation !== null;
    this.#context = context;
    this.#conversation = conversation;
    this.#events = new ClaudeEvents({ workspace: context.workspace, resumed: conversation !== null, now: () => performance.now() });
    const args = [...ARGS, ...(conversation === null ? [] : ["--resume", conversation]), ...(context.model === null ? [] : ["--model", context.model]), ...context.launch.args];
    this.#process = context.start(args, { ...ENV, ...(goesOn && CONTINUE), ...gatewayEnvironment(context.gateway, context.env) });
  }

  async run(): Promise<AdapterOutcome> {
    const { interrupt } = this.#context;
    const stderr = supervise(this.#context, this.#process);
    const late = setTimeout(() => this.#fail({ code: "gate_failed", message: "Claude did not take the permission hook in time" }), HANDSHAKE_MS);
    const stop = () => this.#interrupt();
    interrupt.addEventListener("abort", stop, { once: true });
    try {
      this.#send({ type: "control_request", request_id: HANDSHAKE, request: { subtype: "initialize", hooks: { PreToolUse: [{ matcher: null, hookCallbackIds: [HOOK] }] } } });
      if (interrupt.aborted) stop();
      for await (const batch of lineBatches(this.#process.stdout)) {
        for (const line of batch) await this.#line(line);
        if (this.#guarded) clearTimeout(late);
      }
      const exit = await leave(this.#process);
      await stderr.done;
      return this.#outcome(exit, stderr.tail());
    } finally {
      interrupt.removeEventListener("abort", stop);
      clearTimeout(late);
      clearTimeout(this.#prompting);
      clearTimeout(this.#afterword);
      for (const ask of this.#asks.values()) ask.abort();
    }
  }

  /** A turn that goes on by itself takes no prompt and no new instructions: what has happened since is told with its first call. */
  #told(): { additionalContext?: string } {
    const { notice } = this.#context.task;
    if (!this.#continuing || this.#prompted || this.#noticed || notice === null) return {};
    this.#noticed = true;
    return { additionalContext: noticeText(notice) };
  }

  async #line(line: Line): Promise<void> {
    if (this.#fault) return;
    const value = jsonObject(line);
    if (value === undefined) {
      if (line.overlong !== undefined) return this.#fail({ code: "output_limit", message: `Claude wrote a record of more than ${line.text.length + line.overlong} bytes` });
      if (line.text.trim() !== "") await logLine(this.#context, "stdout", line);
      if (++this.#foreign > MAX_FOREIGN_LINES) this.#fail({ code: "agent_protocol", message: `Claude wrote ${MAX_FOREIGN_LINES} lines that are no records` });
      return;
    }
    this.#foreign = 0;
    if (value["type"] === "command_lifecycle" && value["state"] === "started") this.#continuing = true;
    const parsed = record.safeParse(value);
    // A kind that this version does not know; what must be understood is refused by its absence.
    if (!parsed.success) return;
    await this.#record(parsed.data, json.safeParse(value).data ?? null);
  }

  async #record(told: ClaudeRecord, raw: Json): Promise<void> {
    if (told.type === "system" && told.subtype === "init" && told.session_id !== undefined) this.#converses(told.session_id);
    if (told.type === "system" && told.tasks !== undefined) this.#backgroundIs(told.tasks.filter(({ task_type }) => !/bash|shell/.test(task_type)).length);
    if (told.type === "assistant" && told.error === "authentication_failed") this.#keyRefused = true;
    if (told.type === "assistant" || told.type === "stream_event") {
      this.#continuing = true;
      clearTimeout(this.#afterword);
    }
    for (const event of this.#events.of(told, raw)) await this.#context.emit(event);
    switch (told.type) {
      case "control_response":
        return this.#response(told);
      case "control_request":
        return this.#request(told);
      case "control_cancel_request":
        this.#asks.get(told.request_id)?.abort();
        return;
      case "user":
        return this.#checkGated(told);
      case "result":
        this.#result = told;
        if (told.session_id !== undefined) this.#converses(told.session_id);
        if (this.#background === 0) this.#process.stdin.end();
    }
  }

  #response({ response }: RecordOf<"control_response">): void {
    if (response.request_id !== HANDSHAKE) return;
    if (response.subtype !== "success") return this.#fail({ code: "gate_failed", message: `Claude refused the permission hook: ${clip(response.error ?? response.subtype, 500)}` });
    this.#guarded = true;
    if (this.#context.interrupt.aborted) return;
    const { interrupted, conversation } = this.#context.task;
    if (!interrupted || conversation === null) return this.#prompt();
    if (!this.#continuing) this.#prompting = setTimeout(() => !this.#continuing && this.#prompt(), CONTINUE_MS);
  }

  #prompt(): void {
    this.#prompted = true;
    const { task } = this.#context;
    const images = turnImages(task).map((image) => ({ type: "image", source: { type: "base64", media_type: image.media_type, data: imageData(image) } }));
    const content = [...images, ...turnTexts(task).map((text) => ({ type: "text", text }))];
    this.#send({ type: "user", message: { role: "user", content }, parent_tool_use_id: null, session_id: "" });
  }

  /**
   * The hook says `ask` to every call, which overrides whatever the agent's settings allow; the question itself, which
   * waits without limit, then comes as `can_use_tool` and goes to the gate. A hook has a time limit, so it never carries it.
   */
  #request({ request_id, request }: RecordOf<"control_request">): void {
    if (request.subtype === "hook_callback") {
      this.#answer(request_id, { hookSpecificOutput: { hookEventName: "PreToolUse", permissionDecision: "ask", permissionDecisionReason: "Marionette decides", ...this.#told() } });
    } else if (request.subtype === "can_use_tool") {
      void this.#ask(request_id, request.tool_name ?? "unknown", request.input ?? {}, request.tool_use_id);
    } else {
      this.#send({ type: "control_response", response: { subtype: "error", request_id, error: `not served here: ${request.subtype}` } });
    }
  }

  async #ask(requestId: string, tool: string, input: Json, callId: string | undefined): Promise<void> {
    const ask = new AbortController();
    this.#asks.set(requestId, ask);
    const answer = await this.#context.gate({ tool, input, ...(callId !== undefined && { call_id: callId }), signal: ask.signal });
    this.#asks.delete(requestId);
    if (ask.signal.aborted || this.#fault) return;
    if (answer.allow && callId !== undefined) {
      this.#gated.add(callId);
      this.#events.letThrough(callId);
    }
    this.#answer(requestId, answer.allow ? { behavior: "allow", updatedInput: input } : { behavior: "deny", message: answer.reason });
  }

  /** A call that ran without having passed the gate: the guard is broken, nothing more may happen. */
  #checkGated({ message }: RecordOf<"user">): void {
    for (const block of message.content) {
      if (block.type !== "tool_result" || block.is_error || this.#gated.has(block.tool_use_id)) continue;
      this.#fail({ code: "gate_failed", message: `Claude ran the call ${clip(block.tool_use_id, 100)} without asking` });
    }
  }

  #converses(id: string): void {
    if (this.#conversation !== id) this.#context.setConversation(id);
    this.#conversation = id;
  }

  #backgroundIs(count: number): void {
    const ended = this.#background > 0 && count === 0;
    this.#background = count;
    clearTimeout(this.#afterword);
    if (ended && this.#result) this.#afterword = setTimeout(() => this.#process.stdin.end(), AFTERWORD_MS);
  }

  #interrupt(): void {
    for (const ask of this.#asks.values()) ask.abort();
    if (!this.#guarded || this.#result) {
      this.#process.stdin.end();
      this.#process.kill("SIGTERM");
      return;
    }
    this.#background = 0;
    this.#send({ type: "control_request", request_id: "interrupt", request: { subtype: "interrupt" } });
  }

  #fail(error: RunError): void {
    this.#fault ??= error;
    this.#process.kill("SIGKILL");
  }

  #answer(requestId: string, response: object): void {
    this.#send({ type: "control_response", response: { subtype: "success", request_id: requestId, response } });
  }

  #send(message: object): void {
    if (this.#process.stdin.writable) this.#process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  #outcome(exit: { code: number | null; signal: string | null }, tail: string): AdapterOutcome {
    const result = this.#result;
    const said = result?.result ?? null;
    const common = { result: said, exit_code: exit.code, conversation: this.#conversation };
    const failed = (error: RunError): AdapterOutcome => ({ status: "failed", ...common, error });
    if (this.#fault) return failed(this.#fault);
    if (this.#context.interrupt.aborted) return failed({ code: "canceled", message: "Claude was interrupted" });
    if (!result) return failed(crashed("Claude", exit, tail));
    if (!result.is_error && result.subtype === "success") return { status: "completed", ...common };
    if (this.#keyRefused) return failed({ code: "key_missing", message: clip(said ?? "Claude has no valid key", 4_096), hint: "Give the session a valid model key, or log in where the agent runs" });
    const why = said ?? (result.errors.join("; ") || tail || result.terminal_reason || result.subtype);
    const hint = /No conversation found/.test(why) ? "The conversation is not on this host any more; create a new session to begin a new one" : undefined;
    return failed({ code: "agent_failed", message: clip(why, 4_096), ...(hint && { hint }) });
  }
}
