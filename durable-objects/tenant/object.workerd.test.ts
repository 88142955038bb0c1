/** Owns the tests of the TenantObject in the runtime: the bus and its viewers, streams, idempotency, eviction. */

import { env } from "cloudflare:workers";
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { BUS_WINDOW, busFrame, CLOSE, type BusFrame, type Event } from "../../sdk/protocol/index.ts";
import { tenantStub, type ObjectsEnv } from "../ports.ts";
import { sampleId } from "../pool/sample.ts";
import type { BusEvent } from "../rpc.ts";
import { KEEP_EVENTS, KEEP_MS } from "./bus.ts";
import { STREAM_LEASE_MS } from "./streams.ts";

const objects = env as unknown as ObjectsEnv;
let tenants = 1_000;
const fresh = () => tenantStub(objects, sampleId("ten", tenants++));
const session = (n: number) => sampleId("sess", n);

function event(seq: number, more: { type?: "usage" | "error"; labels?: Record<string, string>; message?: string } = {}): BusEvent {
  const { type = "error", labels = {}, message = `event ${seq}` } = more;
  return { seq, session_id: session(1), task_id: null, run_id: null, at: "2026-01-01T00:00:00.000Z", type, data: { message }, labels, raw: "its own record" } as unknown as BusEvent;
}
const events = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => event(from + i));
const cursors = (all: readonly Event[]) => all.map(({ cursor }) => cursor);

class Viewer {
  readonly frames: BusFrame[] = [];
  closed: number | null = null;
  pongs = 0;
  readonly socket: WebSocket;
  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (data === "pong") this.pongs++;
      else this.frames.push(busFrame.parse(JSON.parse(data as string)) as BusFrame);
    });
    socket.addEventListener("close", ({ code }) => void (this.closed = code));
    socket.accept();
  }
  get events(): Event[] {
    return this.frames.flatMap((frame) => (frame.type === "events" ? frame.events : []));
  }
  ack(cursor: number): void {
    this.socket.send(JSON.stringify({ type: "ack", cursor }));
  }
  async caughtUp(): Promise<this> {
    await vi.waitFor(() => expect(this.frames.at(-1)?.type).toBe("caught_up"));
    return this;
  }
}
async function view(tenant: Fetcher, query = "", headers: Record<string, string> = {}): Promise<Viewer> {
  const { webSocket } = await tenant.fetch(`http://object/bus${query}`, { headers: { upgrade: "websocket", ...headers } });
  if (!webSocket) throw new Error("no socket");
  return new Viewer(webSocket);
}

describe("the bus", () => {
  it("numbers what sessions publish, once, and gives it out by cursor without raw", async () => {
    const tenant = fresh();
    await tenant.publish(session(1), events(1, 3));
    await tenant.publish(session(2), [event(7)]);
    await tenant.publish(session(1), events(2, 4));
    await tenant.publish(session(1), events(1, 4));
    const page = await tenant.readBus({});
    expect(page.events.map(({ cursor, session_id, seq }) => [cursor, session_id, seq])).toEqual([[1, session(1), 1], [2, session(1), 2], [3, session(1), 3], [4, session(2), 7], [5, session(1), 4]]);
    expect(page).toMatchObject({ last_cursor: 5, next: 5, more: false, gap: null });
    expect(page.events[0]).not.toHaveProperty("raw");
    expect(page.events[0]).not.toHaveProperty("labels");
  });

  it("pages through everything exactly once, whatever the filter", async () => {
    const tenant = fresh();
    for (let i = 0; i < 25; i++) await tenant.publish(session(i), [event(1, { type: i % 2 ? "usage" : "error", labels: { team: i % 3 ? "red" : "blue" } }), event(2)]);
    const seen: number[] = [];
    for (let after: number | undefined, more = true; more; ) {
      const page = await tenant.readBus({ after, limit: 4, types: ["usage"], labels: ["team:red"] });
      seen.push(...page.events.map(({ cursor }) => cursor ?? 0));
      ({ next: after, more } = page);
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => i).filter((i) => i % 2 && i % 3).map((i) => i * 2 + 1));
    expect(await tenant.readBus({ after: 999 })).toMatchObject({ events: [], next: 50, more: false });
    expect((await tenant.readBus({ labels: ["constructor:x"] })).events).toEqual([]);
  });

  it("says which events are gone to a reader who was away too long", async () => {
    const tenant = fresh();
    await tenant.publish(session(1), events(1, 10));
    await runInDurableObject(tenant, (_, { storage }) => {
      storage.sql.exec("update bus set at = at - ?", KEEP_MS + 1);
    });
    await tenant.publish(session(2), events(1, 2));
    await runDurableObjectAlarm(tenant);
    expect(await tenant.readBus({ after: 4 })).toMatchObject({ gap: { after: 4, first: 11 }, next: 12 });
    expect(await tenant.readBus({ after: 10 })).toMatchObject({ gap: null });
    expect(cursors((await tenant.readBus({})).events)).toEqual([11, 12]);
    const viewer = await (await view(tenant, "?after=4")).caughtUp();
    expect(viewer.frames.map(({ type }) => type)).toEqual(["gap", "events", "caught_up"]);
    expect(viewer.frames[0]).toEqual({ type: "gap", after: 4, first: 11 });
  });

  it("keeps its newest event however old, so that no cursor is given out twice", async () => {
    const tenant = fresh();
    await tenant.publish(session(1), events(1, 3));
    await runInDurableObject(tenant, async (object, { storage }) => {
      storage.sql.exec("update bus set at = 0");
      await (object as unknown as { alarm(): Promise<void> }).alarm();
    });
    await tenant.publish(session(2), [event(1)]);
    expect(cursors((await tenant.readBus({})).events).at(-1)).toBe(4);
  });

  it("keeps so many events and no more", async () => {
    const tenant = fresh();
    for (let n = 0; n < 22; n++) await tenant.publish(session(n), events(1, 5_000));
    const page = await tenant.readBus({ limit: 1 });
    expect(page.last_cursor).toBe(110_000);
    expect(page.next).toBeGreaterThan(110_000 - KEEP_EVENTS - 5_001);
    expect(page.next).toBeGreaterThan(1);
  });

  it("splits what is too long for one row", async () => {
    const tenant = fresh();
    await tenant.publish(session(1), Array.from({ length: 8 }, (_, i) => event(i + 1, { message: "x".repeat(250_000) })));
    expect((await tenant.readBus({ after: 3 })).events.map(({ seq }) => seq)).toEqual([4, 5, 6, 7, 8]);
  });
});

