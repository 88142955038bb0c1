/** Owns the records of model calls that the database does not have yet. */

import type { ModelRequest } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";

export const REQUEST_TABLES: readonly string[] = ["create table model_requests (id text primary key, value text not null)"];

export class Requests {
  readonly #sql: Sql;
  #any: boolean;
  constructor(sql: Sql) {
    this.#sql = sql;
    this.#any = sql.exec("select 1 from model_requests limit 1").toArray().length > 0;
  }
  get any(): boolean {
    return this.#any;
  }
  put(value: ModelRequest): void {
    this.#sql.exec("insert or ignore into model_requests values (?, ?)", value.id, JSON.stringify(value));
    this.#any = true;
  }
  first(limit: number): ModelRequest[] {
    return this.#sql.exec<{ value: string }>("select value from model_requests order by rowid limit ?", limit).toArray().map(({ value }) => JSON.parse(value) as ModelRequest);
  }
  drop(ids: readonly string[]): void {
    this.#sql.exec("delete from model_requests where id in (select value from json_each(?))", JSON.stringify(ids));
    this.#any = this.#sql.exec("select 1 from model_requests limit 1").toArray().length > 0;
  }
}
