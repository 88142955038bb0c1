/** Owns the tests of schedules in the runtime: the object's own alarm fires, also after an eviction, and what callers are told. */

import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CLOSE, newChildId, newId, scheduleCreate, unwrap, type Event, type Schedule, type ScheduleCreate } from "../../sdk/protocol/index.ts";
import { actor, status, stranger, Subject, synced, type SessionInside } from "./fixture.ts";

const HOUR = 3_600_000;
let ahead = 0;
const real = Date.now;
/** The clock of everything in this isolate, the object's too, goes so much further. */
function pass(ms: number): void {
  ahead += ms;
  vi.spyOn(Date, "now").mockImplementation(() => real() + ahead);
}
afterEach(() => {
  vi.restoreAllMocks();
  ahead = 0;
});

class Scheduled extends Subject {
  readonly schedule = newChildId("schedule", this.id, Date.now());
  async make(input: Partial<ScheduleCreate> = {}): Promise<this> {
    await this.inject();
    const parsed = scheduleCreate.parse({ agent: "example", prompt: "look around", cron: "0 * * * *", ...input });
    unwrap(await this.rpc.createSchedule(actor, { schedule_id: this.schedule, session_id: this.id, workspace_id: this.workspaceId }, parsed));
    return this;
  }
  async get(): Promise<Schedule> {
    return unwrap(await this.rpc.readSchedule(actor, this.schedule));
  }
  /** The alarm rings at the next due time, or so much later. */
  async due(late = 0): Promise<void> {
    pass(Date.parse((await this.get()).next_run_at ?? "") - Date.now() + late);
    expect(await runDurableObjectAlarm(this.object)).toBe(true);
  }
  async runs(): Promise<Extract<Event, { type: "schedule.run" }>["data"][]> {
    return (await this.log({ types: ["schedule.run"] })).flatMap((event) => (event.type === "schedule.run" ? [event.data] : []));
  }
}

