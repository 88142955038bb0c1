/** Owns the session resource: what a client may ask for and what it is shown. */

import * as z from "zod";
import { sessionArchive } from "./history.ts";
import { approval, MAX_GRANTS } from "./approval.ts";
import { agentConfigRef, baseUrl, providerKey } from "./agent-config.ts";
import { budgetCaps, budgetState } from "./budget.ts";
import { idOf } from "./ids.ts";
import { MAX_RULES } from "./limits.ts";
import { editMode, rule } from "./policy.ts";
import { lifecycleMode, suspendStrategy, suspension } from "./suspend.ts";
import { env, labels, name, oneLine, slug, timestamp } from "./values.ts";

export const sessionStatus = z.enum(["pending", "active", "suspending", "suspended", "resuming", "terminated"]);
export type SessionStatus = z.infer<typeof sessionStatus>;

/** `per-session`: one runner serves task after task; `per-task`: every task gets a fresh runner. */
export const runnerLifecycle = z.enum(["per-session", "per-task"]);

export const sandboxKind = z.enum(["docker", "bubblewrap", "process"]);
export type SandboxKind = z.infer<typeof sandboxKind>;

/** Longest that a session may be told to wait for anything: 30 days. */
const seconds = z.number().int().min(1).max(2_592_000);
/** How a session lives when it has nothing to do, and what becomes of its files. */
const living = {
  lifecycle_mode: lifecycleMode.refine((mode) => mode !== "scheduled", "scheduled needs a schedule, and is set by creating one"),
  /** `on_demand`: suspended after so long without work. */
  idle_timeout_seconds: seconds,
  /** Suspended when a permission request has waited for so long without an answer. */
  suspend_after_seconds: seconds,
  /** Days that the workspace is kept after the session has ended. */
  retention_days: z.number().int().min(1).max(30),
};
/** Largest size of the workspace in MiB. */
const quota = z.number().int().min(1).max(16_777_216);

const isPlainPath = (path: string) => path.slice(1).split("/").every((part) => part !== "" && part !== "." && part !== "..");
/** An absolute path on a host, in the host's own spelling. */
export const hostPath = oneLine(4_096).regex(/^\/./, "expected an absolute path").refine(isPlainPath, "expected a path without '.', '..', '//' and a slash at its end");
/** A directory of a host's own, in which a session works instead of a workspace. Its files stay its owner's: they are in no capsule, and nothing restores or removes them. */
export const sessionDirectory = z.strictObject({ host_id: idOf("host"), path: hostPath });
export type SessionDirectory = z.infer<typeof sessionDirectory>;

export const sessionCreate = z.strictObject({
  agent: slug,
  name: name.optional(),
  labels: labels.default({}),
  model: oneLine(200).min(1).optional(),
  /**
   * The model provider's key (BYOK): sealed for the model gateway so that only the runner's token opens it, never in a sandbox, never shown, gone
   * with its attachment.
   */
  api_key: providerKey.optional(),
  /** Where the model provider is, beside `api_key`; absent: the provider's own address. */
  base_url: baseUrl.optional(),
  /** Instead of `api_key`: a config of the tenant, by id or name. */
  agent_config: agentConfigRef.optional(),
  /** Caps on what the session's model calls may spend in all. */
  budget: budgetCaps.optional(),
  pool: slug.default("default"),
  provider: slug.optional(),
  /** Label conditions on the host: `gpu=nvidia,vram>=16GB`. */
  selector: z.string().min(1).max(500).optional(),
  workspace_id: idOf("workspace").optional(),
  /** Work in this directory of this host instead of a workspace of its own; below one of the host's `browse_roots`. Needs a key with the scope `admin`. */
  directory: sessionDirectory.optional(),
  runner_lifecycle: runnerLifecycle.default("per-session"),
  edit_mode: editMode.default("off"),
  rules: z.array(rule).max(MAX_RULES).default([]),
  env: env.default({}),
  /** Keep the agent's own record beside every event. */
  keep_raw: z.boolean().default(true),
  lifecycle_mode: living.lifecycle_mode.default("on_demand"),
  idle_timeout_seconds: living.idle_timeout_seconds.default(900),
  suspend_after_seconds: living.suspend_after_seconds.default(1_800),
  /** Absent: as its provider is configured. */
  suspend_strategy: suspendStrategy.optional(),
  workspace_quota_mb: quota.optional(),
  retention_days: living.retention_days.default(7),
});
export type SessionCreate = z.infer<typeof sessionCreate>;

