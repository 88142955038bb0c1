import { NeonDbError } from "@neondatabase/serverless";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { newToken, type ApiKeyCreated, type KeyScope, type Page, type RunnerTokenCreated, type Tenant } from "../../sdk/protocol/index.ts";
import { doors, MASTER, type Doors } from "../testing/doors.ts";
import { keyCache } from "./auth.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});

describe("a key", () => {
  it("is needed, must be a key, known, not expired", async () => {
    expect(await d.failure("GET", "/sessions", { key: null })).toMatchObject({ status: 401, code: "unauthorized" });
    for (const key of ["", "mk_short", newToken("api_key"), newToken("run"), newToken("runner"), MASTER, "é"]) expect((await d.failure("GET", "/sessions", { key: encodeURI(key) })).status, `${key}`).toBe(401);
    expect((await d.failure("GET", "/sessions", { key: null, headers: { authorization: "Basic abc" } })).status).toBe(401);
    const { token } = await d.one.key(["read"], new Date(Date.now() - 1));
    expect(await d.failure("GET", "/sessions", { key: token })).toMatchObject({ status: 401, message: "The key has expired" });
    expect((await d.call("GET", "/sessions", { key: null, headers: { authorization: `bearer  ${d.one.token}` } })).status).toBe(200);
  });

  it("may do what its scopes say", async () => {
    const may = async (scope: KeyScope) => {
      const { token: key } = await d.one.key([scope]);
      const statuses: Record<string, number> = {};
      const asked: [string, string, string, unknown?][] = [
        ["read", "GET", "/sessions"], ["write", "POST", "/sessions", { agent: "a" }], ["approve", "POST", "/permissions/x/approve", {}], ["admin", "GET", "/keys"], ["drain", "POST", "/hosts/x/drain", {}], ["follow", "GET", "/events"],
      ];
      for (const [name, method, path, body] of asked) statuses[name] = (await d.call(method, path, { key, body })).status;
      return Object.entries(statuses).filter(([, status]) => status !== 403).map(([name]) => name);
    };
    expect(await may("read")).toEqual(["read", "follow"]);
    expect(await may("write")).toEqual(["write"]);
    expect(await may("approve")).toEqual(["approve"]);
    expect(await may("admin")).toEqual(["admin", "drain"]);
  });

  it("is made, listed without itself, and refused once revoked", async () => {
    const made = await d.json<ApiKeyCreated>("POST", "/keys", { body: { name: "ci", scopes: ["read", "read"], expires_in_seconds: 60 } }, 201);
    expect(made.scopes).toEqual(["read"]);
    expect(Date.parse(made.expires_at ?? "") - Date.parse(made.created_at)).toBe(60_000);
    expect((await d.call("GET", "/sessions", { key: made.key })).status).toBe(200);
    const { key: _key, ...record } = made;
    expect(await d.json("GET", `/keys/${made.id}`)).toMatchObject({ id: record.id, name: "ci", revoked_at: null });
    expect(JSON.stringify(await d.json("GET", "/keys"))).not.toContain(made.key);
    expect(await d.json("DELETE", `/keys/${made.id}`)).toMatchObject({ revoked_at: expect.any(String) });
    expect(await d.failure("GET", "/sessions", { key: made.key })).toMatchObject({ status: 401, message: "The key is revoked" });
  });

  it("is believed for five seconds at most, known or unknown, and asked for once in that time", async () => {
    let now = 0;
    const cache = keyCache(() => now);
    const read = vi.fn(async () => null);
    for (now of [0, 1, 3_999]) await cache.find("hash", read);
    expect(read).toHaveBeenCalledTimes(1);
    now = 4_000;
    await cache.find("hash", read);
    expect(read).toHaveBeenCalledTimes(2);
    cache.forget("hash");
    await cache.find("hash", read);
    expect(read).toHaveBeenCalledTimes(3);
    for (let i = 0; i < 10_001; i++) await cache.find(String(i), async () => null);
    await cache.find("hash", read);
    expect(read).toHaveBeenCalledTimes(4);
  });

  it("that was good goes on while the database is away, for a quarter of an hour, and no other", async () => {
    let now = 0;
    const cache = keyCache(() => now);
    const key = await d.records.access.key(d.one.id, d.one.keyId);
    const away = () => Promise.reject(Object.assign(new NeonDbError("fetch failed"), { code: undefined }));
    await cache.find("known", async () => key);
    await cache.find("unknown", async () => null);
    const asked = vi.fn(away);
    now = 6_000;
    expect([await cache.find("known", asked), await cache.find("known", asked)]).toEqual([key, key]);
    expect(asked).toHaveBeenCalledTimes(1);
    await expect(cache.find("unknown", away)).rejects.toThrow("fetch failed");
    now = 16 * 60_000;
    await expect(cache.find("known", away)).rejects.toThrow("fetch failed");
    await expect(cache.find("known", () => Promise.reject(new Error("a fault of ours")))).rejects.toThrow("a fault");
  });

  it("costs one read of the database for many requests", async () => {
    for (let i = 0; i < 5; i++) await d.call("GET", "/sessions");
    expect(d.records.keyReads).toBe(1);
  });

  it("may come as a subprotocol from a browser's socket, and is not sent back where another is offered", async () => {
    const session = await d.json<{ id: string }>("POST", "/sessions", { body: { agent: "a" } }, 201);
    const open = (protocol: string) => d.raw(`/api/v1/sessions/${session.id}/events`, { headers: { upgrade: "websocket", "sec-websocket-protocol": protocol } });
    const alone = await open(`marionette.key.${d.one.token}`);
    expect([alone.status, alone.headers.get("sec-websocket-protocol")]).toEqual([101, `marionette.key.${d.one.token}`]);
    const beside = await open(`marionette, marionette.key.${d.one.token}`);
    expect([beside.status, beside.headers.get("sec-websocket-protocol")]).toEqual([101, "marionette"]);
    expect((await open(`marionette.key.${newToken("api_key")}`)).status).toBe(401);
    expect((await d.raw("/api/v1/sessions", { headers: { "sec-websocket-protocol": `marionette.key.${d.one.token}` } })).status).toBe(401);
    expect(d.sessions.of(session.id).viewers.every(({ headers }) => !headers.has("sec-websocket-protocol"))).toBe(true);
  });
});

