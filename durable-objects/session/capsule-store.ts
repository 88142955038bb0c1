/** Owns the session's table of capsules: the newest, and those that another session was forked from. */

import type { Capsule } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";

/** So many are kept, besides those of forks. */
export const KEPT_CAPSULES = 50;

export const CAPSULE_TABLES: readonly string[] = [
  "create table capsules (id text primary key, seq integer not null, task_id text, kept integer not null, value text not null)",
  "create index capsules_by_seq on capsules (seq)",
];

type Value = { value: string };
/** What is stored is ours. */
const all = (rows: { toArray(): Value[] }): Capsule[] => rows.toArray().map(({ value }) => JSON.parse(value) as Capsule);

export class Capsules {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  /** Records one, and forgets the oldest of those that nothing needs. */
  put(capsule: Capsule): void {
    this.#sql.exec("insert or ignore into capsules values (?, ?, ?, 0, ?)", capsule.id, capsule.seq, capsule.task_id, JSON.stringify(capsule));
    this.#sql.exec("delete from capsules where kept = 0 and rowid < (select rowid from capsules order by rowid desc limit 1 offset ?)", KEPT_CAPSULES - 1);
  }
  get(id: string): Capsule | null {
    return all(this.#sql.exec<Value>("select value from capsules where id = ?", id))[0] ?? null;
  }
  /** The newest that stands for the log up to `seq` or before. */
  at(seq: number): Capsule | null {
    return all(this.#sql.exec<Value>("select value from capsules where seq <= ? order by seq desc, rowid desc limit 1", seq))[0] ?? null;
  }
  /** The one of a task's end; of a task that has none, the last that was taken in it. */
  ofTask(taskId: string): Capsule | null {
    return all(this.#sql.exec<Value>("select value from capsules where task_id = ? order by value ->> '$.why' = 'task_end' desc, seq desc, rowid desc limit 1", taskId))[0] ?? null;
  }
  /** Newest first; `offset` of them are passed over. */
  list(limit: number, offset = 0): Capsule[] {
    return all(this.#sql.exec<Value>("select value from capsules order by seq desc, rowid desc limit ? offset ?", limit, offset));
  }
  get count(): number {
    return this.#sql.exec<{ n: number }>("select count(*) as n from capsules").one().n;
  }
  /** Another session was forked from it: it is not forgotten. */
  keep(id: string): void {
    this.#sql.exec("update capsules set kept = 1 where id = ?", id);
  }
}
