/** Owns the way out of the object: resource rows to the database and events to the tenant's bus, at least once, never awaited by a task. */

import type { Event } from "../../sdk/protocol/index.ts";
import { backoff, earliest } from "../base/deadlines.ts";
import { inTime } from "../base/in-time.ts";
import type { Projection, Row } from "../ports.ts";
import type { BusEvent } from "../rpc.ts";
import type { Mark } from "./dirty.ts";
import type { Engine } from "./engine.ts";
import { BUS_KINDS } from "./log-filter.ts";
import type { Neighbours } from "./neighbours.ts";
import { scheduleOf } from "./schedule.ts";

/** The first change after a quiet while leaves so soon … */
const DEBOUNCE_MS = 50;
/**
 * … and changes that follow share a round: a busy session costs the database a transaction every two seconds or
 * three, and the bus a message or two a second. Each object has a pace of its own, so that many that began together do not stay in step. */
const ROWS_PACE_MS = 2_000;
const BUS_PACE_MS = 500;
/** Should the object die in between, the alarm brings it back after this. */
const SAFETY_MS = 5_000;
/** A database that is back should not be behind for long. */
const BACKOFF = { base_ms: 500, cap_ms: 15_000 };
/** What was carried is struck off by a write of its own where no other comes within this. */
const SETTLE_MS = 2_000;
/** Longest that a round may take; what it carried is carried again then, which does no harm. */
const PATIENCE_MS = 20_000;
const ROWS = 100;
const EVENTS = 500;

/** One thing that is carried out in rounds, one at a time, put off where it fails. */
export class Drain {
  readonly #round: () => Promise<boolean>;
  readonly #waitUntil: (work: Promise<unknown>) => void;
  readonly #moved: () => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #running = false;
  /** When the timer rings. */
  #due = 0;
  #again = false;
  #soon = false;
  #failures = 0;
  readonly #pace: number;
  /** 1 to 1.5. */
  readonly #jitter = 1 + Math.random() / 2;
  /** When the last round ended. */
  #ended = 0;
  /** When the alarm must look after it; null where nothing is left. */
  deadline: number | null = null;

  constructor(pace: number, round: () => Promise<boolean>, waitUntil: (work: Promise<unknown>) => void, moved: () => void) {
    this.#pace = pace;
    this.#round = round;
    this.#waitUntil = waitUntil;
    this.#moved = moved;
  }

