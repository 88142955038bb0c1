import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi } from "../test/support/fake-api.ts";
import { Marionette } from "./client.ts";
import {
  BadRequestError, ConflictError, ConnectionError, InternalServerError, MarionetteError, NotFoundError, ProtocolError, RateLimitedError, TimeoutError, UnauthorizedError, UnavailableError,
} from "./core/errors.ts";
import type { Event } from "./protocol/index.ts";

let api: FakeApi;
let waits: number[];
let client: Marionette;
const clientWith = (more: Partial<ConstructorParameters<typeof Marionette>[0]> = {}) =>
  new Marionette({
    url: api.url, apiKey: api.apiKey, random: () => 0,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      waits.push(ms);
    },
    ...more,
  });
beforeEach(async () => {
  api = await new FakeApi().start();
  waits = [];
  client = clientWith();
});
afterEach(() => api.close());
async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
const keysOf = (method: string, ending: string) => api.seen(method, ending).map(({ headers }) => headers["idempotency-key"]);

describe("a call", () => {
  it("creates what it is told, with the key as bearer", async () => {
    const session = await client.sessions.create({ agent: "claude", labels: { team: "web" } });
    expect(session).toMatchObject({ agent: "claude", labels: { team: "web" }, pool: "default" });
    expect(await client.sessions.get(session.id)).toEqual(session);
    expect(api.requests[0]?.headers).toMatchObject({ authorization: `Bearer ${api.apiKey}`, "content-type": "application/json" });
  });
  it("is made again with the same idempotency key, so that what was done unheard is not done twice", async () => {
    api.fault("POST /sessions", { drop: true, after: true }, { status: 503 });
    const session = await client.sessions.create({ agent: "claude" });
    expect(keysOf("POST", "/sessions")).toHaveLength(3);
    expect(new Set(keysOf("POST", "/sessions")).size).toBe(1);
    expect([...api.sessions.keys()]).toEqual([session.id]);
    expect(waits).toEqual([250, 500]);
  });
  it("has an idempotency key of its own each time, or the one that it is given", async () => {
    await client.sessions.create({ agent: "claude" });
    await client.sessions.create({ agent: "claude" });
    await client.sessions.create({ agent: "claude" }, { idempotency_key: "mine" });
    const [a, b, c] = keysOf("POST", "/sessions");
    expect(a).toBeTruthy();
    expect(a).not.toBe(b);
    expect(c).toBe("mine");
    expect(keysOf("GET", "/sessions")).toEqual([]);
  });
  it("waits as long as the server asks", async () => {
    api.fault("GET /sessions", { status: 429, headers: { "retry-after": "3" } });
    await client.sessions.list();
    expect(waits).toEqual([3_000]);
  });
  it("gives the error up after the retries", async () => {
    api.fault("GET /sessions", ...Array.from({ length: 9 }, () => ({ status: 503, headers: { "x-request-id": "req_1" } })));
    await expect(client.sessions.list()).rejects.toMatchObject({ status: 503, code: "unavailable", request_id: "req_1", attempts: 4 });
    await expect(client.sessions.list({}, { max_retries: 0 })).rejects.toBeInstanceOf(UnavailableError);
    expect(waits).toHaveLength(3);
  });
  it("can be aborted while it waits for another attempt", async () => {
    const abort = new AbortController();
    api.fault("GET /sessions", { status: 503 });
    const slow = clientWith({ sleep: async () => abort.abort(new Error("enough")) });
    await expect(slow.sessions.list({}, { signal: abort.signal })).rejects.toThrow("enough");
    await expect(client.sessions.list({}, { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
    expect(api.requests).toHaveLength(1);
  });
  it("can be aborted while the server is silent, and is timed out by itself", async () => {
    const silent = clientWith({ fetch: (_, init) => new Promise((_resolve, reject) => init.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error))), max_retries: 0 });
    const abort = new AbortController();
    const call = silent.sessions.get("sess_1", { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await expect(silent.sessions.list({}, { timeout_ms: 1 })).rejects.toBeInstanceOf(TimeoutError);
  });
  it("never turns an id into another path", async () => {
    await expect(client.sessions.get("../keys?x=#")).rejects.toBeInstanceOf(NotFoundError);
    expect(api.requests[0]?.path).toBe("/api/v1/sessions/..%2Fkeys%3Fx%3D%23");
  });
});

describe("an error", () => {
  it("has the class of its status, with request id, hint and the fields that are wrong", async () => {
    await expect(client.sessions.create({ agent: "not a slug" })).rejects.toSatisfy((error) => error instanceof BadRequestError && error.request_id === "req_fake" && error.details?.["agent"] !== undefined);
    await expect(client.tasks.get("task_none")).rejects.toBeInstanceOf(NotFoundError);
    await expect(clientWith({ apiKey: "mk_wrong" }).sessions.list()).rejects.toBeInstanceOf(UnauthorizedError);
  });
  it("is told from the status where a proxy answered", async () => {
    api.fault("GET /sessions", { status: 502, body: "<html>Bad gateway</html>" }, { status: 500 }, { status: 429, headers: { "retry-after": "90" } });
    const once = clientWith({ max_retries: 0 });
    await expect(once.sessions.list()).rejects.toBeInstanceOf(UnavailableError);
    await expect(once.sessions.list()).rejects.toBeInstanceOf(InternalServerError);
    await expect(once.sessions.list()).rejects.toSatisfy((error) => error instanceof RateLimitedError && error.retry_after_ms === 90_000);
  });
  it("says what could not be reached", async () => {
    const lonely = clientWith({ max_retries: 0 });
    await api.close();
    const error: unknown = await lonely.sessions.list().then(null, (e: unknown) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(String(error)).toContain("ECONNREFUSED");
    api = await new FakeApi().start();
  });
  it("says that another thing than Marionette answered, and never follows a redirect with the key", async () => {
    api.fault("GET /sessions", { status: 200, body: "<html>" }, { status: 200, body: '{"hello":1}' }, { status: 302, headers: { location: "http://other.test/" } });
    for (let i = 0; i < 3; i++) await expect(client.sessions.list()).rejects.toBeInstanceOf(ProtocolError);
    expect(api.requests).toHaveLength(3);
  });
  it("refuses an address or a key that cannot be one before anything is sent", () => {
    for (const bad of [{ url: "nonsense" }, { url: "ftp://x" }, { url: "http://user:pass@x" }, { apiKey: "" }, { apiKey: "mk_\nx" }]) expect(() => clientWith(bad)).toThrow(MarionetteError);
    expect(clientWith({ url: "https://host/base/api/v1/" }).url).toBe("https://host/base");
  });
});

describe("a list", () => {
  const create = async (count: number) => {
    for (let i = 0; i < count; i++) await client.sessions.create({ agent: "claude", name: `s${i}` });
  };
  it("is a page when awaited and everything when iterated", async () => {
    await create(5);
    const page = await client.sessions.list({ limit: 2 });
    expect([page.items.length, page.total, page.next_cursor]).toEqual([2, 5, "2"]);
    expect((await page.next())?.items.map((s) => s.name)).toEqual(["s2", "s3"]);
    const all = (await collect(client.sessions.list({ limit: 2, status: "active", labels: { a: "b:c" } }))).map((s) => s.name);
    expect(all).toEqual(["s0", "s1", "s2", "s3", "s4"]);
    expect(api.requests.at(-1)?.query.get("labels")).toBe("a:b:c");
  });
  it("asks nothing until it is used, and one page only where the loop is left", async () => {
    await create(3);
    const list = client.sessions.list({ limit: 1 });
    expect(api.seen("GET", "/sessions")).toHaveLength(0);
    for await (const _ of list) break;
    expect(api.seen("GET", "/sessions")).toHaveLength(1);
  });
  it("rejects like a promise", async () => {
    const failed = await clientWith({ apiKey: "mk_wrong" }).sessions.list().then(null, (error: unknown) => error);
    expect(failed).toBeInstanceOf(UnauthorizedError);
  });
});

describe("tasks and permissions", () => {
  const texts = (events: readonly Event[]) => events.flatMap((event) => (event.type === "message" ? [event.data.text] : []));
  it("are followed over a real connection that breaks again and again", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    api.script = (task) => {
      for (let i = 0; i < 20; i++) api.emit(task, "message", { text: `m${i}` });
      api.end(task, "completed", { result: "done" });
    };
    api.cuts = [0, 1, 3, 0, 5];
    const task = await client.tasks.create(session.id, { prompt: "go" });
    const events = await collect(client.tasks.logs(task.id, { follow: true }));
    expect(events.map((event) => event.seq)).toEqual(Array.from({ length: 22 }, (_, i) => i + 1));
    expect(texts(events)).toHaveLength(20);
    await expect.poll(() => api.openStreams).toBe(0);
  });
  it("are read page by page without follow, or from the tail", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    const task = await client.tasks.create(session.id, { prompt: "go" });
    for (let i = 0; i < 10; i++) api.emit(task, "message", { text: `m${i}` });
    expect(texts(await collect(client.tasks.logs(task.id)))).toHaveLength(10);
    expect(texts(await collect(client.tasks.logs(task.id, { tail: 2 })))).toEqual(["m8", "m9"]);
    expect(texts(await collect(client.tasks.logs(task.id, { after: 9 })))).toEqual(["m8", "m9"]);
  });
  it("are waited for without polling", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    const task = await client.tasks.create(session.id, { prompt: "go" });
    const waiting = client.tasks.wait(task.id);
    await expect.poll(() => api.openStreams).toBe(1);
    const stored = api.tasks.get(task.id);
    if (stored) api.end(stored, "failed", { result: null });
    expect((await waiting).status).toBe("failed");
    expect(api.seen("GET", task.id)).toHaveLength(2);
  });
  it("tell a second answer apart from one whose first answer was lost", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    const task = await client.tasks.create(session.id, { prompt: "go" });
    const stored = api.tasks.get(task.id);
    if (!stored) throw new Error("no task");
    const [first, second] = [api.ask(stored, { tool: "Bash", summary: "curl x" }), api.ask(stored, { tool: "Bash", summary: "curl y" })];
    const [a, b] = (await collect(client.permissions.list({ status: "pending" }))).map((permission) => permission.id);
    api.fault(`POST /${a}/approve`, { drop: true, after: true });
    expect(await client.permissions.approve(a ?? "", { scope: "turn" })).toMatchObject({ status: "approved", decision: { scope: "turn" } });
    await expect(client.permissions.deny(a ?? "")).rejects.toSatisfy((error) => error instanceof ConflictError && error.details?.["status"] === "approved");
    expect(await client.permissions.deny(b ?? "", { reason: "no" })).toMatchObject({ status: "denied" });
    await Promise.all([first, second]);
  });
  it("files come as they are, whatever they hold", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    api.files.set("src/ü.txt", "grüße\n");
    expect((await client.sessions.files.list(session.id, "src")).map((entry) => entry.path)).toEqual(["src/ü.txt"]);
    expect(await client.sessions.files.text(session.id, "src/ü.txt")).toBe("grüße\n");
  });
  it("of all sessions come over the bus, by its own numbers", async () => {
    const session = await client.sessions.create({ agent: "claude" });
    const task = await client.tasks.create(session.id, { prompt: "go" });
    api.cuts = [1, 1];
    const stored = api.tasks.get(task.id);
    if (stored) api.end(stored, "completed");
    const seen: (number | undefined)[] = [];
    for await (const event of client.events.follow()) {
      seen.push(event.cursor);
      if (event.type === "task.status") break;
    }
    expect(seen).toEqual([1, 2]);
  });
});
