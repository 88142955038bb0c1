/** Owns `client.schedules`: sessions that are given the same prompt again and again, by a cron expression in a time zone. */

import type * as z from "zod";
import type { Schedule, scheduleCreate, SchedulePatch, ScheduleStatus, Task } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { labelQuery, Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type ScheduleCreateParams = z.input<typeof scheduleCreate>;
export interface ScheduleListParams extends ListParams {
  status?: Exclude<ScheduleStatus, "deleted"> | undefined;
  session_id?: string | undefined;
  /** Schedules whose sessions have all of these. */
  labels?: Readonly<Record<string, string>> | undefined;
}

/** Schedules of the key's tenant. */
export class Schedules extends Resource {
  /** Makes the schedule and its session, which is suspended between runs. */
  create(params: ScheduleCreateParams, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("POST", api`/schedules`, resource<Schedule>, { body: params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("GET", api`/schedules/${id}`, resource<Schedule>, {}, options);
  }
  /** Newest first. */
  list({ labels, ...query }: ScheduleListParams = {}, options?: RequestOptions): Pages<Schedule> {
    return this.pages<Schedule>(api`/schedules`, { ...query, labels: labelQuery(labels) }, options);
  }
  /** Times, prompt and what a failure does; the session's options are changed with the session. */
  update(id: string, patch: SchedulePatch, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("PATCH", api`/schedules/${id}`, resource<Schedule>, { body: patch }, options);
  }
  /** Its session is terminated, unless it is to be kept. */
  delete(id: string, { keep_session }: { keep_session?: boolean | undefined } = {}, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("DELETE", api`/schedules/${id}`, resource<Schedule>, { query: { keep_session } }, options);
  }
  /** A run that is under way goes on. */
  pause(id: string, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("POST", api`/schedules/${id}/pause`, resource<Schedule>, {}, options);
  }
  /** Also of one that failures have disabled. Times that passed meanwhile are not caught up. */
  resume(id: string, options?: RequestOptions): Promise<Schedule> {
    return this.transport.json("POST", api`/schedules/${id}/resume`, resource<Schedule>, {}, options);
  }
  /** A run by hand, now. Refused with `conflict` while the last run has not ended. */
  trigger(id: string, options?: RequestOptions): Promise<Task> {
    return this.transport.json("POST", api`/schedules/${id}/trigger`, resource<Task>, {}, options);
  }
  /** The tasks of a schedule's runs, newest first. */
  runs(schedule: Pick<Schedule, "id" | "session_id">, query: ListParams = {}, options?: RequestOptions): Pages<Task> {
    return this.pages<Task>(api`/tasks`, { ...query, session_id: schedule.session_id, labels: labelQuery({ schedule: schedule.id }) }, options);
  }
}
