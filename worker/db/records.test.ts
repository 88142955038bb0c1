import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate, migrations, overHttp } from "../../migrations/migrate.ts";
import type { Row } from "../../durable-objects/ports.ts";
import { hashToken, limits, newChildId, newId, type Host, type ModelRequest, type Permission, type Run, type Runner, type Schedule, type Session, type Task } from "../../sdk/protocol/index.ts";
import { startPostgres, type Postgres } from "../local/postgres.ts";
import { databaseFailure, openDatabase } from "./client.ts";
import { recordsOf, type Records } from "./records.ts";

const T0 = Date.UTC(2026, 10, 21, 12);
const at = (ms: number) => new Date(T0 + ms).toISOString();

async function ownDatabase(databaseUrl: string): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `marionette_db_${randomBytes(6).toString("hex")}`;
  const run = async (sql: string) => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query(sql);
    await client.end();
  };
  await run(`CREATE DATABASE ${name}`);
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

const noUsage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null };
function session(tenantId: string, ms: number, change: Partial<Session> = {}): Session {
  return {
    id: newId("session", T0 + ms), tenant_id: tenantId, name: null, agent: "claude", model: null, labels: {}, status: "active", status_reason: null, pool: "default", provider: null,
    selector: null, workspace_id: newId("workspace", T0), host_id: null, runner_lifecycle: "per-session", edit_mode: "off", rules: [], env_names: [], has_api_key: false, keep_raw: true,
    lifecycle_mode: "on_demand", idle_timeout_seconds: 900, suspend_after_seconds: 1_800, suspend_strategy: null, workspace_quota_mb: null, retention_days: 7, suspension: null, interrupted: false,
    capsule_id: null, forked_from: null, runner: null, task_id: null, queued_tasks: 0, pending_permissions: 0, usage: noUsage, last_seq: 1, created_at: at(ms), updated_at: at(ms), ended_at: null, version: 1, ...change,
  };
}
function task(owner: Session, ms: number, change: Partial<Task> = {}): Task {
  return {
    id: newChildId("task", owner.id, T0 + ms), session_id: owner.id, tenant_id: owner.tenant_id, status: "pending", prompt: "go", timeout_seconds: 10, max_retries: 0, continue_from: null, labels: {},
    attempts: 0, run_id: null, result: null, exit_code: null, error: null, usage: null, waiting_for: null, conversation: null, next_attempt_at: null, created_at: at(ms), started_at: null, ended_at: null, version: 1, ...change,
  };
}
const row = (value: Session): Row => ({ resource: "session", value });

const behind = [{ name: "PGlite", real: null }, ...(process.env["DATABASE_URL"] ? [{ name: "PostgreSQL", real: process.env["DATABASE_URL"] }] : [])];

