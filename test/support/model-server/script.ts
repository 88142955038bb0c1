/** Owns the script of a model's replies: steps written as JSON into the prompt, and which step a request has come to. */

import * as z from "zod";

const call = z.strictObject({
  tool: z.string(),
  /** Arguments of a function tool; a string is sent as it is: the whole input of a free-form (custom) tool, or arguments that are no JSON. */
  input: z.union([z.string(), z.record(z.string(), z.json())]).default({}),
});

/** Failures come first, one for each request, `times` of each; then the step itself is served. */
const failure = z.strictObject({
  status: z.number().int().min(400).max(599),
  retry_after: z.number().optional(),
  message: z.string().default("scripted failure"),
  times: z.number().int().min(1).default(1),
});

export const step = z.strictObject({
  thinking: z.string().optional(),
  text: z.string().optional(),
  /** One reply with several of them calls the tools in parallel. */
  calls: z.array(call).default([]),
  /** Why the reply ends, where it is not because it has said and called all. */
  stop: z.enum(["length", "refusal"]).optional(),
  /** Milliseconds before the first byte. */
  wait: z.number().default(0),
  /** Milliseconds between two pieces of the stream. */
  delay: z.number().default(0),
  fail: z.array(failure).default([]),
  /** The connection is torn after so many pieces, `cut_times` times. */
  cut_after: z.number().int().min(0).optional(),
  cut_times: z.number().int().min(1).default(1),
});
export type Step = z.infer<typeof step>;
export type StepInput = z.input<typeof step>;

const MARK = "model-script:";

/** A prompt of `words` whose replies are scripted: the nth reply to it is the nth step. Failures are counted for each text, so two prompts that fail need different words. */
export function script(steps: readonly StepInput[], words = "Do as scripted."): string {
  return `${words}\n${MARK} ${JSON.stringify(steps)}`;
}

/** What the model has been told last, and how many of its replies came since. */
export interface Conversation {
  /** Texts of the last message that a person wrote. */
  prompt: string[];
  replies: number;
}

export interface Chosen {
  step: Step;
  /** Tells this step of this script apart from others, to count its failures. */
  key: string;
}

/** The steps that a text holds: the JSON behind the mark on a line of its own; null where it holds none. */
export function stepsIn(text: string): Step[] | null {
  const line = text.split("\n").findLast((one) => one.startsWith(MARK));
  return line === undefined ? null : z.array(step).parse(JSON.parse(line.slice(MARK.length)));
}

/** The step that answers this conversation; without a script, a reply that repeats the prompt's first line. */
export function choose({ prompt, replies }: Conversation): Chosen {
  for (const text of prompt.toReversed()) {
    const steps = stepsIn(text);
    if (steps === null) continue;
    return { step: steps[replies] ?? step.parse({ text: `The script has no step ${replies}.` }), key: `${replies} ${text}` };
  }
  const first = prompt.at(-1)?.split("\n", 1)[0]?.slice(0, 200) ?? "";
  return { step: step.parse({ text: `Heard: ${first}` }), key: "" };
}

/** Whether a text of the user's role was written by the agent itself (reminders, surroundings), not by a person. */
export function isFurniture(text: string): boolean {
  return /^\s*</.test(text) || text.startsWith("[Request interrupted by user") || text === "Tool loaded." || text === "Continue from where you left off." || text.startsWith("# AGENTS.md");
}

/** Counts failures and cuts that each step has already served. */
export class Misfortunes {
  readonly #served = new Map<string, number>();

  /** The failure that this request gets, `"cut"`, or null where it goes well. */
  next({ step, key }: Chosen): Step["fail"][number] | "cut" | null {
    const planned = [...step.fail.flatMap((f) => Array.from({ length: f.times }, () => f)), ...(step.cut_after === undefined ? [] : Array.from({ length: step.cut_times }, () => "cut" as const))];
    if (planned.length === 0) return null;
    const served = this.#served.get(key) ?? 0;
    this.#served.set(key, served + 1);
    return planned[served] ?? null;
  }
}

/** A text in the pieces in which a model would stream it. */
export function pieces(text: string): string[] {
  return text.match(/\s*\S+\s*/g) ?? (text ? [text] : []);
}

/** Roughly how many tokens a value takes. */
export function tokens(value: unknown): number {
  return Math.ceil((typeof value === "string" ? value : JSON.stringify(value ?? "")).length / 4);
}