describe("a viewer of the bus", () => {
  it("gets what it missed, then that it has caught up, then what is live; all once, in order", async () => {
    const tenant = fresh();
    for (let n = 0; n < 5; n++) await tenant.publish(session(n), events(1, 500));
    const viewer = await view(tenant, "?after=100");
    for (let n = 5; n < 10; n++) await tenant.publish(session(n), events(1, 500));
    await vi.waitFor(() => expect(viewer.events.length).toBe(4_900));
    expect(cursors(viewer.events)).toEqual(Array.from({ length: 4_900 }, (_, i) => i + 101));
    expect(viewer.frames.filter(({ type }) => type === "caught_up").length).toBe(1);
  });

  it("without after gets only what is live, and only what its filter lets through", async () => {
    const tenant = fresh();
    await tenant.publish(session(1), events(1, 3));
    const viewer = await (await view(tenant, "?types=usage&labels=team:red&labels=env:prod")).caughtUp();
    expect(viewer.frames).toEqual([{ type: "caught_up", cursor: 3 }]);
    await tenant.publish(session(1), [event(4, { type: "usage", labels: { team: "red" } }), event(5, { type: "usage", labels: { team: "red", env: "prod" } }), event(6, { labels: { team: "red", env: "prod" } })]);
    await vi.waitFor(() => expect(cursors(viewer.events)).toEqual([5]));
  });

  it("stays connected while the object is evicted, and goes on where it was", async () => {
    const tenant = fresh();
    const viewer = await (await view(tenant)).caughtUp();
    await tenant.publish(session(1), events(1, 2));
    await evictDurableObject(tenant);
    await tenant.publish(session(1), events(1, 4));
    await vi.waitFor(() => expect(cursors(viewer.events)).toEqual([1, 2, 3, 4]));
    viewer.socket.send("ping");
    await vi.waitFor(() => expect(viewer.pongs).toBe(1));
    expect(viewer.closed).toBeNull();
  });

  it("that asked for flow control is not sent more than it acknowledges, and misses nothing", async () => {
    const tenant = fresh();
    for (let n = 0; n < 10; n++) await tenant.publish(session(n), events(1, 500));
    const viewer = await view(tenant, "?after=0&flow=1");
    await vi.waitFor(() => expect(viewer.events.length).toBeGreaterThanOrEqual(BUS_WINDOW));
    await tenant.publish(session(11), events(1, 10));
    await tenant.readBus({});
    expect(viewer.events.length).toBe(BUS_WINDOW);
    await evictDurableObject(tenant);
    for (let seen = 0; seen < 5_010; ) {
      seen = viewer.events.length;
      viewer.ack(viewer.events.at(-1)?.cursor ?? 0);
      if (seen < 5_010) await vi.waitFor(() => expect(viewer.events.length).toBeGreaterThan(seen));
    }
    await vi.waitFor(() => expect(viewer.frames.at(-1)).toEqual({ type: "caught_up", cursor: 5_010 }));
    expect(cursors(viewer.events)).toEqual(Array.from({ length: 5_010 }, (_, i) => i + 1));
  });

  it.each([["nonsense", "{"], ["a frame that nobody knows", '{"type":"events"}'], ["a long text", `{"type":"ack","cursor":1${" ".repeat(300)}}`], ["an acknowledgement that was not asked for", '{"type":"ack","cursor":1}']])("is cut off after %s", async (_, text) => {
    const tenant = fresh();
    const viewer = await (await view(tenant)).caughtUp();
    viewer.socket.send(text);
    await vi.waitFor(() => expect(viewer.closed).toBe(CLOSE.protocol));
  });

  it("is refused by the name of what is wrong in its query", async () => {
    const tenant = fresh();
    const refused = async (query: string, headers: Record<string, string> = { upgrade: "websocket" }) => {
      const response = await tenant.fetch(`http://object${query}`, { headers });
      return [response.status, JSON.stringify(await response.json())];
    };
    expect(await refused("/bus?after=-1")).toEqual([400, expect.stringContaining("after")]);
    expect(await refused("/bus?types=nonsense")).toEqual([400, expect.stringContaining("types")]);
    expect(await refused("/bus?labels=no-colon")).toEqual([400, expect.stringContaining("labels")]);
    expect(await refused("/bus?more=1")).toEqual([400, expect.stringContaining("more")]);
    expect(await refused("/bus", {})).toEqual([400, expect.stringContaining("WebSocket")]);
    expect(await refused("/other")).toEqual([404, expect.stringContaining("not_found")]);
  });
});

