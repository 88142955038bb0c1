import { describe, expect, inject, it } from "vitest";
import { ALL_SCOPES, session, task } from "../../sdk/protocol/index.ts";
import { adminOf } from "../../worker/local/admin.ts";
import { apiOf, listOf, type Api } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

const url = inject("url");

async function newTenant(name: string): Promise<Api> {
  const admin = adminOf(url, inject("masterKey"));
  const { id } = await admin.createTenant(name);
  const { key } = await admin.createKey(id, "smoke", [...ALL_SCOPES]);
  return apiOf(url, key);
}

describe("the whole stack", () => {
  it("says that it lives and is ready", async () => {
    for (const path of ["/health/live", "/health/ready"]) expect((await fetch(`${url}${path}`)).status).toBe(200);
  });

  it("refuses who brings no key, a made-up key or the wrong kind of key", async () => {
    for (const authorization of [undefined, "Bearer mk_nonsense", `Bearer ${inject("masterKey")}`]) {
      const response = await fetch(`${url}/api/v1/sessions`, { headers: authorization ? { authorization } : {} });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ error: { code: "unauthorized" } });
    }
  });

  it("keeps a task pending where no host is, and says why in words", async () => {
    const api = await newTenant("hostless");
    const created = await api.request("POST", "/sessions", { agent: "example", name: "smoke" });
    expect(created).toMatchObject({ status: 201, body: { status: "pending", name: "smoke" } });
    const { id } = session.parse(created.body);
    const { id: taskId } = await api.post(`/sessions/${id}/tasks`, { prompt: "hello" }, task);
    const waiting = await eventually("the task says what it waits for", async () => {
      const now = await api.get(`/tasks/${taskId}`, task);
      return now.waiting_for === null ? null : now;
    });
    expect(waiting.status).toBe("pending");
    expect(waiting.waiting_for).toMatch(/no host in pool 'default'/i);
    const log = await api.request("GET", `/tasks/${taskId}/logs`);
    expect(log).toMatchObject({ status: 200, body: { events: expect.arrayContaining([expect.objectContaining({ type: "task.created", task_id: taskId })]) as unknown } });
  });

  it("lists what was created, once the copy has reached Postgres", async () => {
    const api = await newTenant("lister");
    const { id } = await api.post("/sessions", { agent: "example" }, session);
    const listed = await eventually("the session is listed", async () => (await api.get("/sessions", listOf(session))).items.find((each) => each.id === id));
    expect(listed.agent).toBe("example");
  });
});
