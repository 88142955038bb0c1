import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Marionette, Session, Task } from "../../sdk/index.ts";
import { errorResponse, event, MAX_BODY_BYTES, MAX_QUEUED_TASKS, newChildId, newId, newToken, pageOf, permission, run, session, task } from "../../sdk/protocol/index.ts";
import { patientClient } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { requestsTo, routesOf, type Document, type FuzzRequest, type Route } from "../support/openapi-fuzz.ts";
import { chance } from "../support/random.ts";
import { eventsOf, RawRunner } from "../support/raw-runner.ts";
import { startSpecHost, type SpecHost } from "../support/spec-host.ts";
import { startStack, type Stack } from "../support/stack.ts";

const { seed } = chance();
let stack: Stack;
let client: Marionette;
let host: SpecHost;
/** A host that the fuzz may drain. */
let decoy: SpecHost;
let routes: Route[];
let document: Document;
let ids: Record<string, string>;
/** With master key, API key or a token of the right kind: what fails is the request. */
let tokenFor: (path: string) => string;

beforeAll(async () => {
  console.info(`TEST_SEED=${seed}`);
  stack = await startStack();
  client = patientClient(stack);
  const runnerToken = await stack.admin.createRunnerToken(stack.tenantId, "spec host");
  host = await startSpecHost(stack.url, runnerToken.token);
  decoy = await startSpecHost(stack.url, (await stack.admin.createRunnerToken(stack.tenantId, "decoy", "decoy")).token);
  const made = await client.sessions.create({ agent: "raw" });
  const work = await client.tasks.create(made.id, { prompt: "there is one" });
  const schedule = await client.schedules.create({ agent: "raw", prompt: "never", cron: "0 0 1 1 *" });
  // What the fuzz itself may end is its own: the tests go on with theirs.
  ids = { sess: made.id, task: work.id, host: decoy.id, ten: newId("tenant", 1), key: newId("key", 1), ws: made.workspace_id, run: newId("runner", 1), rtk: newId("runner_token", 1), perm: newChildId("permission", made.id, 1), schd: schedule.id, acfg: newId("agent_config", 1), bud: newId("budget", 1) };
  tokenFor = (path) => (path.startsWith("/admin") ? stack.masterKey : path.startsWith("/links/host") ? runnerToken.token : path.startsWith("/links") ? newToken("run") : stack.apiKey);
  document = (await (await fetch(`${stack.url}/openapi.json`)).json()) as Document;
  routes = routesOf(document, ids);
});
afterAll(async () => {
  host.close();
  decoy.close();
  await stack.close();
});

