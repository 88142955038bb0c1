import { beforeEach, describe, expect, it } from "vitest";
import type { ApiKeyCreated, Session, Task } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});
const idempotent = (key: string) => ({ headers: { "idempotency-key": key } });

describe("an idempotency key", () => {
  it("makes a repeated create answer the same, and refuses another body", async () => {
    const post = (body: object, key: string) => d.json<Session>("POST", "/sessions", { body: { agent: "a", ...body }, ...idempotent(key) }, 201);
    const first = await post({}, "k1");
    expect(await post({}, "k1")).toEqual(first);
    expect(d.sessions.objects.size).toBe(1);
    expect((await post({}, "k2")).id).not.toBe(first.id);
    expect(await d.failure("POST", "/sessions", { body: { agent: "b" }, ...idempotent("k1") })).toMatchObject({ status: 409, details: { "idempotency-key": "used with another body" } });
    const replay = await d.call("POST", "/sessions", { body: { agent: "a" }, ...idempotent("k1") });
    expect(replay.headers.get("idempotency-replayed")).toBe("true");
    for (const key of ["", "x".repeat(256)]) expect((await d.failure("POST", "/sessions", { body: { agent: "a" }, ...idempotent(key) })).status).toBe(400);
  });

  it("belongs to its API key and to its path", async () => {
    const body = { agent: "a" };
    const one = await d.json<Session>("POST", "/sessions", { body, ...idempotent("k") }, 201);
    const two = await d.json<Session>("POST", "/sessions", { body, key: d.two.token, ...idempotent("k") }, 201);
    expect(two.id).not.toBe(one.id);
    expect((await d.failure("POST", `/sessions/${one.id}/tasks`, { body: { prompt: "x" }, ...idempotent("k") })).status).toBe(409);
  });

  it("takes a create that died half-way up again with the same ids", async () => {
    const session = await d.json<Session>("POST", "/sessions", { body: { agent: "a" } }, 201);
    const tenant = d.tenants.of(d.one.id);
    const finish = tenant.finish.bind(tenant);
    tenant.finish = () => Promise.reject(new Error("the isolate died"));
    const post = () => d.call("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "once" }, ...idempotent("k") });
    expect((await post()).status).toBe(500);
    const made = [...d.sessions.of(session.id).tasks.keys()];
    tenant.finish = finish;
    const again = await post();
    expect(again.status).toBe(201);
    expect([(await again.json<Task>()).id]).toEqual(made);
    expect(d.sessions.of(session.id).tasks.size).toBe(1);
    const creates = await Promise.all([post(), post()]);
    expect(creates.map(({ status }) => status)).toEqual([201, 201]);
    expect(await creates[1]?.json()).toMatchObject({ id: made[0], prompt: "once" });
    expect(tenant.remembered(d.one.keyId, "k")).not.toContain("once");
    expect(d.sessions.of(session.id).tasks.size).toBe(1);
  });

  it("remembers a new key's answer sealed, and opens it for a replay", async () => {
    const post = () => d.json<ApiKeyCreated>("POST", "/keys", { body: { name: "k" }, ...idempotent("k") }, 201);
    const first = await post();
    expect(await post()).toEqual(first);
    const kept = d.tenants.of(d.one.id).remembered(d.one.keyId, "k") ?? "";
    expect(kept.length).toBeGreaterThan(0);
    expect(kept + atob(kept)).not.toContain(first.key);
  });
});

describe("creations a minute", () => {
  it("are limited by key, told in headers, and refused with when to come back", async () => {
    await d.tenants.of(d.one.id).setLimits({ sessions_per_minute: 2, tasks_per_minute: 1, open_streams: 1 });
    const post = (key = d.one.token) => d.call("POST", "/sessions", { body: { agent: "a" }, key });
    const left = async () => (await post()).headers.get("x-ratelimit-remaining");
    expect([await left(), await left()]).toEqual(["1", "0"]);
    const refused = await d.failure("POST", "/sessions", { body: { agent: "a" } });
    expect(refused).toMatchObject({ status: 429, code: "rate_limited", details: { limit: 2 } });
    expect(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"].map((name) => refused.headers.get(name))).toEqual(["2", "0", "13", "13"]);
    expect((await post((await d.one.key()).token)).status).toBe(201);
    const session = (await d.json<{ items: Session[] }>("GET", "/sessions")).items[0];
    const task = () => d.call("POST", "/tasks", { body: { session_id: session?.id, prompt: "x" } });
    expect([(await task()).status, (await task()).status]).toEqual([201, 429]);
  });

  it("do not count a replay, nor what was refused before it was tried", async () => {
    await d.tenants.of(d.one.id).setLimits({ sessions_per_minute: 1, tasks_per_minute: 1, open_streams: 1 });
    expect((await d.call("POST", "/sessions", { body: { agent: "not a slug" } })).status).toBe(400);
    for (let i = 0; i < 3; i++) expect((await d.call("POST", "/sessions", { body: { agent: "a" }, ...idempotent("k") })).status).toBe(201);
  });
});
