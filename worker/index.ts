/** Owns the worker's entry: the fetch handler and the objects' classes with their ports. */

import { hostObject, poolObject, sessionObject, tenantObject, type Ports } from "../durable-objects/index.ts";
import type { Env } from "./env.ts";

const ports = (_env: Env): Ports => ({ projection: { apply: async () => {} } });

export class SessionObject extends sessionObject<Env>(ports) {}
export class HostObject extends hostObject<Env>(ports) {}
export class PoolObject extends poolObject<Env>(ports) {}
export class TenantObject extends tenantObject<Env>(ports) {}

export default { fetch: () => new Response("Marionette") } satisfies ExportedHandler<Env>;
