/** Owns the schedule in the session's machine: due times become tasks, one for each at most, and failures pause or disable it. */

import { MAX_QUEUED_TASKS, TASK_ENDED, type EventData, type Schedule, type ScheduleCreate, type SchedulePatch, type TaskStatus } from "../../sdk/protocol/index.ts";
import { dueBetween, nextDue } from "./cron.ts";
import { terminateSession } from "./lifecycle.ts";
import type { State, TaskRecord } from "./state.ts";
import { createTask } from "./tasks.ts";
import type { Work } from "./work.ts";

/** A run that begins this much later than it was due is said to catch up. */
const LATE_MS = 60_000;
/** Missed due times are counted up to here. */
const MAX_MISSED = 1_000;

type FromSession = "tenant_id" | "session_id" | "name" | "agent" | "model" | "labels" | "provider" | "workspace_id";
/** A schedule without what its session says, and without its prompt, which stays in the store. */
export type ScheduleRecord = Omit<Schedule, FromSession | "prompt" | "next_run_at"> & {
  preview: string;
  /** The next due time; null where none is to come. */
  next_at: number | null;
  /** No due time at or before this becomes a run any more, whatever the clock says. */
  served: number;
};

type Rule = Pick<ScheduleCreate, "cron" | "timezone" | "timeout_seconds" | "max_retries" | "continue" | "pause_on_failure" | "disable_on_failure">;
export type ScheduleInput =
  | { type: "schedule.create"; id: string; rule: Rule; paused: boolean; preview: string; by: string }
  | { type: "schedule.update"; patch: Omit<SchedulePatch, "name" | "prompt">; preview: string | null }
  | { type: "schedule.pause"; by: string }
  | { type: "schedule.resume"; by: string }
  | { type: "schedule.trigger"; task_id: string; by: string; known: TaskRecord | null }
  | { type: "schedule.delete"; by: string; keep_session: boolean };

export function scheduleAsked(work: Work, input: ScheduleInput): void {
  switch (input.type) {
    case "schedule.create": return create(work, input);
    case "schedule.update": return update(work, input);
    case "schedule.pause": return pause(work, input.by);
    case "schedule.resume": return resume(work);
    case "schedule.trigger": return trigger(work, input);
    case "schedule.delete": return remove(work, input);
  }
}

function set(work: Work, patch: Partial<ScheduleRecord>): void {
  const { schedule } = work.state;
  if (schedule) work.set({ schedule: { ...schedule, ...patch } });
}

/** The next due time from now on that was not served. */
function upcoming(work: Work, { cron, timezone, served }: Pick<ScheduleRecord, "cron" | "timezone" | "served">): number | null {
  return nextDue({ cron, timezone }, Math.max(work.now, served));
}

function time(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}

function create(work: Work, { id, rule, paused, preview, by }: Extract<ScheduleInput, { type: "schedule.create" }>): void {
  if (work.state.schedule) return;
  const record: ScheduleRecord = {
    id, ...rule, preview, status: paused ? "paused" : "active", status_reason: paused ? `made paused by ${by}` : null, last_run: null, consecutive_failures: 0,
    next_at: null, served: work.now, created_at: work.at, updated_at: work.at, version: 0,
  };
  work.set({ schedule: { ...record, next_at: paused ? null : upcoming(work, record) } });
}

function update(work: Work, { patch, preview }: Extract<ScheduleInput, { type: "schedule.update" }>): void {
  const { schedule } = work.state;
  if (!schedule) return;
  const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as Partial<ScheduleRecord>;
  const next = { ...schedule, ...given, ...(preview !== null && { preview }) };
  if (next.cron !== schedule.cron || next.timezone !== schedule.timezone) {
    // Other times are due from now on, also where the clock once was wrong.
    next.served = work.now;
    if (next.status === "active") next.next_at = upcoming(work, next);
  }
  work.set({ schedule: next });
}

function pause(work: Work, by: string): void {
  const { schedule } = work.state;
  if (schedule?.status === "disabled") return work.refuse("conflict", "the schedule is disabled already", { status: schedule.status, reason: schedule.status_reason });
  if (schedule?.status === "active") set(work, { status: "paused", status_reason: `paused by ${by}`, next_at: null });
}

/** Times that passed while it was paused or disabled are not caught up. */
function resume(work: Work): void {
  const { schedule, session } = work.state;
  if (!schedule || schedule.status === "active") return;
  if (session?.status === "terminated") return work.refuse("conflict", "its session has ended; make a new schedule", { status: schedule.status, session_status: session.status });
  set(work, { status: "active", status_reason: null, consecutive_failures: 0, next_at: upcoming(work, schedule) });
}

/** The last run's task, where it has not ended. */
function unended({ schedule, queue, running }: State): string | null {
  const id = schedule?.last_run?.task_id;
  return id !== undefined && (running?.task.id === id || queue.some((task) => task.id === id)) ? id : null;
}

function trigger(work: Work, { task_id, by, known }: Extract<ScheduleInput, { type: "schedule.trigger" }>): void {
  if (known) return;
  const { session, queue } = work.state;
  if (session?.status === "terminated") return work.refuse("conflict", "its session has ended", { session_status: session.status });
  const open = unended(work.state);
  if (open !== null) return work.refuse("conflict", "its last run has not ended; wait for it, or cancel its task", { task_id: open });
  if (queue.length >= MAX_QUEUED_TASKS) return work.refuse("conflict", `${MAX_QUEUED_TASKS} tasks wait in its session`, { queued_tasks: queue.length });
  start(work, task_id, { status: "started", due: work.now, missed: 0, by });
}

