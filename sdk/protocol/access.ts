/** Owns API keys, runner tokens and tenants as clients see them, and the scopes that routes ask for. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { labels, name, slug, timestamp } from "./values.ts";

/** `read` sees, `write` creates and changes, `approve` answers permissions, `admin` manages keys, runner tokens and hosts. */
export const keyScope = z.enum(["read", "write", "approve", "admin"]);
export type KeyScope = z.infer<typeof keyScope>;
export const ALL_SCOPES = keyScope.options;

export const keyCreate = z.strictObject({
  name,
  scopes: z.array(keyScope).min(1).max(4).default(["read", "write", "approve"]),
  expires_in_seconds: z.number().int().min(1).max(315_360_000).optional(),
});
export type KeyCreate = z.infer<typeof keyCreate>;

export const apiKey = z.object({
  id: idOf("key"),
  tenant_id: idOf("tenant"),
  name: z.string(),
  /** The key's first characters. */
  display: z.string(),
  scopes: z.array(keyScope),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  revoked_at: timestamp.nullable(),
  last_used_at: timestamp.nullable(),
});
export type ApiKey = z.infer<typeof apiKey>;
/** Answer to a create: the only time that the key itself is shown. */
export const apiKeyCreated = apiKey.extend({ key: z.string() });
export type ApiKeyCreated = z.infer<typeof apiKeyCreated>;

export const runnerTokenCreate = z.strictObject({ name, pool: slug.default("default"), labels: labels.default({}) });
export const runnerToken = z.object({
  id: idOf("runner_token"),
  tenant_id: idOf("tenant"),
  name: z.string(),
  pool: z.string(),
  labels: z.record(z.string(), z.string()),
  display: z.string(),
  created_at: timestamp,
  revoked_at: timestamp.nullable(),
});
export type RunnerToken = z.infer<typeof runnerToken>;
export const runnerTokenCreated = runnerToken.extend({ token: z.string() });
export type RunnerTokenCreated = z.infer<typeof runnerTokenCreated>;

/** A tenant's limits: creations a minute per key, and open streams. */
export const limits = z.strictObject({
  sessions_per_minute: z.number().int().min(0).max(1_000_000).default(10),
  tasks_per_minute: z.number().int().min(0).max(1_000_000).default(30),
  open_streams: z.number().int().min(0).max(1_000_000).default(100),
  /** Model calls a minute of all its sessions together; absent or null: as many as its providers take. */
  model_requests_per_minute: z.number().int().min(0).max(10_000_000).nullable().optional(),
});
export type Limits = z.infer<typeof limits>;

export const tenantCreate = z.strictObject({ name, limits: limits.partial().optional() });
export const tenantPatch = z.strictObject({ name: name.optional(), limits: limits.partial().optional() });
export const tenant = z.object({ id: idOf("tenant"), name: z.string(), limits, created_at: timestamp });
export type Tenant = z.infer<typeof tenant>;
