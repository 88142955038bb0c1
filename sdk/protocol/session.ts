/** Owns the session resource: what a client may ask for and what it is shown. */

import * as z from "zod";
import { sessionArchive } from "./history.ts";
import { baseUrl, providerKey } from "./agent-config.ts";
import { budgetCaps, budgetState } from "./budget.ts";
import { idOf } from "./ids.ts";
import { MAX_RULES } from "./limits.ts";
import { editMode, rule } from "./policy.ts";
import { env, labels, name, oneLine, slug, timestamp } from "./values.ts";

export const sessionStatus = z.enum(["pending", "active", "suspending", "suspended", "resuming", "terminated"]);
export type SessionStatus = z.infer<typeof sessionStatus>;

/** `per-session`: one runner serves task after task; `per-task`: every task gets a fresh runner. */
export const runnerLifecycle = z.enum(["per-session", "per-task"]);

export const sandboxKind = z.enum(["docker", "bubblewrap", "process"]);
export type SandboxKind = z.infer<typeof sandboxKind>;

export const sessionCreate = z.strictObject({
  agent: slug,
  name: name.optional(),
  labels: labels.default({}),
  model: oneLine(200).min(1).optional(),
  /** The model provider's key: reaches only the agent's process, is held in memory, never stored, never shown. */
  api_key: oneLine(4_096).min(1).optional(),
  pool: slug.default("default"),
  provider: slug.optional(),
  /** Label conditions on the host: `gpu=nvidia,vram>=16GB`. */
  selector: z.string().min(1).max(500).optional(),
  workspace_id: idOf("workspace").optional(),
  runner_lifecycle: runnerLifecycle.default("per-session"),
  edit_mode: editMode.default("off"),
  rules: z.array(rule).max(MAX_RULES).default([]),
  env: env.default({}),
  /** Keep the agent's own record beside every event. */
  keep_raw: z.boolean().default(true),
});
export type SessionCreate = z.infer<typeof sessionCreate>;

export const sessionPatch = z.strictObject({
  name: name.nullable().optional(),
  labels: labels.optional(),
  edit_mode: editMode.optional(),
  rules: z.array(rule).max(MAX_RULES).optional(),
  api_key: oneLine(4_096).min(1).optional(),
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
  state: z.enum(["starting", "connected", "disconnected", "stopping"]),
});
export type AttachedRunner = z.infer<typeof attachedRunner>;

export const usage = z.object({
  input_tokens: z.number().int().min(0),
  output_tokens: z.number().int().min(0),
  cache_read_tokens: z.number().int().min(0),
  cache_write_tokens: z.number().int().min(0),
  reasoning_tokens: z.number().int().min(0),
  /** US dollars as the agent reports them; null where it reports none. */
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
  /** The host that holds the workspace's files; a session stays with it. */
  host_id: idOf("host").nullable(),
  runner_lifecycle: runnerLifecycle,
  edit_mode: editMode,
  rules: z.array(rule),
  /** Names of the variables that were given; values are not shown. */
  env_names: z.array(z.string()),
  has_api_key: z.boolean(),
  keep_raw: z.boolean(),
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
