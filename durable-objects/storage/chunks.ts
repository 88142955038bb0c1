/** Owns the index of a tenant's chunks: which there are, who may read them, which are marked, and which names are claimed or being removed. */

import { migrate, type Sql } from "../base/sql.ts";
import type { Claim, NewChunk, Scope } from "./rpc.ts";

const VERSIONS = [
  [
    "create table chunks (n integer primary key, id text not null unique, key text not null, size integer not null, put_at integer not null, marked_at integer)",
    "create index chunks_marked on chunks (marked_at) where marked_at is not null",
    "create unique index chunks_key on chunks (key)",
    "create table scopes (n integer primary key, name text not null unique)",
    "create table readers (scope integer not null, chunk integer not null, primary key (scope, chunk)) without rowid",
    "create index readers_chunk on readers (chunk)",
    // Keys that are being removed from the store: a claim waits for them.
    "create table removing (key text primary key) without rowid",
  ],
] as const;

/** Longest that a claim lasts; whoever takes longer puts again. */
const CLAIM_MS = 10 * 60_000;
/** Ids in one statement. */
const GROUP = 4_096;

export function* groupsOf<T>(all: readonly T[], size = GROUP): Generator<T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size);
}

export class Chunks {
  readonly #sql: Sql;
  /** Tickets by key, in memory only: an object that was started anew has none, and every putter puts again. */
  readonly #claims = new Map<string, Map<string, number>>();

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    migrate(storage, "chunks", VERSIONS);
  }

  scope(name: Scope): number {
    this.#sql.exec("insert or ignore into scopes (name) values (?)", name);
    return this.#sql.exec<{ n: number }>("select n from scopes where name = ?", name).one().n;
  }
  #scopes(names: Scope[]): string {
    return JSON.stringify(this.#sql.exec<{ n: number }>("select n from scopes where name in (select value from json_each(?))", JSON.stringify(names)).toArray().map(({ n }) => n));
  }

  /** Numbers of those of `ids` that the scopes may read; with `fresh`, only of those that no collection has marked. */
  readable(scopes: Scope[], ids: readonly string[], fresh: boolean): Map<string, number> {
    const found = new Map<string, number>();
    const readers = this.#scopes(scopes);
    for (const group of groupsOf(ids)) {
      const rows = this.#sql.exec<{ id: string; n: number }>(
        `select c.id, c.n from json_each(?) j join chunks c on c.id = j.value where (c.marked_at is null or not ?) and exists (select 1 from json_each(?) s join readers r on r.scope = s.value and r.chunk = c.n)`,
        JSON.stringify(group), fresh ? 1 : 0, readers,
      );
      for (const { id, n } of rows) found.set(id, n);
    }
    return found;
  }

  /** True where it is there and unmarked, whoever may read it. */
  there(id: string): boolean {
    return this.#sql.exec("select 1 from chunks where id = ? and marked_at is null", id).toArray().length > 0;
  }

  /** Is on its way out of the store. */
  isRemoving(key: string): boolean {
    return this.#sql.exec("select 1 from removing where key = ?", key).toArray().length > 0;
  }

  claim(key: string, now: number): Extract<Claim, { state: "absent" }> {
    const ticket = crypto.randomUUID();
    const tickets = this.#claims.get(key) ?? new Map<string, number>();
    tickets.set(ticket, now + CLAIM_MS);
    this.#claims.set(key, tickets);
    return { state: "absent", ticket };
  }
  /** Ends a claim; false where it was over before. */
  redeem(key: string, ticket: string): boolean {
    const tickets = this.#claims.get(key);
    if (!tickets?.delete(ticket)) return false;
    if (tickets.size === 0) this.#claims.delete(key);
    return true;
  }
  isClaimed(key: string, now: number): boolean {
    const tickets = this.#claims.get(key);
    if (!tickets) return false;
    for (const [ticket, until] of tickets) if (until <= now) tickets.delete(ticket);
    if (tickets.size === 0) this.#claims.delete(key);
    return tickets.size > 0;
  }

  /** The chunk was put: it lives, and the scope may read it. */
  put(scope: Scope, { id, key, size }: NewChunk, now: number): void {
    this.#sql.exec("insert into chunks (id, key, size, put_at) values (?, ?, ?, ?) on conflict (id) do update set put_at = excluded.put_at, marked_at = null, key = excluded.key, size = excluded.size", id, key, size, now);
    this.grant(scope, id);
  }
  /** False where it is not there unmarked any more. */
  grant(scope: Scope, id: string): boolean {
    if (!this.there(id)) return false;
    this.#sql.exec("insert or ignore into readers (scope, chunk) select ?, n from chunks where id = ?", this.scope(scope), id);
    return true;
  }
  grantAll(scope: Scope, numbers: readonly number[]): void {
    const n = this.scope(scope);
    for (const group of groupsOf(numbers)) this.#sql.exec("insert or ignore into readers (scope, chunk) select ?, value from json_each(?)", n, JSON.stringify(group));
  }
  /** Something refers to them again. */
  unmark(numbers: readonly number[]): void {
    for (const group of groupsOf(numbers)) this.#sql.exec("update chunks set marked_at = null where marked_at is not null and n in (select value from json_each(?))", JSON.stringify(group));
  }
  /** Counts as missing from now on, for everyone; manifests still refer to it. */
  lost(id: string, now: number): void {
    this.#sql.exec("update chunks set marked_at = coalesce(marked_at, ?) where id = ?", now, id);
  }
  forgetScope(name: Scope): void {
    this.#sql.exec("delete from readers where scope in (select n from scopes where name = ?)", name);
    this.#sql.exec("delete from scopes where name = ?", name);
  }

  size(numbers: readonly number[]): number {
    let sum = 0;
    for (const group of groupsOf(numbers)) sum += this.#sql.exec<{ bytes: number }>("select coalesce(sum(size), 0) as bytes from chunks where n in (select value from json_each(?))", JSON.stringify(group)).one().bytes;
    return sum;
  }
}
