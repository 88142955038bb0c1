/** Owns one line of the journal: everything that one turn of the runner changed, so that it is there as a whole or not at all. */

import type { CommandBody } from "../../sdk/protocol/runner-link.ts";
import type { JournalLine } from "./journal-read.ts";

export type TaskStart = Extract<CommandBody, { kind: "task.start" }>;
export type CapsuleOrdered = Extract<CommandBody, { kind: "capsule" }>;
export type RunIds = { task_id: string; run_id: string };

/** A process group of an agent, known again by its start time. */
export interface AgentGroup {
  pid: number;
  started: string;
}

/** What must be known of the run under way after the runner's death. */
export interface RunState {
  run_id: string;
  agents: AgentGroup[];
  conversation: string | null;
  /** Permission requests that wait. */
  pending: string[];
}

/** Consecutive items of one run, as JSON text without the brackets: written once, sent as often as needed. */
export interface Block extends Partial<RunIds> {
  from: number;
  count: number;
  inner: string;
}

/** A block as it stands in a line, and, with its type before it, in a frame. */
export function blockText({ from, task_id, run_id, inner }: Block, type = ""): string {
  return `{${type}"from":${from},"task_id":${JSON.stringify(task_id ?? null)},"run_id":${JSON.stringify(run_id ?? null)},"items":[${inner}]}`;
}

/** A line's text; `blocks` are already JSON. */
export function lineText(line: Omit<JournalLine, "events">, blocks: readonly Block[]): string {
  const rest = JSON.stringify(line);
  if (blocks.length === 0) return `${rest}\n`;
  const events = `"events":[${blocks.map((each) => blockText(each)).join(",")}]`;
  return rest === "{}" ? `{${events}}\n` : `${rest.slice(0, -1)},${events}}\n`;
}
