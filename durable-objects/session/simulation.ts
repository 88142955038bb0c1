/** Owns a world around the machine for its tests: it carries effects out in memory, plays the objects beside it, and checks what must always hold. */

import {
  MAX_GRANTS, newChildId, newId, PLAIN_OFFER, RUN_ENDED, sessionCreate, TASK_ENDED, taskCreate, type Capsule, type EventItem, type LifecycleMode, type Permission, type Run, type Scope, type SessionCreate, type SuspendOffer, type SuspendStrategy, type Task,
  type TaskCreate,
} from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";
import { nextDeadline, step } from "./machine.ts";
import { EMPTY, type Call, type Chore, type Effect, type Input, type NotableItem, type State, type TaskRecord } from "./state.ts";

export const T0 = Date.UTC(2026, 10, 21);
export const SESSION = newId("session", T0);
export const HOST = newId("host", T0);
export const ACTOR: Actor = { tenant_id: newId("tenant", T0), key_id: newId("key", T0), key_name: "anna" };

/** What a provider that can do everything offers. */
export const OFFER: SuspendOffer = {
  strategies: ["pause", "snapshot", "terminate_preserve_storage", "release_to_pool", "terminate"], strategy: "pause", fallback: "terminate_preserve_storage", min_duration_seconds: 0, max_duration_seconds: 3_600,
};
const TREE = { files: 1, bytes: 3, sent_bytes: 3 };

interface Logged {
  task_id: string | null;
  run_id: string | null;
  item: EventItem;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`broken: ${what}`);
}

export class Simulation {
  state: State = EMPTY;
  now = T0;
  readonly log: Logged[] = [];
  readonly tasks = new Map<string, TaskRecord>();
  readonly runs = new Map<string, Run>();
  readonly permissions = new Map<string, Permission>();
  readonly created: string[] = [];
  readonly capsules: Omit<Capsule, "seq" | "conversation">[] = [];
  /** What its provider offers, and the version of its runner's link. */
  offer: SuspendOffer = PLAIN_OFFER;
  version = 3;
  continues = false;
  /** How people answered. */
  readonly answers = new Map<string, string>();
  /** Calls that were asked for and not yet answered. */
  calls: Chore[] = [];
  readonly answered: Call[] = [];
  last: Effect[] = [];
  readonly released = new Set<number>();
  /** What people approved beyond a call, as far as it should hold. */
  #approved: { turn: string[]; session: string[] } = { turn: [], session: [] };
  #retrying: string | null = null;

  constructor(input: Partial<SessionCreate> = {}, lifecycle_mode: LifecycleMode = input.lifecycle_mode ?? "on_demand") {
    const { api_key: _, env: __, ...rest } = sessionCreate.parse({ agent: "example", ...input });
    this.feed({ type: "session.create", actor: ACTOR, id: SESSION, workspace_id: newId("workspace", T0), input: { ...rest, lifecycle_mode }, env_names: [], has_api_key: false });
  }

  get refused(): string | null {
    return this.last.find((effect) => effect.kind === "refuse")?.error.code ?? null;
  }
  /** Statuses that were logged for a task, in order. */
  statuses(id: string): string[] {
    return this.log.flatMap(({ task_id, item }) => (task_id === id && item.type === "task.status" ? [item.data.status] : []));
  }
  commands(kind?: string): State["commands"] {
    return this.state.commands.filter(({ body }) => kind === undefined || body.kind === kind);
  }

  feed(input: Input): this {
    const before = this.state;
    if (input.type === "call.done") for (const { key, call } of before.chores) if (key === input.key && call.kind === "lease.release") this.released.add(call.epoch);
    this.#retrying = input.type === "task.retry" ? input.id : null;
    if (input.type === "session.update" && input.patch.approvals) for (const scope of ["turn", "session"] as const) this.#approved[scope] = this.#approved[scope].filter((id) => input.patch.approvals?.includes(id));
    const { state, effects } = step(before, input, this.now, newChildId("run", SESSION, this.now));
    this.state = state;
    this.last = effects;
    for (const effect of effects) this.#carry(effect, before);
    if (state.session?.status === "terminated") this.#approved = { turn: [], session: [] };
    this.check();
    return this;
  }
  tick(ms = 0): this {
    this.now += ms;
    this.feed({ type: "tick" });
    const next = nextDeadline(this.state);
    must(next === null || next > this.now, `after a tick nothing is due any more, but ${JSON.stringify(this.state)} is`);
    return this;
  }

