/**
 * Owns giving a chat endpoint its model's thoughts back in the field in which they came. DeepSeek, Kimi and Gemini (behind OpenRouter) refuse a
 * conversation whose tool calls come back without them, others refuse every field but their own: the wire has no rule, so each gets what it gave.
 */

import * as z from "zod";

/** A piece of OpenRouter's `reasoning_details`: text, a summary, or what only the vendor can read. */
const detail = z.object({ type: z.string(), text: z.string().nullish(), summary: z.string().nullish(), index: z.number().nullish() }).loose();
type Detail = z.infer<typeof detail>;
const chunk = z.object({ choices: z.array(z.object({ delta: z.object({ reasoning_content: z.unknown(), reasoning: z.unknown(), reasoning_details: z.array(detail).nullish().catch(null) }).partial() })) });
/** What is kept beside a thought; its text is the thought's own. */
const kept = z.union([z.object({ reasoning_details: z.array(z.json()) }), z.object({ field: z.enum(["reasoning_content", "reasoning"]) })]);

/** Sees every chunk of one answer; `kept` then says how its thoughts came. */
export class ThoughtsTold {
  #field: "reasoning_content" | "reasoning" | null = null;
  readonly #details: Detail[] = [];

  take(raw: unknown): void {
    const delta = chunk.safeParse(raw).data?.choices[0]?.delta;
    if (typeof delta?.reasoning === "string" && delta.reasoning !== "") this.#field = "reasoning";
    if (typeof delta?.reasoning_content === "string" && delta.reasoning_content !== "") this.#field = "reasoning_content";
    for (const one of delta?.reasoning_details ?? []) this.#add(one);
  }

  get kept(): Record<string, z.core.util.JSONType> | null {
    if (this.#details.length > 0) return { reasoning_details: z.array(z.json()).parse(this.#details) };
    return this.#field === null ? null : { field: this.#field };
  }

  /** A text comes piece by piece, its signature with the last of them; what is encrypted comes whole. */
  #add(one: Detail): void {
    const last = this.#details.at(-1);
    if (last?.type !== one.type || last.index !== one.index || "data" in one) return void this.#details.push({ ...one });
    for (const [name, value] of Object.entries(one)) {
      const before = last[name];
      if ((name === "text" || name === "summary") && typeof value === "string") last[name] = `${typeof before === "string" ? before : ""}${value}`;
      else if (value !== null && value !== undefined) last[name] = value;
    }
  }
}

/** The fields of a message that say its thought; null where it came from elsewhere, such as another provider before the model was changed. */
export function thoughtFields(thought: { text: string; provider?: Record<string, unknown> | undefined }): Record<string, z.core.util.JSONType> | null {
  const { data } = kept.safeParse(thought.provider);
  if (data === undefined) return null;
  return "field" in data ? { [data.field]: thought.text } : data;
}
