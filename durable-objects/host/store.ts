/** Owns the host's tables: the one row of the host, and the runners that are wanted there. */

import { migrate } from "../base/sql.ts";
import { NO_HOST, type State, type Step, type WantedRunner } from "./machine.ts";

const VERSIONS = [["create table host (one integer primary key check (one = 1), body text not null)", "create table wanted (runner_id text primary key, body text not null) without rowid"]] as const;

type Body = Omit<State, "runners">;

export class HostStore {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    migrate(storage, "host", VERSIONS);
  }

  load(): State {
    const { sql } = this.#storage;
    const host = sql.exec<{ body: string }>("select body from host").toArray()[0];
    const runners = sql.exec<{ runner_id: string; body: string }>("select * from wanted").toArray();
    return { ...NO_HOST, ...(host && (JSON.parse(host.body) as Body)), runners: new Map(runners.map(({ runner_id, body }) => [runner_id, JSON.parse(body) as WantedRunner])) };
  }

  /** Writes what a step changed; call it in a transaction with its effects. */
  save({ state, touched }: Step): void {
    const { sql } = this.#storage;
    const { runners, ...body } = state;
    sql.exec("insert or replace into host values (1, ?)", JSON.stringify(body satisfies Body));
    for (const id of touched) {
      const runner = runners.get(id);
      if (runner) sql.exec("insert or replace into wanted values (?, ?)", id, JSON.stringify(runner));
      else sql.exec("delete from wanted where runner_id = ?", id);
    }
  }
}