describe("a scheduled session", () => {
  it("runs by its alarm, is suspended, and runs again after it was evicted", async () => {
    const subject = await new Scheduled().make({ continue: true });
    const first = await subject.get();
    expect(first).toMatchObject({ status: "active", session_id: subject.id, agent: "example", prompt: "look around", cron: "0 * * * *", timezone: "UTC", disable_on_failure: 5, last_run: null });
    expect(Date.parse(first.next_run_at ?? "") % HOUR).toBe(0);
    expect(await subject.session()).toMatchObject({ status: "pending", lifecycle_mode: "scheduled", status_reason: "gets its runner with the first run", idle_timeout_seconds: 30 });
    expect(subject.fakes.requests).toHaveLength(0);
    const alarm = await runInDurableObject(subject.object, (_, state) => state.storage.getAlarm());
    expect(alarm).toBeLessThanOrEqual(Date.parse(first.next_run_at ?? ""));

    await subject.due();
    const runner = await subject.runner();
    const run = await runner.start();
    expect(run).toMatchObject({ prompt: "look around", conversation: null });
    const capsule = newChildId("capsule", subject.id, Date.now());
    runner.events(run, status("completed", { conversation: "c1" }));
    runner.events(run, synced(capsule));
    await runner.acked();
    expect(await subject.get()).toMatchObject({ last_run: { task_id: run.task_id, status: "completed", due_at: first.next_run_at } });
    expect(unwrap(await subject.rpc.readTask(actor, run.task_id))).toMatchObject({ prompt: "look around", labels: { schedule: subject.schedule } });
    pass(31_000);
    await runDurableObjectAlarm(subject.object);
    const { capsule_id } = await runner.command("capsule");
    runner.events({ task_id: null, run_id: null }, synced(capsule_id, "suspend"));
    await runner.command("stop");
    runner.socket.close(CLOSE.stopped);
    expect(await subject.is("suspended")).toMatchObject({ suspension: { cause: "schedule", strategy: "terminate_preserve_storage" } });

    await subject.evict();
    expect(await subject.get()).toMatchObject({ status: "active", version: expect.any(Number) });
    await subject.due();
    const second = await subject.runner(await subject.spawned(2));
    expect(await second.start()).toMatchObject({ prompt: "look around", conversation: "c1" });
    expect(await subject.runs()).toMatchObject([{ status: "started", missed: 0 }, { status: "started", missed: 0, next_run_at: (await subject.get()).next_run_at }]);
  });

  it("catches up with one run what passed while it was down, and skips what comes meanwhile", async () => {
    const subject = await new Scheduled().make();
    await subject.evict();
    await subject.due(4 * HOUR + 90_000);
    const runner = await subject.runner();
    const run = await runner.start();
    await subject.evict();
    await subject.due();
    await runDurableObjectAlarm(subject.object);
    expect(await subject.runs()).toMatchObject([{ status: "caught_up", missed: 4, task_id: run.task_id }, { status: "skipped", missed: 0, task_id: run.task_id }]);
    expect((await subject.session()).queued_tasks).toBe(0);
  });

  it("is told to its callers, changed, paused and resumed", async () => {
    const subject = await new Scheduled().make({ name: "triage", labels: { team: "web" }, env: { TOKEN: "x" }, paused: true });
    const { rpc, schedule } = subject;
    expect(await subject.get()).toMatchObject({ name: "triage", labels: { team: "web" }, status: "paused", next_run_at: null });
    expect(await subject.session()).toMatchObject({ env_names: ["TOKEN"], lifecycle_mode: "scheduled", schedule_id: schedule });
    const before = (await subject.get()).version;
    const prompt = "y".repeat(1_000_000);
    expect(unwrap(await rpc.updateSchedule(actor, schedule, { name: "other", prompt, cron: "30 2 * * *", timezone: "Europe/Berlin", disable_on_failure: null }))).toMatchObject({ name: "other", prompt, timezone: "Europe/Berlin", disable_on_failure: null });
    expect((await subject.get()).version).toBeGreaterThan(before);
    expect(await rpc.updateSchedule(actor, schedule, { name: "never", cron: "0 0 30 2 *" })).toMatchObject({ ok: false, error: { code: "bad_request", details: { cron: expect.stringContaining("never fires") } } });
    expect(await rpc.updateSchedule(actor, schedule, { timezone: "Mars/Base" })).toMatchObject({ ok: false, error: { details: { timezone: expect.stringContaining("Mars/Base") } } });
    expect(await subject.get()).toMatchObject({ name: "other", cron: "30 2 * * *" });
    const resumed = unwrap(await rpc.resumeSchedule(actor, schedule));
    expect(resumed.status).toBe("active");
    expect(new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", timeStyle: "short" }).format(Date.parse(resumed.next_run_at ?? ""))).toBe("02:30");
    const id = newChildId("task", subject.id, Date.now());
    expect(unwrap(await rpc.triggerSchedule(actor, schedule, id))).toMatchObject({ id, status: "pending", prompt });
    expect(unwrap(await rpc.triggerSchedule(actor, schedule, id)).id).toBe(id);
    expect(await rpc.triggerSchedule(actor, schedule, newChildId("task", subject.id, Date.now()))).toMatchObject({ ok: false, error: { code: "conflict", details: { task_id: id } } });
    expect(unwrap(await rpc.pauseSchedule(actor, schedule))).toMatchObject({ status: "paused", status_reason: "paused by test", next_run_at: null });
    for (const call of [rpc.readSchedule(stranger, schedule), rpc.pauseSchedule(stranger, schedule), rpc.deleteSchedule(stranger, schedule, false), rpc.readSchedule(actor, newChildId("schedule", subject.id, 1))]) expect(await call).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(unwrap(await rpc.deleteSchedule(actor, schedule, false))).toMatchObject({ status: "deleted", status_reason: "deleted by test" });
    expect(await rpc.readSchedule(actor, schedule)).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await subject.session()).toMatchObject({ status: "terminated" });
    expect(unwrap(await rpc.readTask(actor, id)).status).toBe("canceled");
  });

  it("is not made of what is no time, and leaves nothing behind", async () => {
    const subject = new Scheduled();
    await subject.inject();
    const ids = { schedule_id: subject.schedule, session_id: subject.id, workspace_id: newId("workspace", 1) };
    const parsed = scheduleCreate.parse({ agent: "example", prompt: "x", cron: "* * * * * *" });
    expect(await subject.rpc.createSchedule(actor, ids, parsed)).toMatchObject({ ok: false, error: { code: "bad_request", details: { cron: expect.stringContaining("once a minute at most") } } });
    expect(await subject.rpc.read(actor)).toMatchObject({ ok: false });
    const made = unwrap(await subject.rpc.createSchedule(actor, ids, { ...parsed, cron: "@daily" }));
    // A second create of the same id answers what is there.
    expect(unwrap(await subject.rpc.createSchedule(actor, ids, { ...parsed, cron: "@hourly" }))).toEqual(made);
    await runInDurableObject(subject.object, (instance) => expect((instance as unknown as SessionInside).engine.state.schedule?.cron).toBe("@daily"));
  });
});
