/** Owns what objects need from outside: their bindings and the ports that the worker passes in, so that no arrow runs up to the database. */

import type { Host, ModelRequest, Permission, Run, Runner, Schedule, Session, Task } from "../sdk/protocol/index.ts";
import type { HostRpc, PoolRpc, SessionRpc, TenantRpc } from "./rpc.ts";
import type { Bucket, StorageRpc } from "./storage/rpc.ts";

/** Namespaces of objects, each addressed by name: sessions and hosts by their id, pools by `{tenant}/{pool}`, tenants and their storage by their id. */
export interface ObjectsEnv {
  SESSIONS: DurableObjectNamespace;
  HOSTS: DurableObjectNamespace;
  POOLS: DurableObjectNamespace;
  TENANTS: DurableObjectNamespace;
  STORAGE: DurableObjectNamespace;
  MARIONETTE_LOG_LEVEL?: string;
  /** The deployment's own model keys, for sessions that have none. */
  MARIONETTE_ANTHROPIC_API_KEY?: string;
  MARIONETTE_OPENAI_API_KEY?: string;
}

/** One resource as of `value.version`; a copy with a lower version never overwrites a higher one. */
export type Row =
  | { resource: "session"; value: Session }
  | { resource: "task"; value: Task }
  | { resource: "run"; value: Run }
  | { resource: "permission"; value: Permission }
  | { resource: "runner"; value: Runner }
  | { resource: "schedule"; value: Schedule }
  | { resource: "host"; value: Host };

/** Where rows of live resources are copied to. May throw; the outbox tries again. */
export interface Projection {
  apply(rows: Row[]): Promise<void>;
}

/** One block of an ended session's history. */
export interface ArchivedBlock {
  tenant_id: string;
  session_id: string;
  block: number;
}

/** Where the events of ended sessions are kept, each block sealed for its tenant. Both throw a `Failure`. */
export interface Archive {
  /** A session's events move so long after its end. */
  readonly after_ms: number;
  /** Keeps a block's text and reads it back; idempotent. Answers the bytes that it takes there. */
  put(block: ArchivedBlock, text: Uint8Array<ArrayBuffer>): Promise<{ bytes: number }>;
  /** `conflict` with the block named where it is gone, was altered, or its key is; `unavailable` where the store cannot be reached. */
  get(block: ArchivedBlock): Promise<Uint8Array<ArrayBuffer>>;
}

/** Where the records of model calls go. May throw; they are tried again. Idempotent by id. */
export interface ModelCalls {
  record(calls: readonly ModelRequest[]): Promise<void>;
}

/** Seals a session's own model key for its tenant, bound to the session. Both throw a `Failure`: `conflict` where the tenant's key is gone. */
export interface KeySafe {
  seal(tenantId: string, sessionId: string, key: string): Promise<string>;
  open(tenantId: string, sessionId: string, sealed: string): Promise<string>;
}

export interface Ports {
  projection: Projection;
  /** Without it they stay in their objects. */
  modelCalls?: ModelCalls;
  /** The object store; without it nothing is removed from it. Throws `unavailable` where its settings are wrong. */
  bucket?: () => Bucket;
  /** Without it a model key that waits for its runner is in memory alone. */
  keySafe?: KeySafe;
  /** Without it events stay in their objects. */
  archive?: Archive;
}
export type PortsOf<Env> = (env: Env) => Ports;

/** The typed stub of an object. */
export function sessionStub(env: ObjectsEnv, sessionId: string): SessionRpc & Fetcher {
  return env.SESSIONS.get(env.SESSIONS.idFromName(sessionId)) as unknown as SessionRpc & Fetcher;
}
export function hostStub(env: ObjectsEnv, hostId: string): HostRpc & Fetcher {
  return env.HOSTS.get(env.HOSTS.idFromName(hostId)) as unknown as HostRpc & Fetcher;
}
export function poolStub(env: ObjectsEnv, tenantId: string, pool: string): PoolRpc {
  return env.POOLS.get(env.POOLS.idFromName(`${tenantId}/${pool}`)) as unknown as PoolRpc;
}
export function tenantStub(env: ObjectsEnv, tenantId: string): TenantRpc & Fetcher {
  return env.TENANTS.get(env.TENANTS.idFromName(tenantId)) as unknown as TenantRpc & Fetcher;
}
/** The index of a tenant's chunks and manifests. */
export function storageStub(env: ObjectsEnv, tenantId: string): StorageRpc {
  return env.STORAGE.get(env.STORAGE.idFromName(tenantId)) as unknown as StorageRpc;
}
