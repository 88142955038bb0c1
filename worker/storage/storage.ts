/** Owns the one way from the worker to its bytes: the deployment's object store, and tenants' keys. */

import { recordsFor, type Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import type { DataKey } from "./data-keys.ts";
import { Keyring } from "./keyring.ts";
import type { ObjectStore } from "./object-store.ts";
import { objectStoreOf } from "./stores.ts";

export interface Storage {
  readonly objects: ObjectStore;
  readonly keyring: Keyring;
  /** `keyring.of`: the key that a tenant's bytes are sealed with. */
  readonly dataKey: (tenantId: string) => Promise<DataKey>;
}

const opened = new WeakMap<Records, Storage>();
/** The storage of a worker's bindings, made once an isolate. */
export function storageOf(env: Env, records: Records = recordsFor(env)): Storage {
  let storage = opened.get(records);
  if (!storage) {
    const keyring = new Keyring(env, records.dataKeys);
    opened.set(records, (storage = { objects: objectStoreOf(env), keyring, dataKey: (tenantId) => keyring.of(tenantId) }));
  }
  return storage;
}