describe("the administration", () => {
  const asked = { key: MASTER };
  it("opens to the master key alone", async () => {
    for (const key of [d.one.token, `${MASTER}x`, MASTER.slice(0, -1), "x"]) expect((await d.failure("GET", "/admin/api/v1/tenants", { key: encodeURI(key) })).status).toBe(401);
    expect((await d.raw("/admin/api/v1/tenants")).status).toBe(401);
    expect((await d.failure("GET", "/sessions", asked)).status).toBe(401);
    Object.assign(d.env, { MARIONETTE_MASTER_KEY: "" });
    expect((await d.failure("GET", "/admin/api/v1/tenants", { key: "x" })).status).toBe(401);
  });

  it("makes tenants, keeps their limits and tells their objects", async () => {
    const key = MASTER;
    const made = await d.json<Tenant>("POST", "/admin/api/v1/tenants", { key, body: { name: "acme", limits: { sessions_per_minute: 3 } } }, 201);
    expect(made.limits).toEqual({ sessions_per_minute: 3, tasks_per_minute: 30, open_streams: 100 });
    expect(d.tenants.of(made.id).limits).toEqual(made.limits);
    const patched = await d.json<Tenant>("PATCH", `/admin/api/v1/tenants/${made.id}`, { key, body: { limits: { open_streams: 7 } } });
    expect(patched).toMatchObject({ name: "acme", limits: { sessions_per_minute: 3, tasks_per_minute: 30, open_streams: 7 } });
    expect(d.tenants.of(made.id).limits).toEqual(patched.limits);
    expect(await d.json("GET", `/admin/api/v1/tenants/${made.id}`, { key })).toEqual(patched);
    expect((await d.json<Page<Tenant>>("GET", "/admin/api/v1/tenants", { key })).total).toBe(3);
  });

  it("makes, lists, rotates and revokes keys and runner tokens of any tenant", async () => {
    const key = MASTER;
    const made = await d.json<ApiKeyCreated>("POST", "/admin/api/v1/keys", { key, body: { tenant_id: d.two.id, name: "k" } }, 201);
    expect((await d.call("GET", "/sessions", { key: made.key })).status).toBe(200);
    expect((await d.json<Page<unknown>>("GET", `/admin/api/v1/keys?tenant_id=${d.two.id}`, { key })).total).toBe(2);
    await d.json("DELETE", `/admin/api/v1/keys/${made.id}`, { key });
    expect((await d.call("GET", "/sessions", { key: made.key })).status).toBe(401);
    const token = await d.json<RunnerTokenCreated>("POST", "/admin/api/v1/runner-tokens", { key, body: { tenant_id: d.two.id, name: "h", pool: "gpu", labels: { a: "b" } } }, 201);
    const rotated = await d.json<RunnerTokenCreated>("POST", `/admin/api/v1/runner-tokens/${token.id}/rotate`, { key });
    expect(rotated.token).not.toBe(token.token);
    expect((await d.json<Page<unknown>>("GET", "/runner-tokens", { key: d.two.token })).items).toEqual([expect.objectContaining({ id: token.id, pool: "gpu" })]);
    expect((await d.json<Page<unknown>>("GET", "/runner-tokens")).items).toEqual([]);
    const join = (bearer: string) => d.raw("/links/host", { headers: { upgrade: "websocket", authorization: `Bearer ${bearer}` } });
    expect([(await join(token.token)).status, (await join(rotated.token)).status]).toEqual([101, 101]);
    await d.json("DELETE", `/runner-tokens/${token.id}`, { key: d.two.token });
    expect([(await join(token.token)).status, (await join(rotated.token)).status]).toEqual([401, 401]);
    expect((await d.failure("POST", "/admin/api/v1/keys", { key, body: { tenant_id: d.two.id.replace(/.$/, (last) => (last === "0" ? "1" : "0")), name: "k" } })).status).toBe(404);
  });
});