function remove(work: Work, { by, keep_session }: Extract<ScheduleInput, { type: "schedule.delete" }>): void {
  set(work, { status: "deleted", status_reason: `deleted by ${by}`, next_at: null });
  const { session } = work.state;
  if (!session || session.status === "terminated") return;
  if (keep_session) work.set({ session: { ...session, lifecycle_mode: "on_demand" } });
  else terminateSession(work, by);
}

type Notice = EventData<"schedule.run">;
function say(work: Work, notice: Pick<Notice, "status" | "task_id"> & Partial<Notice>): void {
  const { schedule } = work.state;
  if (!schedule) return;
  const data = { schedule_id: schedule.id, due_at: null, missed: 0, next_run_at: time(schedule.next_at), by: null, reason: null, ...notice };
  // Nothing follows in the log of a task that has ended.
  work.log("schedule.run", data, { task_id: data.status === "stopped" ? null : data.task_id, run_id: null });
}

function start(work: Work, id: string, { status, due, missed, by }: { status: "started" | "caught_up"; due: number; missed: number; by: string | null }): void {
  const { schedule } = work.state;
  if (!schedule) return;
  const { timeout_seconds, max_retries, preview } = schedule;
  const due_at = new Date(due).toISOString();
  set(work, { last_run: { task_id: id, status: "pending", due_at, at: work.at } });
  const reason = status === "caught_up" ? `due at ${due_at}${missed > 0 ? `, and ${missed === MAX_MISSED ? "at least " : ""}${missed} more ${missed === 1 ? "time" : "times"} since` : ""}; one run for all` : null;
  say(work, { status, task_id: id, due_at, missed, by, reason });
  createTask(work, { type: "task.create", id, input: { timeout_seconds, max_retries, labels: { schedule: schedule.id } }, preview, known: null, continued: null, fresh: !schedule.continue });
  work.do({ kind: "put.prompt", task_id: id, of: schedule.id });
}

/** When the next run is due. */
export function scheduleDeadline({ schedule }: State): number | null {
  return schedule?.status === "active" ? schedule.next_at : null;
}

/** Turns what is due into one run, or into none where the last one has not ended. */
export function scheduleOverdue(work: Work): void {
  const { schedule, session, queue } = work.state;
  if (!schedule || schedule.status !== "active" || schedule.next_at === null || schedule.next_at > work.now || !session || session.status === "terminated") return;
  const due = schedule.next_at;
  const missed = dueBetween(schedule, due, work.now, MAX_MISSED);
  // First, so that a due time is served whatever comes of it.
  set(work, { served: work.now, next_at: nextDue(schedule, work.now) });
  const open = unended(work.state);
  const due_at = new Date(due).toISOString();
  if (open !== null) return say(work, { status: "skipped", task_id: open, due_at, missed, reason: "the last run has not ended" });
  if (queue.length >= MAX_QUEUED_TASKS) return say(work, { status: "skipped", task_id: null, due_at, missed, reason: `${MAX_QUEUED_TASKS} tasks wait in the session` });
  start(work, work.freshTask, { status: missed > 0 || work.now - due > LATE_MS ? "caught_up" : "started", due, missed, by: null });
}

/** What the step did to the last run's task, and to the session: counted, and the schedule's version raised where it shows. */
export function followSchedule(before: State, work: Work): void {
  const { schedule } = work.state;
  if (!schedule) return;
  const task = work.effects.findLast((effect) => effect.kind === "put.task" && effect.value.id === schedule.last_run?.task_id);
  if (task?.kind === "put.task" && schedule.last_run && task.value.status !== schedule.last_run.status) {
    set(work, { last_run: { ...schedule.last_run, status: task.value.status } });
    if (TASK_ENDED.has(task.value.status)) runEnded(work, task.value.status, task.value);
  }
  const { session } = work.state;
  if (session?.status === "terminated" && (work.state.schedule?.status === "active" || work.state.schedule?.status === "paused")) {
    set(work, { status: "disabled", status_reason: `its session was ${session.status_reason ?? "terminated"}`, next_at: null });
  }
  const after = work.state.schedule;
  const shown = (state: State) => [state.session?.name, state.session?.model, state.session?.labels, state.session?.provider];
  const old = shown(before);
  if (!after || (after === before.schedule && shown(work.state).every((value, i) => value === old[i]))) return;
  set(work, { updated_at: work.at, version: after.version + 1 });
  work.do({ kind: "put.schedule" });
}

function runEnded(work: Work, status: TaskStatus, { id, error }: TaskRecord): void {
  const { schedule, session } = work.state;
  if (!schedule || status === "canceled") return;
  if (status === "completed") return set(work, { consecutive_failures: 0 });
  const failures = schedule.consecutive_failures + 1;
  set(work, { consecutive_failures: failures });
  if (schedule.status !== "active" || session?.status === "terminated") return;
  const why = error?.message ?? status;
  const disabled = schedule.disable_on_failure !== null && failures >= schedule.disable_on_failure;
  if (!disabled && !schedule.pause_on_failure) return;
  const reason = (disabled ? `disabled after ${failures} failed ${failures === 1 ? "run" : "runs in a row"}; the last: ${why}` : `paused because a run failed: ${why}`).slice(0, 1_000);
  set(work, { status: disabled ? "disabled" : "paused", status_reason: reason, next_at: null });
  say(work, { status: "stopped", task_id: id, reason });
}

/** The schedule as clients see it; null where the session has none. */
export function scheduleOf({ schedule, session }: State, prompt: (id: string) => string): Schedule | null {
  if (!schedule || !session) return null;
  const { preview: _, served: __, next_at, ...rest } = schedule;
  const { tenant_id, name, agent, model, labels, provider, workspace_id } = session;
  return { ...rest, tenant_id, session_id: session.id, name, agent, model, labels, provider, workspace_id, prompt: prompt(schedule.id), next_run_at: time(next_at) };
}
