/** Owns the loop of one turn: the model is called and its tools are run until it is done, until a limit or a guard stops it, or until it fails. */

import type { Exhausted, Meter } from "./budget.ts";
import { NO_USAGE, type AgentEvent, type DoneReason, type ErrorCode, type FinalEvent } from "./events.ts";
import { Guards } from "./guards.ts";
import type { InsideEntry, JournalEntry, Recorder } from "./history/journal.ts";
import { callsOf, noticeMessage, textIn, type Message, type ToolCallPart, type ToolResultPart, type UserMessage } from "./history/messages.ts";
import type { Window } from "./history/window.ts";
import type { Hooks } from "./hooks.ts";
import { callModel, type WholeAnswer } from "./model-call.ts";
import { ModelError, type ModelErrorKind, type ModelProvider, type Reasoning } from "./models/provider.ts";
import type { RetryPolicy } from "./models/retry.ts";
import type { Pricing } from "./pricing.ts";
import { refuseAll, runCalls } from "./tool-calls.ts";
import type { Tool } from "./tool.ts";

/** What a tool may know of the turn that it runs in; `task` needs it. */
export interface TurnScope {
  readonly emit: (event: AgentEvent) => Promise<void>;
  readonly meter: Meter;
  readonly signal: AbortSignal;
  /** Keeps a step that is taken inside of a call. */
  readonly record: (entry: InsideEntry) => Promise<void>;
  /** Steps that were taken inside of a call before the process died. */
  readonly inside: ReadonlyMap<string, readonly JournalEntry[]>;
}

/** What stays the same from turn to turn. */
export interface TurnSetup {
  provider: ModelProvider;
  model: string;
  system: readonly string[];
  tools: readonly Tool[];
  /** Tools that are made anew for each turn; their names and schemas must stay the same. */
  turnTools: (scope: TurnScope) => readonly Tool[];
  hooks: Hooks;
  path: readonly string[];
  parents: readonly string[];
  window: Window;
  pricing?: Pricing | undefined;
  retries?: Partial<RetryPolicy> | undefined;
  maxOutputTokens?: number | undefined;
  reasoning?: Reasoning | undefined;
}

export interface TurnStart {
  /** What was said before; with `results` it ends in the model's message, whose calls are still open. Grows as the turn goes. */
  messages: Message[];
  /** What the user says now. */
  prompt?: UserMessage | undefined;
  results?: ReadonlyMap<string, ToolResultPart> | undefined;
  /** With `results`: what calls have done inside that had begun and are taken up again. */
  inside?: ReadonlyMap<string, readonly JournalEntry[]> | undefined;
  /** Told to the model when the open calls have their results: what happened while nobody was there. */
  notice?: string | undefined;
  meter: Meter;
  signal: AbortSignal;
  record: Recorder;
  emit: (event: AgentEvent) => Promise<void>;
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  auth: "check the key, and that the base URL is the one it belongs to",
  context_length: "start a new conversation, or give a model that can read more",
  overloaded: "try again later, or give another model",
};
const CODES: Readonly<Record<ModelErrorKind, ErrorCode>> = {
  auth: "auth", bad_request: "bad_request", context_length: "context_length", rate_limited: "overloaded", overloaded: "overloaded", server: "provider", network: "provider",
};
/** A conversation that the model calls too long is cut further, so often. */
const SHRINKS = 3;
/** Characters of the schemas and the prompt are counted like those of messages. */
const CHARS_PER_TOKEN = 4;

/** Runs one turn to its end. Never rejects; `start.messages` then is a conversation that can go on, whatever happened. */
export async function runTurn(setup: TurnSetup, start: TurnStart): Promise<FinalEvent> {
  const { meter } = start;
  const time = meter.milliseconds === null ? null : AbortSignal.timeout(meter.milliseconds);
  const signal = time ? AbortSignal.any([start.signal, time]) : start.signal;
  const turn = new Turn(setup, start, signal);
  let end: Omit<Extract<FinalEvent, { type: "done" }>, "modelCalls" | "usage"> | Omit<Extract<FinalEvent, { type: "error" }>, "modelCalls" | "usage">;
  try {
    end = await turn.run();
  } catch (error) {
    if (time?.aborted && !start.signal.aborted) end = { type: "done", reason: "budget", text: turn.said, ...meter.outOfTime };
    else end = failure(error, start.signal);
  }
  const broken = await turn.close().then(() => null, (error: unknown) => error);
  if (broken !== null && end.type === "done") end = failure(broken, start.signal);
  return { ...end, modelCalls: meter.modelCalls, usage: meter.modelCalls === 0 ? { ...NO_USAGE } : meter.usage };
}

