import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { newChildId, newId, newToken, type Schedule, type Session, type Task } from "../../sdk/protocol/index.ts";
import type { Document, Operation } from "../openapi.ts";
import { doors, MASTER, type Doors } from "../testing/doors.ts";

let d: Doors;
let document: Document;
let operations: { path: string; method: string; op: Operation }[] = [];
beforeAll(async () => {
  d = await doors();
  document = await d.json<Document>("GET", "/openapi.json", { key: null });
  operations = Object.entries(document.paths).flatMap(([path, verbs]) => Object.entries(verbs).map(([method, op]) => ({ path, method, op })));
});

describe("the OpenAPI document", () => {
  it("has every route that the app answers, and no other", () => {
    const described = new Set(operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`));
    const answered = new Set(d.app.routes.filter(({ method, path }) => method !== "ALL" && !["/", "/docs", "/openapi.json"].includes(path)).map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`));
    expect([...described].sort()).toEqual([...answered].sort());
    expect(described.size).toBeGreaterThan(45);
  });

  it("declares every parameter of a path, what a route needs and how it fails", () => {
    for (const { path, method, op } of operations) {
      const where = `${method} ${path}`;
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(op.parameters?.filter((each) => each.in === "path" && each.required).map(({ name }) => name) ?? [], `${where}`).toEqual(named);
      expect(op.summary, `${where}`).toBeTruthy();
      expect(op.tags, `${where}`).toHaveLength(1);
      expect(op.security, `${where}`).toBeDefined();
      if (path.startsWith("/health") || path.startsWith("/auth")) continue;
      expect(Object.keys(op.responses), `${where}`).toEqual(expect.arrayContaining(["400", "401", "403", "500", "503"]));
      if (named.length > 0) expect(Object.keys(op.responses), `${where}`).toContain("404");
      if (op.requestBody) expect([op.requestBody.required, Object.keys(op.responses).includes("413")], `${where}`).toEqual([true, true]);
      const scheme = Object.keys(op.security?.[0] ?? {})[0] ?? "";
      expect(scheme, `${where}`).toBe(path.startsWith("/admin") ? "master_key" : /^\/links\/(runner|workspace|attachments)/.test(path) ? "run_token" : path.startsWith("/links/host") ? "runner_token" : "api_key");
      expect(document.components.securitySchemes).toHaveProperty(scheme);
    }
  });

  it("refers to nothing that it does not hold, and describes what it holds", () => {
    const text = JSON.stringify(document);
    const references = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref ?? ""));
    for (const reference of references) expect(document.components.schemas, `${reference}`).toHaveProperty(reference.replace("#/components/schemas/", ""));
    expect(references.size).toBeGreaterThan(15);
    for (const [name, schema] of Object.entries(document.components.schemas)) expect(Object.keys((schema as { properties?: object }).properties ?? {}).length, `${name}`).toBeGreaterThan(0);
    expect(document.components.schemas["SessionCreate"]).toMatchObject({ properties: { agent: { type: "string" }, pool: { default: "default" } }, required: ["agent"], additionalProperties: false });
    expect(document.components.schemas["Session"]).not.toHaveProperty("additionalProperties");
  });

  it("has a page that runs nothing and loads nothing", async () => {
    for (const path of ["/docs", "/"]) {
      const response = await d.raw(path);
      const html = await response.text();
      expect(response.headers.get("content-type")).toMatch(/^text\/html/);
      expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'nonce-/);
      expect(html).not.toMatch(/<script|https?:\/\/|<link|<img/);
      expect(html).toContain(`nonce="${response.headers.get("x-request-id")}"`);
    }
    expect(await (await d.raw("/docs")).text()).toContain("/api/v1/sessions/{id}/events");
  });
});

describe("health", () => {
  it("is live always, and ready while the database answers", async () => {
    expect(await d.json("GET", "/health/live", { key: null })).toEqual({ status: "ok" });
    expect(await d.json("GET", "/health/ready", { key: null })).toEqual({ status: "ok", postgres: "ok", objects: "ok" });
    d.records.down = new Error("gone");
    expect(await d.json("GET", "/health/ready", { key: null }, 503)).toMatchObject({ status: "degraded", postgres: "unreachable", objects: "ok" });
    d.records.down = null;
  });
});

