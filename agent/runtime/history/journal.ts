/** Owns the record of a turn as it goes, so that a turn whose process died can be taken up again: what is finished is not done twice. */

import * as z from "zod";
import { callsOf, message, notRun, toolResultPart, type Message, type ToolResultPart } from "./messages.ts";

const step = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message"), message }),
  /** The call begins; without a `finished` for it, nobody knows how far it came. */
  z.object({ type: z.literal("started"), callId: z.string() }),
  z.object({ type: z.literal("finished"), result: toolResultPart }),
]);
/** A step of the subagent that the call has started. */
export interface InsideEntry {
  type: "inside";
  callId: string;
  entry: JournalEntry;
}
export type JournalEntry = z.infer<typeof step> | InsideEntry;
/** One step of a turn, written before the next is taken. */
export const journalEntry: z.ZodType<JournalEntry> = z.union([step, z.object({ type: z.literal("inside"), callId: z.string(), entry: z.lazy((): z.ZodType<JournalEntry> => journalEntry) })]);
/** Where entries go. Awaited: what it throws ends the turn. */
export type Recorder = (entry: JournalEntry) => Promise<void> | void;

const INTERRUPTED = "This call had begun when the process that ran it died; whether and how far it took effect is not known, and it was not run again. Look before you repeat it.";

export interface Resumable {
  /** Up to and with the last message of the model, if it called tools. */
  history: Message[];
  /** Results that are there already, of calls of that last message; of the others, those that are `inside` go on, and the rest has never begun. */
  results: Map<string, ToolResultPart>;
  /** What subagents have done whose calls had begun and not ended. */
  inside: Map<string, JournalEntry[]>;
}

/** The result of a call that nobody takes up again. */
export function interrupted(call: Pick<ToolResultPart, "callId" | "tool">): ToolResultPart {
  return notRun(call, INTERRUPTED);
}

/** What the entries of an unfinished turn come to. */
export function replay(entries: readonly JournalEntry[]): Resumable {
  const history: Message[] = [];
  let results = new Map<string, ToolResultPart>();
  let started = new Set<string>();
  let inside = new Map<string, JournalEntry[]>();
  for (const entry of entries) {
    if (entry.type === "message") {
      history.push(entry.message);
      results = new Map();
      started = new Set();
      inside = new Map();
    } else if (entry.type === "started") started.add(entry.callId);
    else if (entry.type === "inside") {
      const steps = inside.get(entry.callId) ?? [];
      steps.push(entry.entry);
      inside.set(entry.callId, steps);
    }
    else results.set(entry.result.callId, entry.result);
  }
  for (const call of callsOf(history.at(-1))) {
    if (started.has(call.callId) && !results.has(call.callId) && !inside.has(call.callId)) results.set(call.callId, interrupted(call));
  }
  return { history, results, inside };
}
