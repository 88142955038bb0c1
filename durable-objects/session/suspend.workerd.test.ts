/** Owns the tests of suspension in the runtime: what the runner and the host are told, what survives an eviction, and what a resume gives back. */

import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { CLOSE, newChildId, newId, ok, PLAIN_OFFER, unwrap, type SuspendOffer } from "../../sdk/protocol/index.ts";
import { actor, ask, interrupted, line, restoredFrom, status, stranger, Subject, synced, type RunnerClient } from "./fixture.ts";

const OFFER: SuspendOffer = { ...PLAIN_OFFER, strategies: ["pause", "snapshot", "terminate_preserve_storage", "release_to_pool", "terminate"], strategy: "pause", fallback: "terminate_preserve_storage" };

/** A session on a provider that can do everything, with its runner. */
async function subjectWith(offer: Partial<SuspendOffer> = {}, input: Parameters<Subject["create"]>[0] = {}): Promise<{ subject: Subject; runner: RunnerClient }> {
  const subject = new Subject();
  subject.fakes.spawn = async () => ok({ ok: true, provider: "docker", sandbox: "docker", isolation: "container", suspend: { ...OFFER, ...offer } });
  await subject.create(input);
  const runner = await subject.runner();
  await vi.waitUntil(async () => (await subject.session()).runner?.provider === "docker");
  return { subject, runner };
}

/** A task, run to its end with its capsule. */
async function worked(subject: Subject, runner: RunnerClient, nth = 1): Promise<{ task_id: string; run_id: string; capsule_id: string }> {
  await subject.task();
  const run = await runner.start(nth);
  const capsule_id = newChildId("capsule", subject.id, Date.now());
  runner.events(run, line("hi"), status("completed", { conversation: `c${nth}` }));
  runner.events(run, synced(capsule_id));
  await runner.acked();
  return { task_id: run.task_id, run_id: run.run_id, capsule_id };
}

