/** Owns what an object must get across to others: kept in SQLite until it has arrived, repeated with backoff, at least once and the newest per key. */

import { backoff, type Backoff } from "../base/deadlines.ts";
import { inTime } from "../base/in-time.ts";
import { migrate } from "../base/sql.ts";

/** A delivery that has not come back by then is taken for failed. */
const PATIENCE_MS = 30_000;
const PAUSES: Backoff = { base_ms: 100, cap_ms: 60_000 };
/** Most keys of one batch. */
const BATCH = 500;

export interface CourierOptions<B> {
  storage: DurableObjectStorage;
  /** Names the table; letters and `_` only. */
  name: string;
  /** One key at a time (each on its own, all at once), or many in one delivery (one delivery at a time). */
  mode: "each" | "batch";
  /** Throws where it did not arrive. The receiver must be idempotent. */
  deliver: (bodies: B[]) => Promise<void>;
  /** Keeps the object alive while a delivery is under way. */
  defer: (work: Promise<void>) => void;
  /** Called after every delivery, for what came meanwhile and for the alarm. */
  settled: () => void;
}

interface Letter {
  [column: string]: SqlStorageValue;
  key: string;
  body: string;
  mark: number;
  tries: number;
}

export class Courier<B> {
  readonly #options: CourierOptions<B>;
  readonly #table: string;
  readonly #sql: SqlStorage;
  readonly #calling = new Set<string>();
  /** Tells a letter from one that was posted later under the same key; only deliveries of this instance compare it. */
  #mark = 0;

  constructor(options: CourierOptions<B>) {
    this.#options = options;
    this.#table = `courier_${options.name}`;
    this.#sql = options.storage.sql;
    migrate(options.storage, this.#table, [[
      `create table ${this.#table} (key text primary key, body text not null, mark integer not null, tries integer not null, at integer not null) without rowid`,
      `create index ${this.#table}_at on ${this.#table} (at)`,
    ]]);
    this.#mark = this.#sql.exec<{ mark: number | null }>(`select max(mark) as mark from ${this.#table}`).one().mark ?? 0;
  }

  /** Keeps `body` for delivery; what was kept for the same key and has not arrived is dropped. Deliver with `run`. */
  post(key: string, body: B, now: number): void {
    this.#sql.exec(`insert or replace into ${this.#table} values (?, ?, ?, 0, ?)`, key, JSON.stringify(body), ++this.#mark, now);
  }

  /** Drops what is kept for `key`, where it is moot. */
  drop(key: string): void {
    this.#sql.exec(`delete from ${this.#table} where key = ?`, key);
  }

  /** When to run next (epoch milliseconds), also for deliveries that an eviction would cut off; null where nothing is kept. */
  next(now: number): number | null {
    const rows = this.#sql.exec<{ key: string; at: number }>(`select key, at from ${this.#table} order by at limit 100`).toArray();
    let first: number | null = null;
    for (const { key, at } of rows) {
      const due = this.#calling.has(key) ? now + PATIENCE_MS : at;
      if (first === null || due < first) first = due;
    }
    return first;
  }

  /** Sends what is due and is not on its way already. */
  run(now: number): void {
    if (this.#options.mode === "batch" && this.#calling.size > 0) return;
    const due = this.#sql.exec<Letter>(`select key, body, mark, tries from ${this.#table} where at <= ? order by at limit ?`, now, BATCH).toArray().filter(({ key }) => !this.#calling.has(key));
    if (due.length === 0) return;
    for (const letters of this.#options.mode === "batch" ? [due] : due.map((letter) => [letter])) {
      for (const { key } of letters) this.#calling.add(key);
      this.#options.defer(this.#send(letters));
    }
  }

  async #send(letters: Letter[]): Promise<void> {
    let arrived = true;
    try {
      await inTime(this.#options.deliver(letters.map(({ body }) => JSON.parse(body) as B)), PATIENCE_MS);
    } catch {
      arrived = false;
    }
    const now = Date.now();
    for (const { key, mark, tries } of letters) {
      this.#calling.delete(key);
      // What was posted meanwhile has another mark, and goes out next.
      if (arrived) this.#sql.exec(`delete from ${this.#table} where key = ? and mark = ?`, key, mark);
      else this.#sql.exec(`update ${this.#table} set tries = ?, at = ? where key = ? and mark = ?`, tries + 1, now + backoff(tries + 1, PAUSES), key, mark);
    }
    this.#options.settled();
  }
}
