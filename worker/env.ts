/** Owns the worker's bindings: objects, bucket, plain settings and secrets. */

import type { ObjectsEnv } from "../durable-objects/index.ts";

export interface Env extends ObjectsEnv {
  /** Sealed bytes: chunks, manifests, archives. */
  BUCKET: R2Bucket;
  /** Connection string of Neon, or of any PostgreSQL behind an endpoint that speaks the Neon driver's protocol. */
  MARIONETTE_DATABASE_URL: string;
  /** `http://host:port` of such an endpoint; absent on Cloudflare with Neon. */
  MARIONETTE_DATABASE_ENDPOINT?: string;
  MARIONETTE_MASTER_KEY: string;
  /** 32 bytes, hex. */
  MARIONETTE_ENCRYPTION_KEY: string;
  MARIONETTE_LOG_LEVEL?: string;
}
