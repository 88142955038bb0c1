/** Owns the list of resources whose copy in the database is behind, and the cursor of what the tenant's bus has. */

import type { Sql } from "../base/sql.ts";
import type { Row } from "../ports.ts";

export type Resource = Exclude<Row["resource"], "host">;
export interface Mark {
  resource: Resource;
  id: string;
  version: number;
}

export class Dirty {
  readonly #sql: Sql;
  #count: number;
  #bus: number;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#count = sql.exec<{ n: number }>("select count(*) as n from outbox").one().n;
    this.#bus = sql.exec<{ seq: number }>("select seq from cursors where name = 'bus'").toArray()[0]?.seq ?? 0;
  }

  /** At least one resource may be marked. */
  get any(): boolean {
    return this.#count > 0;
  }
  mark(resource: Resource, id: string, version: number): void {
    this.#sql.exec("insert into outbox values (?1, ?2, ?3) on conflict (resource, id) do update set version = max(version, ?3)", resource, id, version);
    this.#count++;
  }
  /** The first marks, coalesced by resource. */
  first(limit: number): Mark[] {
    const marks = this.#sql.exec<{ resource: Resource; id: string; version: number }>("select resource, id, version from outbox order by rowid limit ?", limit).toArray();
    if (marks.length === 0) this.#count = 0;
    return marks;
  }
  /** Takes marks off that have not moved since. */
  clear(marks: readonly Mark[]): void {
    for (const { resource, id, version } of marks) this.#sql.exec("delete from outbox where resource = ? and id = ? and version <= ?", resource, id, version);
  }

  /** Last `seq` that the bus has. */
  get bus(): number {
    return this.#bus;
  }
  set bus(seq: number) {
    this.#sql.exec("insert or replace into cursors values ('bus', ?)", seq);
    this.#bus = seq;
  }
}
