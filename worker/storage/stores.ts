/** Owns which object store a deployment keeps its bytes in: R2, unless its settings say S3, or a directory where all of it runs on one machine. */

import { Failure, Secret } from "../../sdk/protocol/index.ts";
import type { Env } from "../env.ts";
import { diskStore } from "./disk-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { r2Store } from "./r2-store.ts";
import { s3Store } from "./s3-store.ts";

function misconfigured(name: string, why: string): Failure {
  return new Failure("unavailable", `${name} ${why}`, { hint: "Set it and deploy again", details: { retry_after_seconds: 60 } });
}

function chosen(env: Env): ObjectStore {
  const kind = env.MARIONETTE_OBJECT_STORE || "r2";
  if (kind === "r2") return r2Store(env.BUCKET);
  if (kind === "disk") {
    if (!env.DISK) throw misconfigured("MARIONETTE_OBJECT_STORE", "is disk, which only a Marionette that runs on one machine has");
    return diskStore(env.DISK);
  }
  if (kind !== "s3") throw misconfigured("MARIONETTE_OBJECT_STORE", `must be r2, s3 or disk, not '${kind.slice(0, 40)}'`);
  const { MARIONETTE_S3_ENDPOINT: endpoint, MARIONETTE_S3_BUCKET: bucket, MARIONETTE_S3_REGION: region, MARIONETTE_S3_ACCESS_KEY_ID: accessKeyId, MARIONETTE_S3_SECRET_ACCESS_KEY: secret } = env;
  if (!bucket) throw misconfigured("MARIONETTE_S3_BUCKET", "is not set");
  if (!accessKeyId || !secret) throw misconfigured("MARIONETTE_S3_ACCESS_KEY_ID and MARIONETTE_S3_SECRET_ACCESS_KEY", "must both be set");
  return s3Store({ ...(endpoint && { endpoint }), bucket, region: region || "auto", accessKeyId, secretAccessKey: new Secret(secret) });
}

const opened = new WeakMap<Env, ObjectStore>();
/** The deployment's object store, made once an isolate. Throws `unavailable` where its settings are wrong, with the setting's name. */
export function objectStoreOf(env: Env): ObjectStore {
  let store = opened.get(env);
  if (!store) opened.set(env, (store = chosen(env)));
  return store;
}
