/** Owns the record of a turn as it goes, so that a turn whose process died can be taken up again: what is finished is not done twice. */

import * as z from "zod";
import { callsOf, message, notRun, toolResultPart, type Message, type ToolResultPart } from "./messages.ts";

/** One step of a turn, written before the next is taken. */
export const journalEntry = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message"), message }),
  /** The call begins; without a `finished` for it, nobody knows how far it came. */
  z.object({ type: z.literal("started"), callId: z.string() }),
  z.object({ type: z.literal("finished"), result: toolResultPart }),
]);
export type JournalEntry = z.infer<typeof journalEntry>;
/** Where entries go. Awaited: what it throws ends the turn. */
export type Recorder = (entry: JournalEntry) => Promise<void> | void;

const INTERRUPTED = "This call had begun when the process that ran it died; whether and how far it took effect is not known, and it was not run again. Look before you repeat it.";

export interface Resumable {
  /** Up to and with the last message of the model, if it called tools. */
  history: Message[];
  /** Results that are there already, of calls of that last message; calls that are not among them have never begun. */
  results: Map<string, ToolResultPart>;
}

/** What the entries of an unfinished turn come to. */
export function replay(entries: readonly JournalEntry[]): Resumable {
  const history: Message[] = [];
  let results = new Map<string, ToolResultPart>();
  let started = new Set<string>();
  for (const entry of entries) {
    if (entry.type === "message") {
      history.push(entry.message);
      results = new Map();
      started = new Set();
    } else if (entry.type === "started") started.add(entry.callId);
    else results.set(entry.result.callId, entry.result);
  }
  for (const call of callsOf(history.at(-1))) {
    if (started.has(call.callId) && !results.has(call.callId)) results.set(call.callId, notRun(call, INTERRUPTED));
  }
  return { history, results };
}
