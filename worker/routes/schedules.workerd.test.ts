/** Owns the tests of the doors of schedules: made with their session, listed, changed, run by hand, deleted, and kept from others. */

import { beforeEach, describe, expect, it } from "vitest";
import { isId, newChildId, newId, sessionOf, type Page, type Schedule, type Session, type Task } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});
const OPTIONS = { agent: "example", prompt: "look", cron: "0 9 * * *", timezone: "Europe/Berlin" };
const create = (body: object = {}, more: object = {}) => d.json<Schedule>("POST", "/schedules", { body: { ...OPTIONS, ...body }, ...more }, 201);

describe("schedules", () => {
  it("are made with a session, read, changed, listed at once, run by hand and deleted with it", async () => {
    const made = await create({ name: "triage", labels: { team: "a" }, continue: true, disable_on_failure: null });
    expect(made).toMatchObject({ name: "triage", agent: "example", cron: "0 9 * * *", timezone: "Europe/Berlin", continue: true, pause_on_failure: false, disable_on_failure: null, timeout_seconds: 3_600, status: "active" });
    expect([isId("schedule", made.id), sessionOf(made.id)]).toEqual([true, made.session_id]);
    expect(await d.json<Session>("GET", `/sessions/${made.session_id}`)).toMatchObject({ workspace_id: made.workspace_id, idle_timeout_seconds: 30 });
    expect(await d.json("GET", `/schedules/${made.id}`)).toEqual(made);
    expect((await d.json<Page<Schedule>>("GET", `/schedules?status=active&session_id=${made.session_id}`)).items).toEqual([made]);
    expect(await d.json("PATCH", `/schedules/${made.id}`, { body: { prompt: "look again" } })).toMatchObject({ prompt: "look again" });
    expect(await d.json("POST", `/schedules/${made.id}/pause`)).toMatchObject({ status: "paused", next_run_at: null });
    expect((await d.json<Page<Schedule>>("GET", "/schedules?status=active")).items).toEqual([]);
    expect(await d.json("POST", `/schedules/${made.id}/resume`)).toMatchObject({ status: "active" });
    const key = { "idempotency-key": "once" };
    const task = await d.json<Task>("POST", `/schedules/${made.id}/trigger`, { headers: key }, 201);
    expect(await d.json<Task>("POST", `/schedules/${made.id}/trigger`, { headers: key }, 201)).toEqual(task);
    expect(task).toMatchObject({ session_id: made.session_id, prompt: "look again", labels: { schedule: made.id } });
    expect(await d.json("DELETE", `/schedules/${made.id}`)).toMatchObject({ status: "deleted" });
    expect((await d.failure("GET", `/schedules/${made.id}`)).status).toBe(404);
    expect((await d.json<Page<Schedule>>("GET", "/schedules")).items).toEqual([]);
    expect(await d.json("GET", `/sessions/${made.session_id}`)).toMatchObject({ status: "terminated" });
    const kept = await create();
    await d.json("DELETE", `/schedules/${kept.id}?keep_session=true`);
    expect((await d.json<Session>("GET", `/sessions/${kept.session_id}`)).status).toBe("pending");
  });

  it("are made with a session, too, that is asked for as scheduled", async () => {
    const body = { agent: "example", name: "nightly", lifecycle_mode: "scheduled", schedule: "0 3 * * *", timezone: "Europe/Berlin", prompt: "look" };
    const headers = { "idempotency-key": "once" };
    const made = await d.json<Session>("POST", "/sessions", { body, headers }, 201);
    expect(made).toMatchObject({ name: "nightly", agent: "example", idle_timeout_seconds: 30 });
    expect(await d.json<Session>("POST", "/sessions", { body, headers }, 201)).toEqual(made);
    const { items } = await d.json<Page<Schedule>>("GET", `/schedules?session_id=${made.id}`);
    expect(items).toMatchObject([{ session_id: made.id, cron: "0 3 * * *", timezone: "Europe/Berlin", prompt: "look", status: "active", continue: false }]);
    expect((await d.json<Page<Session>>("GET", "/sessions")).items.map(({ id }) => id)).toEqual([made.id]);
    // Without one, as before.
    expect(await d.json<Session>("POST", "/sessions", { body: { agent: "example" } }, 201)).toMatchObject({ lifecycle_mode: "on_demand", idle_timeout_seconds: 900 });
  });

  it("are the same on every try with one key, whose prompt is not kept", async () => {
    const headers = { "idempotency-key": "k" };
    const prompt = "z".repeat(1_000_000);
    const made = await create({ prompt }, { headers });
    expect(await create({ prompt }, { headers })).toEqual(made);
    expect((await d.failure("POST", "/schedules", { body: { ...OPTIONS, prompt: "other" }, headers })).code).toBe("conflict");
    expect((d.tenants.of(d.one.id).remembered(d.one.keyId, "k") ?? "").length).toBeLessThan(10_000);
  });

  it("refuse what makes none, in words", async () => {
    const refused = async (body: object) => (await d.failure("POST", "/schedules", { body: { ...OPTIONS, ...body } })).details;
    expect(await refused({ api_key: "sk-x" })).toEqual({ api_key: expect.stringContaining("give agent_config") });
    expect(await refused({ base_url: "https://x.example" })).toEqual({ base_url: expect.stringContaining("give agent_config") });
    expect(await refused({ lifecycle_mode: "scheduled" })).toEqual({ lifecycle_mode: "unknown field" });
    expect(await refused({ timezone: "+02:00" })).toEqual({ timezone: expect.stringContaining("IANA") });
    expect(await refused({ cron: "0 9 * * *\n", disable_on_failure: 0 })).toEqual({ cron: expect.any(String), disable_on_failure: expect.any(String) });
    expect(await refused({ cron: "!" })).toEqual({ cron: "cannot be read" });
    expect(Object.keys((await refused({ cron: undefined, prompt: undefined })) ?? {}).sort()).toEqual(["cron", "prompt"]);
    expect((await d.json<Page<Session>>("GET", "/sessions")).items).toEqual([]);
    const asked = async (body: object) => (await d.failure("POST", "/sessions", { body: { agent: "a", ...body } })).details;
    expect(await asked({ lifecycle_mode: "scheduled", api_key: "sk-x" })).toEqual({ schedule: expect.stringContaining("POST /schedules"), prompt: expect.any(String), api_key: expect.stringContaining("give agent_config") });
    expect(await asked({ schedule: "@daily", timezone: "UTC" })).toEqual({ schedule: expect.stringContaining("only with"), timezone: expect.stringContaining("only with") });
    expect(await asked({ lifecycle_mode: "scheduled", prompt: "x", schedule: "!" })).toEqual({ schedule: "cannot be read" });
    expect((await d.json<Page<Session>>("GET", "/sessions")).items).toEqual([]);
  });

  it("of another tenant are not found, and need the scopes that they do", async () => {
    const { id } = await create();
    for (const [method, path, body] of [["GET", ""], ["PATCH", "", {}], ["DELETE", ""], ["POST", "/pause"], ["POST", "/resume"], ["POST", "/trigger"]] as const) {
      expect((await d.failure(method, `/schedules/${id}${path}`, { key: d.two.token, body })).status, `${method} ${path}`).toBe(404);
      expect((await d.failure(method, `/schedules/${newChildId("schedule", newId("session", 1), 1)}${path}`, { body })).status, `${method} ${path}`).toBe(404);
    }
    expect((await d.json<Page<Schedule>>("GET", "/schedules", { key: d.two.token })).items).toEqual([]);
    const reader = await d.one.key(["read"]);
    expect((await d.failure("POST", `/schedules/${id}/trigger`, { key: reader.token })).status).toBe(403);
    expect(await d.json("GET", `/schedules/${id}`, { key: reader.token })).toMatchObject({ id });
  });
});
