/** Owns the permission request: one tool call that waits for a person's answer, for as long as it takes. */

import * as z from "zod";
import { grantKeys } from "./approval.ts";
import { budgetCaps } from "./budget.ts";
import { idOf } from "./ids.ts";
import { risk, scope } from "./policy.ts";
import { json, timestamp } from "./values.ts";

export const permissionStatus = z.enum(["pending", "approved", "denied", "canceled"]);
export type PermissionStatus = z.infer<typeof permissionStatus>;

/** One tool call as the gate describes it; `summary` is the exact command, path or URL, for people. */
export const toolCall = z.object({
  tool: z.string().min(1).max(200),
  input: json,
  summary: z.string().max(8_192),
  risk,
  /** Why it has this risk, and why it is asked: a few short sentences. */
  reasons: z.array(z.string().max(500)).max(20),
});
export type ToolCall = z.infer<typeof toolCall>;

export const permissionDecision = z.object({
  /** The API key's id. */
  by: z.string(),
  by_name: z.string().nullable(),
  reason: z.string().nullable(),
  scope,
  at: timestamp,
});

export const permission = z.object({
  id: idOf("permission"),
  session_id: idOf("session"),
  task_id: idOf("task"),
  run_id: idOf("run"),
  tenant_id: idOf("tenant"),
  status: permissionStatus,
  ...toolCall.shape,
  /** What an approval for the turn or the session covers beyond this call: what is alike, or null for the identical call; absent: nothing. */
  keys: grantKeys.nullable().optional(),
  decision: permissionDecision.nullable(),
  created_at: timestamp,
  ended_at: timestamp.nullable(),
  version: z.number().int(),
});
export type Permission = z.infer<typeof permission>;

export const permissionApprove = z.strictObject({
  reason: z.string().max(2_000).optional(),
  scope: scope.default("once"),
  /** Only for a request of the tool `budget`: the caps from now on; absent: what was the cap is granted once more. */
  budget: budgetCaps.optional(),
});
export const permissionDeny = z.strictObject({ reason: z.string().max(2_000).optional() });
export type PermissionApprove = z.infer<typeof permissionApprove>;
export type PermissionDeny = z.infer<typeof permissionDeny>;
