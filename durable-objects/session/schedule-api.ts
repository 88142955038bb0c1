/** Owns what callers ask of the session's schedule: made together with the session, read, changed, run by hand, deleted. */

import { fail, ok, sessionOf, type Result, type Schedule, type ScheduleCreate, type SchedulePatch, type Task } from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";
import type { ScheduleIds } from "../schedule-rpc.ts";
import { cronProblem } from "./cron.ts";
import type { Engine } from "./engine.ts";
import { scheduleOf } from "./schedule.ts";
import type { Input } from "./state.ts";

const PREVIEW_CHARS = 200;
const UNKNOWN = fail("not_found", "no schedule of that id");

export class ScheduleApi {
  readonly #engine: Engine;
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  create(actor: Actor, { schedule_id: id, session_id, workspace_id }: ScheduleIds, input: ScheduleCreate, origin?: { manifest_id: string }): Result<Schedule> {
    if (this.#engine.state.session) return this.read(actor, id);
    const { cron, timezone, prompt, timeout_seconds, max_retries, continue: goesOn, pause_on_failure, disable_on_failure, paused, api_key: _, base_url: __, env, ...session } = input;
    const problem = cronProblem(cron, timezone, Date.now());
    if (problem) return badTime(problem);
    this.#engine.run((turn) => {
      this.#engine.env.put(env);
      this.#engine.schedulePrompts.put(id, prompt);
      turn.input({ type: "session.create", actor, id: session_id, workspace_id, input: { ...session, lifecycle_mode: "scheduled" }, env_names: Object.keys(env), has_api_key: false, origin });
      const rule = { cron, timezone, timeout_seconds, max_retries, continue: goesOn, pause_on_failure, disable_on_failure };
      turn.input({ type: "schedule.create", id, rule, paused, preview: prompt.slice(0, PREVIEW_CHARS), by: nameOf(actor) });
    });
    return this.read(actor, id);
  }

  read(actor: Actor, id: string): Result<Schedule> {
    const found = this.#owned(actor, id) ? this.#shown() : null;
    return found ? ok(found) : UNKNOWN;
  }

  update(actor: Actor, id: string, { name, prompt, ...patch }: SchedulePatch): Result<Schedule> {
    const { schedule } = this.#engine.state;
    // Before the name, so that all of a patch is taken or nothing.
    const problem = schedule && cronProblem(patch.cron ?? schedule.cron, patch.timezone ?? schedule.timezone, Date.now());
    if (problem && this.#owned(actor, id)) return badTime(problem);
    const inputs: Input[] = name === undefined ? [] : [{ type: "session.update", patch: { name } }];
    inputs.push({ type: "schedule.update", patch, preview: prompt?.slice(0, PREVIEW_CHARS) ?? null });
    return this.#change(actor, id, inputs, () => {
      if (prompt !== undefined) this.#engine.schedulePrompts.put(id, prompt);
    });
  }

  change(actor: Actor, id: string, type: "schedule.pause" | "schedule.resume"): Result<Schedule> {
    return this.#change(actor, id, [{ type, by: nameOf(actor) }]);
  }

  trigger(actor: Actor, id: string, taskId: string): Result<Task> {
    const { tasks, state } = this.#engine;
    if (sessionOf(taskId) !== state.session?.id) return UNKNOWN;
    const changed = this.#change(actor, id, [{ type: "schedule.trigger", task_id: taskId, by: nameOf(actor), known: tasks.get(taskId) }]);
    if (!changed.ok) return changed;
    const task = tasks.read(taskId);
    return task ? ok(task) : UNKNOWN;
  }

  /** The last answer that knows it. */
  delete(actor: Actor, id: string, keep_session: boolean): Result<Schedule> {
    if (!this.#owned(actor, id)) return UNKNOWN;
    this.#engine.feed({ type: "schedule.delete", by: nameOf(actor), keep_session });
    const gone = this.#shown();
    return gone ? ok(gone) : UNKNOWN;
  }

  #shown(): Schedule | null {
    return scheduleOf(this.#engine.state, (id) => this.#engine.schedulePrompts.get(id));
  }
  #owned(actor: Actor, id: string): boolean {
    const { session, schedule } = this.#engine.state;
    return session?.tenant_id === actor.tenant_id && schedule?.id === id && schedule.status !== "deleted";
  }
  /** One turn of these steps, up to the first that is refused. */
  #change(actor: Actor, id: string, inputs: readonly Input[], also?: () => void): Result<Schedule> {
    if (!this.#owned(actor, id)) return UNKNOWN;
    const { refused } = this.#engine.run((turn) => {
      for (const input of inputs) if (!turn.refused) turn.input(input);
      if (!turn.refused) also?.();
    });
    return refused ? { ok: false, error: refused } : this.read(actor, id);
  }
}

function badTime({ field, message }: { field: string; message: string }) {
  return fail("bad_request", `${field}: ${message}`, { details: { [field]: message } });
}

function nameOf(actor: Actor): string {
  return actor.key_name ?? actor.key_id;
}
