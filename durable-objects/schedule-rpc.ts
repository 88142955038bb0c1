/** Owns the calls that a session's object answers about its schedule. */

import type { Result, Schedule, ScheduleCreate, SchedulePatch, Task } from "../sdk/protocol/index.ts";
import type { Actor } from "./rpc.ts";

/** Ids of what a new schedule is made of. */
export interface ScheduleIds {
  schedule_id: string;
  session_id: string;
  workspace_id: string;
}

export interface SessionScheduleRpc {
  /** Makes the session and its schedule; idempotent by id. `bad_request` with the field named where the cron expression or the time zone makes no schedule. `origin`: the files that its workspace had before. */
  createSchedule(actor: Actor, ids: ScheduleIds, input: ScheduleCreate, origin?: { manifest_id: string }): Promise<Result<Schedule>>;
  readSchedule(actor: Actor, id: string): Promise<Result<Schedule>>;
  updateSchedule(actor: Actor, id: string, patch: SchedulePatch): Promise<Result<Schedule>>;
  pauseSchedule(actor: Actor, id: string): Promise<Result<Schedule>>;
  /** From now on: times that passed meanwhile are not caught up. `conflict` where its session has ended. */
  resumeSchedule(actor: Actor, id: string): Promise<Result<Schedule>>;
  /** A run by hand, whatever its status; idempotent by task id. `conflict` with `details.task_id` while the last run has not ended. */
  triggerSchedule(actor: Actor, id: string, taskId: string): Promise<Result<Task>>;
  /** Terminates its session, or leaves it to live on demand. Answers the schedule as `deleted`; nothing finds it afterwards. */
  deleteSchedule(actor: Actor, id: string, keepSession: boolean): Promise<Result<Schedule>>;
}
