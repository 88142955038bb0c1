/** Owns the turn: steps of the machine and their effects go into storage in one transaction, and only then reach outwards. */

import { newChildId, newId, type ErrorBody, type EventItem, type Runner, type Session } from "../../sdk/protocol/index.ts";
import { alarmMove, earliest } from "../base/deadlines.ts";
import { migrate } from "../base/sql.ts";
import { Requests, REQUEST_TABLES } from "./gateway-requests.ts";
import { History, HISTORY_TABLES } from "./history.ts";
import { Images, IMAGE_TABLES } from "./images.ts";
import { Log, LOG_TABLES, type Block } from "./log.ts";
import { filterOf } from "./log-filter.ts";
import { nextDeadline, step } from "./machine.ts";
import { Dirty } from "./dirty.ts";
import { sessionOf } from "./session.ts";
import type { Chore, Effect, Input, State } from "./state.ts";
import { Capsules, CAPSULE_TABLES } from "./capsule-store.ts";
import { SchedulePrompts } from "./schedule-store.ts";
import { WAITING_KEY_TABLES } from "./waiting-key.ts";
import { Commands, Env, Permissions, Runners, Runs, States, STORE_TABLES, Tasks } from "./store.ts";

/** What a turn did, for those who are told after it is stored. */
export interface Done {
  blocks: { block: Block; items: readonly EventItem[] }[];
  calls: Chore[];
  closes: { epoch: number; code: number; reason: string }[];
  refused: ErrorBody | null;
}
export type Turn = Done & {
  /** One step of the machine. */
  input(input: Input): void;
  /** Appends events that the machine need not see. */
  append(task_id: string | null, run_id: string | null, items: readonly EventItem[]): void;
};

/** Told of every turn once it is stored. */
export type Listener = (done: Done) => void;

export class Engine {
  readonly storage: DurableObjectStorage;
  readonly log: Log;
  readonly history: History;
  readonly tasks: Tasks;
  readonly runs: Runs;
  readonly permissions: Permissions;
  readonly runners: Runners;
  readonly env: Env;
  readonly dirty: Dirty;
  readonly capsules: Capsules;
  readonly requests: Requests;
  readonly images: Images;
  readonly schedulePrompts: SchedulePrompts;
  readonly #commands: Commands;
  readonly #states: States;
  readonly #listeners: Listener[] = [];
  readonly #freshRunners = new Map<string, Runner>();
  #state: State;
  #alarm: number | null = null;
  /** Deadlines of others that share the alarm. */
  otherDeadline: () => number | null = () => null;

  constructor(storage: DurableObjectStorage) {
    migrate(storage, "session", [[...STORE_TABLES, ...LOG_TABLES]]);
    migrate(storage, "history", [HISTORY_TABLES]);
    migrate(storage, "capsules", [CAPSULE_TABLES]);
    migrate(storage, "gateway", [REQUEST_TABLES, WAITING_KEY_TABLES]);
    migrate(storage, "images", [IMAGE_TABLES]);
    const { sql } = storage;
    this.storage = storage;
    this.log = new Log(sql);
    this.history = new History(sql, this.log);
    this.tasks = new Tasks(sql);
    this.runs = new Runs(sql);
    this.permissions = new Permissions(sql);
    this.runners = new Runners(sql);
    this.env = new Env(sql);
    this.dirty = new Dirty(sql);
    this.capsules = new Capsules(sql);
    this.requests = new Requests(sql);
    this.images = new Images(sql);
    this.schedulePrompts = new SchedulePrompts(sql);
    this.#commands = new Commands(sql);
    this.#states = new States(sql);
    this.#state = this.#states.load(this.tasks, this.#commands, this.permissions);
  }

