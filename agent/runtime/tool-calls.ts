/** Owns what becomes of the tools that a model has called: checked, asked about, run side by side, each with exactly one result. */

import { createHash } from "node:crypto";
import type { AgentEvent } from "./events.ts";
import type { Outcome } from "./guards.ts";
import { notRun, type ToolCallPart, type ToolResultPart } from "./history/messages.ts";
import type { Recorder } from "./history/journal.ts";
import { MAX_IMAGE_BYTES, takenImage, type Image } from "./images.ts";
import { vetoed, type Hooks } from "./hooks.ts";
import { textOf, type Tool, type ToolContext, type ToolResult } from "./tool.ts";

/** Longest result that reaches the model, in characters; longer ones keep their head and tail. */
export const MAX_RESULT_CHARS = 100_000;
/** So many calls of one answer run at once. */
const AT_ONCE = 8;
/** How long a tool may take to end after it was told to, in milliseconds; then it is not waited for. */
const LEAVE_MS = 2_000;

export interface ToolCallsOptions {
  tools: ReadonlyMap<string, Tool>;
  hooks: Hooks;
  path: readonly string[];
  parents: readonly string[];
  signal: AbortSignal;
  emit: (event: AgentEvent) => Promise<void>;
  record: Recorder;
  /** Why the input of a call could not be read, by call. */
  malformed: ReadonlyMap<string, string>;
  /** Results that are known from before the process died. */
  known?: ReadonlyMap<string, ToolResultPart>;
}

interface Done {
  result: ToolResultPart;
  outcome: Outcome;
}

/** Runs the calls of one answer; results in the order of the calls. Rejects only where recording fails. */
export async function runCalls(calls: readonly ToolCallPart[], options: ToolCallsOptions): Promise<{ results: ToolResultPart[]; outcomes: Outcome[] }> {
  for (const { callId, tool, input } of calls) await options.emit({ type: "tool-call", callId, tool, input });
  const done: Done[] = [];
  const faults: unknown[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < calls.length; at = next++) {
      const call = calls[at] as ToolCallPart;
      try {
        if (faults.length === 0) done[at] = await one(call, options);
      } catch (error) {
        faults.push(error);
      }
      const { callId, tool } = call;
      if (!done[at]) await options.emit({ type: "tool-result", callId, tool, output: "this turn cannot be recorded, and ends", isError: true, durationMs: 0 });
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, calls.length) }, worker));
  if (faults.length > 0) throw faults[0];
  return { results: done.map(({ result }) => result), outcomes: done.map(({ outcome }) => outcome) };
}

async function one(call: ToolCallPart, options: ToolCallsOptions): Promise<Done> {
  const { emit, record, known } = options;
  const begun = performance.now();
  const before = known?.get(call.callId);
  const told = before ? { content: before.content, isError: before.isError === true } : await run(call, options);
  const result: ToolResultPart = { type: "tool-result", callId: call.callId, tool: call.tool, content: bounded(told.content), ...(told.isError && { isError: true }) };
  if (!before) await record({ type: "finished", result });
  const { changes } = told as ToolResult;
  const output = textOf(result.content);
  await emit({ type: "tool-result", callId: call.callId, tool: call.tool, output, isError: result.isError === true, durationMs: performance.now() - begun, ...(changes && changes.length > 0 && { changes }) });
  const misfit = (told as { misfit?: boolean }).misfit === true;
  return { result, outcome: { tool: call.tool, key: options.tools.get(call.tool)?.polling ? null : keyOf(call, output), isError: result.isError === true, misfit } };
}

/** The call and what it came to, short enough to be kept. */
function keyOf({ tool, input }: ToolCallPart, output: string): string {
  return createHash("sha256").update(JSON.stringify([tool, input ?? null])).update(output).digest("base64");
}

type Told = ToolResult & { misfit?: boolean };