/** Recording failed: the turn must not go on, for nobody could take it up again. */
class RecordError extends Error {}

function failure(error: unknown, signal: AbortSignal): Omit<Extract<FinalEvent, { type: "error" }>, "modelCalls" | "usage"> {
  if (signal.aborted) return { type: "error", code: "aborted", message: "the turn was canceled" };
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RecordError) return { type: "error", code: "persistence", message: `the turn cannot be recorded: ${message}` };
  if (!(error instanceof ModelError)) return { type: "error", code: "internal", message: `the runtime failed: ${message}` };
  const code = CODES[error.kind];
  const waiting = error.retryAfterMs !== null && code === "overloaded" ? `the provider asks to wait ${Math.ceil(error.retryAfterMs / 1_000)} s` : HINTS[code];
  return { type: "error", code, message: `the model call failed${error.status === null ? "" : ` with status ${error.status}`}: ${message}`, ...(waiting !== undefined && { hint: waiting }) };
}

type Ending = Omit<Extract<FinalEvent, { type: "done" }>, "modelCalls" | "usage">;

class Turn {
  readonly #setup: TurnSetup;
  readonly #start: TurnStart;
  readonly #signal: AbortSignal;
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #guards = new Guards();
  /** Prompt and schemas, in tokens. */
  readonly #overhead: number;
  #partial = "";
  #pricedOnce = false;
  #shrunk = 0;

