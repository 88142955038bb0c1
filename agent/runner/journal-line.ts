/** Owns one line of the journal: everything that one turn of the runner changed, so that it is there as a whole or not at all. */

import * as z from "zod";
import { grant } from "../../sdk/protocol/decide.ts";
import { commandBody, type CommandBody } from "../../sdk/protocol/index.ts";

export type TaskStart = Extract<CommandBody, { kind: "task.start" }>;
export type RunIds = { task_id: string; run_id: string };

/** A process group of an agent, known again by its start time. */
const agentGroup = z.object({ pid: z.number().int(), started: z.string() });
export type AgentGroup = z.infer<typeof agentGroup>;

/** What must be known of the run under way after the runner's death. */
const runState = z.object({
  run_id: z.string(),
  agents: z.array(agentGroup),
  conversation: z.string().nullable(),
  /** Permission requests that wait. */
  pending: z.array(z.string()),
});
export type RunState = z.infer<typeof runState>;

const block = z.object({ from: z.number().int(), task_id: z.string().nullable(), run_id: z.string().nullable(), items: z.array(z.unknown()) });

export const journalLine = z.object({
  /** First line of a file only: whose journal this is, and where its numbers stood. */
  head: z.object({ version: z.literal(1), session_id: z.string(), runner_id: z.string(), epoch: z.number().int(), last: z.number().int() }).optional(),
  events: z.array(block).optional(),
  /** Highest command id received. */
  command: z.number().int().optional(),
  /** Tasks received; each waits or runs until it is among `ended`. */
  starts: z.array(commandBody).optional(),
  ended: z.array(z.string()).optional(),
  /** Null: nothing runs. */
  run: runState.nullable().optional(),
  grants: z.array(grant).optional(),
  stop: z.string().optional(),
  acked: z.number().int().optional(),
});
export type JournalLine = z.infer<typeof journalLine>;

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

/** A line read back; null where it is not one. */
export function parseLine(text: string): JournalLine | null {
  try {
    const parsed = journalLine.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
