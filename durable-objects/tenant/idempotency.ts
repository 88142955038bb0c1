/** Owns the memory of idempotent creates: which body a key came with, the seed of its ids, and what was answered, for a day. */

import { newBody } from "../../sdk/protocol/index.ts";
import { columns, migrate } from "../base/sql.ts";
import type { IdempotencyAnswer } from "../rpc.ts";

export const KEEP_MS = 86_400_000;

interface Known {
  [column: string]: SqlStorageValue;
  hash: string;
  seed: string;
  status: number | null;
}

export class Idempotency {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    migrate(storage, "idempotency", [[
      "create table creates (scope text not null, key text not null, hash text not null, seed text not null, status integer, at integer not null, primary key (scope, key)) without rowid",
      "create index creates_at on creates (at)",
      // An answer may be longer than a row: it holds what was asked.
      "create table create_answers (scope text not null, key text not null, part integer not null, body text not null, primary key (scope, key, part)) without rowid",
    ]]);
  }

  /**
   * The first step. A create that never finished begins again with the same seed, also while the first try is still under way:
   * both make the same ids, and what they create is idempotent by id.
   */
  begin(scope: string, key: string, hash: string, now: number): IdempotencyAnswer {
    const { sql } = this.#storage;
    const known = sql.exec<Known>("select hash, seed, status from creates where scope = ? and key = ? and at > ?", scope, key, now - KEEP_MS).toArray()[0];
    if (!known) {
      const seed = newBody(now);
      this.#storage.transactionSync(() => {
        sql.exec("delete from create_answers where scope = ? and key = ?", scope, key);
        sql.exec("insert or replace into creates values (?, ?, ?, ?, null, ?)", scope, key, hash, seed, now);
      });
      return { state: "new", seed };
    }
    if (known.hash !== hash) return { state: "other_body" };
    if (known.status === null) return { state: "new", seed: known.seed };
    const parts = sql.exec<{ body: string }>("select body from create_answers where scope = ? and key = ? order by part", scope, key).toArray();
    return { state: "done", status: known.status, body: parts.map(({ body }) => body).join("") };
  }

  /** Keeps the answer; the first one stays. */
  finish(scope: string, key: string, status: number, body: string): void {
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      if (sql.exec("update creates set status = ? where scope = ? and key = ? and status is null", status, scope, key).rowsWritten === 0) return;
      for (const [part, text] of columns(body).entries()) sql.exec("insert into create_answers values (?, ?, ?, ?)", scope, key, part, text);
    });
  }

  purge(now: number): void {
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      sql.exec("delete from create_answers where exists (select 1 from creates where creates.scope = create_answers.scope and creates.key = create_answers.key and at <= ?)", now - KEEP_MS);
      sql.exec("delete from creates where at <= ?", now - KEEP_MS);
    });
  }

  deadline(): number | null {
    const { at } = this.#storage.sql.exec<{ at: number | null }>("select min(at) as at from creates").one();
    return at === null ? null : at + KEEP_MS;
  }
}
