import { beforeAll, describe, expect, inject, it } from "vitest";
import { ALL_SCOPES, permission, session, task, type Session, type Task } from "../../sdk/protocol/index.ts";
import { adminOf } from "../../worker/local/admin.ts";
import { apiOf, listOf, type Api } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

const url = inject("url");
const admin = adminOf(url, inject("masterKey"));

async function newTenant(name: string): Promise<Api & { tenantId: string; key: string }> {
  const { id } = await admin.createTenant(name);
  const { key } = await admin.createKey(id, "tests", [...ALL_SCOPES]);
  return { ...apiOf(url, key), tenantId: id, key };
}

describe("two tenants", () => {
  let mine: Api & { key: string };
  let theirs: Api & { key: string };
  let theirSession: Session;
  let theirTask: Task;

  beforeAll(async () => {
    [mine, theirs] = await Promise.all([newTenant("mine"), newTenant("theirs")]);
    theirSession = await theirs.post("/sessions", { agent: "example", labels: { team: "red" } }, session);
    theirTask = await theirs.post(`/sessions/${theirSession.id}/tasks`, { prompt: "secret plans" }, task);
  });

  it("are each told that the other's session and task do not exist, whatever they try", async () => {
    const calls: [string, string, unknown?][] = [
      ["GET", `/sessions/${theirSession.id}`],
      ["PATCH", `/sessions/${theirSession.id}`, { name: "mine now" }],
      ["DELETE", `/sessions/${theirSession.id}`],
      ["GET", `/sessions/${theirSession.id}/events`],
      ["GET", `/sessions/${theirSession.id}/files?path=/`],
      ["POST", `/sessions/${theirSession.id}/tasks`, { prompt: "x" }],
      ["POST", "/tasks", { session_id: theirSession.id, prompt: "x" }],
      ["GET", `/tasks/${theirTask.id}`],
      ["GET", `/tasks/${theirTask.id}/runs`],
      ["GET", `/tasks/${theirTask.id}/logs`],
      ["POST", `/tasks/${theirTask.id}/cancel`],
      ["POST", `/tasks/${theirTask.id}/retry`],
      ["POST", `/tasks/${theirTask.id}/execute`],
    ];
    for (const [method, path, body] of calls) {
      const answer = await mine.request(method, path, body);
      expect({ call: `${method} ${path}`, status: answer.status, body: answer.body }).toMatchObject({ call: `${method} ${path}`, status: 404, body: { error: { code: "not_found" } } });
    }
    expect(await theirs.get(`/sessions/${theirSession.id}`, session)).toMatchObject({ name: null, status: "pending" });
    expect(await theirs.get(`/tasks/${theirTask.id}`, task)).toMatchObject({ status: "pending" });
  });

  it("see only their own in every list", async () => {
    await eventually("the owner's list has it", async () => (await theirs.get("/sessions", listOf(session))).items.some(({ id }) => id === theirSession.id));
    for (const path of ["/sessions", "/sessions?labels=team:red", "/tasks", `/tasks?session_id=${theirSession.id}`, "/permissions", "/runners", "/hosts"]) {
      expect(await mine.request("GET", path)).toMatchObject({ status: 200, body: { items: [], total: 0 } });
    }
  });

  it("do not see each other on the live bus", async () => {
    const stop = new AbortController();
    const response = await fetch(`${url}/api/v1/events?after=0`, { headers: { authorization: `Bearer ${mine.key}`, accept: "text/event-stream" }, signal: stop.signal });
    expect(response.status).toBe(200);
    const own = await mine.post("/sessions", { agent: "example" }, session);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes(own.id)) text += (await reader?.read())?.value ?? "";
    expect(text).not.toContain(theirSession.id);
    stop.abort();
  });

  it("cannot answer with a key that lacks the scope, nor manage keys with it", async () => {
    const { id } = await admin.createTenant("scoped");
    const reader = apiOf(url, (await admin.createKey(id, "reader", ["read"])).key);
    expect(await reader.request("POST", "/sessions", { agent: "example" })).toMatchObject({ status: 403, body: { error: { code: "forbidden" } } });
    expect(await reader.request("POST", "/keys", { name: "more" })).toMatchObject({ status: 403 });
    expect(await reader.request("GET", "/sessions")).toMatchObject({ status: 200 });
  });

  it("lose a key within five seconds of its revocation", async () => {
    const { id } = await admin.createTenant("revoked");
    const owner = apiOf(url, (await admin.createKey(id, "owner", [...ALL_SCOPES])).key);
    const created = (await owner.request("POST", "/keys", { name: "short" })).body as { id: string; key: string };
    const holder = apiOf(url, created.key);
    expect((await holder.request("GET", "/sessions")).status).toBe(200);
    expect((await owner.request("DELETE", `/keys/${created.id}`)).status).toBeLessThan(300);
    await eventually("the key is refused", async () => (await holder.request("GET", "/sessions")).status === 401, 6_000);
  });
});

describe("permissions of a tenant", () => {
  it("answer 404 for an id that never was, and 400 for one that is none", async () => {
    const api = await newTenant("asks");
    const { id } = await api.post("/sessions", { agent: "example" }, session);
    const never = `perm_${id.slice(5)}${id.slice(5)}`;
    expect(permission.shape.id.safeParse(never).success).toBe(true);
    expect((await api.request("GET", `/permissions/${never}`)).status).toBe(404);
    expect((await api.request("POST", `/permissions/${never}/approve`, {})).status).toBe(404);
    expect((await api.request("GET", "/permissions/nonsense")).status).toBeGreaterThanOrEqual(400);
    expect((await api.request("GET", "/permissions/nonsense")).status).toBeLessThan(500);
  });
});
