/** Owns the tables of Postgres: records of tenants and their keys, and copies of live resources for lists. */

import type { Host, KeyScope, Limits, ModelPrice, ModelRequest, Permission, ProviderApi, Run, Runner, Schedule, Session, Task } from "../../sdk/protocol/index.ts";
import { bigint, boolean, doublePrecision, index, integer, json, jsonb, pgTable, primaryKey, text, timestamp, uniqueIndex } from "drizzle-orm/pg-core";

const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: "date" });
const version = () => bigint({ mode: "number" }).notNull().default(1);

export const tenants = pgTable("tenants", {
  id: text().primaryKey(),
  name: text().notNull(),
  limits: jsonb().$type<Limits>().notNull(),
  created_at: time("created_at").notNull(),
  version: version(),
});

export const apiKeys = pgTable(
  "api_keys",
  {
    id: text().primaryKey(),
    tenant_id: text().notNull().references(() => tenants.id),
    name: text().notNull(),
    /** SHA-256 of the key, hex; how it was made is `hash_version`. */
    hash: text().notNull().unique(),
    hash_version: integer().notNull(),
    display: text().notNull(),
    scopes: jsonb().$type<KeyScope[]>().notNull(),
    created_at: time("created_at").notNull(),
    expires_at: time("expires_at"),
    revoked_at: time("revoked_at"),
    last_used_at: time("last_used_at"),
    version: version(),
  },
  (t) => [index("api_keys_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc())],
);

export const runnerTokens = pgTable(
  "runner_tokens",
  {
    id: text().primaryKey(),
    tenant_id: text().notNull().references(() => tenants.id),
    name: text().notNull(),
    pool: text().notNull(),
    labels: jsonb().$type<Record<string, string>>().notNull(),
    hash: text().notNull().unique(),
    hash_version: integer().notNull(),
    /** The token before the last rotation, still good until `previous_until`. */
    previous_hash: text().unique(),
    previous_until: time("previous_until"),
    display: text().notNull(),
    created_at: time("created_at").notNull(),
    revoked_at: time("revoked_at"),
    version: version(),
  },
  (t) => [index("runner_tokens_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc())],
);

/**
 * Columns of every copied resource. `data` is the whole resource as text JSON: an agent's words may hold NUL and lone
 * surrogates, which `jsonb` refuses. `size` is its length in characters, so that a page of a list can be bounded.
 */
const copied = <T>() => ({
  id: text().primaryKey(),
  tenant_id: text().notNull(),
  status: text().notNull(),
  created_at: time("created_at").notNull(),
  version: bigint({ mode: "number" }).notNull(),
  size: integer().notNull(),
  data: json().$type<T>().notNull(),
});

export const sessions = pgTable("sessions", { ...copied<Session>(), agent: text().notNull(), labels: jsonb().$type<Record<string, string>>().notNull(), workspace_id: text() }, (t) => [
  index("sessions_workspace").on(t.workspace_id, t.created_at.desc()),
  index("sessions_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
  index("sessions_status").on(t.tenant_id, t.status, t.created_at.desc()),
  index("sessions_labels").using("gin", t.labels.op("jsonb_path_ops")),
]);

export const tasks = pgTable("tasks", { ...copied<Task>(), session_id: text().notNull(), labels: jsonb().$type<Record<string, string>>().notNull() }, (t) => [
  index("tasks_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
  index("tasks_session").on(t.session_id, t.created_at.desc(), t.id.desc()),
  index("tasks_status").on(t.tenant_id, t.status, t.created_at.desc()),
]);

export const taskRuns = pgTable("task_runs", { ...copied<Run>(), session_id: text().notNull(), task_id: text().notNull() }, (t) => [
  index("task_runs_task").on(t.task_id, t.created_at.desc(), t.id.desc()),
]);

export const permissions = pgTable("permissions", { ...copied<Permission>(), session_id: text().notNull(), task_id: text().notNull(), risk: text().notNull() }, (t) => [
  index("permissions_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
  index("permissions_session").on(t.session_id, t.created_at.desc(), t.id.desc()),
  index("permissions_status").on(t.tenant_id, t.status, t.created_at.desc()),
]);

export const runners = pgTable("runners", { ...copied<Runner>(), session_id: text().notNull(), host_id: text().notNull(), pool: text().notNull() }, (t) => [
  index("runners_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
  index("runners_status").on(t.tenant_id, t.status, t.created_at.desc()),
]);

export const hosts = pgTable("hosts", { ...copied<Host>(), pool: text().notNull() }, (t) => [
  index("hosts_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
]);

/** A deleted one keeps its row, which no list shows: a late copy must not bring it back. */
export const schedules = pgTable("schedules", { ...copied<Schedule>(), session_id: text().notNull(), labels: jsonb().$type<Record<string, string>>().notNull() }, (t) => [
  index("schedules_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
]);

/** The keys under which a tenant's bytes are sealed, each wrapped by the deployment's key. */
export const dataKeys = pgTable(
  "data_keys",
  {
    tenant_id: text().notNull().references(() => tenants.id),
    version: integer().notNull(),
    state: text().$type<"active" | "retired" | "deleted">().notNull(),
    /** Data key and naming key together, sealed; null once deleted. */
    wrapped: text(),
    wrapped_with: text().notNull(),
    created_at: time("created_at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.version] })],
);

/** What a workspace is called and how long it is kept; its manifests and chunks are counted by the tenant's storage object. */
export const workspaces = pgTable(
  "workspaces",
  {
    id: text().primaryKey(),
    tenant_id: text().notNull(),
    name: text(),
    labels: jsonb().$type<Record<string, string>>().notNull(),
    quota_mb: integer(),
    retention_days: integer().notNull(),
    created_at: time("created_at").notNull(),
    updated_at: time("updated_at").notNull(),
    /** When a session last said anything about it; what retention counts from. */
    last_used_at: time("last_used_at").notNull(),
    deleted_at: time("deleted_at"),
    version: version(),
  },
  (t) => [index("workspaces_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc())],
);

/** Model providers' addresses and keys by name; a key is sealed under the tenant's data key. */
export const agentConfigs = pgTable(
  "agent_configs",
  {
    id: text().primaryKey(),
    tenant_id: text().notNull().references(() => tenants.id),
    name: text().notNull(),
    agent: text(),
    api: text().$type<ProviderApi>().notNull(),
    model: text(),
    base_url: text(),
    /** Base64 of the sealed bytes, bound to the config's id. */
    sealed_key: text().notNull(),
    masked_key: text().notNull(),
    shared: boolean().notNull(),
    requests_per_minute: integer(),
    created_at: time("created_at").notNull(),
    updated_at: time("updated_at").notNull(),
    version: version(),
  },
  (t) => [uniqueIndex("agent_configs_name").on(t.tenant_id, t.name), index("agent_configs_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc())],
);

/** A tenant's own prices of models, as one list. */
export const modelPrices = pgTable("model_prices", { tenant_id: text().primaryKey().references(() => tenants.id), models: jsonb().$type<ModelPrice[]>().notNull(), updated_at: time("updated_at").notNull() });

/** One row a model call, as the session's object wrote it; never changed. */
export const modelRequests = pgTable(
  "model_requests",
  {
    id: text().primaryKey(),
    tenant_id: text().notNull(),
    session_id: text().notNull(),
    task_id: text(),
    run_id: text(),
    labels: jsonb().$type<Record<string, string>>().notNull(),
    agent: text().notNull(),
    key_source: text().$type<ModelRequest["key_source"]>().notNull(),
    agent_config_id: text(),
    api: text().$type<ModelRequest["api"]>().notNull(),
    upstream: text().notNull(),
    model: text(),
    outcome: text().$type<ModelRequest["outcome"]>().notNull(),
    status: integer(),
    stop_reason: text(),
    stream: boolean().notNull(),
    input_tokens: bigint({ mode: "number" }).notNull(),
    output_tokens: bigint({ mode: "number" }).notNull(),
    cache_read_tokens: bigint({ mode: "number" }).notNull(),
    cache_write_tokens: bigint({ mode: "number" }).notNull(),
    reasoning_tokens: bigint({ mode: "number" }).notNull(),
    cost_usd: doublePrecision(),
    priced: boolean().notNull(),
    price_version: text().notNull(),
    estimated: boolean().notNull(),
    retries: integer().notNull(),
    ttft_ms: doublePrecision(),
    duration_ms: doublePrecision().notNull(),
    error: text(),
    created_at: time("created_at").notNull(),
  },
  (t) => [
    index("model_requests_newest").on(t.tenant_id, t.created_at.desc(), t.id.desc()),
    index("model_requests_session").on(t.session_id, t.created_at.desc()),
    index("model_requests_labels").using("gin", t.labels.op("jsonb_path_ops")),
  ],
);