  constructor(setup: TurnSetup, start: TurnStart, signal: AbortSignal) {
    this.#setup = setup;
    this.#start = start;
    this.#signal = signal;
    const scope: TurnScope = { emit: start.emit, meter: start.meter, signal, record: (entry) => this.#record(entry), inside: start.inside ?? new Map() };
    this.#tools = new Map([...setup.tools, ...setup.turnTools(scope)].map((tool) => [tool.name, tool]));
    const characters = setup.system.join("").length + [...this.#tools.values()].reduce((sum, { description, inputSchema }) => sum + description.length + JSON.stringify(inputSchema).length, 0);
    this.#overhead = characters / CHARS_PER_TOKEN;
  }

  /** What the model has last said. */
  get said(): string {
    return this.#partial !== "" ? this.#partial : textIn(this.#start.messages.findLast(({ role }) => role === "assistant"));
  }

  async run(): Promise<Ending> {
    const { messages, prompt, results, notice, meter } = this.#start;
    const open = callsOf(messages.at(-1));
    if (prompt !== undefined) await this.#push(prompt);
    else if (open.length > 0) {
      const stopped = await this.#call(open, new Map(), results);
      if (stopped) return stopped;
    }
    if (notice !== undefined) await this.#push(noticeMessage(notice));
    for (;;) {
      this.#signal.throwIfAborted();
      const used = meter.exhausted;
      if (used) return this.#spent(used);
      const answer = await this.#ask();
      const ending = await this.#took(answer);
      if (ending) return ending;
    }
  }

  /** Leaves the conversation whole: every call has a result, and what was said before a break is kept. */
  async close(): Promise<void> {
    const { messages } = this.#start;
    const open = callsOf(messages.at(-1));
    if (open.length > 0) await this.#push({ role: "tool", content: refuseAll(open, "not run: the turn ended before") });
    else if (this.#partial !== "") await this.#push({ role: "assistant", content: [{ type: "text", text: `${this.#partial}\n[broken off]` }] });
  }

  async #ask(): Promise<WholeAnswer> {
    const { provider, model, system, window, pricing, retries, maxOutputTokens, reasoning } = this.#setup;
    const { messages, emit } = this.#start;
    for (;;) {
      const { view, note } = window.fit(messages);
      if (note !== null) await emit({ type: "warning", code: "history", message: note });
      try {
        const answer = await callModel({
          provider, emit, retries, pricing,
          request: { model, system, messages: view, tools: [...this.#tools.values()], signal: this.#signal, maxOutputTokens, reasoning },
          onPartial: (text) => {
            this.#partial = text;
          },
        });
        const { inputTokens, cacheReadTokens, cacheWriteTokens } = answer.usage;
        window.calibrate(view, this.#overhead, inputTokens + cacheReadTokens + cacheWriteTokens);
        return answer;
      } catch (error) {
        if (!(error instanceof ModelError && error.kind === "context_length") || ++this.#shrunk > SHRINKS) throw error;
        window.shrink(view);
      }
    }
  }

  async #took(answer: WholeAnswer): Promise<Ending | null> {
    const { meter, emit, messages } = this.#start;
    const { message, end, usage, malformed } = withOwnIds(answer, messages);
    meter.add(usage);
    if (usage.costUsd === null && meter.limitsCost && !this.#pricedOnce) {
      this.#pricedOnce = true;
      await emit({ type: "warning", code: "model", message: `no price is known for ${this.#setup.model}, so maxCostUsdPerTurn does not hold: give \`pricing\`` });
    }
    const calls = callsOf(message);
    const text = textIn(message);
    if (message.content.length > 0) await this.#push(message);
    this.#partial = "";
    if (end === "refused") return this.#end("refused", text, "the model declined to go on");
    if (calls.length === 0) return end === "length" ? this.#end("length", text, "the answer was cut at the longest output that was asked for") : this.#end("completed", text);
    const used = meter.exhausted;
    if (used) {
      await this.#refuse(calls, `not run: ${used.note}`);
      return this.#spent(used);
    }
    // What was cut may be any of the calls, and half a file is worse than none.
    if (end === "length") {
      const cut = new Map(calls.map(({ callId }) => [callId, "your answer reached its longest output before this call was whole: make it shorter, such as a file written in pieces"]));
      return this.#call(calls, cut);
    }
    return this.#call(calls, malformed);
  }

  async #call(calls: readonly ToolCallPart[], malformed: ReadonlyMap<string, string>, known?: ReadonlyMap<string, ToolResultPart>): Promise<Ending | null> {
    const { hooks, path, parents } = this.#setup;
    const { results, outcomes } = await runCalls(calls, { tools: this.#tools, hooks, path, parents, signal: this.#signal, emit: this.#start.emit, record: (entry) => this.#record(entry), malformed, ...(known && { known }) });
    const verdict = this.#guards.take(outcomes);
    const last = results.at(-1);
    if (verdict.kind === "warn" && last) results[results.length - 1] = noted(last, verdict.note);
    await this.#push({ role: "tool", content: results });
    this.#signal.throwIfAborted();
    return verdict.kind === "stop" ? this.#end(verdict.reason, this.said, verdict.note) : null;
  }

  async #refuse(calls: readonly ToolCallPart[], why: string): Promise<void> {
    const { emit } = this.#start;
    const results = refuseAll(calls, why);
    for (const { callId, tool, input } of calls) await emit({ type: "tool-call", callId, tool, input });
    for (const { callId, tool } of calls) await emit({ type: "tool-result", callId, tool, output: why, isError: true, durationMs: 0 });
    await this.#push({ role: "tool", content: results });
  }

  #spent({ limit, note }: Exhausted): Ending {
    return { ...this.#end("budget", this.said, note), limit };
  }

  #end(reason: DoneReason, text: string, note?: string): Ending {
    return { type: "done", reason, text, ...(note !== undefined && { note }) };
  }

  async #push(message: Message): Promise<void> {
    this.#start.messages.push(message);
    this.#partial = "";
    await this.#record({ type: "message", message });
  }

  async #record(entry: Parameters<Recorder>[0]): Promise<void> {
    try {
      await this.#start.record(entry);
    } catch (error) {
      throw new RecordError(error instanceof Error ? error.message : String(error));
    }
  }
}

/** Some servers count calls anew in each answer. An id stands for one call of the whole conversation, with whoever keeps or shows it. */
function withOwnIds(answer: WholeAnswer, messages: readonly Message[]): WholeAnswer {
  const calls = callsOf(answer.message);
  const taken = calls.length === 0 ? new Set<string>() : new Set(messages.flatMap((one) => callsOf(one).map(({ callId }) => callId)));
  if (!calls.some(({ callId }) => taken.has(callId))) return answer;
  const own = new Map<string, string>();
  for (const { callId } of calls) {
    let name = callId;
    for (let n = 2; taken.has(name); n++) name = `${callId}_${n}`;
    taken.add(name);
    own.set(callId, name);
  }
  const idOf = (callId: string) => own.get(callId) ?? callId;
  const content = answer.message.content.map((part) => (part.type === "tool-call" ? { ...part, callId: idOf(part.callId) } : part));
  return { ...answer, message: { ...answer.message, content }, malformed: new Map([...answer.malformed].map(([callId, why]) => [idOf(callId), why])) };
}

function noted(result: ToolResultPart, note: string): ToolResultPart {
  const text = `\n[note from the runtime: ${note}]`;
  return { ...result, content: typeof result.content === "string" ? `${result.content}${text}` : [...result.content, { type: "text", text }] };
}
