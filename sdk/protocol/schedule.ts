/** Owns the schedule resource: a session that is given the same task again and again, at the times that a cron expression names in a time zone. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { sessionCreate } from "./session.ts";
import { lifecycleMode } from "./suspend.ts";
import { taskCreate, taskStatus } from "./task.ts";
import { timestamp } from "./values.ts";

/** Failures in a row after which a schedule is disabled, where nothing else is said. */
const DEFAULT_DISABLE_ON_FAILURE = 5;

/**
 * Five fields (minute, hour, day of month, month, weekday) or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Whether it ever fires is
 * checked where schedules are made.
 */
const cron = z.string().min(1).max(200).regex(/^[\x20-\x7e]+$/, "expected five fields of plain characters, such as 0 9 * * MON-FRI");
/** A name of the IANA database. */
const timezone = z.string().max(64).regex(/^[A-Za-z][A-Za-z0-9_+/-]*$/, "expected an IANA time zone, such as Europe/Berlin");
const failures = z.number().int().min(1).max(1_000);

const NO_KEY = "a key of the session's own ends with its runner, and a schedule outlives many; give agent_config";
const { prompt, timeout_seconds, max_retries } = taskCreate.shape;

const rule = {
  cron,
  timezone,
  /** The prompt of every run's task. */
  prompt,
  timeout_seconds,
  max_retries,
  /** Every run continues the agent's conversation; else each begins a fresh one, on the same files. */
  continue: z.boolean(),
  /** Pause as soon as a run fails or times out. */
  pause_on_failure: z.boolean(),
  /** Disable after so many failed runs in a row; null: never. */
  disable_on_failure: failures.nullable(),
};

/** Options of a session, the task of every run, and when. */
export const scheduleCreate = sessionCreate.omit({ lifecycle_mode: true, api_key: true, base_url: true }).extend({
  ...rule,
  timezone: rule.timezone.default("UTC"),
  continue: rule.continue.default(false),
  pause_on_failure: rule.pause_on_failure.default(false),
  disable_on_failure: rule.disable_on_failure.default(DEFAULT_DISABLE_ON_FAILURE),
  /** Begin paused. */
  paused: z.boolean().default(false),
  /** The session is suspended so long after a run, unless the next one is due within that time. */
  idle_timeout_seconds: sessionCreate.shape.idle_timeout_seconds.unwrap().default(30),
  api_key: z.never({ error: NO_KEY }).optional(),
  base_url: z.never({ error: NO_KEY }).optional(),
});
export type ScheduleCreate = z.infer<typeof scheduleCreate>;

const ONLY_SCHEDULED = "only with lifecycle_mode scheduled";
/** What POST /sessions takes: a session, or, `scheduled`, one that is given `prompt` at every time that the cron expression `schedule` names in `timezone`. */
export const sessionAsk = sessionCreate
  .extend({
    lifecycle_mode: lifecycleMode.default("on_demand"),
    /** Absent: 900, and 30 between the runs of a schedule. */
    idle_timeout_seconds: sessionCreate.shape.idle_timeout_seconds.unwrap().optional(),
    schedule: rule.cron.optional(),
    timezone: rule.timezone.optional(),
    prompt: rule.prompt.optional(),
  })
  .superRefine((asked, context) => {
    const refuse = (field: string, message: string) => context.addIssue({ code: "custom", path: [field], message });
    if (asked.lifecycle_mode !== "scheduled") for (const field of ["schedule", "timezone", "prompt"] as const) if (asked[field] !== undefined) refuse(field, ONLY_SCHEDULED);
    if (asked.lifecycle_mode !== "scheduled") return;
    if (asked.schedule === undefined) refuse("schedule", "scheduled needs a cron expression here, or is set by creating a schedule with POST /schedules");
    if (asked.prompt === undefined) refuse("prompt", "scheduled needs what its agent is given at every time of its schedule");
    for (const field of ["api_key", "base_url"] as const) if (asked[field] !== undefined) refuse(field, NO_KEY);
  });
export type SessionAsk = z.infer<typeof sessionAsk>;

/** The session's own options are changed with the session. */
export const schedulePatch = z.strictObject({
  name: sessionCreate.shape.name.unwrap().nullable().optional(),
  cron: rule.cron.optional(),
  timezone: rule.timezone.optional(),
  prompt: rule.prompt.optional(),
  timeout_seconds: timeout_seconds.unwrap().optional(),
  max_retries: max_retries.unwrap().optional(),
  continue: rule.continue.optional(),
  pause_on_failure: rule.pause_on_failure.optional(),
  disable_on_failure: rule.disable_on_failure.optional(),
});
export type SchedulePatch = z.infer<typeof schedulePatch>;

/** `disabled`: too many runs failed in a row, or its session has ended. `deleted` is only seen in the answer to its deletion. */
export const scheduleStatus = z.enum(["active", "paused", "disabled", "deleted"]);
export type ScheduleStatus = z.infer<typeof scheduleStatus>;

const scheduleRun = z.object({
  task_id: idOf("task"),
  status: taskStatus,
  /** The time that the cron expression named; for a run by hand, when that was. */
  due_at: timestamp,
  /** When the task was made. */
  at: timestamp,
});

export const schedule = z.object({
  id: idOf("schedule"),
  tenant_id: idOf("tenant"),
  session_id: idOf("session"),
  name: z.string().nullable(),
  agent: z.string(),
  model: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  provider: z.string().nullable(),
  workspace_id: idOf("workspace"),
  prompt: z.string(),
  timeout_seconds: z.number().int(),
  max_retries: z.number().int(),
  cron: z.string(),
  timezone: z.string(),
  continue: z.boolean(),
  pause_on_failure: z.boolean(),
  disable_on_failure: z.number().int().nullable(),
  status: scheduleStatus,
  /** Why it is paused or disabled, in words. */
  status_reason: z.string().nullable(),
  /** Null where no run is to come: it is paused or disabled. */
  next_run_at: timestamp.nullable(),
  /** The last run that was started, by its time or by hand. */
  last_run: scheduleRun.nullable(),
  /** Runs in a row that failed or timed out. One that somebody canceled counts neither way. */
  consecutive_failures: z.number().int(),
  created_at: timestamp,
  updated_at: timestamp,
  version: z.number().int(),
});
export type Schedule = z.infer<typeof schedule>;

/**
 * What became of a due time. `caught_up`: one run for all the times that passed while nobody was there to see; `skipped`: no run, because the last
 * one had not ended; `stopped`: a failure paused or disabled the schedule.
 */
export const scheduleNotice = z.object({
  schedule_id: idOf("schedule"),
  status: z.enum(["started", "caught_up", "skipped", "stopped"]),
  /** The due time that this is about; the earliest, where several passed. */
  due_at: timestamp.nullable(),
  /** The run's task; for `skipped` the one that had not ended. */
  task_id: idOf("task").nullable(),
  /** Due times beside `due_at` that passed without a run, counted up to 1,000. */
  missed: z.number().int().min(0),
  next_run_at: timestamp.nullable(),
  /** Who started it by hand. */
  by: z.string().nullable(),
  reason: z.string().nullable(),
});

/** `keep_session`: the session stays, and lives on demand from then on. */
export const scheduleDelete = z.strictObject({ keep_session: z.enum(["true", "false"]).default("false") });
