/** Owns the capsule: all that a session needs to go on elsewhere, as of one point of its log; and the receipt of a resume. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { toolCall } from "./permission.ts";
import { scope } from "./policy.ts";
import { suspendStrategy } from "./suspend.ts";
import { timestamp } from "./values.ts";

export const capsuleWhy = z.enum(["task_end", "suspend", "manual"]);

/** One tree in a capsule: the workspace, or the agent's own files (conversation, adapter state) below its home. */
export const treeSummary = z.object({
  manifest_id: idOf("manifest"),
  files: z.number().int().min(0),
  bytes: z.number().int().min(0),
  /** Bytes that had to be sent for it. */
  sent_bytes: z.number().int().min(0),
});

/** What was left out, and why: `.marionetteignore`, quota, sockets and devices, unreadable. */
export const leftOut = z.object({ path: z.string().max(4_096), why: z.string().max(300) });

/** A question that waits, or an answer that its agent has not yet had, when an agent is started anew in mid-turn. */
export const carriedPermission = z.object({
  permission_id: idOf("permission"),
  tool: toolCall.shape.tool,
  input: toolCall.shape.input,
  status: z.enum(["pending", "approved", "denied"]),
  reason: z.string().nullable(),
  scope,
});
export type CarriedPermission = z.infer<typeof carriedPermission>;

/** Versioned by its id: newest first in lists. Kept as long as its manifests are. */
export const capsule = z.object({
  id: idOf("capsule"),
  session_id: idOf("session"),
  tenant_id: idOf("tenant"),
  /** The log up to and including this event is what the capsule stands for. */
  seq: z.number().int().min(0),
  task_id: idOf("task").nullable(),
  run_id: idOf("run").nullable(),
  why: capsuleWhy,
  workspace_id: idOf("workspace"),
  workspace: treeSummary,
  state: treeSummary.nullable(),
  /** Files changed while they were read: the trees may be of more than one moment. */
  torn: z.boolean(),
  left_out: z.array(leftOut),
  agent: z.string(),
  model: z.string().nullable(),
  conversation: z.string().nullable(),
  env_names: z.array(z.string()),
  pending_permissions: z.array(idOf("permission")),
  created_at: timestamp,
});
export type Capsule = z.infer<typeof capsule>;

/** A capsule that is being taken because somebody asked for it; events after `seq` say that it is there (`workspace.synced`), or why not (`workspace.sync_failed`). */
export const capsuleAsked = capsule.pick({ id: true, session_id: true, seq: true });
export type CapsuleAsked = z.infer<typeof capsuleAsked>;

/** What a runner is to restore before its first task. `exact`: the trees become the capsule's; `if_missing`: only where the host has none. */
export const restoreOrder = z.object({
  capsule_id: idOf("capsule").nullable(),
  workspace_manifest_id: idOf("manifest"),
  state_manifest_id: idOf("manifest").nullable(),
  mode: z.enum(["exact", "if_missing"]),
});
export type RestoreOrder = z.infer<typeof restoreOrder>;

/** Written into the log at every resume, and given to the agent with its next prompt as `text`. */
export const receipt = z.object({
  capsule_id: idOf("capsule").nullable(),
  strategy: suspendStrategy.nullable(),
  from_host_id: idOf("host").nullable(),
  to_host_id: idOf("host").nullable(),
  survived: z.array(z.string().max(500)).max(50),
  lost: z.array(z.string().max(500)).max(50),
  text: z.string().max(8_192),
});
export type Receipt = z.infer<typeof receipt>;

/** `at`: an event's number, a task (its end) or a capsule; absent: the latest capsule. */
export const sessionFork = z.strictObject({
  seq: z.number().int().min(1).optional(),
  task_id: idOf("task").optional(),
  capsule_id: idOf("capsule").optional(),
  name: z.string().min(1).max(120).optional(),
  api_key: z.string().min(1).max(4_096).optional(),
}).refine((fork) => [fork.seq, fork.task_id, fork.capsule_id].filter((at) => at !== undefined).length <= 1, "give one of seq, task_id and capsule_id");
export type SessionFork = z.infer<typeof sessionFork>;
