/** Owns taking capsules: reading both trees between two tasks, sending them while the next one runs, trying again while nobody answers; the newest wins. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { newChildId, newId } from "../../sdk/protocol/ids.ts";
import type { EventData } from "../../sdk/protocol/event.ts";
import type { SyncResult } from "../../sdk/workspace/sync.ts";
import { encode } from "./bounds.ts";
import type { Journal } from "./journal.ts";
import type { RunIds } from "./journal-line.ts";
import { MARKER } from "./spec.ts";
import { mayPass, treeError } from "./tree-error.ts";
import type { Trees } from "./trees.ts";

/** Between two attempts while the control plane is away. */
const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** Most that are under way at a time: one that is read, one that is still sent. */
const MAX_UNDER_WAY = 2;
const MAX_LEFT_OUT = 100;

export interface CapsuleOrder {
  capsule_id?: string;
  why: EventData<"workspace.synced">["why"];
  /** The run that had ended, or that is held, when the files are read. */
  of: RunIds | null;
  /** Nothing of the run's processes is left, and nothing else reads the trees. */
  after?: Promise<unknown>;
  /** An agent works while it is read. */
  torn?: boolean;
}

/** One that has been begun. `read` resolves when its files have been read, or cannot be; from then on they may change. `tear` says that they will change before. */
export interface Taken {
  read: Promise<void>;
  tear: () => void;
}

export interface CapsuleParts {
  session_id: string;
  /** Directory of the marker. */
  state: string;
  journal: Journal;
  stamp: () => string;
  now: () => number;
  log: (line: string) => void;
  trees: () => Promise<Trees>;
  /** Whether the session understands capsules. */
  understood: () => boolean;
  /** Milliseconds before the first repetition. */
  retryMs?: number;
}

interface Told<T extends "workspace.sync_started" | "workspace.synced" | "workspace.sync_failed"> {
  type: T;
  data: EventData<T>;
}

interface Job extends CapsuleOrder {
  id: string;
  number: number;
  abort: AbortController;
  /** Somebody has asked for it by its id, and waits. */
  asked: boolean;
  over: boolean;
  began: number;
}

export class Capsules {
  readonly #parts: CapsuleParts;
  #jobs: Job[] = [];
  #count = 0;
  /** Runs that have begun, so that a capsule knows whether its trees are still what it holds. */
  #begun = 0;
  #marked = false;
  #closed = false;

  constructor(parts: CapsuleParts) {
    this.#parts = parts;
  }

