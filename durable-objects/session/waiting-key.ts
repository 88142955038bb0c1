/** Owns the session's own model key from when it is given until a runner has it: in memory, and sealed under the tenant's data key in storage. */

import { Failure, Secret } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";
import type { KeySafe } from "../ports.ts";

export const WAITING_KEY_TABLES: readonly string[] = ["create table waiting_key (one integer primary key check (one = 1), sealed text not null, runner_id text)"];

/** Whose it is: what is sealed for one session does not open for another. */
type Owner = { tenant_id: string; id: string };

/**
 * Never stored in the clear. Where there is no safe, or it is away, the key is in memory alone and goes with it. Once a runner is minted the key is
 * sealed with its token, and kept here until the runner's host has that token: a death in between would leave a token that nobody knows.
 */
export class WaitingKey {
  readonly #sql: Sql;
  readonly #safe: () => KeySafe | null;
  #key: Secret | null = null;
  #sealed: string | null;
  /** The runner that it is sealed for by now. */
  #runner: string | null;

  constructor(sql: Sql, safe: () => KeySafe | null) {
    this.#sql = sql;
    this.#safe = safe;
    const row = sql.exec<{ sealed: string; runner_id: string | null }>("select sealed, runner_id from waiting_key").toArray()[0];
    this.#sealed = row?.sealed ?? null;
    this.#runner = row?.runner_id ?? null;
  }

  get any(): boolean {
    return this.#key !== null || this.#sealed !== null;
  }

  /** A key was given: the one before it is forgotten at once, and this one is stored as soon as it is sealed. Never throws. */
  async give(key: string, { tenant_id, id }: Owner): Promise<void> {
    this.drop();
    const given = new Secret(key);
    this.#key = given;
    const sealed = await this.#safe()?.seal(tenant_id, id, key).catch((error: unknown) => {
      console.warn(JSON.stringify({ level: "warn", event: "model_key.not_stored", session: id, error: error instanceof Error ? error.message : String(error) }));
      return undefined;
    });
    // A runner may have it by now, or another key may have come.
    if (sealed === undefined || this.#key !== given) return;
    this.#sealed = sealed;
    this.#store();
  }

  /** The key for a runner that is being minted; null where none waits. Throws `unavailable` while what is sealed cannot be opened. */
  async takeFor(runnerId: string, { tenant_id, id }: Owner): Promise<Secret | null> {
    const sealed = this.#sealed;
    let key = this.#key;
    if (key === null && sealed !== null) {
      try {
        key = new Secret((await this.#safe()?.open(tenant_id, id, sealed)) ?? "");
      } catch (error) {
        // Its tenant's key is gone, and the key with it.
        if (!(error instanceof Failure) || error.code !== "conflict") throw error;
        this.drop();
        return null;
      }
      if (key.reveal() === "" || this.#sealed !== sealed) return null;
      this.#key = key;
    }
    if (key === null) return null;
    this.#runner = runnerId;
    if (this.#sealed !== null) this.#store();
    return key;
  }

  /** The runner that was minted last was not wanted: another is the one to be served. */
  meantFor(runnerId: string | null): void {
    if (!this.any) return;
    this.#runner = runnerId;
    if (this.#sealed !== null) this.#store();
  }

  /** The runner's host has its token: nobody else needs the key any more. */
  served(runnerId: string): void {
    if (this.#runner === runnerId) this.drop();
  }

  drop(): void {
    if (this.#sealed !== null) this.#sql.exec("delete from waiting_key");
    this.#key = this.#sealed = this.#runner = null;
  }

  #store(): void {
    this.#sql.exec("insert or replace into waiting_key values (1, ?, ?)", this.#sealed, this.#runner);
  }
}
