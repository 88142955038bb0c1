import { beforeEach, describe, expect, it, vi } from "vitest";
import { newChildId, type EventItem, type Session } from "../../sdk/protocol/index.ts";
import type { FakeSession } from "../testing/fake-objects.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
let session: Session;
let object: FakeSession;
beforeEach(async () => {
  d = await doors();
  session = await d.json<Session>("POST", "/sessions", { body: { agent: "a" } }, 201);
  object = d.sessions.of(session.id);
});

const at = new Date(0).toISOString();
const line = (text: string, stream: "stdout" | "system" = "stdout"): EventItem => ({ at, type: "log", data: { stream, text } });
const block = (from: number, ...items: EventItem[]) => ({ type: "events", from, task_id: null, run_id: null, items });

/** Reads a streamed body piece by piece. */
function reader(response: Response) {
  const stream = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!stream) throw new Error("no body");
  return {
    next: async () => (await stream.read()).value ?? null,
    rest: async () => {
      let text = "";
      for (let part = await stream.read(); !part.done; part = await stream.read()) text += part.value;
      return text;
    },
    cancel: () => stream.cancel(),
  };
}
const events = (text: string) =>
  text.split("\n\n").filter((part) => part && !part.startsWith(":")).map((part) => Object.fromEntries(part.split("\n").map((each) => [each.slice(0, each.indexOf(":")), each.slice(each.indexOf(":") + 2)])) as { id?: string; event: string; data: string });
const follow = (path: string, headers: Record<string, string> = {}) => d.call("GET", path, { headers });
const viewer = async (index = 0) => {
  await vi.waitFor(() => expect(object.viewers.length).toBeGreaterThan(index));
  const found = object.viewers[index];
  if (!found) throw new Error("no viewer");
  return found;
};