describe("a suspended session", () => {
  it("is frozen with its run, and thawed where it stood, also after the object was evicted", async () => {
    const { subject, runner } = await subjectWith();
    const task = await subject.task();
    const run = await runner.start();
    expect(await subject.rpc.suspend(actor, { reason: "lunch" })).toMatchObject({ ok: true, value: { status: "suspending", suspension: { strategy: "pause", cause: "requested" } } });
    const { capsule_id, stop_agent, why } = await runner.command("capsule");
    expect({ stop_agent, why }).toEqual({ stop_agent: false, why: "suspend" });
    runner.events(run, synced(capsule_id, "suspend"));
    expect(await subject.is("suspended")).toMatchObject({ status_reason: "suspended by test: lunch", capsule_id, task_id: task, suspension: { strategy: "pause", runner_id: runner.spec.runner_id, host_id: subject.fakes.hostId }, runner: { state: "held" } });
    await subject.evict();
    expect(unwrap(await subject.rpc.resume(actor, {})).status).toBe("resuming");
    expect(await subject.is("active")).toMatchObject({ suspension: null, task_id: task });
    expect(subject.fakes.resumes).toEqual([runner.spec.runner_id]);
    runner.events(run, status("completed"));
    await runner.acked();
    expect(unwrap(await subject.rpc.readTask(actor, task))).toMatchObject({ status: "completed", attempts: 1 });
    expect((await subject.log({ types: ["session.receipt"] })).map(({ data }) => data)).toMatchObject([{ strategy: "pause", capsule_id, survived: expect.arrayContaining([expect.stringContaining("memory")]) }]);
    expect(subject.fakes.spawns).toHaveLength(1);
  });

  it("is paused, resumed and drained through the runner that serves it, and through no other", async () => {
    const { subject, runner } = await subjectWith();
    const { runner_id } = runner.spec;
    const other = newId("runner", 1);
    const not = (serving: string | null) => ({ ok: false, error: { code: "conflict", message: expect.stringContaining("does not serve"), details: { runner_id: serving } } });
    for (const verb of ["pauseRunner", "resumeRunner", "drainRunner"] as const) {
      expect(await subject.rpc[verb](actor, other)).toMatchObject(not(runner_id));
      expect(await subject.rpc[verb](stranger, runner_id)).toMatchObject({ ok: false, error: { code: "not_found" } });
    }
    expect(unwrap(await subject.rpc.pauseRunner(actor, runner_id))).toMatchObject({ status: "suspending", suspension: { strategy: "pause", cause: "requested" } });
    const { capsule_id } = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, synced(capsule_id, "suspend"));
    await subject.is("suspended");
    expect(await subject.rpc.drainRunner(actor, runner_id)).toMatchObject({ ok: false, error: { code: "conflict", details: { instead: ["resume"] } } });
    expect(unwrap(await subject.rpc.resumeRunner(actor, runner_id)).status).toBe("resuming");
    await subject.is("active");
    expect(unwrap(await subject.rpc.drainRunner(actor, runner_id)).status).toBe("active");
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    await vi.waitUntil(async () => (await subject.session()).runner === null);
    expect(await subject.rpc.drainRunner(actor, runner_id)).toMatchObject(not(null));
  });

  it("stands for the log up to where its files began to be read, not to where that was told", async () => {
    const { subject, runner } = await subjectWith();
    await subject.task();
    const run = await runner.start();
    await subject.rpc.suspend(actor, {});
    const { capsule_id } = await runner.command("capsule");
    runner.events(run, { at: "2026-11-21T00:00:00.000Z", type: "workspace.sync_started", data: { capsule_id, why: "suspend" } }, status("completed"), synced(capsule_id, "suspend"));
    await subject.is("suspended");
    const [started, ended] = await subject.log({ types: ["workspace.sync_started", "task.status"] }).then((events) => [events.find(({ type }) => type === "workspace.sync_started"), events.at(-1)]);
    const [capsule] = unwrap(await subject.rpc.listCapsules(actor, { limit: 1, offset: 0 })).items;
    expect(capsule).toMatchObject({ id: capsule_id, seq: started?.seq });
    expect(ended?.seq).toBeGreaterThan(capsule?.seq ?? 0);
  });

  it("hears nothing of a runner that it holds: what its host's end makes it say is not the session's, and what it had to say comes again", async () => {
    const { subject, runner } = await subjectWith();
    const task = await subject.task();
    const run = await runner.start();
    const id = newChildId("permission", subject.id, Date.now());
    runner.events(run, ask(id));
    await subject.rpc.suspend(actor, {});
    const { capsule_id } = await runner.command("capsule");
    runner.events(run, synced(capsule_id, "suspend"));
    await subject.is("suspended");
    const before = runner.journal;
    runner.events(run, { at: "2026-11-21T00:00:00.000Z", type: "permission.withdrawn", data: { permission_id: id } }, status("lost"));
    expect(await runner.untilClosed()).toBe(CLOSE.again);
    await expect(subject.dial(runner.spec)).rejects.toThrow("503");
    expect(await subject.session()).toMatchObject({ status: "suspended", pending_permissions: 1, task_id: task });
    await subject.rpc.resume(actor, {});
    const again = await subject.dial(runner.spec);
    again.journal = before;
    again.send(again.hello(3, { journal: { first: 1, last: before + 1 }, last_command: 2, run_id: run.run_id }));
    await again.until((frame) => frame.type === "welcome");
    again.events(run, line("said again"));
    await again.acked();
    expect(await subject.session()).toMatchObject({ status: "active", pending_permissions: 1 });
    expect((await subject.log({ types: ["log"] })).map(({ data }) => data)).toEqual([{ stream: "stdout", text: "said again" }]);
  });

  it("without memory goes on with another runner on another host: files, conversation, question, answer and queue", async () => {
    const { subject, runner } = await subjectWith();
    const first = await worked(subject, runner);
    const [task, next] = [await subject.task(), await subject.task()];
    const run = await runner.start(2);
    const [asked, answered] = [newChildId("permission", subject.id, Date.now()), newChildId("permission", subject.id, Date.now())];
    runner.events(run, ask(asked), ask(answered));
    await runner.acked();
    await subject.rpc.suspend(actor, { strategy: "terminate" });
    const { capsule_id, stop_agent } = await runner.command("capsule");
    expect(stop_agent).toBe(true);
    runner.events(run, interrupted("c2"));
    runner.events(run, synced(capsule_id, "suspend", [{ path: "big.iso", why: "over the quota" }]));
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    expect(await subject.is("suspended")).toMatchObject({ interrupted: true, queued_tasks: 2, pending_permissions: 2, host_id: null, capsule_id, suspension: { strategy: "terminate", runner_id: null } });
    await vi.waitUntil(() => subject.fakes.discarded.length === 1);
    await subject.evict();
    // The answer is what resumes it.
    await subject.rpc.approvePermission(actor, answered, { scope: "turn", reason: "yes" });
    const spec = await subject.spawned(2);
    const listed = unwrap(await subject.rpc.listCapsules(actor, { limit: 10, offset: 0 })).items;
    expect(listed.map(({ id, task_id, why, conversation }) => ({ id, task_id, why, conversation }))).toEqual([
      { id: capsule_id, task_id: task, why: "suspend", conversation: "c2" }, { id: first.capsule_id, task_id: first.task_id, why: "task_end", conversation: "c1" },
    ]);
    expect(spec).toMatchObject({ epoch: 2, restore: { capsule_id, mode: "exact", workspace_manifest_id: listed[0]?.workspace.manifest_id, state_manifest_id: listed[0]?.state?.manifest_id } });
    expect(subject.fakes.requests.at(-1)?.host).toBeNull();
    const second = await subject.runner(spec);
    expect(await subject.session()).toMatchObject({ status: "resuming" });
    second.events({ task_id: null, run_id: null }, restoredFrom(capsule_id));
    const start = await second.command("task.start");
    expect(start).toMatchObject({ task_id: task, attempt: 2, interrupted: true, conversation: "c2", notice: expect.stringContaining("big.iso: over the quota") });
    expect(start.carried).toMatchObject([{ permission_id: asked, status: "pending", tool: "Bash" }, { permission_id: answered, status: "approved", scope: "turn", reason: "yes" }]);
    expect(start.grants).toEqual([{ tool: "Bash", risk: "critical", keys: null, input: '{"command":"rm x"}' }]);
    expect(await subject.session()).toMatchObject({ status: "active", pending_permissions: 1, interrupted: false, host_id: subject.fakes.hostId });
    await subject.rpc.denyPermission(actor, asked, {});
    expect(await second.command("permission.answer")).toMatchObject({ permission_id: asked, run_id: start.run_id, decision: "denied" });
    second.events(start, status("completed"));
    const later = await second.command("task.start", 2);
    expect(later.task_id).toBe(next);
    expect(later).not.toHaveProperty("grants");
  });

  it("keeps a question that nobody answers pending with its id, and suspends after its silence", async () => {
    const { subject, runner } = await subjectWith({ strategy: "terminate_preserve_storage" }, { suspend_after_seconds: 1 });
    await subject.task();
    const run = await runner.start();
    const id = newChildId("permission", subject.id, Date.now());
    runner.events(run, ask(id));
    const { capsule_id } = await runner.command("capsule");
    runner.events(run, interrupted("c1"), synced(capsule_id, "suspend"));
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    expect(await subject.is("suspended")).toMatchObject({ suspension: { cause: "permission" }, pending_permissions: 1 });
    expect(unwrap(await subject.rpc.readPermission(actor, id)).status).toBe("pending");
    await subject.rpc.denyPermission(actor, id, { reason: "no" });
    const second = await subject.runner(await subject.spawned(2));
    // The same host has the files: nothing is waited for.
    expect(second.spec.restore).toMatchObject({ mode: "if_missing", capsule_id });
    const start = await second.command("task.start");
    expect(start.carried).toMatchObject([{ permission_id: id, status: "denied", reason: "no" }]);
  });

  it("by idleness, and a task resumes it", async () => {
    const { subject, runner } = await subjectWith({ strategy: "release_to_pool" }, { idle_timeout_seconds: 1 });
    const { capsule_id } = await worked(subject, runner);
    await vi.waitUntil(async () => {
      await runDurableObjectAlarm(subject.object);
      return (await subject.session()).status !== "active";
    }, { timeout: 5_000 });
    const command = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, synced(command.capsule_id, "suspend"));
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    expect(await subject.is("suspended")).toMatchObject({ suspension: { cause: "idle", strategy: "release_to_pool" } });
    expect(command.capsule_id).not.toBe(capsule_id);
    await subject.task();
    expect((await subject.session()).status).toBe("resuming");
    const second = await subject.runner(await subject.spawned(2));
    second.events({ task_id: null, run_id: null }, restoredFrom(command.capsule_id));
    expect(await second.command("task.start")).toMatchObject({ conversation: "c1" });
  });

  it("falls back in words where its host cannot freeze, and where no capsule could be taken", async () => {
    const { subject, runner } = await subjectWith();
    subject.fakes.suspend = () => ok({ ok: false, error: { code: "provider_failed", message: "no freezer" } });
    await worked(subject, runner);
    await subject.rpc.suspend(actor, {});
    const { capsule_id } = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, { at: "2026-11-21T00:00:00.000Z", type: "workspace.sync_failed", data: { capsule_id, why: "suspend", error: { code: "sync_failed", message: "the store is away" } } });
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    expect(await subject.is("suspended")).toMatchObject({ suspension: { strategy: "terminate_preserve_storage" } });
    await subject.rpc.resume(actor, {});
    await subject.runner(await subject.spawned(2));
    await subject.is("active");
    const [receipt] = await subject.log({ types: ["session.receipt"] });
    expect(receipt?.data).toMatchObject({ lost: expect.arrayContaining([expect.stringContaining("no freezer"), expect.stringContaining("processes")]) });
  });

  it("held by a host that is gone goes on from its capsule", async () => {
    const { subject, runner } = await subjectWith();
    await worked(subject, runner);
    await subject.rpc.suspend(actor, {});
    const { capsule_id } = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, synced(capsule_id, "suspend"));
    await subject.is("suspended");
    subject.fakes.resume = () => ok({ ok: false, gone: true, error: { code: "runner_lost", message: "its host was made anew" } });
    await subject.rpc.resume(actor, {});
    const spec = await subject.spawned(2);
    expect(spec).toMatchObject({ epoch: 2, restore: { capsule_id } });
    expect(subject.fakes.requests.at(-1)?.host).toEqual({ host_id: subject.fakes.hostId, must: false });
    await subject.runner(spec);
    expect(await subject.is("active")).toMatchObject({ suspension: null });
  });

  it("refuses what does not fit, and says what would", async () => {
    const { subject, runner } = await subjectWith({ strategies: ["terminate_preserve_storage", "terminate"], strategy: "terminate_preserve_storage" });
    expect(await subject.rpc.suspend(stranger, {})).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await subject.rpc.suspend(actor, { strategy: "snapshot" })).toMatchObject({ ok: false, error: { code: "conflict", details: { strategies: ["terminate_preserve_storage", "terminate"] } } });
    expect(await subject.rpc.resume(actor, {})).toMatchObject({ ok: true, value: { status: "active" } });
    expect(await subject.rpc.resume(actor, { provider: "docker" })).toMatchObject({ ok: false, error: { code: "conflict", details: { instead: ["suspend"] } } });
    expect(await subject.rpc.resume(actor, { capsule_id: newChildId("capsule", subject.id, 1) })).toMatchObject({ ok: false, error: { code: "conflict", details: { points: [] } } });
    await subject.rpc.suspend(actor, {});
    expect(await subject.rpc.suspend(actor, {})).toMatchObject({ ok: false, error: { code: "conflict", details: { status: "suspending", instead: ["resume"] } } });
    await subject.rpc.terminate(actor);
    expect(await subject.rpc.suspend(actor, {})).toMatchObject({ ok: false, error: { code: "conflict", details: { instead: ["fork"] } } });
    expect(await subject.rpc.resume(actor, {})).toMatchObject({ ok: false, error: { code: "conflict", details: { instead: ["fork"] } } });
    await runner.command("stop");
  });

  it("whose files cannot be restored fails its task, keeps its queue and can be resumed from an older capsule", async () => {
    const { subject, runner } = await subjectWith({ strategy: "terminate" });
    const old = await worked(subject, runner);
    await subject.rpc.suspend(actor, {});
    const { capsule_id } = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, synced(capsule_id, "suspend"));
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    await subject.is("suspended");
    const [task, next] = [await subject.task(), await subject.task()];
    const second = await subject.runner(await subject.spawned(2));
    second.events({ task_id: null, run_id: null }, { at: "2026-11-21T00:00:00.000Z", type: "workspace.restore_failed", data: { capsule_id, error: { code: "restore_failed", message: "chunk 7 is gone" } } });
    expect(await subject.is("suspended")).toMatchObject({ status_reason: expect.stringContaining("chunk 7 is gone"), queued_tasks: 1 });
    expect(unwrap(await subject.rpc.readTask(actor, task))).toMatchObject({ status: "failed", error: { code: "restore_failed" } });
    unwrap(await subject.rpc.resume(actor, { capsule_id: old.capsule_id }));
    const third = await subject.runner(await subject.spawned(3));
    expect(third.spec.restore).toMatchObject({ capsule_id: old.capsule_id, mode: "exact" });
    third.events({ task_id: null, run_id: null }, restoredFrom(old.capsule_id));
    expect(await third.command("task.start")).toMatchObject({ task_id: next, conversation: "c1" });
  });
});

