/** Owns asking a person about one tool call: what is shown, what may be answered, and telling the server. */

import { ConflictError } from "../../core/errors.ts";
import type { Marionette } from "../../client.ts";
import type { Risk, Scope } from "../../protocol/index.ts";
import { neutralise, oneLine, type Paint } from "../output/terminal.ts";
import { riskStyle } from "../output/views.ts";
import type { LineReader } from "./lines.ts";

/** What is asked, from an event or from a permission. */
export interface Question {
  permission_id: string;
  tool: string;
  input: unknown;
  summary: string;
  risk: Risk;
  reasons: readonly string[];
}

export type Answer = { approve: true; scope: Scope } | { approve: false; reason: string | undefined };

const SHOWN_LINES = 40;
const SHOWN_CHARS = 4_000;

/** The question in full: a person must see what they allow, so what is left out is counted and named. */
function questionLines(question: Question, paint: Paint): string[] {
  const all = neutralise(question.summary);
  const lines = all.slice(0, SHOWN_CHARS).split("\n");
  const shown = lines.slice(0, SHOWN_LINES);
  const hidden = all.length - shown.join("\n").length;
  return [
    "",
    `${paint("yellow", "?")} ${paint("bold", oneLine(question.tool))}  ${paint(riskStyle(question.risk), `${question.risk} risk`)}`,
    ...shown.map((line) => `    ${line}`),
    ...(hidden > 0 ? [paint("yellow", `    … ${hidden} more characters: mctl permissions get ${question.permission_id}`)] : []),
    ...question.reasons.map((reason) => paint("dim", `  ${oneLine(reason)}`)),
  ];
}

/** Asks until there is an answer; null where the input ended or the question was taken back (aborted). */
export async function ask(question: Question, lines: LineReader, write: (text: string) => void, paint: Paint, signal: AbortSignal): Promise<Answer | null> {
  for (const line of questionLines(question, paint)) write(`${line}\n`);
  for (let first = true; ; first = false) {
    write("  allow? [y]es once, for this [t]urn, for this [s]ession, [n]o: ");
    const line = await lines.next(signal, first);
    if (line === null) return null;
    const [word = "", ...rest] = line.trim().split(/\s+/);
    switch (word.toLowerCase()) {
      case "y":
      case "yes":
        return { approve: true, scope: "once" };
      case "t":
      case "turn":
        return { approve: true, scope: "turn" };
      case "s":
      case "session":
        return { approve: true, scope: "session" };
      case "n":
      case "no": {
        if (rest.length > 0) return { approve: false, reason: rest.join(" ") };
        write("  why (the agent is told; Enter for nothing): ");
        const reason = await lines.next(signal);
        if (signal.aborted) return null;
        return { approve: false, reason: reason?.trim() || undefined };
      }
      default:
    }
  }
}

/** Sends the answer. Where somebody was faster, says in words what was decided; else null. */
export async function answer(client: Marionette, permissionId: string, given: Answer, signal?: AbortSignal): Promise<string | null> {
  try {
    if (given.approve) await client.permissions.approve(permissionId, { scope: given.scope }, { signal });
    else await client.permissions.deny(permissionId, { ...(given.reason && { reason: given.reason }) }, { signal });
    return null;
  } catch (error) {
    if (error instanceof ConflictError) return error.message;
    throw error;
  }
}
