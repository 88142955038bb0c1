/** Owns the worker's bindings: objects, bucket, plain settings and secrets. */

import type { ObjectsEnv } from "../durable-objects/index.ts";

export interface Env extends ObjectsEnv {
  /** Sealed bytes: chunks, manifests, archives. */
  BUCKET: R2Bucket;
  /** The same on one machine: a directory, as workerd's disk service shows it. */
  DISK?: Fetcher;
  /** Connection string of Neon, or of any PostgreSQL behind an endpoint that speaks the Neon driver's protocol. */
  MARIONETTE_DATABASE_URL: string;
  /** `http://host:port` of such an endpoint; absent on Cloudflare with Neon. */
  MARIONETTE_DATABASE_ENDPOINT?: string;
  MARIONETTE_MASTER_KEY: string;
  /** 32 bytes, hex. */
  MARIONETTE_ENCRYPTION_KEY: string;
  /** The key before it, while what was wrapped with that one is re-wrapped. */
  MARIONETTE_ENCRYPTION_KEY_PREVIOUS?: string;
  MARIONETTE_LOG_LEVEL?: string;
  /** `1`: model providers may be at private addresses, as on one's own machine. */
  MARIONETTE_GATEWAY_PRIVATE?: string;
  /** The public internet and nothing else, in workerd outside of Cloudflare: a connection to a private address is refused whatever name led to it. */
  PUBLIC_NETWORK?: Fetcher;
  /** Where the deployment's own model keys are good, where that is not the provider's own address. */
  MARIONETTE_ANTHROPIC_BASE_URL?: string;
  MARIONETTE_OPENAI_BASE_URL?: string;
  /** Seconds after its end that a session's events stay in its object; 60 by default. */
  MARIONETTE_ARCHIVE_AFTER_SECONDS?: string;
  /** Where sealed bytes are kept: `r2` (the default); `s3`: S3, GCS or another store behind S3's interface; `disk`, on one machine. */
  MARIONETTE_OBJECT_STORE?: string;
  /** `https://host`; Amazon's own where it is not set. */
  MARIONETTE_S3_ENDPOINT?: string;
  MARIONETTE_S3_BUCKET?: string;
  MARIONETTE_S3_REGION?: string;
  MARIONETTE_S3_ACCESS_KEY_ID?: string;
  MARIONETTE_S3_SECRET_ACCESS_KEY?: string;
}