describe("capsules", () => {
  it("stand for the log up to their task's end, and a fork begins with one of them", async () => {
    const { subject, runner } = await subjectWith();
    const [one, two] = [await worked(subject, runner, 1), await worked(subject, runner, 2)];
    const log = await subject.log();
    const end = (task: string) => log.findLast((event) => event.type === "task.status" && event.task_id === task)?.seq ?? 0;
    expect(unwrap(await subject.rpc.readCapsule(actor, one.capsule_id))).toMatchObject({ seq: end(one.task_id), task_id: one.task_id, run_id: one.run_id, conversation: "c1", agent: "example" });
    const at = async (point: Parameters<typeof subject.rpc.forkSource>[1]) => subject.rpc.forkSource(actor, point);
    expect(await at({})).toMatchObject({ ok: true, value: { capsule: { id: two.capsule_id } } });
    expect(await at({ seq: end(two.task_id) - 1 })).toMatchObject({ ok: true, value: { capsule: { id: one.capsule_id } } });
    expect(await at({ task_id: one.task_id })).toMatchObject({ ok: true, value: { capsule: { id: one.capsule_id }, input: { agent: "example" } } });
    expect(await at({ seq: 1 })).toMatchObject({ ok: false, error: { code: "conflict", message: expect.stringContaining("2 points are there"), hint: expect.stringContaining(`capsules ${subject.id}`), details: { points: [{ capsule_id: two.capsule_id }, { capsule_id: one.capsule_id, seq: end(one.task_id) }] } } });
    expect(await at({ seq: 10_000 })).toMatchObject({ ok: false, error: { code: "bad_request" } });

    const source = unwrap(await at({ task_id: one.task_id }));
    const fork = new Subject();
    await fork.inject();
    unwrap(await fork.rpc.create(actor, fork.id, fork.workspaceId, source.input, { capsule: source.capsule, needs_key: source.needs_key }));
    expect(await fork.session()).toMatchObject({ forked_from: { session_id: subject.id, capsule_id: one.capsule_id, seq: end(one.task_id) }, workspace_id: fork.workspaceId });
    const forked = await fork.runner();
    expect(forked.spec.restore).toMatchObject({ capsule_id: one.capsule_id, mode: "exact" });
    await fork.task();
    forked.events({ task_id: null, run_id: null }, restoredFrom(one.capsule_id));
    expect(await forked.command("task.start")).toMatchObject({ conversation: "c1", notice: expect.stringContaining("forked") });
  });

  it("that are asked for are kept beside the task's end, which a fork at that task begins with", async () => {
    const { subject, runner } = await subjectWith();
    const one = await worked(subject, runner);
    const [id, other] = [newChildId("capsule", subject.id, Date.now()), newChildId("capsule", subject.id, Date.now() + 1)];
    expect(await subject.rpc.takeCapsule(stranger, id)).toMatchObject({ ok: false, error: { code: "not_found" } });
    const asked = unwrap(await subject.rpc.takeCapsule(actor, id));
    expect(asked).toMatchObject({ id, session_id: subject.id });
    expect(await runner.command("capsule")).toMatchObject({ capsule_id: id, why: "manual", stop_agent: false });
    runner.events(one, synced(id, "manual"));
    await runner.acked();
    expect((await subject.log({ after: asked.seq })).map(({ type }) => type)).toEqual(["workspace.synced"]);
    expect(unwrap(await subject.rpc.readCapsule(actor, id))).toMatchObject({ why: "manual", seq: asked.seq + 1, conversation: "c1" });
    // Asked for again by the same id, it is the same one.
    expect(unwrap(await subject.rpc.takeCapsule(actor, id))).toMatchObject({ id });
    expect(runner.commands.filter(({ body }) => body.kind === "capsule")).toHaveLength(1);
    expect(await subject.rpc.forkSource(actor, { task_id: one.task_id })).toMatchObject({ ok: true, value: { capsule: { id: one.capsule_id } } });
    expect(await subject.rpc.forkSource(actor, {})).toMatchObject({ ok: true, value: { capsule: { id } } });
    unwrap(await subject.rpc.terminate(actor));
    expect(await subject.rpc.takeCapsule(actor, other)).toMatchObject({ ok: false, error: { code: "conflict", details: { instead: ["fork"] } } });
  });

  it("of an attempt that failed stand for its end, though they come after the next one's", async () => {
    const { subject, runner } = await subjectWith();
    const task = await subject.task({ max_retries: 1 });
    const first = await runner.start();
    runner.events(first, line("one"), status("failed"));
    await runner.acked();
    await subject.rpc.executeTask(actor, task);
    const second = await runner.start(2);
    expect(second).toMatchObject({ task_id: task, attempt: 2 });
    runner.events(second, status("running"), line("two"), status("completed"));
    const [late, own] = [newChildId("capsule", subject.id, Date.now()), newChildId("capsule", subject.id, Date.now() + 1)];
    runner.events(first, synced(late));
    runner.events(second, synced(own));
    await runner.acked();
    const log = await subject.log({});
    const at = (run: string) => log.filter(({ type, run_id }) => run_id === run && type !== "workspace.synced").map(({ seq }) => seq);
    const after = Math.min(...at(second.run_id));
    const before = Math.max(...at(first.run_id));
    const { items } = unwrap(await subject.rpc.listCapsules(actor, { limit: 10, offset: 0 }));
    expect(items.map(({ id }) => id)).toEqual([own, late]);
    expect(items[1]?.seq).toBeGreaterThanOrEqual(before);
    expect(items[1]?.seq).toBeLessThan(after);
    expect(items[0]?.seq).toBe(Math.max(...at(second.run_id)));
  });

  it("are kept up to fifty, besides those of forks; another session's is refused", async () => {
    const { subject, runner } = await subjectWith();
    const first = await worked(subject, runner);
    unwrap(await subject.rpc.forkSource(actor, {}));
    for (let i = 0; i < 60; i++) runner.events({ task_id: null, run_id: null }, synced(newChildId("capsule", subject.id, Date.now() + i)));
    await runner.acked();
    const { total } = unwrap(await subject.rpc.listCapsules(actor, { limit: 1, offset: 0 }));
    expect(total).toBe(51);
    expect(await subject.rpc.readCapsule(actor, first.capsule_id)).toMatchObject({ ok: true });
    runner.events({ task_id: null, run_id: null }, synced(newChildId("capsule", newId("session", 1), 1)));
    expect(await runner.untilClosed()).toBe(CLOSE.protocol);
  });
});
