/** Owns the list of resources whose copy in the database is behind, and the cursor of what the tenant's bus has. */

import type { Sql } from "../base/sql.ts";
import type { Row } from "../ports.ts";

export type Resource = Exclude<Row["resource"], "host">;
export interface Mark {
  resource: Resource;
  id: string;
  version: number;
}

/**
 * What was carried out is struck off with the next write of the object's own, or by `settle`: a commit for it alone would double the
 * object's writes, and what is carried twice does no harm.
 */
export class Dirty {
  readonly #sql: Sql;
  #count: number;
  #bus: number;
  readonly #fresh = new Map<string, Mark>();
  #carried: Mark[] = [];
  #busMoved = false;
  #seen = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#count = sql.exec<{ n: number }>("select count(*) as n from outbox").one().n;
    this.#bus = sql.exec<{ seq: number }>("select seq from cursors where name = 'bus'").toArray()[0]?.seq ?? 0;
  }

  /** At least one resource may be marked and not carried. */
  get any(): boolean {
    return this.#count > 0;
  }
  /** Notes a change; `write` stores it with the rest of its turn. */
  mark(resource: Resource, id: string, version: number): void {
    const known = this.#fresh.get(id);
    if (!known || known.version < version) this.#fresh.set(id, { resource, id, version });
  }
  /** Stores what was marked, in one statement. */
  write(): void {
    if (this.#fresh.size === 0) return;
    this.#sql.exec(
      `insert into outbox select value ->> 'resource', value ->> 'id', value ->> 'version' from json_each(?) where true
        on conflict (resource, id) do update set version = max(version, excluded.version)`,
      JSON.stringify([...this.#fresh.values()]),
    );
    this.#count += this.#fresh.size;
    this.#fresh.clear();
  }
  /** Forgets what was marked: its turn is undone. */
  undo(): void {
    this.#fresh.clear();
  }
  /** The first marks, coalesced by resource. */
  first(limit: number): Mark[] {
    if (this.#carried.length > 0) this.settle();
    this.#seen = this.#count;
    return this.#sql.exec<{ resource: Resource; id: string; version: number }>("select resource, id, version from outbox order by rowid limit ?", limit).toArray();
  }
  /** These versions were carried; `all`: nothing else was marked when `first` looked. */
  clear(marks: readonly Mark[], all: boolean): void {
    this.#carried.push(...marks);
    if (all) this.#count -= this.#seen;
  }
  /** Last `seq` that the bus has. */
  get bus(): number {
    return this.#bus;
  }
  set bus(seq: number) {
    this.#bus = seq;
    this.#busMoved = true;
  }

  /** Something was carried and is not struck off yet. */
  get unsettled(): boolean {
    return this.#carried.length > 0 || this.#busMoved;
  }
  /** Strikes off what was carried and has not moved since. */
  settle(): void {
    for (const { resource, id, version } of this.#carried) this.#sql.exec("delete from outbox where resource = ? and id = ? and version <= ?", resource, id, version);
    if (this.#busMoved) this.#sql.exec("insert or replace into cursors values ('bus', ?)", this.#bus);
    this.#carried = [];
    this.#busMoved = false;
  }
}
