/** Owns what callers of the object ask: every call is checked against the session's tenant, made one turn, and answered as data. */

import {
  equalConstantTime, fail, ok, sessionOf as sessionOfChild, type ErrorBody, type Permission, type PermissionApprove, type PermissionDeny,
  type Result, type Run, type Session, type SessionCreate, type SessionPatch, type SessionResume, type SessionSuspend, type Task, type TaskCreate,
} from "../../sdk/protocol/index.ts";
import type { Actor, SessionOrigin, RunClaim } from "../rpc.ts";
import { CapsuleApi } from "./capsule-api.ts";
import type { Engine } from "./engine.ts";
import { ImageApi } from "./images.ts";
import type { Caller } from "./neighbours.ts";
import type { Input } from "./state.ts";

const PREVIEW_CHARS = 200;
const UNKNOWN_SESSION = fail("not_found", "no session of that id");
const UNKNOWN_TASK = fail("not_found", "no task of that id");
const UNKNOWN_PERMISSION = fail("not_found", "no permission request of that id");

type Failed = { ok: false; error: ErrorBody };

export class SessionApi {
  readonly #engine: Engine;
  readonly #caller: Caller;
  readonly capsules: CapsuleApi;
  readonly images: ImageApi;

  constructor(engine: Engine, caller: Caller) {
    this.#engine = engine;
    this.#caller = caller;
    this.capsules = new CapsuleApi(engine);
    this.images = new ImageApi(engine);
  }