  task(more: Partial<TaskCreate> = {}, id = newChildId("task", SESSION, this.now)): string {
    const { prompt: _, ...input } = taskCreate.parse({ prompt: "do", ...more });
    this.feed({ type: "task.create", id, input, preview: "do", known: this.tasks.get(id) ?? null, continued: (more.continue_from && this.tasks.get(more.continue_from)) || null });
    if (!this.refused && !this.created.includes(id)) this.created.push(id);
    return id;
  }
  change(type: "task.cancel" | "task.retry" | "task.execute", id: string): this {
    return this.feed({ type, id, by: "anna", known: this.tasks.get(id) ?? null });
  }
  answer(id: string, decision: "approved" | "denied" = "approved", scope: Scope = "once"): this {
    const known = this.permissions.get(id) ?? null;
    if (known?.status === "pending") {
      this.answers.set(id, decision);
      if (decision === "approved" && scope !== "once") this.#approved[scope].push(id);
    }
    return this.feed({ type: "permission.answer", id, decision, actor: ACTOR, reason: null, scope, known });
  }

  grant(epoch = this.state.counters.epoch): this {
    return this.feed({ type: "lease.granted", epoch, host_id: HOST, runner_id: newId("runner", this.now), token_hash: "hash" });
  }
  spawned(): this {
    const id = this.state.attachment?.runner_id ?? "";
    return this.feed({ type: "spawn.answered", runner_id: id, answer: { ok: true, provider: "process", sandbox: "process", isolation: "none", suspend: this.offer } });
  }
  up(): this {
    return this.feed({ type: "link.up", epoch: this.state.counters.epoch, last_command: 0, version: this.version, continues: this.continues });
  }
  down(stopped = false): this {
    return this.feed({ type: "link.down", epoch: this.state.counters.epoch, stopped });
  }
  suspend(strategy: SuspendStrategy | null = null): this {
    return this.feed({ type: "session.suspend", strategy, cause: "requested", reason: null });
  }
  resume(): this {
    return this.feed({ type: "session.resume", by: "anna", options: {}, from: null, has_api_key: false });
  }
  /** The runner ends its agent as it was told, and takes the capsule that it was asked for. */
  capsule(): this {
    const { running, suspending } = this.state;
    const asked = this.commands("capsule").at(-1)?.body;
    if (running && asked?.kind === "capsule" && asked.stop_agent) this.reports("canceled", { error: { code: "suspended", message: "suspended" }, conversation: "mid" });
    return this.reading(suspending?.capsule?.id ?? "").synced(suspending?.capsule?.id, "suspend");
  }
  /** The runner begins to read the files for a capsule that was asked for. */
  reading(id: string): this {
    return this.journal({ at: "", type: "workspace.sync_started", data: { capsule_id: id, why: "suspend" } });
  }
  synced(id = newChildId("capsule", SESSION, this.now), why: Capsule["why"] = "task_end"): this {
    const { counters, position, session } = this.state;
    const tree = { manifest_id: newId("manifest", this.now), ...TREE };
    const data = { capsule_id: id, why, workspace: tree, state: tree, torn: false, left_out: [], duration_ms: 1 };
    const run_id = why === "task_end" ? (session?.last_run_id ?? null) : null;
    const task_id = run_id === null ? null : (this.runs.get(run_id)?.task_id ?? null);
    return this.feed({ type: "journal", epoch: counters.epoch, to: position + 1, task_id, run_id, items: [{ at: "", type: "workspace.synced", data }], seq: position + 1 });
  }
  restored(): this {
    const tree = { manifest_id: newId("manifest", this.now), ...TREE };
    return this.journal({ at: "", type: "workspace.restored", data: { capsule_id: null, workspace: tree, state: null, kept: false, duration_ms: 1 } });
  }
  /** A runner, from lease to hello. */
  attached(): this {
    return this.grant().spawned().up();
  }
  /** The runner's journal goes on by these items of the current run. */
  journal(...items: NotableItem[]): this {
    const { running, position, counters } = this.state;
    return this.feed({ type: "journal", epoch: counters.epoch, to: position + Math.max(1, items.length), task_id: running?.task.id ?? null, run_id: running?.run.id ?? null, items, seq: position + items.length });
  }
  reports(status: Run["status"], more: object = {}): this {
    return this.journal({ at: new Date(this.now).toISOString(), type: "run.status", data: { status, ...more } });
  }
  asks(id = newChildId("permission", SESSION, this.now)): string {
    this.journal({ at: new Date(this.now).toISOString(), type: "permission.requested", data: { permission_id: id, tool: "Bash", input: {}, summary: "rm", risk: "medium", reasons: [], keys: [id] } });
    return id;
  }

