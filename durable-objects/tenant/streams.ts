/** Owns the count of a tenant's open streams: leases that expire, so that a door that dies does not hold its place for ever. */

import { migrate } from "../base/sql.ts";

/** A stream that is open longer and was not opened again under its name is not counted any more. */
export const STREAM_LEASE_MS = 3_600_000;

export class Streams {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    migrate(storage, "streams", [["create table streams (id text primary key, expires_at integer not null) without rowid"]]);
  }

  /** Takes a place; false where `limit` are taken. Opening the same stream again renews its lease. */
  open(id: string, limit: number, now: number): boolean {
    const known = this.#sql.exec("select 1 from streams where id = ? and expires_at > ?", id, now).toArray().length > 0;
    if (!known && this.#sql.exec<{ count: number }>("select count(*) as count from streams where expires_at > ?", now).one().count >= limit) return false;
    this.#sql.exec("insert or replace into streams values (?, ?)", id, now + STREAM_LEASE_MS);
    return true;
  }

  close(id: string): void {
    this.#sql.exec("delete from streams where id = ?", id);
  }

  purge(now: number): void {
    this.#sql.exec("delete from streams where expires_at <= ?", now);
  }

  deadline(): number | null {
    return this.#sql.exec<{ at: number | null }>("select min(expires_at) as at from streams").one().at;
  }
}
