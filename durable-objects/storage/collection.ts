/** Owns the two phases of garbage collection: marking what nothing refers to, and removing what has been marked for long and still is. */

import type { Collection } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";
import type { Chunks } from "./chunks.ts";
import type { Manifests } from "./manifests.ts";
import type { Bucket } from "./rpc.ts";

/** From the mark to the removal, and the age at which an object that no record names is taken for a leftover. */
export const MARKED_MS = 7 * 86_400_000;
/** What was put so lately may belong to a sync that has not told its manifest yet. */
const FRESH_MS = 3_600_000;
const BATCH = 500;
/** Pages of the store's listing that one collection looks through for leftovers; the next goes on where it ended. */
const LEFTOVER_PAGES = 50;

type Counts = Omit<Collection, "tenant_id" | "dry_run" | "expired_workspaces" | "expired_manifests" | "thinned_manifests">;

/** A set of small numbers, one bit each. */
class Numbers {
  readonly #bits: Uint8Array;
  constructor(max: number) {
    this.#bits = new Uint8Array((max >> 3) + 1);
  }
  add(n: number): void {
    const at = n >> 3;
    this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (n & 7));
  }
  has(n: number): boolean {
    return ((this.#bits[n >> 3] ?? 0) & (1 << (n & 7))) !== 0;
  }
}

export class Collector {
  readonly #storage: DurableObjectStorage;
  readonly #sql: Sql;
  readonly #chunks: Chunks;
  readonly #manifests: Manifests;
  readonly #bucket: () => Bucket;
  #removal: Promise<void> | null = null;

  constructor(storage: DurableObjectStorage, chunks: Chunks, manifests: Manifests, bucket: () => Bucket) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#chunks = chunks;
    this.#manifests = manifests;
    this.#bucket = bucket;
    storage.sql.exec("create table if not exists leftovers (prefix text primary key, cursor text not null) without rowid");
  }

  /** Ends what removals there are, also those that a crash interrupted. Whoever waits for one waits for all. */
  async settle(): Promise<void> {
    this.#removal ??= this.#remove().finally(() => {
      this.#removal = null;
    });
    await this.#removal;
  }

  async #remove(): Promise<void> {
    for (;;) {
      const keys = this.#sql.exec<{ key: string }>("select key from removing limit ?", BATCH).toArray().map(({ key }) => key);
      if (keys.length === 0) return;
      await this.#bucket().delete(keys);
      this.#sql.exec("delete from removing where key in (select value from json_each(?))", JSON.stringify(keys));
    }
  }

  /** Sets keys on their way out of the store; `settle` carries it out. */
  discard(keys: readonly string[]): void {
    this.#sql.exec("insert or ignore into removing select value from json_each(?)", JSON.stringify(keys));
  }

  /** Counts and, unless `dryRun`, marks. In one turn: nothing is put or committed meanwhile. */
  mark(now: number, dryRun: boolean): Counts {
    return this.#storage.transactionSync(() => {
      const { max } = this.#sql.exec<{ max: number | null }>("select max(n) as max from chunks").one();
      const live = new Numbers(max ?? 0);
      for (const numbers of this.#manifests.allRefs()) for (const n of numbers) live.add(n);
      const counts: Counts = { kept: 0, kept_bytes: 0, marked: 0, marked_before: 0, removed: 0, removed_bytes: 0 };
      const fresh: number[] = [];
      for (const row of this.#sql.exec<{ n: number; size: number; put_at: number; marked_at: number | null; key: string }>("select n, size, put_at, marked_at, key from chunks")) {
        if (live.has(row.n)) {
          counts.kept++;
          counts.kept_bytes += row.size;
        } else if (row.marked_at !== null) {
          counts.marked_before++;
          if (!dryRun || !this.#due(row, now)) continue;
          counts.removed++;
          counts.removed_bytes += row.size;
        } else if (row.put_at + FRESH_MS <= now) {
          counts.marked++;
          fresh.push(row.n);
        }
      }
      if (!dryRun) for (let at = 0; at < fresh.length; at += BATCH) this.#sql.exec("update chunks set marked_at = ? where n in (select value from json_each(?))", now, JSON.stringify(fresh.slice(at, at + BATCH)));
      return counts;
    });
  }

  #due({ marked_at, put_at, key }: { marked_at: number | null; put_at: number; key: string }, now: number): boolean {
    return marked_at !== null && marked_at + MARKED_MS <= now && put_at <= marked_at && !this.#chunks.isClaimed(key, now);
  }

  /** Removes what has been marked for long enough. Each batch is looked at anew: references, claims, and whether it was put since. */
  async sweep(now: number): Promise<{ removed: number; removed_bytes: number }> {
    const done = { removed: 0, removed_bytes: 0 };
    for (let after = 0; ; ) {
      const batch = this.#storage.transactionSync(() => {
        const rows = this.#sql.exec<{ n: number; key: string; size: number; put_at: number; marked_at: number }>("select n, key, size, put_at, marked_at from chunks where marked_at <= ? and n > ? order by n limit ?", now - MARKED_MS, after, BATCH).toArray();
        const last = rows.at(-1);
        const due = this.#unreferenced(rows.filter((row) => this.#due(row, now)));
        const numbers = JSON.stringify(due.map(({ n }) => n));
        this.discard(due.map(({ key }) => key));
        this.#sql.exec("delete from readers where chunk in (select value from json_each(?))", numbers);
        this.#sql.exec("delete from chunks where n in (select value from json_each(?))", numbers);
        return { last: last?.n ?? null, due };
      });
      if (batch.last === null) return done;
      after = batch.last;
      await this.settle();
      done.removed += batch.due.length;
      done.removed_bytes += batch.due.reduce((sum, { size }) => sum + size, 0);
    }
  }

  #unreferenced<T extends { n: number }>(rows: T[]): T[] {
    if (rows.length === 0) return rows;
    const live = new Numbers(Math.max(...rows.map(({ n }) => n)));
    for (const numbers of this.#manifests.allRefs()) for (const n of numbers) live.add(n);
    return rows.filter(({ n }) => !live.has(n));
  }

  /** Removes objects that no record names: what was put by someone who died before saying so. Answers how many. */
  async leftovers(prefix: string, now: number): Promise<number> {
    let count = 0;
    let cursor = this.#sql.exec<{ cursor: string }>("select cursor from leftovers where prefix = ?", prefix).toArray()[0]?.cursor;
    for (let page = 0; page < LEFTOVER_PAGES; page++) {
      const listed = await this.#bucket().list(prefix, cursor === undefined ? {} : { cursor });
      const old = listed.items.filter(({ uploaded }) => uploaded + MARKED_MS <= now).map(({ key }) => key);
      const stray = this.#storage.transactionSync(() => {
        const known = new Set(this.#sql.exec<{ key: string }>("select c.key from json_each(?) j join chunks c on c.key = j.value", JSON.stringify(old)).toArray().map(({ key }) => key));
        const stray = old.filter((key) => !known.has(key) && !this.#manifests.hasKey(key) && !this.#chunks.isClaimed(key, now));
        this.discard(stray);
        if (listed.cursor === null) this.#sql.exec("delete from leftovers where prefix = ?", prefix);
        else this.#sql.exec("insert or replace into leftovers values (?, ?)", prefix, listed.cursor);
        return stray;
      });
      await this.settle();
      count += stray.length;
      if (listed.cursor === null) break;
      cursor = listed.cursor;
    }
    return count;
  }
}
