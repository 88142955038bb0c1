import { beforeEach, describe, expect, it } from "vitest";
import type { Page, Session, Task } from "../../sdk/protocol/index.ts";
import { isId, MAX_BODY_BYTES, newId, sessionOf } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});
const create = (body: object = {}, more: object = {}) => d.json<Session>("POST", "/sessions", { body: { agent: "claude", ...body }, ...more }, 201);

describe("sessions", () => {
  it("are created, read, changed, listed at once, and ended", async () => {
    const made = await create({ name: "first", labels: { team: "a" }, api_key: "sk-secret", env: { A: "1" } });
    expect(made).toMatchObject({ agent: "claude", name: "first", tenant_id: d.one.id, has_api_key: true, env_names: ["A"], pool: "default" });
    expect(isId("session", made.id) && isId("workspace", made.workspace_id)).toBe(true);
    expect(JSON.stringify(made)).not.toContain("sk-secret");
    expect(await d.json("GET", `/sessions/${made.id}`)).toEqual(made);
    expect((await d.json<Page<Session>>("GET", "/sessions")).items).toEqual([made]);
    const named = await d.json<Session>("PATCH", `/sessions/${made.id}`, { body: { name: null } });
    expect(named.name).toBeNull();
    expect(await d.json("DELETE", `/sessions/${made.id}`)).toMatchObject({ status: "terminated" });
    expect((await d.json<Page<Session>>("GET", "/sessions?status=terminated")).items).toHaveLength(1);
  });

  it("of another tenant are not found, whatever is asked of them", async () => {
    const made = await create();
    const given = await d.json<Task>("POST", `/sessions/${made.id}/tasks`, { body: { prompt: "go" } }, 201);
    const permission = d.sessions.of(made.id).ask(given);
    const asked: [string, string, unknown?][] = [
      ["GET", `/sessions/${made.id}`], ["PATCH", `/sessions/${made.id}`, {}], ["DELETE", `/sessions/${made.id}`], ["GET", `/sessions/${made.id}/events`], ["GET", `/sessions/${made.id}/files`],
      ["GET", `/sessions/${made.id}/events?follow=true`], ["GET", `/sessions/${made.id}/files/content?path=a`], ["POST", `/sessions/${made.id}/tasks`, { prompt: "x" }], ["POST", "/tasks", { session_id: made.id, prompt: "x" }],
      ["GET", `/tasks/${given.id}`], ["GET", `/tasks/${given.id}/runs`], ["GET", `/tasks/${given.id}/logs`], ["POST", `/tasks/${given.id}/cancel`], ["POST", `/tasks/${given.id}/retry`], ["POST", `/tasks/${given.id}/execute`],
      ["GET", `/permissions/${permission.id}`], ["POST", `/permissions/${permission.id}/approve`, {}], ["POST", `/permissions/${permission.id}/deny`, {}], ["DELETE", `/keys/${d.one.keyId}`], ["GET", `/keys/${d.one.keyId}`],
    ];
    for (const [method, path, body] of asked) expect(await d.failure(method, path, { key: d.two.token, body }), `${method} ${path}`).toMatchObject({ status: 404, code: "not_found" });
    for (const list of ["/sessions", "/tasks", "/permissions", "/runners", "/hosts"]) expect((await d.json<Page<unknown>>("GET", list, { key: d.two.token })).items, `${list}`).toEqual([]);
    expect(d.tenants.of(d.two.id).streams.size).toBe(0);
  });

  it("are listed even where the database cannot take the row in time, a little later", async () => {
    d.records.projection.apply = () => Promise.reject(new Error("down"));
    expect(await create()).toMatchObject({ agent: "claude" });
  });

  it("refuse what they do not know, by the field's name", async () => {
    const refused = async (body: unknown) => (await d.failure("POST", "/sessions", { body })).details;
    expect(await refused({ agent: "claude", lifecycle: "always_on" })).toEqual({ lifecycle: "unknown field" });
    expect(Object.keys((await refused({ agent: "a b", labels: { team: 3 }, rules: [{ verdict: "maybe", x: 1 }] })) ?? {}).sort()).toEqual(["agent", "labels.team", "rules.0.verdict", "rules.0.x"].sort());
    expect(await refused({})).toHaveProperty("agent");
    expect(await refused({ agent: "a", name: "bell\u0007", labels: { a: "\ud800" } })).toEqual({ "name": "must not hold control characters", "labels.a": "must be well-formed Unicode" });
    expect(await refused([])).toHaveProperty("body");
    expect(await refused("null")).toHaveProperty("body");
    expect(await d.failure("GET", "/sessions?satus=active")).toMatchObject({ status: 400, details: { satus: "unknown field" } });
    expect(await d.failure("GET", "/sessions?limit=0")).toMatchObject({ status: 400, details: { limit: expect.any(String) } });
    expect(await d.failure("GET", "/sessions?labels=novalue")).toMatchObject({ status: 400, details: { labels: "expected key:value pairs" } });
    expect(await d.failure("GET", "/sessions?cursor=x")).toMatchObject({ status: 400, details: { cursor: "not a cursor of a list" } });
    expect(await d.failure("GET", "/sessions/sess_1")).toMatchObject({ status: 400, details: { id: expect.stringContaining("not a session id") } });
    expect(await d.failure("GET", `/sessions/${newId("session", 0)}`)).toMatchObject({ status: 404 });
  });

  it("refuse bodies that are no JSON, are called something else, or are not there", async () => {
    const raw = (init: RequestInit) => d.raw("/api/v1/sessions", { method: "POST", ...init, headers: { authorization: `Bearer ${d.one.token}`, ...(init.headers as Record<string, string>) } });
    const json = { "content-type": "application/json" };
    for (const init of [{ body: "{", headers: json }, { body: "", headers: json }, {}, { headers: json }, { body: '{"agent":"claude"}', headers: { "content-type": "text/plain" } }, { body: '{"agent":"claude"}' }, { body: new Uint8Array([0x22, 0xff, 0x22]), headers: json }]) {
      const response = await raw(init);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: "bad_request", request_id: response.headers.get("x-request-id") } });
    }
  });

  it("refuse a body that is too large, whether it says so or not, without reading it all", async () => {
    const headers = { authorization: `Bearer ${d.one.token}`, "content-type": "application/json" };
    const stated = await d.raw("/api/v1/sessions", { method: "POST", headers: { ...headers, "content-length": String(MAX_BODY_BYTES + 1) }, body: "{}" });
    expect(stated.status).toBe(413);
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(32));
      },
    });
    const streamed = await d.raw("/api/v1/sessions", { method: "POST", headers, body: endless });
    expect(streamed.status).toBe(413);
    expect(sent).toBeLessThan(MAX_BODY_BYTES * 5);
    const largest = JSON.stringify({ prompt: "x".repeat(1_048_576) });
    const session = await create();
    expect(await d.json("POST", `/sessions/${session.id}/tasks`, { body: largest }, 201)).toMatchObject({ status: "pending" });
    expect(await d.failure("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "x".repeat(1_048_577) } })).toMatchObject({ status: 400, details: { prompt: expect.any(String) } });
  });
});

