/** Owns the pool's tables: members, entries (leases and queue) and the epochs that are over. */

import { migrate } from "../base/sql.ts";
import type { LeaseRequest } from "../rpc.ts";
import { emptyPool, type Entry, type State, type Step } from "./machine.ts";
import type { Member } from "./placement.ts";
import { parseSelector } from "./selector.ts";

const VERSIONS = [[
  "create table members (host_id text primary key, body text not null) without rowid",
  "create table entries (session_id text primary key, ord integer not null, body text not null) without rowid",
  "create table closed (session_id text primary key, epoch integer not null, at integer not null) without rowid",
]] as const;

export class PoolStore {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    migrate(storage, "pool", VERSIONS);
  }

  load(pool: string): State {
    const { sql } = this.#storage;
    const members = sql.exec<{ host_id: string; body: string }>("select * from members").toArray();
    const entries = sql.exec<{ session_id: string; ord: number; body: string }>("select * from entries order by ord").toArray();
    const closed = sql.exec<{ session_id: string; epoch: number; at: number }>("select * from closed").toArray();
    return {
      ...emptyPool(pool),
      members: new Map(members.map(({ host_id, body }) => [host_id, JSON.parse(body) as Member])),
      entries: new Map(entries.map(({ session_id, body }) => [session_id, entryOf(body)])),
      closed: new Map(closed.map(({ session_id, epoch, at }) => [session_id, { epoch, at }])),
      next_order: (entries.at(-1)?.ord ?? 0) + 1,
    };
  }

  /** Writes what a step changed; call it in a transaction with what the step wants told. */
  save({ state, touched }: Step): void {
    const { sql } = this.#storage;
    for (const id of touched.members) {
      const member = state.members.get(id);
      if (member) sql.exec("insert or replace into members values (?, ?)", id, JSON.stringify(member));
      else sql.exec("delete from members where host_id = ?", id);
    }
    for (const id of touched.entries) {
      const entry = state.entries.get(id);
      if (entry) sql.exec("insert or replace into entries values (?, ?, ?)", id, entry.order, bodyOf(entry));
      else sql.exec("delete from entries where session_id = ?", id);
    }
    for (const id of touched.closed) {
      const closed = state.closed.get(id);
      if (closed) sql.exec("insert or replace into closed values (?, ?, ?)", id, closed.epoch, closed.at);
      else sql.exec("delete from closed where session_id = ?", id);
    }
  }
}

type Stored = Omit<Entry, "conditions"> & { request: LeaseRequest };

function bodyOf({ request, order, host_id, reason, idle_since, asked_at }: Entry): string {
  return JSON.stringify({ request, order, host_id, reason, idle_since, asked_at } satisfies Stored);
}

function entryOf(body: string): Entry {
  const stored = JSON.parse(body) as Stored;
  const parsed = parseSelector(stored.request.selector);
  return { ...stored, conditions: parsed.ok ? parsed.value : [] };
}
