import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { MAX_PENDING_PERMISSIONS, MAX_QUEUED_TASKS, newChildId, newId, taskCreate } from "../../sdk/protocol/index.ts";
import { actor, ask, line, status, stranger, Subject, type SessionInside } from "./fixture.ts";

const NOT_FOUND = { ok: false, error: { code: "not_found" } };

describe("what callers ask", () => {
  it("is not found for another tenant, whatever it is", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    const id = await subject.task();
    const run = await runner.start();
    const permission = newChildId("permission", subject.id, Date.now());
    runner.events(run, ask(permission));
    await runner.acked();
    const { rpc } = subject;
    const task = taskCreate.parse({ prompt: "x" });
    for (const answer of [
      rpc.create(stranger, subject.id, subject.workspaceId, { agent: "example", labels: {}, pool: "default", runner_lifecycle: "per-session", edit_mode: "off", rules: [], env: {}, keep_raw: true }),
      rpc.read(stranger), rpc.update(stranger, { name: "mine" }), rpc.terminate(stranger), rpc.createTask(stranger, newChildId("task", subject.id, 1), task), rpc.readTask(stranger, id),
      rpc.readRuns(stranger, id), rpc.cancelTask(stranger, id), rpc.retryTask(stranger, id), rpc.executeTask(stranger, id), rpc.readPermission(stranger, permission),
      rpc.approvePermission(stranger, permission, { scope: "once" }), rpc.denyPermission(stranger, permission, {}), rpc.readLog(stranger, {}),
    ]) expect(await answer).toMatchObject(NOT_FOUND);
    expect(await rpc.read(actor)).toMatchObject({ ok: true, value: { name: null, pending_permissions: 1 } });
    expect(await new Subject().rpc.read(actor)).toMatchObject(NOT_FOUND);
  });

  it("answers a permission once, and carries the answer to the runner", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    const run = await runner.start();
    const [yes, no] = [newChildId("permission", subject.id, 1), newChildId("permission", subject.id, 2)];
    runner.events(run, ask(yes), ask(no));
    await runner.acked();
    expect(await subject.rpc.approvePermission(actor, yes, { scope: "turn", reason: "fine" })).toMatchObject({ ok: true, value: { status: "approved", decision: { by: actor.key_id, scope: "turn" } } });
    expect(await subject.rpc.denyPermission(actor, no, { reason: "no" })).toMatchObject({ ok: true, value: { status: "denied" } });
    expect(await subject.rpc.denyPermission(actor, yes, {})).toMatchObject({ ok: false, error: { code: "conflict", details: { status: "approved", decision: { reason: "fine" } } } });
    expect(await runner.command("permission.answer", 1)).toMatchObject({ permission_id: yes, decision: "approved", scope: "turn" });
    expect(await runner.command("permission.answer", 2)).toMatchObject({ permission_id: no, decision: "denied", reason: "no" });
    expect((await subject.log({ types: ["permission.requested", "permission.answered"] })).map(({ type }) => type)).toEqual(["permission.requested", "permission.requested", "permission.answered", "permission.answered"]);
  });

  it("keeps what was approved for the session: the next runner hears of it, clients see it, and can take it back", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    const run = await runner.start();
    const id = newChildId("permission", subject.id, 1);
    runner.events(run, ask(id));
    await runner.acked();
    await subject.rpc.approvePermission(actor, id, { scope: "session" });
    await subject.evict();
    expect((await subject.session()).approvals).toMatchObject([{ permission_id: id, scope: "session", tool: "Bash", keys: null, summary: "rm x", by: actor.key_id }]);
    const again = await subject.dial(runner.spec);
    again.send({ ...again.hello(), journal: { first: runner.journal + 1, last: runner.journal }, last_command: 1, run_id: run.run_id });
    expect(await again.until((frame) => frame.type === "welcome")).toMatchObject({ settings: { grants: [{ tool: "Bash", risk: "critical", keys: null, input: '{"command":"rm x"}' }] } });
    expect(await subject.rpc.update(actor, { approvals: [] })).toMatchObject({ ok: true, value: { approvals: [] } });
    expect(await again.command("settings")).toMatchObject({ settings: { grants: [] } });
    const old = await subject.dial(runner.spec);
    old.send({ ...old.hello(2), journal: { first: runner.journal + 1, last: runner.journal }, last_command: 3, run_id: run.run_id });
    expect(await old.until((frame) => frame.type === "welcome")).not.toHaveProperty("settings.grants");
  });

  it("takes 1,000 permission requests at once, and denies the next in words", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    const id = await subject.task();
    const run = await runner.start();
    const ids = Array.from({ length: MAX_PENDING_PERMISSIONS + 1 }, (_, i) => newChildId("permission", subject.id, i));
    for (let from = 0; from < ids.length; from += 250) runner.events(run, ...ids.slice(from, from + 250).map(ask));
    await runner.acked();
    expect(await subject.rpc.read(actor)).toMatchObject({ ok: true, value: { pending_permissions: MAX_PENDING_PERMISSIONS } });
    expect(await runner.command("permission.answer")).toMatchObject({ permission_id: ids.at(-1), decision: "denied", reason: expect.stringContaining("1000") });
    runner.events(run, status("completed"));
    await runner.acked();
    expect(await subject.rpc.readTask(actor, id)).toMatchObject({ ok: true, value: { status: "completed" } });
    expect(await subject.rpc.readPermission(actor, ids[0] ?? "")).toMatchObject({ ok: true, value: { status: "canceled" } });
  });

  it("queues 10,000 tasks, refuses one more in words, survives an eviction, and cancels them all", async () => {
    const subject = await new Subject().create();
    const input = taskCreate.parse({ prompt: "one of many" });
    await runInDurableObject(subject.object, (instance) => {
      const { api } = instance as unknown as SessionInside;
      for (let i = 0; i < MAX_QUEUED_TASKS; i++) expect(api.createTask(actor, newChildId("task", subject.id, i), input).ok).toBe(true);
      expect(api.createTask(actor, newChildId("task", subject.id, 0), input)).toMatchObject({ ok: false, error: { code: "conflict", message: expect.stringContaining("10000") } });
    });
    await subject.evict();
    expect(await subject.rpc.read(actor)).toMatchObject({ ok: true, value: { queued_tasks: MAX_QUEUED_TASKS } });
    expect(await subject.rpc.terminate(actor)).toMatchObject({ ok: true, value: { queued_tasks: 0, status: "terminated" } });
  });

  it("reads the last 100 and after= of a long history by its indexes", async () => {
    const subject = await new Subject().create();
    await runInDurableObject(subject.object, async (instance) => {
      const { engine, reader } = instance as unknown as SessionInside;
      for (let i = 0; i < 200; i++) engine.run((turn) => turn.append(null, null, Array.from({ length: 500 }, (_, k) => line(`${i}.${k}`))));
      const page = async (query: Parameters<typeof reader.page>[1]) => {
        const answer = await reader.page(actor, query);
        if (!answer.ok) throw new Error(answer.error.message);
        return answer.value;
      };
      const { last } = engine.log;
      expect((await page({ tail: 100 })).events.map(({ seq }) => seq)).toEqual(Array.from({ length: 100 }, (_, i) => last - 99 + i));
      expect(await page({ after: 70_123, limit: 3 })).toMatchObject({ events: [{ seq: 70_124 }, { seq: 70_125 }, { seq: 70_126 }], next: 70_126, more: true, last_seq: last });
      expect(await page({ after: last })).toMatchObject({ events: [], next: last, more: false, ended: false });
      expect((await page({ tail: 2, types: ["session.status"] })).events.map(({ type }) => type)).toEqual(["session.status"]);
      expect((await page({ tail: 5, stream: ["stderr"], types: ["log"] })).events).toEqual([]);
      const plans = [
        "select first_seq, body from blocks where task_id = 'x' and first_seq >= 5 and (kinds & 1) != 0 order by first_seq", "select first_seq, body from blocks where rare = 1 and first_seq >= 5 and (kinds & 2048) != 0 order by first_seq",
        "select first_seq, body from blocks where first_seq >= 5 order by first_seq", "select first_seq from blocks where first_seq <= 5 order by first_seq desc limit 1",
      ].map((query) => engine.storage.sql.exec<{ detail: string }>(`explain query plan ${query}`).toArray().map(({ detail }) => detail).join("; "));
      for (const plan of plans) expect(plan).toMatch(/^SEARCH blocks USING/);
    });
  });

  it("creates once, however often it is asked, and shows no secrets", async () => {
    const subject = await new Subject().create({ api_key: "sk-secret", env: { TOKEN: "hidden", BIG: "x".repeat(30_000) } });
    const again = await subject.rpc.create(actor, subject.id, newId("workspace", 1), { agent: "other", labels: {}, pool: "default", runner_lifecycle: "per-session", edit_mode: "off", rules: [], env: {}, keep_raw: true });
    expect(again).toMatchObject({ ok: true, value: { agent: "example", has_api_key: true, env_names: ["TOKEN", "BIG"] } });
    expect(JSON.stringify([again, await subject.log()])).not.toMatch(/sk-secret|hidden/);
    const spec = await subject.spawned();
    expect(spec).toMatchObject({ needs_key: false, gateway: true, env: { TOKEN: "hidden" } });
    expect(JSON.stringify(spec)).not.toContain("sk-secret");
    await runInDurableObject(subject.object, (_, state) => {
      const stored = state.storage.sql.exec("select value from slices union all select value from runners").toArray();
      expect(JSON.stringify(stored)).not.toMatch(/sk-secret|gtok_/);
    });
  });

  it("carries events to the tenant's bus with the session's labels, without raw", async () => {
    const subject = await new Subject().create({ labels: { team: "a" } });
    const runner = await subject.runner();
    await subject.task();
    const run = await runner.start();
    runner.events(run, line("not for the bus"), { ...status("completed"), raw: { own: 1 } });
    await runner.acked();
    const { published } = subject.fakes;
    await vi.waitUntil(() => published.some(({ type, data }) => type === "task.status" && "status" in data && data.status === "completed"));
    expect(published.every(({ labels, raw }) => labels["team"] === "a" && raw === undefined)).toBe(true);
    expect(published.map(({ type }) => type)).not.toContain("log");
    const seqs = published.map(({ seq }) => seq);
    expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  });
});