describe("a followed log", () => {
  it("comes as server-sent events, numbered by seq, acknowledged as they are read, with an end", async () => {
    const response = await follow(`/sessions/${session.id}/events?follow=true&after=4&types=log,message&raw=true`);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const { server, url, headers, got } = await viewer();
    expect(Object.fromEntries(url.searchParams)).toEqual({ after: "4", types: "log,message", raw: "true", flow: "1" });
    expect(JSON.parse(headers.get("x-marionette-actor") ?? "")).toEqual({ tenant_id: d.one.id, key_id: d.one.keyId, key_name: "one" });
    const body = reader(response);
    server.send(JSON.stringify(block(5, line("a\nb"), line("c"))));
    const first = events((await body.next()) ?? "");
    expect(first.map(({ id, event }) => [id, event])).toEqual([["5", "log"], ["6", "log"]]);
    expect(JSON.parse(first[0]?.data ?? "")).toEqual({ seq: 5, session_id: session.id, task_id: null, run_id: null, ...line("a\nb") });
    expect(got).toEqual([]);
    server.send(JSON.stringify({ type: "caught_up", seq: 6 }));
    server.send(JSON.stringify({ ...block(7, line("d"), line("e")), seqs: [8, 11] }));
    expect(events((await body.next()) ?? "")).toEqual([{ id: "6", event: "caught_up", data: '{"seq":6}' }]);
    expect(events((await body.next()) ?? "").map(({ id }) => id)).toEqual(["8", "11"]);
    await vi.waitFor(() => expect(got).toEqual([{ type: "ack", seq: 6 }]));
    expect(d.tenants.of(d.one.id).streams.size).toBe(1);
    server.send(JSON.stringify({ type: "end", seq: 11, reason: "the session has ended" }));
    expect(events(await body.rest())).toEqual([{ event: "end", data: JSON.stringify({ seq: 11, reason: "the session has ended" }) }]);
    await d.settled();
    expect(d.tenants.of(d.one.id).streams.size).toBe(0);
  });

  it("goes on after the Last-Event-ID that a reconnecting reader names, whatever its URL says", async () => {
    await follow(`/sessions/${session.id}/events?follow=true&tail=5`, { "last-event-id": "42" });
    expect(Object.fromEntries((await viewer()).url.searchParams)).toEqual({ after: "42", flow: "1" });
    expect((await d.failure("GET", `/sessions/${session.id}/events?follow=1`, { headers: { "last-event-id": "x" } })).details).toEqual({ "last-event-id": "not a sequence number" });
    expect((await d.failure("GET", `/sessions/${session.id}/events?tail=1&after=1`)).status).toBe(400);
  });

  it("closes its socket when the reader leaves", async () => {
    const response = await follow(`/sessions/${session.id}/events`, { accept: "text/event-stream" });
    const seen = await viewer();
    const body = reader(response);
    seen.server.send(JSON.stringify(block(1, line("a"))));
    await body.next();
    await body.cancel();
    await vi.waitFor(() => expect(seen.closed).toBe(true));
    await d.settled();
    expect(d.tenants.of(d.one.id).streams.size).toBe(0);
  });

  it("ends without an end where the object goes away, so that the reader comes back", async () => {
    const response = await follow(`/sessions/${session.id}/events?follow=true`);
    const { server } = await viewer();
    server.send(JSON.stringify(block(1, line("a"))));
    server.close(4006, "restart");
    expect(events(await reader(response).rest()).map(({ event }) => event)).toEqual(["log"]);
    await d.settled();
    expect(d.tenants.of(d.one.id).streams.size).toBe(0);
  });

  it("takes nothing from the object that the reader has no room for", async () => {
    const response = await follow(`/sessions/${session.id}/events?follow=true`);
    const { server, got } = await viewer();
    const body = reader(response);
    for (let i = 1; i <= 50; i++) server.send(JSON.stringify(block(i, line(String(i)))));
    const seen: string[] = [];
    for (let i = 1; i <= 10; i++) seen.push(...events((await body.next()) ?? "").map(({ id }) => id ?? ""));
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => String(i + 1)));
    expect(got.length).toBeLessThanOrEqual(12);
  });

  it("is refused where the tenant has as many open streams as it may", async () => {
    await d.tenants.of(d.one.id).setLimits({ sessions_per_minute: 9, tasks_per_minute: 9, open_streams: 1 });
    await follow(`/sessions/${session.id}/events?follow=true`);
    const refused = await d.failure("GET", `/sessions/${session.id}/events?follow=true`);
    expect(refused).toMatchObject({ status: 429, code: "rate_limited" });
    expect(refused.headers.get("retry-after")).toBe("5");
    expect((await d.call("GET", `/sessions/${session.id}/events`)).status).toBe(200);
  });

  it("comes over a WebSocket as the object's own, untouched", async () => {
    const task = newChildId("task", session.id, 0);
    for (const path of [`/sessions/${session.id}/events?after=3`, `/tasks/${task}/logs?tail=2`, `/logs/${task}/stream?stream=stdout`]) {
      const response = await follow(path, { upgrade: "websocket" });
      expect(response.status).toBe(101);
      response.webSocket?.accept();
      const heard = new Promise((resolve) => response.webSocket?.addEventListener("message", ({ data }) => resolve(data)));
      object.viewers.at(-1)?.server.send("as it is");
      expect(await heard).toBe("as it is");
    }
    expect(object.viewers.map(({ url }) => Object.fromEntries(url.searchParams))).toEqual([{ after: "3" }, { tail: "2", task_id: task }, { stream: "stdout", task_id: task }]);
    expect((await d.failure("GET", `/logs/${task}/stream`)).status).toBe(400);
  });
});

describe("a log at rest", () => {
  it("is a page as JSON, or what was said and printed as text", async () => {
    object.write(line("one\n"), line("a note\n", "system"), { at, type: "message", data: { text: "hello" } }, { at, type: "progress", data: { text: "not shown" } }, { at, type: "log", data: { stream: "stdout", text: btoa("raw\n"), encoding: "base64" } });
    const page = await d.json<{ events: { seq: number }[]; next: number }>("GET", `/sessions/${session.id}/events?after=1&limit=2`);
    expect([page.events.map(({ seq }) => seq), page.next]).toEqual([[2, 3], 3]);
    const task = newChildId("task", session.id, 0);
    const text = await d.call("GET", `/tasks/${task}/logs`, { headers: { accept: "text/plain" } });
    expect([text.headers.get("content-type"), await text.text()]).toEqual(["text/plain; charset=UTF-8", "one\na note\nhello\nraw\n"]);
    const streamed = await follow(`/tasks/${task}/logs?follow=true`, { accept: "text/plain" });
    const { server } = await viewer();
    server.send(JSON.stringify(block(1, line("x\n"), { at, type: "message", data: { text: "y" } })));
    server.send(JSON.stringify({ type: "end", seq: 2, reason: "done" }));
    expect(await reader(streamed).rest()).toBe("x\ny\n");
  });

  it("answers HEAD without opening anything", async () => {
    const response = await d.call("HEAD", `/sessions/${session.id}/events?follow=true`);
    expect([response.status, await response.text(), object.viewers.length]).toEqual([200, "", 0]);
    expect(d.tenants.of(d.one.id).streams.size).toBe(0);
  });
});