  /** Everyone does what is right until nothing is left to do. */
  settle(): this {
    for (let round = 0; round < 2_000; round++) {
      const { attachment, running, permissions } = this.state;
      const call = this.calls.shift();
      if (call) this.#obey(call);
      else if (attachment?.state === "queued") this.grant();
      else if (attachment?.runner_id && (attachment.state === "spawning" || attachment.state === "disconnected")) this.up();
      else if (attachment?.state === "stopping") this.feed({ type: "link.down", epoch: attachment.epoch, stopped: true });
      else if (this.state.suspending?.capsule?.outcome === "waiting" && attachment) this.capsule();
      else if (attachment?.restore && attachment.state === "connected") this.restored();
      else if (permissions[0]) this.answer(permissions[0].id);
      else if (this.state.session?.status === "suspended" && this.state.queue.length > 0) this.resume();
      else if (this.state.session?.status === "suspended" && running) this.resume();
      else if (running?.ending) this.reports(running.ending.why);
      else if (running) this.reports("completed");
      else if (this.state.queue.length > 0 || this.state.chores.length > 0) this.tick(Math.max(1, (nextDeadline(this.state) ?? this.now + 1_000) - this.now));
      else return this;
    }
    throw new Error(`does not settle: ${JSON.stringify(this.state).slice(0, 2_000)}`);
  }

