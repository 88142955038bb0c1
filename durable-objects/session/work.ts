/** Owns one step in the making: the next state, the effects so far, and the small moves that every part of the machine is made of. */

import { PREFIXES, type ErrorCode, type EventData, type EventItem, type EventType, type Runner } from "../../sdk/protocol/index.ts";
import { backoff } from "../base/deadlines.ts";
import type { Attachment, Call, CommandRecord, Effect, State } from "./state.ts";

/** Waits between repeats of a call that failed. */
const CALL_BACKOFF = { base_ms: 500, cap_ms: 60_000 };
/** A call that has not answered for this long is made again. */
const CALL_PATIENCE_MS = 30_000;

/** A step's draft. Its `state` is replaced, never changed in place. */
export class Work {
  state: State;
  readonly effects: Effect[] = [];
  readonly now: number;
  /** A fresh run's id, for the one run that a step may start. */
  readonly freshRun: string;

  constructor(state: State, now: number, freshRun: string) {
    this.state = state;
    this.now = now;
    this.freshRun = freshRun;
  }

  /** A fresh capsule's id: no run has this body, as a step that suspends starts none. */
  get freshCapsule(): string {
    return this.freshRun.replace(/^[^_]*/, PREFIXES.capsule);
  }
  /** A fresh task's id, for the one task that a schedule may make in a step. */
  get freshTask(): string {
    return this.freshRun.replace(/^[^_]*/, PREFIXES.task);
  }
  get at(): string {
    return new Date(this.now).toISOString();
  }
  set(patch: Partial<State>): void {
    this.state = { ...this.state, ...patch };
  }
  counters(patch: Partial<State["counters"]>): void {
    this.set({ counters: { ...this.state.counters, ...patch } });
  }
  attach(patch: Partial<Attachment>): void {
    if (this.state.attachment) this.set({ attachment: { ...this.state.attachment, ...patch } });
  }
  do(effect: Effect): void {
    this.effects.push(effect);
  }
  refuse(code: ErrorCode, message: string, details?: Record<string, unknown>): void {
    this.do({ kind: "refuse", error: { code, message, ...(details && { details }) } });
  }

  /** Logs an event of a task's run, of a task, or of the session. */
  log<T extends EventType>(type: T, data: EventData<T>, of: { task_id: string | null; run_id: string | null } = { task_id: null, run_id: null }): void {
    this.do({ kind: "append", task_id: of.task_id, run_id: of.run_id, item: { at: this.at, type, data } as EventItem });
  }

  /** Journals a command for the attachment's runner; none where there is no attachment. */
  command(body: CommandRecord["body"]): void {
    const { attachment, commands } = this.state;
    if (!attachment) return;
    const command: CommandRecord = { id: attachment.next_command, epoch: attachment.epoch, body };
    this.attach({ next_command: attachment.next_command + 1 });
    this.set({ commands: [...commands, command] });
    this.do({ kind: "command", command });
  }

  /** The run is over: a runner that died before its journal had the command must not begin it when it is back. The number stays, as runners count. */
  withdrawStart(runId: string): void {
    const { commands } = this.state;
    const at = commands.findIndex(({ body }) => body.kind === "task.start" && body.run_id === runId);
    const start = commands[at];
    if (!start) return;
    const command: CommandRecord = { ...start, body: { kind: "settings" } };
    this.set({ commands: commands.with(at, command) });
    this.do({ kind: "command", command });
  }

  /** Changes the record of the attachment's runner. */
  putRunner(patch: Partial<Runner>): void {
    const runner = this.state.attachment?.runner;
    if (!runner) return;
    const value = { ...runner, ...patch, version: runner.version + 1 };
    this.attach({ runner: value });
    this.do({ kind: "put.runner", value });
  }

  /** Calls another object until it answers. A call of the same key that is outstanding is kept. */
  call(key: string, call: Call): void {
    if (this.state.chores.some((chore) => chore.key === key)) return;
    const chore = { key, call, tries: 0, calling: true, at: this.now + CALL_PATIENCE_MS };
    this.set({ chores: [...this.state.chores, chore] });
    this.do({ kind: "call", chore });
  }
  called(key: string): void {
    if (this.state.chores.some((chore) => chore.key === key)) this.set({ chores: this.state.chores.filter((chore) => chore.key !== key) });
  }
  /** Gives up calls that have lost their purpose. */
  uncall(match: (call: Call) => boolean): void {
    if (this.state.chores.some(({ call }) => match(call))) this.set({ chores: this.state.chores.filter(({ call }) => !match(call)) });
  }
  /** Puts a failed call off; returns how often it has failed in a row. */
  callFailed(key: string): number {
    let tries = 0;
    this.set({
      chores: this.state.chores.map((chore) => {
        if (chore.key !== key) return chore;
        tries = chore.tries + 1;
        return { ...chore, tries, calling: false, at: this.now + backoff(tries, CALL_BACKOFF) };
      }),
    });
    return tries;
  }
  /** Makes the calls that are due again; with `lost`, also those that were under way. */
  repeatCalls(lost: boolean): void {
    if (!this.state.chores.some((chore) => chore.at <= this.now || (lost && chore.calling))) return;
    this.set({
      chores: this.state.chores.map((chore) => {
        if (chore.at > this.now && !(lost && chore.calling)) return chore;
        const again = { ...chore, calling: true, at: this.now + CALL_PATIENCE_MS };
        this.do({ kind: "call", chore: again });
        return again;
      }),
    });
  }
}
