/** Owns tenants' data keys in use: made at first use, remembered for seconds, rotated, re-wrapped and deleted. */

import { createHmac } from "node:crypto";
import { Failure } from "../../sdk/protocol/index.ts";
import { Believed } from "../believed.ts";
import { databaseFailure } from "../db/client.ts";
import type { DataKeyRow } from "../db/data-keys.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import type { DataKey } from "./data-keys.ts";
import { unwrapWith, wrap, wrappingKeys } from "./key-wrapping.ts";
import { openSealed, sealBytes } from "./sealing.ts";

const MAX_REMEMBERED = 1_000;
/** A data key and a naming key, 32 bytes each, are made, wrapped and deleted together; the naming key goes on to the next version. */
const KEY_BYTES = 32;
const REWRAP_PAGE = 100;

const deleted = () => new Failure("conflict", "This tenant's data key was deleted: what was sealed with it cannot be read any more", { hint: "An administrator can give the tenant a new key for new data: POST /admin/api/v1/tenants/{id}/data-keys/rotate" });

export class Keyring {
  readonly #env: Env;
  readonly #records: Records["dataKeys"];
  readonly #now: () => number;
  /** It holds on while the database cannot be asked: nothing can be deleted then, and syncs go on. */
  readonly #known: Believed<DataKey>;

  constructor(env: Env, records: Records["dataKeys"], now: () => number = Date.now) {
    this.#env = env;
    this.#records = records;
    this.#now = now;
    this.#known = new Believed({ most: MAX_REMEMBERED, now, passing: (error) => databaseFailure(error) !== null });
  }

  /** A tenant's key; its first use makes one. Throws `unavailable` where the database must be asked and cannot, `conflict` where the key was deleted. */
  async of(tenantId: string): Promise<DataKey> {
    return this.#known.find(tenantId, async () => {
      let rows = await this.#records.of(tenantId);
      if (rows.length === 0) {
        await this.#add(tenantId, 1, crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
        rows = await this.#records.of(tenantId);
      }
      return this.#open(tenantId, rows);
    });
  }

  async #add(tenantId: string, version: number, naming: Uint8Array): Promise<boolean> {
    const { current } = await wrappingKeys(this.#env);
    const both = new Uint8Array(2 * KEY_BYTES);
    crypto.getRandomValues(both.subarray(0, KEY_BYTES));
    both.set(naming, KEY_BYTES);
    return this.#records.add({ tenant_id: tenantId, version, state: "active", wrapped: await wrap(current, tenantId, version, both), wrapped_with: current.name, created_at: new Date(this.#now()) });
  }

  /** The bytes of a row's key. */
  async #unwrapped(row: DataKeyRow): Promise<Uint8Array<ArrayBuffer>> {
    if (row.wrapped === null) throw deleted();
    const { current, previous } = await wrappingKeys(this.#env);
    for (const each of [current, previous]) {
      const bytes = each && (await unwrapWith(each, row.tenant_id, row.version, row.wrapped));
      if (bytes) return bytes;
    }
    throw new Failure("unavailable", "The deployment's encryption key does not open this tenant's data key", {
      hint: "Set MARIONETTE_ENCRYPTION_KEY_PREVIOUS to the key that was used before, then POST /admin/api/v1/data-keys/rewrap", details: { wrapped_with: row.wrapped_with, key: current.name, retry_after_seconds: 60 },
    });
  }

  async #open(tenantId: string, rows: DataKeyRow[]): Promise<DataKey> {
    const active = rows.findLast(({ state }) => state === "active");
    if (!active) throw deleted();
    const opened = new Map<number, CryptoKey>();
    let naming: Uint8Array<ArrayBuffer> = new Uint8Array();
    for (const row of rows.filter(({ wrapped }) => wrapped !== null)) {
      const both = await this.#unwrapped(row);
      opened.set(row.version, await crypto.subtle.importKey("raw", both.slice(0, KEY_BYTES), "AES-GCM", false, ["encrypt", "decrypt"]));
      if (row === active) naming = both.slice(KEY_BYTES);
    }
    const { version } = active;
    const sealing = opened.get(version);
    if (!sealing) throw deleted();
    return {
      tenantId,
      version,
      seal: (name, bytes) => sealBytes(sealing, version, name, bytes),
      open: (name, sealed) => openSealed((wanted) => opened.get(wanted) ?? null, name, sealed),
      name: (id) => createHmac("sha256", naming).update(id).digest("hex"),
    };
  }

  /** Versions of a tenant's key, without the keys. */
  async list(tenantId: string): Promise<DataKeyRow[]> {
    return this.#records.of(tenantId);
  }

  /** Seals with a new key from now on. What is there stays readable and keeps its names; after a deletion, names begin anew too. */
  async rotate(tenantId: string): Promise<DataKeyRow[]> {
    const rows = await this.#records.of(tenantId);
    const active = rows.findLast(({ state }) => state === "active");
    const naming = active ? (await this.#unwrapped(active)).slice(KEY_BYTES) : crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    if (!(await this.#add(tenantId, (rows.at(-1)?.version ?? 0) + 1, naming))) throw new Failure("conflict", "The key was rotated by someone else just now");
    this.#known.forget(tenantId);
    return this.#records.of(tenantId);
  }

  /** Makes all that is sealed unreadable: at once here, within five seconds elsewhere. Answers how many versions there were. */
  async remove(tenantId: string): Promise<number> {
    const removed = await this.#records.remove(tenantId);
    this.#known.forget(tenantId);
    return removed;
  }

  /** Wraps with the deployment's key what an earlier one wraps. Chunks are not read. What neither key opens is left and counted. */
  async rewrap(): Promise<{ rewrapped: number; unopened: number }> {
    const { current } = await wrappingKeys(this.#env);
    const tried = new Set<string>();
    let rewrapped = 0;
    for (;;) {
      const rows = (await this.#records.wrappedOtherwise(current.name, REWRAP_PAGE + tried.size)).filter((row) => !tried.has(`${row.tenant_id} ${row.version}`));
      if (rows.length === 0) return { rewrapped, unopened: tried.size };
      for (const row of rows) {
        const bytes = await this.#unwrapped(row).catch(() => null);
        if (bytes && (await this.#records.rewrap(row, await wrap(current, row.tenant_id, row.version, bytes), current.name))) rewrapped++;
        else tried.add(`${row.tenant_id} ${row.version}`);
      }
    }
  }
}