describe("tasks", () => {
  it("are given by either door, carry their session in their id, and are read through it", async () => {
    const session = await create();
    const a = await d.json<Task>("POST", "/tasks", { body: { session_id: session.id, prompt: "a", labels: { x: "y" } } }, 201);
    const b = await d.json<Task>("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "b", timeout_seconds: 5 } }, 201);
    for (const task of [a, b]) {
      expect(sessionOf(task.id)).toBe(session.id);
      expect(await d.json("GET", `/tasks/${task.id}`)).toEqual(task);
    }
    expect(await d.json("GET", `/tasks/${a.id}/runs`)).toEqual({ items: [] });
    expect(await d.json("POST", `/tasks/${a.id}/cancel`)).toMatchObject({ status: "canceled" });
    expect(await d.failure("POST", `/tasks/${a.id}/cancel`)).toMatchObject({ status: 409, code: "conflict", details: { status: "canceled" } });
  });
});

describe("permissions", () => {
  it("are answered once; the second answer hears what was decided", async () => {
    const session = await create();
    const task = await d.json<Task>("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "b" } }, 201);
    const permission = d.sessions.of(session.id).ask(task);
    expect(await d.json("POST", `/permissions/${permission.id}/approve`, { body: { scope: "turn", reason: "fine" } })).toMatchObject({ status: "approved", decision: { by: d.one.keyId, by_name: "one", scope: "turn", reason: "fine" } });
    expect(await d.failure("POST", `/permissions/${permission.id}/deny`, { body: {} })).toMatchObject({ status: 409, details: { status: "approved" } });
    expect(await d.failure("POST", `/permissions/${d.sessions.of(session.id).ask(task).id}/approve`)).toMatchObject({ status: 400, details: { body: "missing" } });
    expect(await d.failure("POST", `/permissions/${permission.id}/approve`, { body: { scope: "always" } })).toMatchObject({ status: 400, details: { scope: expect.any(String) } });
  });
});
