/** Owns where a session's conversations with `marco` are kept: one file each in its home, a line a step, written before the next step is taken. */

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { interrupted, journalEntry, replay, type JournalEntry } from "../history/journal.ts";
import { callsOf, notRun, type Message } from "../history/messages.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$/;
const line = z.union([z.object({ type: z.literal("turn"), task: z.string() }), z.object({ type: z.literal("end") }), journalEntry]);
type Line = z.infer<typeof line>;

export interface Opened {
  /** What was said before the turn that is to run now. */
  history: Message[];
  /** Steps of this very task, whose last attempt died or failed; empty where it has not begun. */
  open: JournalEntry[];
}

/** Where the conversation lies. Throws where the name is no name. */
function fileOf(home: string, conversation: string): string {
  if (!NAME.test(conversation)) throw new Error(`'${conversation.slice(0, 50)}' is not the name of a conversation`);
  return join(home, ".marco", "conversations", `${conversation}.jsonl`);
}

/** Reads a conversation that may have been broken off anywhere; a line that is half written was never done. */
export function openConversation(home: string, conversation: string, task: string): Opened {
  const history: Message[] = [];
  /** The turn that has begun and not ended, by its task. */
  let of: string | null = null;
  let entries: JournalEntry[] = [];
  const close = () => {
    history.push(...whole(entries));
    of = null;
    entries = [];
  };
  for (const one of linesOf(fileOf(home, conversation))) {
    if (one.type === "turn") {
      // The same task once more: what its last attempt did is where this one goes on.
      if (of !== one.task) close();
      of = one.task;
    } else if (one.type === "end") close();
    else entries.push(one);
  }
  if (of === task) return { history, open: entries };
  close();
  return { history, open: [] };
}

/** The messages of a turn that nobody will take up again: every call gets a result. */
function whole(entries: readonly JournalEntry[]): Message[] {
  const { history, results, inside } = replay(entries);
  const calls = callsOf(history.at(-1));
  return calls.length === 0 ? history : [...history, { role: "tool", content: calls.map((call) => results.get(call.callId) ?? (inside.has(call.callId) ? interrupted(call) : notRun(call, "not run: the turn was broken off before"))) }];
}

function linesOf(path: string): Line[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return text.split("\n").flatMap((one) => {
    try {
      const parsed = line.safeParse(JSON.parse(one));
      return parsed.success ? [parsed.data] : [];
    } catch {
      return [];
    }
  });
}

/** Appends the steps of one turn. Each is on the disk when `record` returns. */
export class ConversationLog {
  readonly #file: number;

  constructor(home: string, conversation: string, task: string) {
    const path = fileOf(home, conversation);
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    this.#file = openSync(path, "a", 0o600);
    // A line that was cut off by a crash must not swallow the next.
    this.#write("\n");
    this.#append({ type: "turn", task });
  }

  record(entry: JournalEntry): void {
    this.#append(entry);
    fsyncSync(this.#file);
  }

  /** Nothing more is done of the turn. One that did not complete stays open: another attempt of its task goes on from there. */
  end({ completed }: { completed: boolean }): void {
    if (completed) this.#append({ type: "end" });
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #append(entry: Line): void {
    this.#write(`${JSON.stringify(entry)}\n`);
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
  }
}