describe("every answer", () => {
  it("carries a request id, also in its error, and tells browsers nothing to guess", async () => {
    for (const path of ["/nowhere", "/api/v1/nowhere", "/api/v1/sessions", "/health/live"]) {
      const response = await d.raw(path);
      const id = response.headers.get("x-request-id");
      expect(id, `${path}`).toMatch(/^req_[0-9a-f]{24}$/);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      if (!response.ok) expect(await response.json(), `${path}`).toMatchObject({ error: { request_id: id } });
    }
    expect((await d.raw("/nowhere")).status).toBe(404);
  });

  it("may be read by a page of any origin, the administration's by none", async () => {
    const preflight = (path: string) => d.raw(path, { method: "OPTIONS", headers: { origin: "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization" } });
    expect((await preflight("/api/v1/sessions")).headers.get("access-control-allow-origin")).toBe("*");
    expect((await preflight("/admin/api/v1/keys")).headers.get("access-control-allow-origin")).toBeNull();
    expect((await d.call("GET", "/sessions", { headers: { origin: "https://app.example" } })).headers.get("access-control-allow-origin")).toBe("*");
  });

  it("says unavailable, and when to come back, where an object restarts or has too much to do", async () => {
    const session = await d.json<Session>("POST", "/sessions", { body: { agent: "a" } }, 201);
    for (const [marks, seconds] of [[{ retryable: true }, "1"], [{ overloaded: true, retryable: true }, "2"]] as const) {
      d.sessions.broken = Object.assign(new Error("Durable Object is overloaded"), marks);
      const failed = await d.failure("GET", `/sessions/${session.id}`);
      expect([failed.status, failed.code, failed.headers.get("retry-after")]).toEqual([503, "unavailable", seconds]);
    }
    d.sessions.broken = Object.assign(new Error("secret detail"), { remote: true });
    const fault = await d.failure("GET", `/sessions/${session.id}`);
    d.sessions.broken = null;
    expect([fault.status, fault.code]).toEqual([500, "internal_error"]);
    expect(JSON.stringify(fault)).not.toContain("secret detail");
  });
});

/** Words that break parsers, paths, numbers and databases. */
const hostile = fc.oneof(
  fc.constantFrom("", "0", "-1", "1e309", "NaN", "null", "undefined", "true", "__proto__", "constructor", "..", "../../etc/passwd", "%", "%00", "%ff", "a\0b", "\ud800", "🤖", "' or 1=1 --", "x".repeat(5_000), "9007199254740993", "[object Object]", "{}", "a:b", "a,b,,", "*"),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.double().map(String),
);

describe("hostile requests", () => {
  it("never make a route answer 5xx, whatever its parameters and body are", { timeout: 120_000 }, async () => {
    const session = await d.json<Session>("POST", "/sessions", { body: { agent: "a" } }, 201);
    const task = await d.json<Task>("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "p" } }, 201);
    const permission = d.sessions.of(session.id).ask(task);
    const now = Date.now();
    const schedule = await d.json<Schedule>("POST", "/schedules", { body: { agent: "a", prompt: "p", cron: "@daily" } }, 201);
    const ids = [session.id, task.id, schedule.id, permission.id, newId("session", now), newChildId("task", session.id, now), newId("host", now), newId("runner", now), d.one.keyId, newId("key", now), newId("runner_token", now), d.one.id];
    const value = fc.oneof(fc.constantFrom(...ids), hostile);
    const field = fc.oneof({ weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) }, { weight: 2, arbitrary: value });

    for (const { path, method, op } of operations) {
      const reference = Object.values(op.requestBody?.content ?? {})[0]?.schema as { $ref?: string } | undefined;
      const schema = document.components.schemas[reference?.$ref?.split("/").at(-1) ?? ""] as { properties?: Record<string, unknown> } | undefined;
      const fields = Object.keys(schema?.properties ?? {});
      const body = fc.oneof(
        fc.constant(undefined), fc.jsonValue().map((each) => JSON.stringify(each)), hostile, fc.constant("[".repeat(20_000)), fc.constant('{"a":'.repeat(5_000)),
        fc.record(Object.fromEntries([...fields, "__proto__x", "extra"].map((name) => [name, field])), { requiredKeys: [] }).map((each) => JSON.stringify(each)),
      );
      const query = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...(op.parameters?.filter((each) => each.in === "query").map(({ name }) => name) ?? []), "x"), hostile), value), { maxLength: 4 });
      const headers = fc.constantFrom<Record<string, string>>({}, { "idempotency-key": "k" }, { "last-event-id": "-1" }, { accept: "text/plain" }, { accept: "text/event-stream" }, { upgrade: "websocket" }, { "content-type": "text/plain" });
      const parts = fc.record({ params: fc.array(value, { minLength: 2, maxLength: 2 }), query, body, headers, key: fc.constantFrom("right", "right", "right", "none") });

      await fc.assert(
        fc.asyncProperty(parts, async ({ params, query, body, headers, key }) => {
          const filled = path.replaceAll(/\{\w+\}/g, () => encodeURIComponent((params.shift() ?? "").toWellFormed()));
          const search = query.map(([name, each]) => `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(each.toWellFormed())}`).join("&");
          const token = path.startsWith("/admin") ? MASTER : path.startsWith("/links") ? newToken(path.includes("host") ? "runner" : "run") : d.one.token;
          const init: RequestInit = { method: method.toUpperCase(), headers: { "content-type": "application/json", ...headers, ...(key === "right" && { authorization: `Bearer ${token}` }) }, ...(body !== undefined && method !== "get" && { body }) };
          const response = await d.raw(`${filled}${search ? `?${search}` : ""}`, init);
          await response.body?.cancel();
          expect(response.status, `${method} ${filled}?${search} ${body?.slice(0, 200)}`).toBeLessThan(500);
        }),
        { numRuns: 40 },
      );
    }
  });
});
