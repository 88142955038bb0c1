/** Owns the records of model calls that the database does not have yet. */

import type { ModelRequest } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";

export const REQUEST_TABLES: readonly string[] = ["create table model_requests (id text primary key, value text not null)"];

/**
 * What the database has is struck off with the next record that is put, or by `settle`: a commit for that alone would be one more a second of every
 * busy session, and what is recorded twice does no harm.
 */
export class Requests {
  readonly #sql: Sql;
  #any: boolean;
  #fresh = false;
  #recorded: readonly string[] = [];
  constructor(sql: Sql) {
    this.#sql = sql;
    this.#any = sql.exec("select 1 from model_requests limit 1").toArray().length > 0;
  }
  /** The database lacks some, as far as is known here. */
  get any(): boolean {
    return this.#any;
  }
  put(value: ModelRequest): void {
    this.settle();
    this.#sql.exec("insert or ignore into model_requests values (?, ?)", value.id, JSON.stringify(value));
    this.#any = this.#fresh = true;
  }
  first(limit: number): ModelRequest[] {
    this.settle();
    this.#fresh = false;
    return this.#sql.exec<{ value: string }>("select value from model_requests order by rowid limit ?", limit).toArray().map(({ value }) => JSON.parse(value) as ModelRequest);
  }
  /** The database has these; `all`: they were all that `first` found. */
  recorded(ids: readonly string[], all: boolean): void {
    this.#recorded = ids;
    this.#any = !all || this.#fresh;
  }
  settle(): void {
    if (this.#recorded.length === 0) return;
    this.#sql.exec("delete from model_requests where id in (select value from json_each(?))", JSON.stringify(this.#recorded));
    this.#recorded = [];
  }
}