interface Heard {
  status: number;
  text: string;
}
async function ask(method: string, { path, headers, body }: FuzzRequest): Promise<Heard> {
  const leave = new AbortController();
  const response = await fetch(`${stack.url}${path}`, {
    method: method.toUpperCase(), signal: leave.signal,
    headers: { authorization: `Bearer ${tokenFor(path)}`, ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body }),
  });
  // A stream that goes on is a good answer.
  const live = response.status === 200 && /event-stream|text\/plain/.test(response.headers.get("content-type") ?? "");
  const text = live ? "" : await response.text();
  leave.abort();
  if (response.status >= 400) {
    const { error } = errorResponse.parse(JSON.parse(text));
    expect(error.request_id).toBe(response.headers.get("x-request-id"));
    expect(error.message.length).toBeGreaterThan(0);
  }
  return { status: response.status, text };
}
const post = (path: string, body: string, headers: Record<string, string> = {}) => ask("post", { path, headers, body });
// As it came: a schema's copy has no field called `__proto__`.
const fieldsOf = ({ text }: Heard) => Object.keys((JSON.parse(text) as { error: { details?: object } }).error.details ?? {});
const filled = (route: Route) => route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => (name === "task_id" ? ids["task"] : name === "session_id" ? ids["sess"] : name === "workspace_id" ? ids["ws"] : (idFor(route.path) ?? "x")) ?? "x");
const idFor = (path: string) => ids[{ sessions: "sess", tasks: "task", permissions: "perm", hosts: "host", runners: "run", keys: "key", "runner-tokens": "rtk", tenants: "ten", workspaces: "ws", schedules: "schd", "agent-configs": "acfg", budgets: "bud" }[path.replace(/^(\/admin)?\/api\/v1\//, "").split("/")[0] ?? ""] ?? ""];
const taking = () => routes.filter((route): route is Route & { body: NonNullable<Route["body"]> } => route.body !== null);

describe("every route, whatever it is sent,", () => {
  it("answers in words and never with a fault of its own", async () => {
    let asked = 0;
    expect(routes.length).toBeGreaterThan(30);
    for (const route of routes) {
      await fc.assert(
        fc.asyncProperty(requestsTo(route, Object.values(ids)), async (request) => {
          asked++;
          const { status, text } = await ask(route.method, request);
          if (status >= 500) throw new Error(`${route.method} ${request.path} ${JSON.stringify(request.headers)} ${request.body?.slice(0, 300)}: ${status} ${text}`);
        }),
        { seed, numRuns: 20 },
      );
    }
    expect(asked).toBeGreaterThan(500);
    expect(stack.log.filter((line) => line.includes("request failed"))).toEqual([]);
    expect((await fetch(`${stack.url}/health/ready`)).status).toBe(200);
  });

  it("refuses a field that it does not know by its name, and wrong kinds, sizes and depths by what they are", async () => {
    const huge = `{"a":"${"x".repeat(MAX_BODY_BYTES)}"}`;
    expect(taking().length).toBeGreaterThan(5);
    for (const route of taking()) {
      const path = filled(route);
      const send = (body: string, headers: Record<string, string> = {}) => ask(route.method, { path, headers, body });
      const valid = JSON.stringify(route.body);
      const unknown = await send(JSON.stringify({ ...route.body, bogus_field: 1 }));
      expect({ path, status: unknown.status, fields: fieldsOf(unknown) }).toMatchObject({ path, status: 400, fields: expect.arrayContaining(["bogus_field"]) as unknown });
      const proto = await send(`{"__proto__":{"admin":true},${valid.slice(1)}`.replace(",}", "}"));
      expect({ path, status: proto.status, fields: fieldsOf(proto) }).toMatchObject({ path, status: 400, fields: expect.arrayContaining(["__proto__"]) as unknown });
      expect({ path, status: (await send(huge)).status }).toEqual({ path, status: 413 });
      expect({ path, status: (await send(valid, { "content-type": "text/plain" })).status }).toEqual({ path, status: 400 });
      for (const bad of ["[".repeat(100_000), `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, "[]", '"text"', "null", "", "{"]) expect({ path, bad: bad.slice(0, 20), status: (await send(bad)).status }).toEqual({ path, bad: bad.slice(0, 20), status: 400 });
    }
  });

  it("refuses limits, cursors and numbers that are none, and parameters that it does not know", async () => {
    for (const route of routes.filter(({ method, query }) => method === "get" && query.includes("limit"))) {
      const path = filled(route);
      const get = (search: string) => ask("get", { path: `${path}?${search}`, headers: {}, body: undefined });
      for (const search of ["limit=-1", "limit=0", "limit=1.5", "limit=1e9", "limit=x", "limit=", "bogus=1", ...(route.query.includes("cursor") ? ["cursor=garbage", "offset=-1", `cursor=${btoa("2026-99-99T00:00:00.000Z task_x")}`] : ["after=-1", "after=x", "types=nonsense"])]) {
        expect({ path, search, status: (await get(search)).status }).toEqual({ path, search, status: 400 });
      }
      for (const search of ["limit=1&limit=2", "limit=1&cursor=&cursor="]) expect({ search, ok: [200, 400].includes((await get(search)).status) }).toEqual({ search, ok: true });
    }
  });
});

describe("text that databases do not take", () => {
  it("is refused where a person gives it, and holds nobody up where an agent does", async () => {
    const odd = "a\0b \ud800 \udfff c";
    const place = await client.sessions.create({ agent: "raw" });
    for (const field of ["name", "model", "api_key"]) expect(fieldsOf(await post("/api/v1/sessions", JSON.stringify({ agent: "raw", [field]: odd })))).toEqual([field]);
    expect(fieldsOf(await post(`/api/v1/sessions/${place.id}/tasks`, JSON.stringify({ prompt: odd })))).toEqual(["prompt"]);
    // NUL alone is text; no row of a list is lost for it.
    const given = await client.tasks.create(place.id, { prompt: "a\0b" });
    expect((await client.tasks.get(given.id)).prompt).toBe("a\0b");
    const runner = await RawRunner.welcomed(stack.url, await host.spec(place.id));
    const start = await runner.command("task.start");
    const at = new Date().toISOString();
    const asked = newChildId("permission", place.id, Date.now());
    runner.send(eventsOf(1, start, [
      { at, type: "run.status", data: { status: "running" } },
      { at, type: "permission.requested", data: { permission_id: asked, tool: odd, input: { [odd]: odd }, summary: odd, risk: "high", reasons: [odd] } },
    ]));
    await runner.acknowledged(2);
    await client.permissions.deny(asked, { reason: odd });
    runner.send(eventsOf(3, start, [{ at, type: "run.status", data: { status: "failed", result: odd, conversation: odd, error: { code: "agent_failed", message: odd, hint: odd } } }]));
    await runner.acknowledged(3);
    expect(await client.tasks.get(given.id)).toMatchObject({ status: "failed", result: odd, error: { message: odd } });
    // And it arrives in the lists, and so does what comes after it.
    const after = await client.tasks.create(place.id, { prompt: "an ordinary one" });
    const statuses = async () => {
      const found = new Map<string, string>();
      for await (const each of client.tasks.list({ session_id: place.id })) found.set(each.id, each.status);
      return found;
    };
    await eventually("the lists have both", async () => {
      const found = await statuses();
      return found.get(given.id) === "failed" && found.has(after.id);
    });
    const permissions = [];
    for await (const each of client.permissions.list({ session_id: place.id })) permissions.push(each);
    expect(permissions).toMatchObject([{ id: asked, status: "denied" }]);
    runner.drop();
  });
});

describe("masses", () => {
  const PROMPT = "x".repeat(50);

  it("10,000 queued tasks are served, one more is refused in words, and lists give each exactly once", async () => {
    // A pool without a host: nothing runs them away.
    const place: Session = await client.sessions.create({ agent: "raw", pool: "empty" });
    const made: Task[] = [];
    const body = JSON.stringify({ prompt: PROMPT });
    async function worker(share: number): Promise<void> {
      for (let i = 0; i < share; i++) {
        const { status, text } = await post(`/api/v1/sessions/${place.id}/tasks`, body);
        expect(status).toBe(201);
        made.push(task.parse(JSON.parse(text)));
      }
    }
    await Promise.all(Array.from({ length: 16 }, () => worker(MAX_QUEUED_TASKS / 16)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(MAX_QUEUED_TASKS);
    expect((await client.sessions.get(place.id)).queued_tasks).toBe(MAX_QUEUED_TASKS);
    const more = await post(`/api/v1/sessions/${place.id}/tasks`, body);
    expect(more.status).toBe(409);
    expect(more.text).toMatch(/10,?000/);

    await eventually("the list has them all", async () => pageOf(task).parse(JSON.parse((await ask("get", { path: `/api/v1/tasks?session_id=${place.id}&limit=1`, headers: {}, body: undefined })).text)).total === MAX_QUEUED_TASKS, 60_000);
    const seen: string[] = [];
    for await (const each of client.tasks.list({ session_id: place.id, limit: 200 })) seen.push(each.id);
    expect(seen.length).toBe(MAX_QUEUED_TASKS);
    expect(new Set(seen)).toEqual(new Set(made.map(({ id }) => id)));

    const ended = await client.sessions.terminate(place.id);
    expect(ended).toMatchObject({ status: "terminated", queued_tasks: 0 });
    expect(await client.tasks.get(made[5_000]?.id ?? "")).toMatchObject({ status: "canceled" });
  });

  it("every answer is what the document says", async () => {
    const get = async (path: string) => JSON.parse((await ask("get", { path: `/api/v1${path}`, headers: {}, body: undefined })).text) as unknown;
    pageOf(session).parse(await get("/sessions?limit=200"));
    pageOf(task).parse(await get("/tasks?limit=200"));
    pageOf(permission).parse(await get("/permissions?limit=200"));
    for (const each of ((await get(`/sessions/${ids["sess"]}/events`)) as { events: unknown[] }).events) event.parse(each);
    for (const each of ((await get(`/tasks/${ids["task"]}/runs`)) as { items: unknown[] }).items) run.parse(each);
  });
});