  /** There is something to carry; `soon`: without regard to the pace. */
  nudge(soon: boolean): void {
    if (this.#running) {
      this.#again = true;
      this.#soon ||= soon;
    }
    if (this.#running) return;
    const now = Date.now();
    if (this.#failures > 0) {
      // The alarm should have tried again by now.
      if (this.deadline !== null && this.deadline + SAFETY_MS < now) this.start();
      return;
    }
    const first = now + DEBOUNCE_MS * this.#jitter;
    const due = soon ? first : Math.max(first, this.#ended + this.#pace * this.#jitter);
    if (this.#timer !== null && this.#due <= due) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.deadline ??= now + SAFETY_MS;
    this.#due = due;
    this.#timer = setTimeout(() => this.start(), due - now);
  }
  /** Carries now, also where a failure put it off. */
  start(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    // A round may take longer: what has rung must not ring on until its end.
    this.deadline = Date.now() + SAFETY_MS;
    if (this.#running) return;
    this.#running = true;
    this.#waitUntil(this.#run());
  }

  async #run(): Promise<void> {
    try {
      this.#again = false;
      while (await inTime(this.#round(), PATIENCE_MS));
      this.#failures = 0;
      this.deadline = null;
    } catch (error) {
      this.#failures++;
      this.deadline = Date.now() + backoff(this.#failures, BACKOFF);
      console.warn(JSON.stringify({ event: "outbox.failed", failures: this.#failures, error: String(error) }));
    }
    this.#running = false;
    this.#ended = Date.now();
    if (this.#again) this.nudge(this.#soon);
    this.#soon = false;
    this.#moved();
  }
}

export class Outbox {
  readonly #engine: Engine;
  readonly #projection: Projection;
  readonly #neighbours: () => Neighbours;
  readonly #rows: Drain;
  readonly #bus: Drain;
  #settling = false;

  constructor(engine: Engine, projection: Projection, neighbours: () => Neighbours, waitUntil: (work: Promise<unknown>) => void) {
    this.#engine = engine;
    this.#projection = projection;
    this.#neighbours = neighbours;
    const moved = () => engine.setAlarm();
    this.#rows = new Drain(ROWS_PACE_MS, () => this.#sendRows(), waitUntil, moved);
    this.#bus = new Drain(BUS_PACE_MS, () => this.#sendEvents(), waitUntil, moved);
    engine.listen((done) => {
      if (engine.dirty.any) this.#rows.nudge(this.#settled);
      if (done.blocks.some(({ block }) => (block.kinds & BUS_KINDS) !== 0)) this.#bus.nudge(this.#settled);
    });
  }

  get deadline(): number | null {
    return earliest(this.#rows.deadline, this.#bus.deadline);
  }

  /** Nothing runs, or a person is waited for: what people see now stays for a while, so they should see it soon. */
  get #settled(): boolean {
    const { running, queue, permissions } = this.#engine.state;
    return (running === null && queue.length === 0) || permissions.length > 0;
  }
  /** After the object was started anew: what was left. */
  resume(): void {
    if (this.#engine.dirty.any) this.#rows.nudge(true);
    if (this.#engine.log.bus(this.#engine.dirty.bus, 1).items.length > 0) this.#bus.nudge(true);
  }
  /** The alarm rang. */
  ring(now: number): void {
    for (const drain of [this.#rows, this.#bus]) if (drain.deadline !== null && drain.deadline <= now) drain.start();
  }

  async #sendRows(): Promise<boolean> {
    const { dirty } = this.#engine;
    const marks = dirty.first(ROWS);
    const rows = marks.map((mark) => this.#row(mark)).filter((row) => row !== null);
    if (rows.length > 0) await this.#projection.apply(rows);
    // What was sent may be newer than its mark; what has changed since has a higher version and stays.
    const sent = rows.map(({ resource, value }) => ({ resource, id: value.id, version: value.version }) as Mark);
    const more = marks.length === ROWS;
    dirty.clear([...sent, ...marks.filter((mark) => this.#row(mark) === null)], !more);
    this.#settleLater();
    return more;
  }

  /** A busy object strikes off with its next turn; a quiet one after a while. */
  #settleLater(): void {
    if (this.#settling) return;
    this.#settling = true;
    setTimeout(() => {
      this.#settling = false;
      if (this.#engine.dirty.unsettled) this.#engine.dirty.settle();
    }, SETTLE_MS);
  }

  #row({ resource, id }: Mark): Row | null {
    const { tasks, runs, runners, permissions, schedulePrompts } = this.#engine;
    if (resource === "session") return rowOf(resource, this.#engine.session);
    if (resource === "run") return rowOf(resource, runs.get(id));
    if (resource === "runner") return rowOf(resource, runners.get(id));
    if (resource === "schedule") return rowOf(resource, scheduleOf(this.#engine.state, (schedule) => schedulePrompts.get(schedule)));
    if (resource === "permission") return rowOf(resource, permissions.get(id));
    return rowOf(resource, tasks.read(id));
  }

  async #sendEvents(): Promise<boolean> {
    const { log, dirty, session } = this.#engine;
    if (!session) return false;
    const { items, through } = log.bus(dirty.bus, EVENTS);
    if (items.length > 0) {
      const events = items.map(({ item, ...place }): BusEvent => ({ ...({ ...place, session_id: session.id, ...item } as Event), labels: session.labels }));
      await this.#neighbours().tenant(session.tenant_id).publish(session.id, events);
    }
    if (through > dirty.bus) dirty.bus = through;
    this.#settleLater();
    return log.last > through && items.length > 0;
  }
}

function rowOf<R extends Row["resource"]>(resource: R, value: Extract<Row, { resource: R }>["value"] | null): Row | null {
  return value === null ? null : ({ resource, value } as Row);
}