describe.each(behind)("records in $name", ({ real }) => {
  let postgres: Postgres;
  let records: Records;
  let drop = async () => {};
  let tenantId: string;
  let otherId: string;

  beforeAll(async () => {
    const own = real ? await ownDatabase(real) : null;
    if (own) ({ drop } = own);
    postgres = await startPostgres(own ? { databaseUrl: own.url } : {});
    await migrate(overHttp(postgres.url, postgres.endpoint));
    records = recordsOf(openDatabase(postgres.url, postgres.endpoint));
    for (const name of ["one", "two"]) await records.access.createTenant({ id: newId("tenant", T0), name, limits: limits.parse({}), created_at: new Date(T0) });
    const { items } = await records.access.tenants({ limit: 10 });
    tenantId = items.find(({ name }) => name === "one")?.id ?? "";
    otherId = items.find(({ name }) => name === "two")?.id ?? "";
  });
  afterAll(async () => {
    await postgres.close();
    await drop();
  });

  it("are laid out by migrations that run once, and undo themselves where one fails", async () => {
    const executor = overHttp(postgres.url, postgres.endpoint);
    expect(await migrate(executor)).toEqual([]);
    const broken = [...migrations(), { name: "9998_good", statements: ["create table half_way (id int)"] }, { name: "9999_bad", statements: ["create tabel x"] }];
    await expect(migrate(executor, broken)).rejects.toThrow(/tabel/);
    expect(await executor.query("select to_regclass('half_way')::text as name")).toEqual([{ name: null }]);
    const late = [...migrations(), { name: "9998_good", statements: ["create table half_way (id int)"] }];
    const both = await Promise.all([migrate(executor, late), migrate(executor, late)]);
    expect(both.flat()).toEqual(["9998_good"]);
  });

  it("keep a row's newest version, whatever order its versions come in", async () => {
    const made = session(tenantId, 1);
    const newer = { ...made, version: 3, status: "terminated" as const };
    await records.projection.apply([row(newer)]);
    await records.projection.apply([row({ ...made, version: 2, status: "active" })]);
    await records.projection.apply([row(made), row(made)]);
    const read = async () => (await records.lists.sessions(tenantId, { limit: 200 })).items.find(({ id }) => id === made.id);
    expect(await read()).toEqual(newer);
    await records.projection.apply([row({ ...made, version: 4 }), row({ ...made, version: 6, name: "last" }), row({ ...made, version: 5 })]);
    expect(await read()).toEqual({ ...made, version: 6, name: "last" });
  });

  it("never let one tenant's row overwrite another's", async () => {
    const mine = session(tenantId, 2);
    await records.projection.apply([row(mine)]);
    await records.projection.apply([row({ ...mine, tenant_id: otherId, version: 9 })]);
    expect((await records.lists.sessions(otherId, { limit: 10 })).items).toEqual([]);
    expect((await records.lists.sessions(tenantId, { limit: 200 })).items).toContainEqual(mine);
  });

  it("hold model calls once each, whatever their upstream said", async () => {
    const owner = session(tenantId, 1);
    const call: ModelRequest = {
      id: newId("model_request", T0), tenant_id: tenantId, session_id: owner.id, task_id: null, run_id: null, labels: { team: "wéb" }, agent: "claude", key_source: "byok", agent_config_id: null, api: "openai.chat", upstream: "x:1",
      model: "m", outcome: "failed", status: 400, stop_reason: null, stream: true, input_tokens: 2 ** 40, output_tokens: 2, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 1, cost_usd: 0.000_000_001, priced: true,
      price_version: "1", estimated: false, retries: 0, ttft_ms: null, duration_ms: 12.5, error: null, created_at: at(5),
    };
    const hostile = { ...call, id: newId("model_request", T0 + 1), model: "nul \0 here", error: "half a pair \ud83d, a whole one 😀, a \\u0000 in words, '; drop table model_requests --", cost_usd: null, priced: false };
    await records.usage.record([call, hostile]);
    await records.usage.record([{ ...call, error: "said again" }]);
    await records.usage.record([]);
    const found = await records.usage.requests(tenantId, { session_id: owner.id }, 10);
    expect(found.find(({ id }) => id === call.id)).toEqual(call);
    expect(found.find(({ id }) => id === hostile.id)).toEqual({ ...hostile, model: "nul  here", error: "half a pair \ufffd, a whole one 😀, a \\u0000 in words, '; drop table model_requests --" });
    expect(await records.usage.total(tenantId, { session_id: owner.id, labels: { team: "wéb" } })).toMatchObject({ requests: 2, unpriced_requests: 1, input_tokens: 2 ** 41 });
  });

  it("hold every kind of resource, and text that no database likes", async () => {
    const owner = session(tenantId, 3);
    const hostile = task(owner, 3, { prompt: "NUL \0, a lone surrogate \ud800, '); drop table tasks; --, \u{1F600}", result: "\0" });
    const run: Run = { id: newChildId("run", owner.id, T0), task_id: hostile.id, session_id: owner.id, tenant_id: tenantId, attempt: 1, status: "running", runner_id: null, host_id: null, epoch: 1, exit_code: null, error: null, created_at: at(3), started_at: null, ended_at: null, version: 1 };
    const permission: Permission = { id: newChildId("permission", owner.id, T0), session_id: owner.id, task_id: hostile.id, run_id: run.id, tenant_id: tenantId, status: "pending", tool: "Bash", input: { command: "ls \0" }, summary: "ls", risk: "low", reasons: [], decision: null, created_at: at(3), ended_at: null, version: 1 };
    const hostId = newId("host", T0);
    const runner: Runner = { id: newId("runner", T0), tenant_id: tenantId, session_id: owner.id, host_id: hostId, pool: "default", provider: "process", sandbox: null, isolation: null, epoch: 1, status: "idle", status_reason: null, created_at: at(3), ended_at: null, version: 1 };
    const host: Host = { id: hostId, tenant_id: tenantId, status: "online", name: "h", os: "linux", arch: "x64", cpus: 2, memory_mb: 10, labels: {}, pool: "default", max_runners: 1, default_provider: "process", providers: [], agents: [], runners: 0, created_at: at(3), last_seen_at: at(3), version: 1 };
    await records.projection.apply([
      { resource: "task", value: hostile }, { resource: "run", value: run }, { resource: "permission", value: permission }, { resource: "runner", value: runner }, { resource: "host", value: host },
    ]);
    expect((await records.lists.tasks(tenantId, { limit: 5, session_id: owner.id })).items).toEqual([hostile]);
    expect((await records.lists.permissions(tenantId, { limit: 5, status: "pending", session_id: owner.id })).items).toEqual([permission]);
    expect((await records.lists.runners(tenantId, { limit: 5, pool: "default" })).items).toEqual([runner]);
    expect(await records.lists.runner(otherId, runner.id)).toBeNull();
    expect((await records.lists.hosts(tenantId, { limit: 5, status: "online" })).items).toEqual([host]);
  });

  it("show schedules until they are deleted, and never again", async () => {
    const owner = session(tenantId, 4, { labels: { team: "a" } });
    const made: Schedule = {
      id: newChildId("schedule", owner.id, T0), tenant_id: tenantId, session_id: owner.id, name: null, agent: "claude", model: null, labels: { team: "a" }, provider: null, workspace_id: owner.workspace_id, prompt: "NUL \0", timeout_seconds: 60,
      max_retries: 0, cron: "@daily", timezone: "UTC", continue: false, pause_on_failure: false, disable_on_failure: 5, status: "active", status_reason: null, next_run_at: at(5), last_run: null, consecutive_failures: 0, created_at: at(4), updated_at: at(4), version: 1,
    };
    const put = (value: Schedule) => records.projection.apply([{ resource: "schedule", value }]);
    const listed = async (filter: object = {}, tenant = tenantId) => (await records.lists.schedules(tenant, { limit: 5, ...filter })).items;
    await put(made);
    for (const filter of [{}, { status: "active" }, { session_id: owner.id }, { labels: { team: "a" } }]) expect(await listed(filter)).toEqual([made]);
    for (const filter of [{ status: "paused" }, { labels: { team: "b" } }]) expect(await listed(filter)).toEqual([]);
    expect(await listed({}, otherId)).toEqual([]);
    await put({ ...made, status: "deleted", next_run_at: null, version: 3 });
    await put({ ...made, status: "paused", version: 2 });
    expect(await listed()).toEqual([]);
    expect(await records.lists.schedules(tenantId, { limit: 5 })).toMatchObject({ total: 0 });
  });

  it("list newest first, the same by cursor and by offset, with equal times told apart by id", async () => {
    const tenant = await records.access.createTenant({ id: newId("tenant", T0), name: "pages", limits: limits.parse({}), created_at: new Date(T0) });
    const made = Array.from({ length: 25 }, (_, i) => session(tenant.id, Math.floor(i / 3)));
    await records.projection.apply(made.map(row));
    const all = (await records.lists.sessions(tenant.id, { limit: 200 })).items.map(({ id }) => id);
    expect(all).toHaveLength(25);
    const byCursor: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await records.lists.sessions(tenant.id, { limit: 10, cursor });
      expect(page.total).toBe(25);
      byCursor.push(...page.items.map(({ id }) => id));
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
    const byOffset = await Promise.all([0, 10, 20].map((offset) => records.lists.sessions(tenant.id, { limit: 10, offset })));
    expect(byCursor).toEqual(all);
    expect(byOffset.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(all);
    expect(byOffset.at(-1)?.next_cursor).toBeNull();
    const times = (await records.lists.sessions(tenant.id, { limit: 200 })).items.map(({ created_at }) => created_at);
    expect(times).toEqual([...times].sort().reverse());
  });

  it("filter by status and by every label asked for", async () => {
    const tenant = await records.access.createTenant({ id: newId("tenant", T0), name: "labels", limits: limits.parse({}), created_at: new Date(T0) });
    const made = [session(tenant.id, 1, { labels: { team: "a", env: "prod" } }), session(tenant.id, 2, { labels: { team: "a" }, status: "pending" }), session(tenant.id, 3, { labels: { team: "b'\"" } })];
    await records.projection.apply(made.map(row));
    const found = async (filter: Parameters<Records["lists"]["sessions"]>[1]) => (await records.lists.sessions(tenant.id, filter)).items.map(({ id }) => made.findIndex((each) => each.id === id));
    expect(await found({ limit: 9, labels: { team: "a" } })).toEqual([1, 0]);
    expect(await found({ limit: 9, labels: { team: "a", env: "prod" } })).toEqual([0]);
    expect(await found({ limit: 9, labels: { team: "b'\"" } })).toEqual([2]);
    expect(await found({ limit: 9, status: "pending", labels: { team: "a" } })).toEqual([1]);
    expect(await found({ limit: 9, labels: { team: "c" } })).toEqual([]);
  });

  it("end a page before it grows too large, and go on at its cursor", async () => {
    const owner = session(tenantId, 5);
    const large = Array.from({ length: 12 }, (_, i) => task(owner, 100 + i, { prompt: "x".repeat(1_048_576) }));
    await records.projection.apply(large.map((value) => ({ resource: "task", value })));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await records.lists.tasks(tenantId, { limit: 200, session_id: owner.id, cursor });
      expect(page.items.length).toBeGreaterThan(0);
      expect(page.items.length).toBeLessThanOrEqual(8);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
    expect(seen).toEqual(large.map(({ id }) => id).reverse());
  });

  it("refuse a cursor that no list gave", async () => {
    for (const cursor of ["", "x", "%%%", btoa("2026-13-99T00:00:00.000Z sess_1"), btoa("now() sess_1"), "é"]) {
      await expect(records.lists.sessions(tenantId, { limit: 5, cursor }), `${cursor}`).rejects.toMatchObject({ code: "bad_request" });
    }
  });

  it("find a key by its hash alone, and say when it was revoked, once", async () => {
    const hash = await hashToken("mk_x");
    const made = await records.access.createKey({ id: newId("key", T0), tenant_id: tenantId, name: "k", hash, display: "mk_xxxxx", scopes: ["read", "admin"], created_at: new Date(T0), expires_at: new Date(T0 + 5) });
    expect(await records.access.keyByHash(hash)).toEqual(made);
    expect(made).toMatchObject({ scopes: ["read", "admin"], expires_at: at(5), revoked_at: null, last_used_at: null });
    expect(JSON.stringify(made)).not.toContain(hash);
    expect(await records.access.keyByHash("0".repeat(64))).toBeNull();
    expect(await records.access.revokeKey(otherId, made.id, new Date(T0))).toBeNull();
    expect((await records.access.revokeKey(tenantId, made.id, new Date(T0 + 7)))?.key.revoked_at).toBe(at(7));
    expect((await records.access.revokeKey(null, made.id, new Date(T0 + 8)))?.key.revoked_at).toBe(at(7));
    expect(await records.access.revokeKey(tenantId, newId("key", T0), new Date(T0))).toBeNull();
  });

  it("note a key's use at most once a minute", async () => {
    const made = await records.access.createKey({ id: newId("key", T0), tenant_id: tenantId, name: "k", hash: "used", display: "mk_xxxxx", scopes: ["read"], created_at: new Date(T0), expires_at: null });
    for (const ms of [0, 59_000, 61_000]) await records.access.touchKey(made.id, new Date(T0 + ms));
    expect((await records.access.key(tenantId, made.id))?.last_used_at).toBe(at(61_000));
    await records.access.touchKey(made.id, new Date(T0 + 62_000));
    expect((await records.access.key(tenantId, made.id))?.last_used_at).toBe(at(61_000));
  });

  it("make a create that is tried again the same record, with the newer token", async () => {
    const base = { id: newId("key", T0), tenant_id: tenantId, name: "k", display: "mk_xxxxx", scopes: ["read" as const], created_at: new Date(T0), expires_at: null };
    await records.access.createKey({ ...base, hash: "first" });
    await records.access.createKey({ ...base, hash: "second" });
    expect(await records.access.keyByHash("first")).toBeNull();
    expect((await records.access.keyByHash("second"))?.id).toBe(base.id);
  });

  it("keep a rotated runner token good for its hour, and a revoked one not at all", async () => {
    const { id } = await records.access.createRunnerToken({ id: newId("runner_token", T0), tenant_id: tenantId, name: "r", pool: "gpu", labels: { a: "b" }, hash: "old", display: "rtok_xxx", created_at: new Date(T0) });
    const opens = async (hash: string, ms: number) => (await records.access.runnerTokenByHash(hash, new Date(T0 + ms)))?.id ?? null;
    expect(await records.access.rotateRunnerToken(otherId, id, { hash: "new", display: "rtok_new" }, new Date(T0 + 100))).toBeNull();
    expect(await records.access.rotateRunnerToken(tenantId, id, { hash: "new", display: "rtok_new" }, new Date(T0 + 100))).toMatchObject({ id, pool: "gpu", labels: { a: "b" }, display: "rtok_new" });
    expect([await opens("old", 99), await opens("old", 100), await opens("new", 99), await opens("new", 1_000_000)]).toEqual([id, null, id, id]);
    await records.access.revokeRunnerToken(tenantId, id, new Date(T0));
    expect([await opens("old", 50), await opens("new", 50)]).toEqual([null, null]);
    expect(await records.access.rotateRunnerToken(tenantId, id, { hash: "newer", display: "rtok_new" }, new Date(T0))).toBeNull();
  });

  it("are unavailable, in words, while the database is down, and back when it is", async () => {
    postgres.setAvailable(false);
    const error = await records.ping().then(() => null, (thrown: unknown) => thrown);
    postgres.setAvailable(true);
    expect(databaseFailure(error)).toMatchObject({ code: "unavailable" });
    await records.ping();
    const gone = recordsOf(openDatabase(postgres.url, "http://127.0.0.1:1"));
    const refused = await gone.ping().then(() => null, (thrown: unknown) => thrown);
    openDatabase(postgres.url, postgres.endpoint);
    expect(databaseFailure(refused)).toMatchObject({ code: "unavailable" });
    expect(databaseFailure(new Error("a fault of ours"))).toBeNull();
  });
});

describe("records without a database", () => {
  it("say so at every use, and not before", async () => {
    for (const url of ["", "http://example", "nonsense"]) {
      const error = await recordsOf(openDatabase(url)).ping().then(() => null, (thrown: unknown) => thrown);
      expect(databaseFailure(error)).toMatchObject({ code: "unavailable" });
    }
  });
});