  create(actor: Actor, id: string, workspace_id: string, { api_key, env, ...input }: SessionCreate, origin?: SessionOrigin): Result<Session> {
    const there = this.#engine.session;
    if (there) return there.tenant_id === actor.tenant_id && there.id === id ? ok(there) : UNKNOWN_SESSION;
    if (api_key !== undefined) this.#caller.keyGiven(api_key, { tenant_id: actor.tenant_id, id });
    this.#engine.run((turn) => {
      this.#engine.env.put(env);
      turn.input({ type: "session.create", actor, id, workspace_id, input, env_names: Object.keys(env), has_api_key: api_key !== undefined || (origin !== undefined && "needs_key" in origin && origin.needs_key), origin });
    });
    return this.read(actor);
  }

  #given(api_key: string | undefined): void {
    const { session } = this.#engine.state;
    if (api_key !== undefined && session) this.#caller.keyGiven(api_key, session);
  }

  read(actor: Actor): Result<Session> {
    const { session } = this.#engine;
    return session?.tenant_id === actor.tenant_id ? ok(session) : UNKNOWN_SESSION;
  }

  update(actor: Actor, { api_key, ...patch }: SessionPatch): Result<Session> {
    const failed = this.#input(actor, { type: "session.update", patch: { ...patch, ...(api_key !== undefined && { has_api_key: true }) } });
    if (failed) return failed;
    this.#given(api_key);
    return this.read(actor);
  }

  terminate(actor: Actor): Result<Session> {
    return this.#input(actor, { type: "session.terminate", by: nameOf(actor) }) ?? this.read(actor);
  }

  suspend(actor: Actor, { strategy, reason }: SessionSuspend): Result<Session> {
    const by = `suspended by ${nameOf(actor)}${reason ? `: ${reason}` : ""}`;
    return this.#input(actor, { type: "session.suspend", strategy: strategy ?? null, cause: "requested", reason: by }) ?? this.read(actor);
  }

  resume(actor: Actor, { api_key, capsule_id, provider, selector }: SessionResume): Result<Session> {
    const from = capsule_id === undefined ? null : this.capsules.at(actor, { capsule_id });
    if (from && !from.ok) return from;
    const options = { ...(provider !== undefined && { provider }), ...(selector !== undefined && { selector }) };
    const failed = this.#input(actor, { type: "session.resume", by: nameOf(actor), options, from: from?.value ?? null, has_api_key: api_key !== undefined });
    if (failed) return failed;
    this.#given(api_key);
    return this.read(actor);
  }

  /** Only while this runner serves the session. */
  changeRunner(actor: Actor, runner_id: string, to: "pause" | "resume" | "drain"): Result<Session> {
    if (!this.#owned(actor)) return UNKNOWN_SESSION;
    const serving = this.#engine.state.attachment?.runner_id ?? null;
    if (serving !== runner_id) return fail("conflict", `the runner does not serve its session any more${serving ? `; ${serving} does` : ", which has none now"}`, { details: { runner_id: serving, session_id: this.#engine.state.session?.id } });
    if (to === "pause") return this.suspend(actor, { strategy: "pause" });
    if (to === "resume") return this.resume(actor, {});
    return this.#input(actor, { type: "runner.drain", by: nameOf(actor) }) ?? this.read(actor);
  }

  workspaceRestored(actor: Actor, manifest_id: string): Result<Session> {
    return this.#input(actor, { type: "workspace.chosen", manifest_id }) ?? this.read(actor);
  }

  createTask(actor: Actor, id: string, { prompt, attachments = [], ...input }: TaskCreate): Result<Task> {
    const { tasks, state } = this.#engine;
    if (sessionOfChild(id) !== state.session?.id) return UNKNOWN_SESSION;
    const known = tasks.get(id);
    const continued = input.continue_from ? tasks.get(input.continue_from) : null;
    // Whoever may not see the session hears nothing of its images.
    const images = this.#owned(actor) ? this.images.of(attachments) : ok([]);
    if (!images.ok) return images;
    const failed = this.#input(actor, { type: "task.create", id, input, preview: prompt.slice(0, PREVIEW_CHARS), known, continued, ...(images.value.length > 0 && { images: images.value }) }, () => tasks.putPrompt(id, prompt));
    return failed ?? this.readTask(actor, id);
  }

  readTask(actor: Actor, id: string): Result<Task> {
    if (!this.#owned(actor)) return UNKNOWN_TASK;
    const task = this.#engine.tasks.read(id);
    if (!task) return UNKNOWN_TASK;
    const { running } = this.#engine.state;
    return ok(running?.task.id === id ? { ...task, usage: running.task.usage } : task);
  }

  readRuns(actor: Actor, taskId: string): Result<Run[]> {
    if (!this.#owned(actor) || !this.#engine.tasks.get(taskId)) return UNKNOWN_TASK;
    return ok(this.#engine.runs.of(taskId));
  }

  changeTask(actor: Actor, id: string, type: "task.cancel" | "task.retry" | "task.execute"): Result<Task> {
    if (!this.#owned(actor)) return UNKNOWN_TASK;
    return this.#input(actor, { type, id, by: nameOf(actor), known: this.#engine.tasks.get(id) }) ?? this.readTask(actor, id);
  }

  readPermission(actor: Actor, id: string): Result<Permission> {
    const permission = this.#owned(actor) ? this.#engine.permissions.get(id) : null;
    return permission ? ok(permission) : UNKNOWN_PERMISSION;
  }

  answer(actor: Actor, id: string, decision: "approved" | "denied", input: Partial<PermissionApprove> & PermissionDeny): Result<Permission> {
    if (!this.#owned(actor)) return UNKNOWN_PERMISSION;
    const known = this.#engine.permissions.get(id);
    const { reason = null, scope = "once", budget = null } = input;
    return this.#input(actor, { type: "permission.answer", id, decision, actor, reason, scope, known, caps: budget }) ?? this.readPermission(actor, id);
  }

  /** The run that this hash of a token belongs to, while its attachment is the current one. */
  checkRun(tokenHash: string): Result<RunClaim> {
    const { session, attachment } = this.#engine.state;
    if (!session || !attachment?.token_hash || !equalConstantTime(tokenHash, attachment.token_hash)) return fail("unauthorized", "no runner of this session has this token now");
    return ok({ tenant_id: session.tenant_id, session_id: session.id, workspace_id: session.workspace_id, epoch: attachment.epoch });
  }

  #owned(actor: Actor): boolean {
    return this.#engine.state.session?.tenant_id === actor.tenant_id;
  }

  /** One turn; the failure with which the machine refused it, or null. */
  #input(actor: Actor, input: Input, also?: () => void): Failed | null {
    if (!this.#owned(actor)) return UNKNOWN_SESSION;
    const { refused } = this.#engine.run((turn) => {
      turn.input(input);
      if (!turn.refused) also?.();
    });
    return refused && { ok: false, error: refused };
  }
}

function nameOf(actor: Actor): string {
  return actor.key_name ?? actor.key_id;
}
