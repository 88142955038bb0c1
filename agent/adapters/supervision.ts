/** Owns what every adapter does with its agent's process: stderr becomes log events, it is asked to end and then made to, and its death gets words. */

import { readFileSync } from "node:fs";
import type { RunError } from "../../sdk/protocol/index.ts";
import type { AdapterContext, AgentProcess, AttachedImage } from "./adapter.ts";
import { lines, type Line } from "./lines.ts";

/** Longer lines of a log are cut; an event holds no more. */
const MAX_LOG_LINE_BYTES = 256 * 1024;
/** How long an agent may take to leave after its work is done, before SIGTERM and again before SIGKILL, in milliseconds. */
const LEAVE_MS = 5_000;
/** How long pipes of a dead agent are read on, in milliseconds, each time nothing has come. */
const ORPHANED_PIPE_MS = 1_000;
const TAIL_LINES = 5;

/** A line of output as a log event. */
export async function logLine(context: AdapterContext, stream: "stdout" | "stderr", line: Line): Promise<void> {
  const { text, binary, overlong } = line;
  await context.emit({ type: "log", data: { stream, text, ...(overlong !== undefined && { truncated: overlong }), ...(binary && { encoding: "base64" as const }) } });
}

/**
 * Reads stderr to its end as log events; `tail()` is what it said last, `done` when all of it is journalled.
 * Where the agent is dead and a child of it still holds its pipes, they are closed, so that nobody waits for the child.
 */
export function supervise(context: AdapterContext, process: AgentProcess): { tail(): string; done: Promise<void> } {
  // A pipe that breaks is told by the process's end.
  process.stdin.on("error", () => {});
  void process.exited.then(() => {
    const close = setTimeout(() => {
      process.stdout.destroy();
      process.stderr.destroy();
    }, ORPHANED_PIPE_MS);
    process.stdout.once("close", () => process.stderr.closed && clearTimeout(close));
    process.stderr.once("close", () => process.stdout.closed && clearTimeout(close));
  });
  const last: string[] = [];
  const pump = async () => {
    for await (const line of lines(process.stderr, MAX_LOG_LINE_BYTES)) {
      if (!line.binary && line.text.trim() !== "") last.push(line.text.slice(0, 500));
      if (last.length > TAIL_LINES) last.shift();
      await logLine(context, "stderr", line);
    }
  };
  return { tail: () => last.join("\n"), done: pump() };
}

/** Closes stdin and waits for the agent to leave; one that stays is signalled. */
export async function leave(process: AgentProcess): Promise<{ code: number | null; signal: string | null }> {
  process.stdin.end();
  const term = setTimeout(() => process.kill("SIGTERM"), LEAVE_MS);
  const kill = setTimeout(() => process.kill("SIGKILL"), 2 * LEAVE_MS);
  try {
    return await process.exited;
  } finally {
    clearTimeout(term);
    clearTimeout(kill);
  }
}

/** Why an agent that ended before its result did so. */
export function crashed(agent: string, exit: { code: number | null; signal: string | null }, tail: string): RunError {
  const how = exit.signal === null ? `ended with code ${exit.code ?? "?"}` : `was ended by ${exit.signal}`;
  return { code: "agent_crashed", message: `${agent} ${how} before its result`, ...(tail !== "" && { hint: `its last words: ${tail}`.slice(0, 1_024) }) };
}

/** What an agent reads before the prompt, in a tag that tells it from a person's words. */
export function noticeText(notice: string): string {
  return `<session_notice>\n${notice}\n</session_notice>`;
}

/** For an agent that does not go on by itself with a turn in which it was ended. */
export const GO_ON = `<interrupted_turn>
Your last turn was interrupted: the process that you ran in was ended. What you had finished is kept; a tool call that was under way did not finish, and an approval that you waited for was not given to you.
Go on with the task from where you left off.
</interrupted_turn>`;

/** The texts that begin a turn, in order. */
export function turnTexts(task: AdapterContext["task"]): string[] {
  const { prompt, notice } = task;
  return [...(notice === null ? [] : [noticeText(notice)]), ...(goesOn(task) ? [GO_ON] : [...attachedText(task.attachments), prompt])];
}

/** The images that the agent is shown with the texts: none where its conversation has them already. */
export function turnImages(task: AdapterContext["task"]): readonly AttachedImage[] {
  return goesOn(task) ? [] : task.attachments;
}

/** An image's bytes as base64. */
export function imageData({ path }: AttachedImage): string {
  return readFileSync(path, "base64");
}

function goesOn({ interrupted, conversation }: AdapterContext["task"]): boolean {
  return interrupted && conversation !== null;
}

/** Where the images lie, for an agent that wants to do more with them than look. */
function attachedText(images: readonly AttachedImage[]): string[] {
  if (images.length === 0) return [];
  return [`<attached_images>\n${images.map(({ shown, media_type, size }) => `${shown} (${media_type}, ${size} bytes)`).join("\n")}\n</attached_images>`];
}

/** A short form for messages and hints. */
export function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
