/** Owns the words of permission policy: risk levels, rules, edit modes and the decision for one tool call. */

import * as z from "zod";

export const risk = z.enum(["low", "medium", "high", "critical"]);
export type Risk = z.infer<typeof risk>;

/** What a rule says for the calls that it matches. */
export const verdict = z.enum(["allow", "deny", "ask"]);
export type Verdict = z.infer<typeof verdict>;

/**
 * One rule; the last rule that matches decides. A field that is left out matches everything.
 * `tool` and `pattern` are globs (`*` any run of characters, `?` one); `pattern` is matched against the call's
 * subject: the command of a shell tool (each simple command inside it must match for `allow`, any for `deny` and `ask`),
 * the path of a file tool, the URL of a fetch.
 */
export const rule = z.strictObject({
  tool: z.string().min(1).max(200).optional(),
  pattern: z.string().min(1).max(1_000).optional(),
  risk: risk.optional(),
  verdict,
  reason: z.string().max(500).optional(),
});
export type Rule = z.infer<typeof rule>;

/** `off`: edits are asked like any medium call; `turn`: allowed until the task ends; `session`: allowed while the session lives. */
export const editMode = z.enum(["off", "turn", "session"]);
export type EditMode = z.infer<typeof editMode>;

/** How far an approval reaches: this call, calls like it in this task, calls like it in this session. */
export const scope = z.enum(["once", "turn", "session"]);
export type Scope = z.infer<typeof scope>;
