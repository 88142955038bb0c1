/** Owns the worker's doors as a test opens them: the real app over objects and records in memory, with two tenants and their keys. */

import { ALL_SCOPES, hashToken, limits, newId, newToken, type KeyScope } from "../../sdk/protocol/index.ts";
import type { ObjectsEnv } from "../../durable-objects/index.ts";
import { createApp } from "../app.ts";
import type { Env } from "../env.ts";
import { fakeObjects } from "./fake-objects.ts";
import { memoryRecords } from "./memory-records.ts";

export const MASTER = "the-deployment's-master-key";

export interface Asked {
  key?: string | null;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** A fresh app with tenants `one` and `two`, each with a key of all scopes; over objects in memory, or over `bindings`' own. */
export async function doors(bindings?: ObjectsEnv) {
  const objects = fakeObjects();
  const records = memoryRecords();
  const env = { ...(bindings ?? objects.env), MARIONETTE_MASTER_KEY: MASTER, MARIONETTE_ENCRYPTION_KEY: "ab".repeat(32), MARIONETTE_LOG_LEVEL: "error", MARIONETTE_DATABASE_URL: "" } as Env;
  const app = createApp({ recordsFor: () => records });
  const waiting: Promise<unknown>[] = [];
  const context = { waitUntil: (promise: Promise<unknown>) => void waiting.push(promise), passThroughOnException: () => {}, props: {} } as unknown as ExecutionContext;

  /** A request as it is, without a key of its own. */
  const raw = (path: string, init: RequestInit = {}): Promise<Response> => Promise.resolve(app.fetch(new Request(`http://worker${path}`, init), env, context));

  async function tenant(name: string) {
    const { id } = await records.access.createTenant({ id: newId("tenant", Date.now()), name, limits: limits.parse({}), created_at: new Date() });
    const key = (scopes: readonly KeyScope[] = ALL_SCOPES, expires: Date | null = null) => makeKey(id, name, scopes, expires);
    return { id, key, ...(await key()) };
  }
  async function makeKey(tenantId: string, name: string, scopes: readonly KeyScope[], expires_at: Date | null) {
    const token = newToken("api_key");
    const { id } = await records.access.createKey({ id: newId("key", Date.now()), tenant_id: tenantId, name, hash: await hashToken(token), display: token.slice(0, 8), scopes: [...scopes], created_at: new Date(), expires_at });
    return { token, keyId: id };
  }

  const one = await tenant("one");
  const two = await tenant("two");

  /** A call of `/api/v1` (or of any whole path that begins with `/admin` or `/health`), with tenant one's key unless told otherwise. */
  async function call(method: string, path: string, { key = one.token, body, headers = {}, signal }: Asked = {}): Promise<Response> {
    const whole = /^\/(admin|health|links|openapi|docs)/.test(path) ? path : `/api/v1${path}`;
    const bearer: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
    return raw(whole, { method, headers: { ...bearer, ...(body !== undefined && { "content-type": "application/json" }), ...headers }, ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }), ...(signal && { signal }) });
  }
  /** The JSON of a call that must answer `status`. */
  async function json<T = Record<string, unknown>>(method: string, path: string, asked: Asked = {}, status = 200): Promise<T> {
    const response = await call(method, path, asked);
    const text = await response.text();
    if (response.status !== status) throw new Error(`${method} ${path}: ${response.status}, not ${status}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as T;
  }
  /** The error of a call that must fail. */
  async function failure(method: string, path: string, asked: Asked = {}) {
    const response = await call(method, path, asked);
    const body = await response.json<{ error: { code: string; message: string; details?: Record<string, unknown>; hint?: string; request_id: string } }>();
    return { status: response.status, headers: response.headers, ...body.error };
  }
  return { app, sessions: objects.sessions, hosts: objects.hosts, tenants: objects.tenants, env, records, one, two, raw, call, json, failure, settled: () => Promise.all(waiting) };
}
export type Doors = Awaited<ReturnType<typeof doors>>;
