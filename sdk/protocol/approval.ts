/** Owns approvals with a scope: what one covers, how many a session remembers, and how people see them. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { risk, type Risk } from "./policy.ts";
import { timestamp, type Json } from "./values.ts";

/** Most approvals with a scope that a session remembers; beyond it the oldest is asked about again. */
export const MAX_GRANTS = 100;
/** All of them together, in characters of JSON. */
const MAX_GRANTS_CHARS = 524_288;
/** Inputs beyond this are not remembered, and so asked again. */
export const MAX_GRANT_CHARS = 16_384;

/** What is alike in calls that one approval covers. */
export const grantKeys = z.array(z.string().max(1_000)).max(100);

/**
 * What an approval with a scope covers: the same tool, of no higher risk, where every part has a key among `keys`
 * (program and subcommand of each simple command; the host of a fetch; any path for edits inside the workspace).
 * Where `keys` is null, and for critical calls always, only the identical `input` (as JSON) is covered.
 */
export const grant = z.object({ tool: z.string().max(200), risk, keys: grantKeys.nullable(), input: z.string().max(MAX_GRANT_CHARS) });
export type Grant = z.infer<typeof grant>;

/** An approval that a session remembers, until the turn or the session ends. */
export const approval = z.object({
  permission_id: idOf("permission"),
  scope: z.enum(["turn", "session"]),
  tool: z.string(),
  risk,
  /** What is alike in the calls that it covers; null: only the identical call. */
  keys: z.array(z.string()).nullable(),
  /** The call that was approved. */
  summary: z.string(),
  by: z.string(),
  by_name: z.string().nullable(),
  at: timestamp,
});
export type Approval = z.infer<typeof approval>;

/** The newest of these, as many as are remembered; of two that cover the same, the later one. */
export function keepGrants<G extends Grant>(grants: readonly G[]): G[] {
  const told = new Set<string>();
  const kept: G[] = [];
  let chars = 0;
  for (const each of grants.toReversed()) {
    const what = JSON.stringify([each.tool, each.risk, each.keys, each.input]);
    if (told.has(what)) continue;
    told.add(what);
    chars += what.length;
    if (kept.length === MAX_GRANTS || chars > MAX_GRANTS_CHARS) break;
    kept.push(each);
  }
  return kept.reverse();
}

/**
 * What approving a recorded request with a scope grants; null where only that one call can be approved. `keys` as the gate recorded them: what is
 * alike, or null for the identical input, which the request then shows whole; undefined: nothing is remembered.
 */
export function grantOfRequest({ tool, risk, input, keys }: { tool: string; risk: Risk; input: Json; keys?: string[] | null | undefined }): Grant | null {
  if (keys === undefined) return null;
  if (risk !== "critical" && keys !== null) return { tool, risk, keys, input: "" };
  const whole = JSON.stringify(input);
  return whole.length > MAX_GRANT_CHARS ? null : { tool, risk, keys: null, input: whole };
}
