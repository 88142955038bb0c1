/** Owns the schedule's part of the fake session: it remembers what it was asked, and fires never. */

import type { Actor, ScheduleIds, SessionOrigin, SessionScheduleRpc } from "../../durable-objects/index.ts";
import { fail, ok, sessionCreate, taskCreate, type Result, type Schedule, type ScheduleCreate, type SchedulePatch, type Session, type SessionCreate, type Task, type TaskCreate } from "../../sdk/protocol/index.ts";
import { FakeGateway } from "./fake-gateway.ts";

const NONE = fail("not_found", "no schedule of that id");

export abstract class FakeSchedules extends FakeGateway implements SessionScheduleRpc {
  schedule: Schedule | null = null;
  abstract session: Session | null;
  abstract create(actor: Actor, id: string, workspaceId: string, input: SessionCreate, origin?: SessionOrigin): Promise<Result<Session>>;
  abstract createTask(actor: Actor, taskId: string, input: TaskCreate): Promise<Result<Task>>;

  async createSchedule(actor: Actor, { schedule_id: id, session_id, workspace_id }: ScheduleIds, input: ScheduleCreate): Promise<Result<Schedule>> {
    const { cron, timezone, prompt, timeout_seconds, max_retries, continue: goesOn, pause_on_failure, disable_on_failure, paused, api_key: _, base_url: __, ...session } = input;
    if (cron.startsWith("!")) return fail("bad_request", "cron: cannot be read", { details: { cron: "cannot be read" } });
    const made = await this.create(actor, session_id, workspace_id, sessionCreate.parse(session));
    if (!made.ok) return made;
    const at = new Date().toISOString();
    const { tenant_id, name, agent, model, labels, provider } = made.value;
    this.schedule ??= {
      id, tenant_id, session_id, name, agent, model, labels, provider, workspace_id, prompt, timeout_seconds, max_retries, cron, timezone, continue: goesOn, pause_on_failure, disable_on_failure,
      status: paused ? "paused" : "active", status_reason: null, next_run_at: paused ? null : at, last_run: null, consecutive_failures: 0, created_at: at, updated_at: at, version: 1,
    };
    return ok(this.schedule);
  }
  async readSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
    const { schedule } = this;
    return schedule?.tenant_id === actor.tenant_id && schedule.id === id && schedule.status !== "deleted" ? ok(schedule) : NONE;
  }
  async #change(actor: Actor, id: string, change: Partial<Schedule>): Promise<Result<Schedule>> {
    const found = await this.readSchedule(actor, id);
    if (!found.ok) return found;
    this.schedule = { ...found.value, ...change, version: found.value.version + 1 };
    return ok(this.schedule);
  }
  updateSchedule(actor: Actor, id: string, patch: SchedulePatch): Promise<Result<Schedule>> {
    return this.#change(actor, id, Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)));
  }
  pauseSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
    return this.#change(actor, id, { status: "paused", next_run_at: null });
  }
  resumeSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
    return this.#change(actor, id, { status: "active" });
  }
  async triggerSchedule(actor: Actor, id: string, taskId: string): Promise<Result<Task>> {
    const found = await this.readSchedule(actor, id);
    return found.ok ? this.createTask(actor, taskId, taskCreate.parse({ prompt: found.value.prompt, labels: { schedule: id } })) : found;
  }
  async deleteSchedule(actor: Actor, id: string, keepSession: boolean): Promise<Result<Schedule>> {
    const gone = await this.#change(actor, id, { status: "deleted", next_run_at: null });
    if (gone.ok && this.session) this.session = { ...this.session, ...(keepSession ? { lifecycle_mode: "on_demand" } : { status: "terminated" }), version: this.session.version + 1 };
    return gone;
  }
}