describe("links", () => {
  it("take a runner to its session with its run token alone", async () => {
    const session = await d.json<{ id: string }>("POST", "/sessions", { body: { agent: "a" } }, 201);
    const open = (bearer: string, headers: Record<string, string> = { upgrade: "websocket" }) => d.raw(`/links/runner/${session.id}`, { headers: { ...headers, authorization: `Bearer ${bearer}` } });
    const good = `gtok_${"a".repeat(39)}good`;
    expect((await open(good)).status).toBe(101);
    expect((await open(newToken("run"))).status).toBe(401);
    for (const token of [d.one.token, newToken("runner"), "x"]) expect((await open(token)).status).toBe(401);
    expect((await open(good, {})).status).toBe(400);
    expect((await d.raw("/links/runner/sess_1", { headers: { upgrade: "websocket", authorization: `Bearer ${good}` } })).status).toBe(400);
  });

  it("give a host its own id back, and a new one where it claims another tenant's", async () => {
    const made = async (key: string) => (await d.json<RunnerTokenCreated>("POST", "/runner-tokens", { key, body: { name: "h", pool: "p", labels: { a: "é" } } }, 201)).token;
    const mine = await made(d.one.token);
    const theirs = await made(d.two.token);
    const join = (token: string, query = "") => d.raw(`/links/host${query}`, { headers: { upgrade: "websocket", authorization: `Bearer ${token}` } });
    expect((await join(mine)).status).toBe(101);
    const [hostId, host] = [...d.hosts.objects][0] ?? [];
    expect(host?.join).toEqual({ tenant_id: d.one.id, host_id: hostId, pool: "p", labels: { a: "é" } });
    if (host) host.host = { id: hostId, tenant_id: d.one.id } as never;
    await join(mine, `?host_id=${hostId}`);
    expect(d.hosts.objects.size).toBe(1);
    await join(theirs, `?host_id=${hostId}`);
    expect([...d.hosts.objects.values()].map((each) => (each.join as { tenant_id: string }).tenant_id)).toEqual([d.one.id, d.two.id]);
    expect((await join(mine, "?host_id=x")).status).toBe(400);
    expect((await join(d.one.token)).status).toBe(401);
  });
});
