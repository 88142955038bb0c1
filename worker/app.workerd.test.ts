import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { tenantStub, type ObjectsEnv } from "../durable-objects/index.ts";
import type { Event, Session, Task } from "../sdk/protocol/index.ts";
import { doors, MASTER, type Doors } from "./testing/doors.ts";

const bindings = env as unknown as ObjectsEnv;
let d: Doors;
beforeEach(async () => {
  d = await doors(bindings);
});
const create = (headers: Record<string, string> = {}) => d.json<Session>("POST", "/sessions", { body: { agent: "claude", labels: { team: "a" } }, headers }, 201);

describe("the doors over the real objects", () => {
  it("create a session and a task, show why they wait, and log all of it", async () => {
    const session = await create();
    const task = await d.json<Task>("POST", "/tasks", { body: { session_id: session.id, prompt: "hello" } }, 201);
    await vi.waitFor(async () => expect(await d.json<Task>("GET", `/tasks/${task.id}`)).toMatchObject({ status: "pending", waiting_for: expect.stringContaining("no host") }));
    expect(await d.json<Session>("GET", `/sessions/${session.id}`)).toMatchObject({ status: "pending", queued_tasks: 1 });
    const log = await d.json<{ events: Event[]; last_seq: number }>("GET", `/sessions/${session.id}/events`);
    expect(log.events.map(({ seq }) => seq)).toEqual(Array.from({ length: log.last_seq }, (_, i) => i + 1));
    expect(log.events.map(({ type }) => type)).toContain("task.created");
    expect(await d.json("POST", `/tasks/${task.id}/cancel`)).toMatchObject({ status: "canceled" });
    expect(await d.json("DELETE", `/sessions/${session.id}`)).toMatchObject({ status: "terminated" });
    expect((await d.failure("POST", "/tasks", { body: { session_id: session.id, prompt: "late" } })).status).toBe(409);
  });

  it("keep tenants apart", async () => {
    const session = await create();
    const task = await d.json<Task>("POST", "/tasks", { body: { session_id: session.id, prompt: "hello" } }, 201);
    for (const path of [`/sessions/${session.id}`, `/sessions/${session.id}/events`, `/sessions/${session.id}/events?follow=1`, `/tasks/${task.id}`, `/tasks/${task.id}/logs`]) {
      expect((await d.failure("GET", path, { key: d.two.token })).status).toBe(404);
      expect((await d.call("GET", path, { key: d.two.token, headers: { upgrade: "websocket" } })).status).toBe(404);
    }
    expect((await d.failure("POST", "/tasks", { key: d.two.token, body: { session_id: session.id, prompt: "x" } })).status).toBe(404);
  });

  it("follow a log from its start to the session's end, each number once, and resume after any of them", async () => {
    const session = await create();
    const task = await d.json<Task>("POST", "/tasks", { body: { session_id: session.id, prompt: "hello" } }, 201);
    const response = await d.call("GET", `/sessions/${session.id}/events?follow=true`);
    await d.json("POST", `/tasks/${task.id}/cancel`);
    await d.json("DELETE", `/sessions/${session.id}`);
    const text = await response.text();
    const ids = [...text.matchAll(/^id: (\d+)\nevent: (?!caught_up)/gm)].map(([, id]) => Number(id));
    expect(ids).toEqual(ids.map((_, i) => i + 1));
    expect(text).toMatch(/event: end\ndata: \{"seq":\d+,"reason":".+"\}\n\n$/);
    const resumed = await (await d.call("GET", `/sessions/${session.id}/events`, { headers: { "accept": "text/event-stream", "last-event-id": "2" } })).text();
    expect([...resumed.matchAll(/^id: (\d+)\nevent: (?!caught_up)/gm)].map(([, id]) => Number(id))).toEqual(ids.slice(2));
  });

  it("make an idempotent create once", async () => {
    const key = { "idempotency-key": crypto.randomUUID() };
    const first = await create(key);
    expect(await create(key)).toEqual(first);
    expect((await d.failure("POST", "/sessions", { body: { agent: "other" }, headers: key })).status).toBe(409);
    const task = () => d.json<Task>("POST", `/sessions/${first.id}/tasks`, { body: { prompt: "x".repeat(100_000) }, headers: { "idempotency-key": "task" } }, 201);
    expect(await task()).toEqual(await task());
  });

  it("limit what a key creates a minute, and what a tenant has open", async () => {
    await tenantStub(bindings, d.one.id).setLimits({ sessions_per_minute: 2, tasks_per_minute: 1, open_streams: 1 });
    const [session] = [await create(), await create()];
    const refused = await d.failure("POST", "/sessions", { body: { agent: "claude" } });
    expect([refused.status, Number(refused.headers.get("retry-after")) > 0, refused.headers.get("x-ratelimit-limit")]).toEqual([429, true, "2"]);
    const open = await d.call("GET", "/events", { headers: { upgrade: "websocket" } });
    expect(open.status).toBe(101);
    expect((await d.failure("GET", `/sessions/${session?.id}/events?follow=1`)).status).toBe(429);
    open.webSocket?.accept();
    open.webSocket?.close(1000);
    await vi.waitFor(async () => {
      const stream = await d.call("GET", `/sessions/${session?.id}/events?follow=1`);
      await stream.body?.cancel();
      expect(stream.status).toBe(200);
    });
  });

  it("show on the tenant's bus what happens in its sessions, and in no other's", async () => {
    const bus = await d.call("GET", "/events?types=task.created,session.status&labels=team:a", { headers: { accept: "text/event-stream" } });
    const reader = bus.body?.pipeThrough(new TextDecoderStream()).getReader();
    const session = await create();
    await d.json("POST", "/sessions", { key: d.two.token, body: { agent: "claude", labels: { team: "a" } } }, 201);
    await d.json("POST", "/tasks", { body: { session_id: session.id, prompt: "hello" } }, 201);
    let text = "";
    while (!text.includes("event: task.created")) text += (await reader?.read())?.value ?? "";
    await reader?.cancel();
    const seen = [...text.matchAll(/^data: (.*"session_id".*)$/gm)].map(([, data]) => JSON.parse(data ?? "") as Event);
    expect(new Set(seen.map(({ session_id }) => session_id))).toEqual(new Set([session.id]));
    const page = await d.json<{ events: Event[] }>("GET", "/events?after=0&types=task.created");
    expect(page.events.map(({ type }) => type)).toEqual(["task.created"]);
  });

  it("refuse runners that nobody sent, and take hosts that bring a token", async () => {
    const session = await create();
    const runner = await d.raw(`/links/runner/${session.id}`, { headers: { upgrade: "websocket", authorization: `Bearer gtok_${"a".repeat(43)}` } });
    expect(runner.status).toBe(401);
    const { token } = await d.json<{ token: string }>("POST", "/admin/api/v1/runner-tokens", { key: MASTER, body: { tenant_id: d.one.id, name: "host" } }, 201);
    const host = await d.raw("/links/host", { headers: { upgrade: "websocket", authorization: `Bearer ${token}` } });
    expect(host.status).toBe(101);
    host.webSocket?.accept();
    host.webSocket?.close(1000);
  });
});