describe("the tenant's bus", () => {
  const event = (cursor: number) => ({ seq: cursor * 10, session_id: session.id, task_id: null, run_id: null, at, type: "session.status" as const, data: { status: "active" as const, reason: null }, cursor });
  it("is a page, or a stream numbered by its cursor", async () => {
    const tenant = d.tenants.of(d.one.id);
    tenant.bus = [event(1)];
    expect(await d.json("GET", "/events?types=session.status,error&labels=a:b,c:d&after=3&limit=5")).toMatchObject({ events: [event(1)] });
    expect(tenant.query).toEqual({ after: 3, limit: 5, types: ["session.status", "error"], labels: ["a:b", "c:d"] });
    const response = await follow("/events?labels=a:b", { accept: "text/event-stream", "last-event-id": "7" });
    expect(tenant.query).toBe("?after=7&labels=a%3Ab&flow=1");
    const body = reader(response);
    tenant.viewer?.send(JSON.stringify({ type: "gap", after: 7, first: 8 }));
    tenant.viewer?.send(JSON.stringify({ type: "events", events: [event(8), event(9)] }));
    tenant.viewer?.send(JSON.stringify({ type: "caught_up", cursor: 9 }));
    expect(await body.next()).toMatch(/^: events/);
    expect(events((await body.next()) ?? "").map(({ id, event }) => [id, event])).toEqual([["8", "session.status"], ["9", "session.status"]]);
    expect(events((await body.next()) ?? "")).toEqual([{ id: "9", event: "caught_up", data: '{"seq":9}' }]);
    expect((await follow("/events", { upgrade: "websocket" })).status).toBe(101);
    expect(tenant.streams.size).toBe(2);
    expect((await d.failure("GET", "/events?types=nonsense")).status).toBe(400);
  });
});

describe("files", () => {
  it("are listed and read from the host that holds them, in pieces, whole", async () => {
    expect(await d.failure("GET", `/sessions/${session.id}/files`)).toMatchObject({ status: 409, code: "conflict" });
    const hostId = "host_0Vbba1xneBvH1Z5Y9fQkm";
    object.session = { ...session, host_id: hostId };
    const bytes = Uint8Array.from({ length: 2_500_000 }, (_, i) => (i * 31) % 256);
    d.hosts.of(hostId).files.set("big file.bin", bytes);
    d.hosts.of(hostId).files.set("empty", new Uint8Array());
    expect(await d.json("GET", `/sessions/${session.id}/files?path=src`)).toMatchObject({ items: [{ name: "big file.bin", size: 2_500_000 }, { name: "empty" }] });
    const response = await d.call("GET", `/sessions/${session.id}/files/content?path=${encodeURIComponent("big file.bin")}`);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
    expect(response.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''big%20file.bin");
    expect((await (await d.call("GET", `/sessions/${session.id}/files/content?path=empty`)).arrayBuffer()).byteLength).toBe(0);
    expect((await d.call("HEAD", `/sessions/${session.id}/files/content?path=${encodeURIComponent("big file.bin")}`)).headers.get("content-length")).toBe("2500000");
    expect((await d.failure("GET", `/sessions/${session.id}/files/content?path=none`)).status).toBe(404);
    expect((await d.failure("GET", `/sessions/${session.id}/files/content`)).details).toHaveProperty("path");
    expect((await d.failure("GET", `/sessions/${session.id}/files?path=a%00b`)).details).toHaveProperty("path");
  });
});
