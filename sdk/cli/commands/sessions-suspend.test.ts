/** Owns the tests of `mctl sessions suspend`, `resume`, `capsules` and `fork`: what they ask, and what they print. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi } from "../../../test/support/fake-api.ts";
import { FakeIo } from "../../../test/support/fake-io.ts";
import { newChildId, newId, type Capsule } from "../../protocol/index.ts";

let api: FakeApi;
let id: string;
beforeEach(async () => {
  api = await new FakeApi().start();
  await run("sessions", "create", "--agent", "example", "--idle-timeout", "5m", "--suspend-after", "2h", "--suspend-strategy", "pause", "--lifecycle", "always_on", "--workspace-quota", "100", "--retention", "30");
  id = [...api.sessions.keys()][0] ?? "";
});
afterEach(() => api.close());
async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = new FakeIo({ env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey } });
  const code = await io.run(...argv);
  return { code, out: io.out, err: io.err };
}
const asked = () => api.requests.filter(({ method }) => method === "POST").at(-1);

describe("mctl sessions", () => {
  it("creates and changes a session that lives as it is told", async () => {
    expect(asked()?.body).toMatchObject({ idle_timeout_seconds: 300, suspend_after_seconds: 7_200, suspend_strategy: "pause", lifecycle_mode: "always_on", workspace_quota_mb: 100, retention_days: 30 });
    expect(await run("sessions", "update", id, "--lifecycle", "on_demand", "--idle-timeout", "1h")).toMatchObject({ code: 0, err: "" });
    expect(api.sessions.get(id)).toMatchObject({ lifecycle_mode: "on_demand", idle_timeout_seconds: 3_600, suspend_after_seconds: 7_200 });
    expect((await run("sessions", "update", id, "--forget-approvals")).code).toBe(0);
    expect(api.requests.at(-1)?.body).toEqual({ approvals: [] });
  });

  it("suspends and resumes, and shows how it is", async () => {
    const suspended = await run("sessions", "suspend", id, "--strategy", "snapshot", "--reason", "lunch", "--wait");
    expect([suspended.code, asked()?.body]).toEqual([0, { strategy: "snapshot", reason: "lunch" }]);
    expect(suspended.out).toMatch(/suspended:\s+snapshot \(requested\) since/);
    const capsule = newChildId("capsule", id, 1);
    expect(await run("sessions", "resume", id, "--capsule", capsule, "--selector", "gpu=nvidia", "--wait")).toMatchObject({ code: 0 });
    expect(asked()?.body).toEqual({ capsule_id: capsule, selector: "gpu=nvidia" });
    expect((await run("sessions", "suspend", id, "--strategy", "sleep")).err).toContain("--strategy cannot be 'sleep'");
  });

  it("says what a resume waits for", async () => {
    const session = api.sessions.get(id);
    if (!session) expect.unreachable();
    Object.defineProperty(session, "status", { enumerable: true, get: () => "resuming", set: () => {} });
    for (const reason of [null, "no host in pool 'default' is\nonline"]) api.emit(session, "session.status", { status: "resuming", reason });
    api.emit(session, "session.status", { status: "active", reason: null });
    expect((await run("sessions", "resume", id, "--wait")).err).toBe("Waits: no host in pool 'default' is online\n");
    expect((await run("sessions", "resume", id, "--wait", "-o", "json")).err).toBe("");
  });

  const capsuleOf = (more: Partial<Capsule> = {}, files = 12): Capsule => ({
    id: newChildId("capsule", id, 1), session_id: id, tenant_id: newId("tenant", 1), seq: 42, task_id: null, run_id: null, why: "suspend", workspace_id: newId("workspace", 1),
    workspace: { manifest_id: newId("manifest", 1), files, bytes: 2_048, sent_bytes: 10 }, state: null, torn: false, left_out: [], agent: "example", model: null, conversation: null, env_names: [], pending_permissions: [], created_at: new Date(1).toISOString(), ...more,
  });

  it("takes a capsule now, and waits for it", async () => {
    expect(await run("sessions", "capsules", "create", id)).toMatchObject({ code: 1, err: expect.stringContaining("no runner") });
    api.capsules.push(capsuleOf({ torn: true }));
    const [{ id: capsule } = { id: "" }] = api.capsules;
    const made = await run("sessions", "capsules", "create", id);
    expect([made.code, made.err]).toEqual([0, expect.stringContaining("changed while they were read")]);
    for (const text of [capsule, "up to event 42", "12, 2.0 KiB"]) expect(made.out).toContain(text);
    expect((await run("sessions", "capsules", "create", id, "-q")).out).toBe(`${capsule}\n`);
    expect(JSON.parse((await run("sessions", "capsules", "create", id, "-o", "json")).out)).toEqual(api.capsules[0]);
    api.capsules[0] = capsuleOf({ id: newChildId("capsule", id, 2) }, 0);
    expect(await run("sessions", "capsules", "create", id)).toMatchObject({ code: 1, out: "", err: expect.stringContaining("the disk is full") });
  });

  it("lists capsules", async () => {
    expect((await run("sessions", "capsules", id)).err).toContain("No capsules");
    const capsule = capsuleOf();
    api.capsules.push(capsule);
    const { out } = await run("sessions", "capsules", id);
    for (const text of [capsule.id, "42", "suspend", "12", "KiB"]) expect(out).toContain(text);
    expect(JSON.parse((await run("sessions", "capsules", id, "-o", "json")).out)).toEqual([capsule]);
  });

  it("forks at an event, a task, a capsule or the latest state", async () => {
    for (const [at, body] of [[undefined, {}], ["1042", { seq: 1_042 }], ["task_1", { task_id: "task_1" }], ["cap_1", { capsule_id: "cap_1" }]] as const) {
      expect(await run("sessions", "fork", id, "--name", "again", ...(at === undefined ? [] : ["--at", at]))).toMatchObject({ code: 0 });
      expect(asked()).toMatchObject({ path: expect.stringContaining(`${id}/fork`), body: { name: "again", ...body } });
    }
    expect((await run("sessions", "fork", id, "--at", "yesterday")).err).toContain("--at is no point of a session");
  });
});