  #obey({ key, call }: Chore): void {
    if (call.kind === "lease.request") this.grant(call.epoch);
    else if (call.kind === "host.spawn") this.feed({ type: "spawn.answered", runner_id: call.runner_id, answer: { ok: true, provider: "process", sandbox: null, isolation: "none", suspend: this.offer } });
    else if (call.kind === "host.suspend") this.feed({ type: "host.suspended", runner_id: call.runner_id, answer: { ok: true, strategy: call.strategy, detail: "" } });
    else if (call.kind === "host.resume") this.feed({ type: "host.resumed", runner_id: call.runner_id, answer: { ok: true } });
    this.answered.push(call);
    this.feed({ type: "call.done", key });
  }

  #carry(effect: Effect, before: State): void {
    const over = before.session?.status === "terminated";
    switch (effect.kind) {
      case "append":
        must(!over, "nothing is logged once the session has ended");
        return void this.log.push(effect);
      case "put.task": return this.#putTask(effect.value);
      case "put.run": {
        const old = this.runs.get(effect.value.id);
        must(!old || (!RUN_ENDED.has(old.status) && old.version < effect.value.version), "a run ends once");
        return void this.runs.set(effect.value.id, effect.value);
      }
      case "put.permission": return void this.permissions.set(effect.value.id, effect.value);
      case "end.permission": {
        const old = this.permissions.get(effect.id);
        must(old?.status === "pending", "a permission is decided once");
        must(!this.answers.has(effect.id) || this.answers.get(effect.id) === effect.status, "a permission is answered as it was answered");
        return void this.permissions.set(effect.id, { ...(old as Permission), status: effect.status, decision: effect.decision });
      }
      case "move.permission": {
        const old = this.permissions.get(effect.id);
        must(old?.status === "pending", "only a question that waits goes on waiting");
        return void this.permissions.set(effect.id, { ...(old as Permission), run_id: effect.run_id });
      }
      case "put.prompt": return void this.created.push(effect.task_id);
      case "put.capsule": return void this.capsules.push(effect.value);
      case "command": {
        must(effect.command.epoch === this.state.counters.epoch || before.attachment?.epoch === effect.command.epoch, "no command of an old epoch");
        must(!over, "no command once the session has ended");
        const { body } = effect.command;
        if (body.kind === "task.start" && !body.interrupted) this.#approved.turn = [];
        return;
      }
      case "call": {
        must(!over || effect.chore.call.kind !== "lease.request", "no lease once the session has ended");
        this.calls = [...this.calls.filter(({ key }) => key !== effect.chore.key), effect.chore];
      }
    }
  }

  #putTask(task: TaskRecord): void {
    const old = this.tasks.get(task.id);
    must(!old || old.version < task.version, "versions of a task grow");
    if (old && TASK_ENDED.has(old.status)) must(this.#retrying === task.id && task.status === "pending", "a task ends once");
    if (old?.status === "pending" && task.status !== "pending" && task.status !== "running") must(TASK_ENDED.has(task.status), "a task's status is known");
    if (task.status !== "running" && (old?.status === "running" || old?.interrupted) && !task.interrupted) this.#approved.turn = [];
    this.tasks.set(task.id, task);
  }

  /** What holds after every step. */
  check(): void {
    const { running, queue, permissions, commands, attachment, counters, session } = this.state;
    const place = new Map<string, Task["status"]>([...queue.map(({ id }) => [id, "pending"] as const), ...(running ? [[running.task.id, "running"] as const] : [])]);
    must(place.size === queue.length + (running ? 1 : 0), "a task is in one place");
    for (const id of this.created) {
      const status = this.tasks.get(id)?.status;
      must(status !== undefined && (TASK_ENDED.has(status) ? !place.has(id) : place.get(id) === status), `task ${id} is pending, running or ended, but is ${status} and ${place.get(id)}`);
    }
    must(queue.every(({ order }, i) => i === 0 || (queue[i - 1] as TaskRecord).order < order), "the queue is in order");
    const interrupted = queue[0]?.interrupted ?? null;
    must(permissions.every(({ id, run_id }) => run_id === (running?.run.id ?? interrupted?.run_id) || id === this.state.gateway.question?.permission_id), "pending permissions are of the current run, of the turn that was interrupted, or a budget's");
    must(queue.slice(1).every((task) => task.interrupted === null) && (running === null || interrupted === null), "only the first task's turn is interrupted, and nothing runs meanwhile");
    if (interrupted) must(permissions.every(({ id }) => interrupted.permissions.includes(id) || interrupted.permissions.length === 100), "an interrupted turn carries its questions");
    must([...this.permissions.values()].filter(({ status }) => status === "pending").length === permissions.length, "a permission is pending or decided");
    must(commands.every(({ id, epoch }, i) => epoch === attachment?.epoch && (i === 0 || (commands[i - 1]?.id ?? 0) < id) && id < attachment.next_command), "commands count up, and are the attachment's");
    for (const scope of ["turn", "session"] as const) {
      const [held, given] = [this.state.approvals[scope].map(({ permission_id }) => permission_id), this.#approved[scope].slice(-MAX_GRANTS)];
      must(held.join() === given.join(), `what was approved for the ${scope} holds as long, and no longer: ${held.join()} instead of ${given.join()}`);
    }
    must(!attachment || attachment.epoch === counters.epoch, "the attachment is the last epoch's");
    must(!running || attachment !== null, "what runs has a runner");
    const { suspending } = this.state;
    if (session?.status === "suspending" || session?.status === "suspended" || session?.status === "resuming") must(suspending !== null, "a suspension is remembered until it is over");
    if (session?.status === "active" || session?.status === "pending") must(suspending === null, "a session that is active is not suspended");
    if (session?.status === "suspended") must(attachment === null || attachment.state === "held", "a suspended session has no runner, or a held one");
    if (session?.status === "suspended" && suspending) must((suspending.strategy === "pause" || suspending.strategy === "snapshot") === (attachment !== null), "what is held is said to be held");
    if (attachment?.state === "held") must(session?.status === "suspended" || session?.status === "resuming", "only a suspended session's runner is held");
    if (session?.status === "suspended" && running) must(suspending?.strategy === "pause" && running.deadline === null, "only a frozen run waits in a suspended session, and its time stands still");
    if (session?.status === "terminated") must(!running && queue.length === 0, "an ended session has no work");
  }
}
