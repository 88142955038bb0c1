/** Owns a world around the machine for its tests: it carries effects out in memory, plays the objects beside it, and checks what must always hold. */

import { newChildId, newId, RUN_ENDED, sessionCreate, TASK_ENDED, taskCreate, type EventItem, type Permission, type Run, type SessionCreate, type Task, type TaskCreate } from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";
import { nextDeadline, step } from "./machine.ts";
import { EMPTY, type Call, type Chore, type Effect, type Input, type NotableItem, type State, type TaskRecord } from "./state.ts";

export const T0 = Date.UTC(2026, 10, 21);
export const SESSION = newId("session", T0);
export const HOST = newId("host", T0);
export const ACTOR: Actor = { tenant_id: newId("tenant", T0), key_id: newId("key", T0), key_name: "anna" };

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
  /** Calls that were asked for and not yet answered. */
  calls: Chore[] = [];
  readonly answered: Call[] = [];
  last: Effect[] = [];
  readonly released = new Set<number>();
  #retrying: string | null = null;

  constructor(input: Partial<SessionCreate> = {}) {
    const { api_key: _, env: __, ...rest } = sessionCreate.parse({ agent: "example", ...input });
    this.feed({ type: "session.create", actor: ACTOR, id: SESSION, workspace_id: newId("workspace", T0), input: rest, env_names: [], has_api_key: false });
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
    const { state, effects } = step(before, input, this.now, newChildId("run", SESSION, this.now));
    this.state = state;
    this.last = effects;
    for (const effect of effects) this.#carry(effect, before);
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
  answer(id: string, decision: "approved" | "denied" = "approved"): this {
    return this.feed({ type: "permission.answer", id, decision, actor: ACTOR, reason: null, scope: "once", known: this.permissions.get(id) ?? null });
  }

  grant(epoch = this.state.counters.epoch): this {
    return this.feed({ type: "lease.granted", epoch, host_id: HOST, runner_id: newId("runner", this.now), token_hash: "hash" });
  }
  spawned(): this {
    const id = this.state.attachment?.runner_id ?? "";
    return this.feed({ type: "spawn.answered", runner_id: id, answer: { ok: true, provider: "process", sandbox: "process", isolation: "none" } });
  }
  up(): this {
    return this.feed({ type: "link.up", epoch: this.state.counters.epoch, last_command: 0 });
  }
  /** A runner, from lease to hello. */
  attached(): this {
    return this.grant().spawned().up();
  }
  /** The runner's journal goes on by these items of the current run. */
  journal(...items: NotableItem[]): this {
    const { running, position, counters } = this.state;
    return this.feed({ type: "journal", epoch: counters.epoch, to: position + Math.max(1, items.length), task_id: running?.task.id ?? null, run_id: running?.run.id ?? null, items });
  }
  reports(status: Run["status"], more: object = {}): this {
    return this.journal({ at: new Date(this.now).toISOString(), type: "run.status", data: { status, ...more } });
  }
  asks(id = newChildId("permission", SESSION, this.now)): string {
    this.journal({ at: new Date(this.now).toISOString(), type: "permission.requested", data: { permission_id: id, tool: "Bash", input: {}, summary: "rm", risk: "critical", reasons: [] } });
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
      else if (permissions[0]) this.answer(permissions[0].id);
      else if (running?.ending) this.reports(running.ending.why);
      else if (running) this.reports("completed");
      else if (this.state.queue.length > 0 || this.state.chores.length > 0) this.tick(Math.max(1, (nextDeadline(this.state) ?? this.now + 1_000) - this.now));
      else return this;
    }
    throw new Error(`does not settle: ${JSON.stringify(this.state).slice(0, 2_000)}`);
  }

  #obey({ key, call }: Chore): void {
    if (call.kind === "lease.request") this.grant(call.epoch);
    else if (call.kind === "host.spawn") this.feed({ type: "spawn.answered", runner_id: call.runner_id, answer: { ok: true, provider: "process", sandbox: null, isolation: "none" } });
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
        return void this.permissions.set(effect.id, { ...(old as Permission), status: effect.status, decision: effect.decision });
      }
      case "command": {
        must(effect.command.epoch === this.state.counters.epoch || before.attachment?.epoch === effect.command.epoch, "no command of an old epoch");
        must(!over, "no command once the session has ended");
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
    must(permissions.every(({ run_id }) => run_id === running?.run.id), "pending permissions are of the current run");
    must([...this.permissions.values()].filter(({ status }) => status === "pending").length === permissions.length, "a permission is pending or decided");
    must(commands.every(({ id, epoch }, i) => epoch === attachment?.epoch && (i === 0 || (commands[i - 1]?.id ?? 0) < id) && id < attachment.next_command), "commands count up, and are the attachment's");
    must(!attachment || attachment.epoch === counters.epoch, "the attachment is the last epoch's");
    must(!running || attachment !== null, "what runs has a runner");
    if (session?.status === "terminated") must(!running && queue.length === 0, "an ended session has no work");
  }
}
