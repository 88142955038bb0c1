/** Owns the task and its runs: a prompt given to a session, and every attempt at it. */

import * as z from "zod";
import { attachment, attachmentIds } from "./attachment.ts";
import { budgetCaps, budgetState } from "./budget.ts";
import { idOf } from "./ids.ts";
import { MAX_PROMPT_CHARS } from "./limits.ts";
import { usage } from "./session.ts";
import { labels, timestamp } from "./values.ts";

export const taskStatus = z.enum(["pending", "running", "completed", "failed", "canceled", "timeout"]);
export type TaskStatus = z.infer<typeof taskStatus>;
export const runStatus = z.enum(["pending", "assigned", "running", "completed", "failed", "timeout", "canceled", "lost"]);
export type RunStatus = z.infer<typeof runStatus>;

export const TASK_ENDED: ReadonlySet<TaskStatus> = new Set<TaskStatus>(["completed", "failed", "canceled", "timeout"]);
export const RUN_ENDED: ReadonlySet<RunStatus> = new Set<RunStatus>(["completed", "failed", "timeout", "canceled", "lost"]);

export const taskCreate = z.strictObject({
  prompt: z.string().min(1).max(MAX_PROMPT_CHARS).refine((value) => value.isWellFormed(), "must be well-formed Unicode"),
  timeout_seconds: z.number().int().min(1).max(604_800).default(3_600),
  max_retries: z.number().int().min(0).max(100).default(0),
  /** Continue the agent's conversation as it stood at the end of this task; without it, the session's latest. */
  continue_from: idOf("task").optional(),
  labels: labels.default({}),
  /** Caps on what the task's model calls may spend, over all its runs. */
  budget: budgetCaps.optional(),
  /** Ids of images that were sent to its session before; the agent sees them with the prompt. */
  attachments: attachmentIds.optional(),
});
export type TaskCreate = z.infer<typeof taskCreate>;

/** Why a task or run ended badly. `code` is for programs, `message` and `hint` for people. */
export const runError = z.object({
  code: z.enum([
    "agent_unknown", "agent_missing", "agent_failed", "agent_crashed", "agent_protocol", "gate_failed", "key_missing",
    "timeout", "canceled", "runner_lost", "host_unavailable", "provider_failed", "image_missing", "output_limit",
    "suspended", "restore_failed", "sync_failed", "quota_exceeded", "disk_full", "budget_exceeded", "attachment_missing", "internal",
  ]),
  message: z.string().max(4_096),
  hint: z.string().max(1_024).optional(),
});
export type RunError = z.infer<typeof runError>;

export const task = z.object({
  id: idOf("task"),
  session_id: idOf("session"),
  tenant_id: idOf("tenant"),
  status: taskStatus,
  prompt: z.string(),
  timeout_seconds: z.number().int(),
  max_retries: z.number().int(),
  continue_from: idOf("task").nullable(),
  labels: z.record(z.string(), z.string()),
  /** Runs made so far. */
  attempts: z.number().int(),
  /** The current or last run. */
  run_id: idOf("run").nullable(),
  /** The agent's last words, cut at 64 Ki characters; the log has all. */
  result: z.string().nullable(),
  exit_code: z.number().int().nullable(),
  error: runError.nullable(),
  usage: usage.nullable(),
  budget: budgetState.nullable().optional(),
  /** Images that came with the prompt; absent where none did. */
  attachments: z.array(attachment).optional(),
  /** Why a pending task waits, in words. */
  waiting_for: z.string().nullable(),
  /** The agent's own conversation id at the end of the task. */
  conversation: z.string().nullable(),
  next_attempt_at: timestamp.nullable(),
  created_at: timestamp,
  started_at: timestamp.nullable(),
  ended_at: timestamp.nullable(),
  version: z.number().int(),
});
export type Task = z.infer<typeof task>;

export const run = z.object({
  id: idOf("run"),
  task_id: idOf("task"),
  session_id: idOf("session"),
  tenant_id: idOf("tenant"),
  attempt: z.number().int().min(1),
  status: runStatus,
  runner_id: idOf("runner").nullable(),
  host_id: idOf("host").nullable(),
  epoch: z.number().int(),
  exit_code: z.number().int().nullable(),
  error: runError.nullable(),
  created_at: timestamp,
  started_at: timestamp.nullable(),
  ended_at: timestamp.nullable(),
  version: z.number().int(),
});
export type Run = z.infer<typeof run>;