export const sessionPatch = z.strictObject({
  name: name.nullable().optional(),
  labels: labels.optional(),
  edit_mode: editMode.optional(),
  rules: z.array(rule).max(MAX_RULES).optional(),
  /** The approvals to keep, by their requests; all others are asked about again. */
  approvals: z.array(idOf("permission")).max(2 * MAX_GRANTS).optional(),
  api_key: providerKey.optional(),
  base_url: baseUrl.nullable().optional(),
  agent_config: agentConfigRef.nullable().optional(),
  budget: budgetCaps.nullable().optional(),
  lifecycle_mode: living.lifecycle_mode.optional(),
  idle_timeout_seconds: living.idle_timeout_seconds.optional(),
  suspend_after_seconds: living.suspend_after_seconds.optional(),
  suspend_strategy: suspendStrategy.nullable().optional(),
  /** From the next runner on. */
  workspace_quota_mb: quota.nullable().optional(),
  retention_days: living.retention_days.optional(),
});
export type SessionPatch = z.infer<typeof sessionPatch>;

/** The runner that serves the session now. `isolation` says in words what holds the agent. */
export const attachedRunner = z.object({
  id: idOf("runner"),
  host_id: idOf("host"),
  epoch: z.number().int(),
  provider: z.string(),
  sandbox: sandboxKind.nullable(),
  isolation: z.string().nullable(),
  /** `held`: frozen or saved by a suspension. */
  state: z.enum(["starting", "connected", "disconnected", "stopping", "held"]),
});
export type AttachedRunner = z.infer<typeof attachedRunner>;

export const usage = z.object({
  input_tokens: z.number().int().min(0),
  output_tokens: z.number().int().min(0),
  cache_read_tokens: z.number().int().min(0),
  cache_write_tokens: z.number().int().min(0),
  reasoning_tokens: z.number().int().min(0),
  /** US dollars: the gateway's count where its price book has the model, else as the agent reports them; null where nobody knows. */
  cost_usd: z.number().min(0).nullable(),
});
export type Usage = z.infer<typeof usage>;

export const session = z.object({
  id: idOf("session"),
  tenant_id: idOf("tenant"),
  name: z.string().nullable(),
  agent: z.string(),
  model: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  status: sessionStatus,
  /** Why it is as it is, in words: what it waits for, why it ended. */
  status_reason: z.string().nullable(),
  pool: z.string(),
  provider: z.string().nullable(),
  selector: z.string().nullable(),
  workspace_id: idOf("workspace"),
  /** Where it works instead of a workspace of its own. */
  directory: sessionDirectory.nullable().optional(),
  /** The host that holds the workspace's files; a session stays with it. */
  host_id: idOf("host").nullable(),
  runner_lifecycle: runnerLifecycle,
  edit_mode: editMode,
  rules: z.array(rule),
  /** What people approved for the turn that runs, or for the session. */
  approvals: z.array(approval).optional(),
  /** Names of the variables that were given; values are not shown. */
  env_names: z.array(z.string()),
  has_api_key: z.boolean(),
  base_url: z.string().nullable().optional(),
  agent_config_id: idOf("agent_config").nullable().optional(),
  budget: budgetState.nullable().optional(),
  keep_raw: z.boolean(),
  lifecycle_mode: lifecycleMode,
  /** The schedule that it lives by. */
  schedule_id: idOf("schedule").nullable().optional(),
  idle_timeout_seconds: z.number().int(),
  suspend_after_seconds: z.number().int(),
  suspend_strategy: suspendStrategy.nullable(),
  workspace_quota_mb: z.number().int().nullable(),
  retention_days: z.number().int(),
  /** Set while the session is suspended, or on its way there or back. */
  suspension: suspension.nullable(),
  /** The first task that waits was interrupted in the middle of its turn, and goes on with the next runner. */
  interrupted: z.boolean(),
  /** The latest state that can be restored anywhere. */
  capsule_id: idOf("capsule").nullable(),
  forked_from: z.object({ session_id: idOf("session"), capsule_id: idOf("capsule"), seq: z.number().int() }).nullable(),
  runner: attachedRunner.nullable(),
  /** The task that runs now. */
  task_id: idOf("task").nullable(),
  queued_tasks: z.number().int(),
  pending_permissions: z.number().int(),
  usage,
  last_seq: z.number().int(),
  created_at: timestamp,
  updated_at: timestamp,
  ended_at: timestamp.nullable(),
  /** Where the events of an ended session have gone; absent while they are in the session's object. */
  archive: sessionArchive.optional(),
  version: z.number().int(),
});
export type Session = z.infer<typeof session>;