async function run(call: ToolCallPart, { tools, hooks, path, parents, signal, emit, record, malformed }: ToolCallsOptions): Promise<Told> {
  const wrong = (content: string, misfit = false): Told => ({ content, isError: true, ...(misfit && { misfit }) });
  if (signal.aborted) return wrong("not run: the turn was canceled");
  const tool = tools.get(call.tool);
  if (!tool) return wrong(`there is no tool '${call.tool}'; there are ${[...tools.keys()].join(", ")}`);
  const unread = malformed.get(call.callId);
  if (unread !== undefined) return wrong(misfitText(call.tool, [unread]), true);
  const parsed = tool.parse(call.input);
  if (!parsed.ok) return wrong(misfitText(call.tool, parsed.issues), true);
  const veto = await vetoed(hooks.onToolCall, { callId: call.callId, tool: call.tool, input: parsed.value, path, parents, signal });
  if (veto !== null) return wrong(`not allowed: ${veto}`);
  await record({ type: "started", callId: call.callId });
  const context: ToolContext = { callId: call.callId, signal, progress: (text) => void emit({ type: "tool-progress", callId: call.callId, text }) };
  try {
    const result = await leaving(tool.execute(parsed.value, context), signal);
    if (typeof result === "string") return { content: result };
    return isResult(result) ? result : wrong(`${call.tool} failed: it answered with something that is no result of a tool`);
  } catch (error) {
    return wrong(signal.aborted ? "the turn was canceled while this ran" : `${call.tool} failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Tools may be written without a compiler, and one that answers nothing must not end the turn. */
function isResult(result: unknown): result is ToolResult {
  const content: unknown = (result as Partial<ToolResult> | null | undefined)?.content;
  const isPart = (part: unknown) => {
    const { type, text, data, mediaType } = (part ?? {}) as { type?: unknown; text?: unknown; data?: unknown; mediaType?: unknown };
    return type === "text" ? typeof text === "string" : type === "image" && typeof data === "string" && typeof mediaType === "string";
  };
  return typeof content === "string" || (Array.isArray(content) && content.every(isPart));
}

function misfitText(tool: string, issues: readonly string[]): string {
  return `The input of ${tool} does not fit its schema:\n${issues.map((issue) => `- ${issue}`).join("\n")}\nCorrect these fields and call it again.`;
}

/** The promise, or a rejection some time after the signal: a tool that does not listen must not hold the turn. */
async function leaving<T>(running: Promise<T>, signal: AbortSignal): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let stop: () => void = () => {};
  const late = new Promise<never>((_, reject) => {
    stop = () => {
      timer = setTimeout(() => reject(new Error("canceled")), LEAVE_MS);
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

function bounded(content: ToolResult["content"]): ToolResultPart["content"] {
  if (typeof content !== "string") return content.map((part) => (part.type === "text" ? { ...part, text: cut(part.text) } : shown(part)));
  return cut(content);
}

function shown(image: Image): Image | { type: "text"; text: string } {
  const bytes = Math.floor((image.data.length * 3) / 4);
  const taken = bytes > MAX_IMAGE_BYTES ? { wrong: `an image of ${bytes} bytes is not shown: models see at most ${MAX_IMAGE_BYTES}` } : takenImage(image);
  return "wrong" in taken ? { type: "text", text: `[${taken.wrong}]` } : taken;
}

/** Bounded, and without half characters, which no API takes. */
function cut(text: string): string {
  if (text.length <= MAX_RESULT_CHARS) return text.toWellFormed();
  const half = MAX_RESULT_CHARS / 2;
  return `${text.slice(0, half).toWellFormed()}\n[… ${text.length - MAX_RESULT_CHARS} characters were left out here …]\n${text.slice(-half).toWellFormed()}`;
}

/** The results of calls that are not to run any more. */
export function refuseAll(calls: readonly ToolCallPart[], why: string): ToolResultPart[] {
  return calls.map((call) => notRun(call, why));
}