  /** A run begins: no capsule holds what it will write. */
  runBegins(): void {
    this.#begun++;
    if (!this.#marked) return;
    this.#marked = false;
    rmSync(join(this.#parts.state, MARKER), { force: true });
  }

  /**
   * Takes a capsule. Ends in an event `workspace.synced` or, where it was asked for or cannot be taken, `workspace.sync_failed`.
   */
  take(order: CapsuleOrder): Taken {
    const { session_id, now, log, understood } = this.#parts;
    if (this.#closed || !understood()) return { read: Promise.resolve(), tear: () => {} };
    const job: Job = { ...order, id: order.capsule_id ?? newChildId("capsule", session_id, now()), number: ++this.#count, abort: new AbortController(), asked: order.capsule_id !== undefined, over: false, began: performance.now() };
    for (const old of this.#jobs.slice(0, Math.max(0, this.#jobs.length + 1 - MAX_UNDER_WAY))) this.#giveUp(old);
    this.#jobs.push(job);
    const { promise: read, resolve } = Promise.withResolvers<void>();
    void this.#work(job, resolve)
      .catch((error: unknown) => log(`capsule ${job.id}: ${String(error)}`))
      .finally(() => {
        resolve();
        job.over = true;
        this.#jobs = this.#jobs.filter((other) => other !== job);
      });
    return { read, tear: () => (job.torn = true) };
  }

  /** Waits for what is under way, at most so long, then lets go of it. */
  async close(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (this.#jobs.length > 0 && performance.now() < until) await pause(20);
    this.#closed = true;
    for (const job of this.#jobs) job.abort.abort();
  }

  #giveUp(job: Job): void {
    if (job.over) return;
    job.over = true;
    job.abort.abort();
    this.#parts.log(`capsule ${job.id} is given up for a newer one`);
    if (job.asked) this.#failed(job, { code: "sync_failed", message: "a newer capsule took its place" });
  }

  async #work(job: Job, read: () => void): Promise<void> {
    await job.after?.catch(() => {});
    const first = this.#begun;
    let wait = this.#parts.retryMs ?? MIN_RETRY_MS;
    for (;;) {
      // Read again after a failure, it may be in the middle of the next task.
      const torn = job.torn === true || this.#begun !== first;
      try {
        const event = await this.#attempt(job, torn, read);
        if (job.over) return;
        for (const older of this.#jobs) if (older.number < job.number) this.#giveUp(older);
        this.#record({ type: "workspace.synced", data: { ...event, torn: event.torn || job.torn === true } }, job.of);
        if (!event.torn && job.torn !== true && this.#begun === first) this.#mark(job.id);
        return;
      } catch (error) {
        read();
        if (job.over || this.#closed) return;
        if (!mayPass(error)) return this.#failed(job, treeError(error, "sync_failed"));
        if (this.#jobs.some((newer) => newer.number > job.number)) return this.#giveUp(job);
        this.#parts.log(`capsule ${job.id} waits: ${error instanceof Error ? error.message : String(error)}`);
        await pause(wait, undefined, { signal: job.abort.signal }).catch(() => {});
        if (job.over || this.#closed) return;
        wait = Math.min(wait * 2, MAX_RETRY_MS);
      }
    }
  }

  async #attempt(job: Job, torn: boolean, read: () => void): Promise<EventData<"workspace.synced">> {
    const trees = await this.#parts.trees();
    const { signal } = job.abort;
    if (job.over) throw new Error("given up");
    if (job.asked) this.#append({ type: "workspace.sync_started", data: { capsule_id: job.id, why: job.why } }, job.of);
    const syncs = (trees.stateFiles.length > 0 ? (["workspace", "state"] as const) : (["workspace"] as const)).map((kind) => trees.sync(kind, newId("manifest", this.#parts.now()), signal));
    void Promise.allSettled(syncs.map((sync) => sync.read)).then(read);
    // Both to their end, so that neither goes on behind a failure.
    const outcomes = await Promise.allSettled(syncs.map((sync) => sync.done));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
    const [workspace, state] = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    if (!workspace) throw new Error("the workspace was not read");
    return {
      capsule_id: job.id, why: job.why, workspace: summary(workspace), state: state ? summary(state) : null, torn: torn || workspace.torn || state?.torn === true,
      left_out: [...(trees.withheld ? [trees.withheld] : []), ...[workspace, ...(state ? [state] : [])].flatMap(({ excluded }) => excluded)].slice(0, MAX_LEFT_OUT), duration_ms: Math.round(performance.now() - job.began),
    };
  }

  #failed(job: Job, error: EventData<"workspace.sync_failed">["error"]): void {
    this.#record({ type: "workspace.sync_failed", data: { capsule_id: job.id, why: job.why, error } }, job.of);
  }

  #record(event: Told<"workspace.synced"> | Told<"workspace.sync_failed">, of: RunIds | null): void {
    this.#append(event, of);
    this.#parts.journal.setCapsule(null, event.data.capsule_id);
  }

  #append(event: Told<"workspace.sync_started"> | Told<"workspace.synced"> | Told<"workspace.sync_failed">, of: RunIds | null): void {
    const { journal, stamp } = this.#parts;
    for (const item of encode(event, stamp(), false)) void journal.append(of, item);
  }

  #mark(id: string): void {
    try {
      writeFileSync(join(this.#parts.state, MARKER), JSON.stringify({ capsule_id: id }), { mode: 0o600 });
      this.#marked = true;
    } catch (error) {
      this.#parts.log(`capsule ${id} cannot be noted for the host: ${String(error)}`);
    }
  }
}

function summary({ manifest_id, files, bytes, sent_bytes }: SyncResult): EventData<"workspace.synced">["workspace"] {
  return { manifest_id, files, bytes, sent_bytes };
}
