/** Owns the worker's entry: the fetch handler and the objects' classes with their ports. */

import { files } from "#dashboard";
import { hostObject, poolObject, sessionObject, storageObject, tenantObject, type Ports } from "../durable-objects/index.ts";
import { createApp } from "./app.ts";
import { recordsFor } from "./db/records.ts";
import type { Env } from "./env.ts";
import { gatewayDoor } from "./gateway/routes.ts";
import { keySafeOf } from "./gateway/key-safe.ts";
import { logger } from "./log.ts";
import { collectAll } from "./storage/collecting.ts";
import { objectStoreOf } from "./storage/stores.ts";
import { archiveOf } from "./storage/archive.ts";
import { storageOf } from "./storage/storage.ts";

const ports = (env: Env): Ports => ({ projection: recordsFor(env).projection, bucket: () => objectStoreOf(env), archive: archiveOf(() => storageOf(env), env.MARIONETTE_ARCHIVE_AFTER_SECONDS), modelCalls: recordsFor(env).usage, keySafe: keySafeOf(() => storageOf(env)) });

export class SessionObject extends sessionObject<Env>(ports) {}
export class HostObject extends hostObject<Env>(ports) {}
export class PoolObject extends poolObject<Env>(ports) {}
export class TenantObject extends tenantObject<Env>(ports) {}
export class StorageObject extends storageObject<Env>(ports) {}

const app = createApp({ recordsFor, dashboard: files });

export default {
  fetch: (request, env, context) => gatewayDoor(request, env, context, recordsFor) ?? app.fetch(request, env, context),
  /** By the cron of wrangler.toml; on one machine its own clock asks the admin door for the same. */
  scheduled: async (_event, env) => {
    await collectAll(env, recordsFor(env), logger(env.MARIONETTE_LOG_LEVEL), new Date());
  },
} satisfies ExportedHandler<Env>;
