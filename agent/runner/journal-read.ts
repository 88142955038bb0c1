/** Owns reading the journal's lines back, after a runner's death; a first life needs none of it. */

import * as z from "zod";
import { commandBody } from "../../sdk/protocol/runner-link.ts";

const runState = z.object({
  run_id: z.string(),
  agents: z.array(z.object({ pid: z.number().int(), started: z.string() })),
  conversation: z.string().nullable(),
  pending: z.array(z.string()),
});

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
  /** The capsule that was asked for and not yet taken; null: none. */
  capsule: commandBody.nullable().optional(),
  stop: z.string().optional(),
  acked: z.number().int().optional(),
  /** Last number of an earlier life, of which the session has not said yet how much more of it it saw; null: it has. */
  unmet: z.number().int().nullable().optional(),
});
export type JournalLine = z.infer<typeof journalLine>;

/** A line read back; null where it is not one. */
export function parseLine(text: string): JournalLine | null {
  try {
    const parsed = journalLine.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
