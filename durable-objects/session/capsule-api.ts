/** Owns what callers ask about capsules: the list, one of them, and the point from which another session is forked. */

import { fail, ok, sessionCreate, type Capsule, type CapsuleAsked, type Page, type Result, type SessionFork } from "../../sdk/protocol/index.ts";
import type { Actor, ForkSource } from "../rpc.ts";
import type { Engine } from "./engine.ts";

const UNKNOWN_SESSION = fail("not_found", "no session of that id");
const UNKNOWN_CAPSULE = fail("not_found", "no capsule of that id; the oldest are not kept");
/** Points that are named where the one asked for is gone. */
const NAMED_POINTS = 20;

export class CapsuleApi {
  readonly #engine: Engine;
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  take(actor: Actor, id: string): Result<CapsuleAsked> {
    const { session } = this.#engine.state;
    if (!session || !this.#owned(actor)) return UNKNOWN_SESSION;
    const known = this.#engine.capsules.get(id);
    const refused = known ? null : this.#engine.feed({ type: "capsule.take", id }).refused;
    return refused ? { ok: false, error: refused } : ok({ id, session_id: session.id, seq: known?.seq ?? this.#engine.log.last });
  }

  list(actor: Actor, { limit, offset }: { limit: number; offset: number }): Result<Page<Capsule>> {
    if (!this.#owned(actor)) return UNKNOWN_SESSION;
    const { capsules } = this.#engine;
    return ok({ items: capsules.list(limit, offset), total: capsules.count, limit, offset, next_cursor: null });
  }

  read(actor: Actor, id: string): Result<Capsule> {
    const capsule = this.#owned(actor) ? this.#engine.capsules.get(id) : null;
    return capsule ? ok(capsule) : UNKNOWN_CAPSULE;
  }

  /** The state as of a point: the capsule named, the end of a task, or the last state at or before an event; absent: the latest. */
  at(actor: Actor, { seq, task_id, capsule_id }: Pick<SessionFork, "seq" | "task_id" | "capsule_id">): Result<Capsule> {
    if (!this.#owned(actor)) return UNKNOWN_SESSION;
    const { capsules, log, tasks } = this.#engine;
    if (seq !== undefined && seq > log.last) return fail("bad_request", `seq: the session's log ends at ${log.last}`, { details: { seq: `at most ${log.last}` } });
    if (task_id !== undefined && !tasks.get(task_id)) return fail("not_found", "no task of that id in this session");
    const found = capsule_id !== undefined ? capsules.get(capsule_id) : task_id !== undefined ? capsules.ofTask(task_id) : capsules.at(seq ?? log.last);
    if (found) return ok(found);
    const points = capsules.list(NAMED_POINTS).map(({ id, seq, task_id, created_at }) => ({ capsule_id: id, seq, task_id, created_at }));
    const asked = capsule_id !== undefined ? `capsule ${capsule_id} is gone` : task_id !== undefined ? "no capsule was kept of that task's end" : `no capsule stands for event ${seq ?? log.last} or before`;
    const [latest] = points;
    if (!latest) return fail("conflict", `${asked}; the session has no capsule yet: one is taken at every task's end`, { details: { points } });
    const there = capsules.count === 1 ? "one point is" : `${capsules.count} points are`;
    return fail("conflict", `${asked}; ${there} there, the latest at event ${latest.seq}`, { details: { points }, hint: `\`mctl sessions capsules ${this.#engine.state.session?.id}\` lists them` });
  }

  /** The point, and the options of this session, for one that goes on from it. */
  fork(actor: Actor, at: Pick<SessionFork, "seq" | "task_id" | "capsule_id">): Result<ForkSource> {
    const found = this.at(actor, at);
    if (!found.ok) return found;
    const { session, rules, gateway } = this.#engine.state;
    if (!session) return UNKNOWN_SESSION;
    this.#engine.capsules.keep(found.value.id);
    const { agent, labels, model, pool, provider, selector, runner_lifecycle, edit_mode, keep_raw, idle_timeout_seconds, suspend_after_seconds, suspend_strategy, workspace_quota_mb, retention_days } = session;
    const input = sessionCreate.parse({
      agent, labels, pool, runner_lifecycle, edit_mode, rules, keep_raw, idle_timeout_seconds, suspend_after_seconds, retention_days, env: this.#engine.env.all(),
      // A schedule belongs to the session that it was made for.
      lifecycle_mode: session.lifecycle_mode === "scheduled" ? "on_demand" : session.lifecycle_mode,
      ...(model !== null && { model }), ...(provider !== null && { provider }), ...(selector !== null && { selector }),
      ...(session.base_url !== null && { base_url: session.base_url }), ...(session.agent_config_id !== null && { agent_config: session.agent_config_id }), ...(gateway.caps !== null && { budget: gateway.caps }),
      ...(suspend_strategy !== null && { suspend_strategy }), ...(workspace_quota_mb !== null && !session.directory && { workspace_quota_mb }),
      // Its files are no part of the capsule: the fork works on those that are there now.
      ...(session.directory && { directory: session.directory }),
    });
    return ok({ capsule: found.value, input, needs_key: session.has_api_key });
  }

  #owned(actor: Actor): boolean {
    return this.#engine.state.session?.tenant_id === actor.tenant_id;
  }
}