  get state(): State {
    return this.#state;
  }
  get session(): Session | null {
    return sessionOf(this.#state, this.log.last);
  }
  listen(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** One step, stored and told. */
  feed(input: Input): Done {
    return this.run((turn) => turn.input(input));
  }

  /** Several steps as one: all is stored, or, where `body` throws, nothing. */
  run(body: (turn: Turn) => void): Done {
    const before = this.#state;
    const turn: Turn = {
      blocks: [], calls: [], closes: [], refused: null,
      input: (input) => this.#step(input, turn),
      append: (task_id, run_id, items) => this.#append(turn, task_id, run_id, items),
    };
    // In the same commit, but not undone where `body` throws.
    this.dirty.settle();
    try {
      this.storage.transactionSync(() => {
        body(turn);
        for (const runner of this.#freshRunners.values()) this.runners.put(runner);
        this.#freshRunners.clear();
        this.dirty.write();
        this.#states.save(before, this.#state);
      });
    } catch (error) {
      this.#state = before;
      this.#freshRunners.clear();
      this.dirty.undo();
      this.log.reload();
      throw error;
    }
    for (const listener of this.#listeners) listener(turn);
    // Behind the listeners, which may have something to be woken for.
    this.setAlarm();
    return turn;
  }

  /** Moves the one alarm where something is due earlier. */
  setAlarm(): void {
    const to = alarmMove(this.#alarm, earliest(nextDeadline(this.#state), this.otherDeadline()), Date.now());
    if (to === null) return;
    this.#alarm = to;
    // Stored with the turn's own writes: the output gate waits for both.
    void this.storage.setAlarm(to);
  }
  /** The alarm has rung: whatever is due is done by the others first, so that it is not set to a time that has passed. */
  ring(others: () => void): void {
    this.#alarm = null;
    others();
    this.feed({ type: "tick" });
  }

  #step(input: Input, turn: Turn): void {
    const now = Date.now();
    const id = this.#state.session?.id;
    const { state, effects } = step(this.#state, input, now, id === undefined ? "" : newChildId("run", id, now));
    this.#state = state;
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i] as Effect;
      if (effect.kind !== "append") {
        this.#carry(effect, turn);
        continue;
      }
      // Neighbours of one run share a block.
      const items = [effect.item];
      for (let next = effects[i + 1]; next?.kind === "append" && next.task_id === effect.task_id && next.run_id === effect.run_id; next = effects[i + 1]) {
        items.push(next.item);
        i++;
      }
      this.#append(turn, effect.task_id, effect.run_id, items);
    }
  }

  #append(turn: Turn, task_id: string | null, run_id: string | null, items: readonly EventItem[]): void {
    let from = 0;
    for (const block of this.log.append(task_id, run_id, items)) {
      turn.blocks.push({ block, items: items.length === block.count ? items : items.slice(from, from + block.count) });
      from += block.count;
    }
  }

  #carry(effect: Exclude<Effect, { kind: "append" }>, turn: Turn): void {
    switch (effect.kind) {
      case "put.task":
        this.tasks.put(effect.value);
        return this.dirty.mark("task", effect.value.id, effect.value.version);
      case "put.run":
        this.runs.put(effect.value);
        return this.dirty.mark("run", effect.value.id, effect.value.version);
      case "put.runner":
        // A turn may change it more than once.
        this.#freshRunners.set(effect.value.id, effect.value);
        return this.dirty.mark("runner", effect.value.id, effect.value.version);
      case "put.permission":
        this.permissions.put(effect.value);
        return this.dirty.mark("permission", effect.value.id, effect.value.version);
      case "end.permission":
        return this.dirty.mark("permission", effect.id, this.permissions.end(effect.id, effect.status, effect.decision, effect.at));
      case "move.permission":
        return this.dirty.mark("permission", effect.id, this.permissions.move(effect.id, effect.run_id));
      case "put.capsule": return this.#putCapsule(effect);
      case "put.request": return this.requests.put(effect.value);
      case "put.session":
        return this.#state.session ? this.dirty.mark("session", this.#state.session.id, this.#state.session.version) : undefined;
      case "put.schedule":
        return this.#state.schedule ? this.dirty.mark("schedule", this.#state.schedule.id, this.#state.schedule.version) : undefined;
      case "put.prompt": return this.schedulePrompts.giveTo(effect.task_id, effect.of);
      case "command": return this.#commands.put(effect.command);
      case "commands.drop": return this.#commands.drop(effect.up_to);
      case "call": return void turn.calls.push(effect.chore);
      case "close": return void turn.closes.push(effect);
      case "refuse": turn.refused ??= effect.error;
    }
  }

  /** One that was taken at a task's end stands for the log up to that end, any other for the log up to where its files began to be read. */
  #putCapsule({ value, conversation, seq: read }: Extract<Effect, { kind: "put.capsule" }>): void {
    const ended = value.why === "task_end" ? value.task_id : null;
    if (ended === null) return this.capsules.put({ ...value, seq: Math.min(read ?? this.log.last, this.log.last), conversation: conversation ?? this.#state.session?.conversation ?? null });
    const end = this.log.tail(1, filterOf({ task_id: ended, types: ["task.status"] })) + 1;
    // It is sent while the next run works, and may come after that one's end: of that it holds nothing.
    const runs = this.runs.of(ended);
    const next = runs[runs.findIndex(({ id }) => id === value.run_id) + 1];
    const begun = next && next.id !== runs[0]?.id ? this.log.firstOf(next.task_id, next.id) : null;
    const seq = Math.min(end, this.log.last, ...(begun === null ? [] : [begun - 1]));
    this.capsules.put({ ...value, seq, conversation: conversation ?? this.tasks.get(ended)?.conversation ?? this.#state.session?.conversation ?? null });
  }
}

/** A fresh runner's id. */
export function newRunnerId(): string {
  return newId("runner", Date.now());
}