describe("a tenant", () => {
  it("counts creations by key and kind, by limits that outlive it", async () => {
    const tenant = fresh();
    await tenant.setLimits({ sessions_per_minute: 2, tasks_per_minute: 30, open_streams: 100 });
    await evictDurableObject(tenant);
    expect(await tenant.admit("a", "sessions")).toMatchObject({ admitted: true, limit: 2, remaining: 1 });
    expect(await tenant.admit("a", "sessions")).toMatchObject({ admitted: true, remaining: 0 });
    expect(await tenant.admit("a", "sessions")).toMatchObject({ admitted: false, limit: 2 });
    expect(await tenant.admit("b", "sessions")).toMatchObject({ admitted: true });
    expect(await tenant.admit("a", "tasks")).toMatchObject({ admitted: true, limit: 30 });
  });

  it("counts open streams, and takes back those whose door has died", async () => {
    const tenant = fresh();
    await tenant.setLimits({ sessions_per_minute: 10, tasks_per_minute: 30, open_streams: 2 });
    expect([await tenant.openStream("a"), await tenant.openStream("b"), await tenant.openStream("c"), await tenant.openStream("a")]).toEqual([true, true, false, true]);
    await tenant.closeStream("a");
    expect(await tenant.openStream("c")).toBe(true);
    await runInDurableObject(tenant, (_, { storage }) => {
      storage.sql.exec("update streams set expires_at = expires_at - ?", STREAM_LEASE_MS);
    });
    expect(await tenant.openStream("d")).toBe(true);
  });

  it("gives a stream's place back when its socket closes", async () => {
    const tenant = fresh();
    await tenant.setLimits({ sessions_per_minute: 10, tasks_per_minute: 30, open_streams: 1 });
    expect(await tenant.openStream("a")).toBe(true);
    const viewer = await (await view(tenant, "", { "x-marionette-stream": "a" })).caughtUp();
    expect(await tenant.openStream("b")).toBe(false);
    viewer.socket.close(1000, "left");
    await vi.waitFor(async () => expect(await tenant.openStream("b")).toBe(true));
  });

  it("answers the same create the same for a day, another body as such, and one that never finished with the same seed", async () => {
    const tenant = fresh();
    const first = await tenant.begin("key", "k", "hash");
    expect(first).toEqual({ state: "new", seed: expect.stringMatching(/^[0-9A-Za-z]{21}$/) });
    expect(await tenant.begin("key", "k", "hash")).toEqual(first);
    expect(await tenant.begin("key", "k", "other")).toEqual({ state: "other_body" });
    expect(await tenant.begin("other", "k", "other")).toMatchObject({ state: "new" });
    const body = "ü".repeat(1_500_000);
    await tenant.finish("key", "k", 201, body);
    await tenant.finish("key", "k", 500, "a late double");
    await evictDurableObject(tenant);
    expect(await tenant.begin("key", "k", "hash")).toEqual({ state: "done", status: 201, body });
    expect(await tenant.begin("key", "k", "other")).toEqual({ state: "other_body" });
    await runInDurableObject(tenant, async (_, { storage }) => {
      storage.sql.exec("update creates set at = at - 86400000");
      expect(await storage.getAlarm()).not.toBeNull();
    });
    await runDurableObjectAlarm(tenant);
    await runInDurableObject(tenant, (_, { storage }) => {
      expect(storage.sql.exec("select count(*) as n from create_answers").one()).toEqual({ n: 0 });
    });
    expect(await tenant.begin("key", "k", "other")).toMatchObject({ state: "new" });
  });
});
