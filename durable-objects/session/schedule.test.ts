/** Owns the tests of schedules in the machine: runs, skips, catching up, failures, and that no due time ever becomes two runs. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newChildId, type EventData, type ScheduleCreate } from "../../sdk/protocol/index.ts";
import { dueBetween, nextDue } from "./cron.ts";
import { nextDeadline } from "./machine.ts";
import { OFFER, SESSION, Simulation, T0 } from "./simulation.ts";
import type { State } from "./state.ts";

const ID = newChildId("schedule", SESSION, T0);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A session that lives by a schedule; nothing of it has run. */
function scheduled(more: Partial<ScheduleCreate> = {}, input: ConstructorParameters<typeof Simulation>[0] = {}): Simulation {
  const world = new Simulation({ idle_timeout_seconds: 30, ...input }, "scheduled");
  const rule = { cron: "0 * * * *", timezone: "UTC", timeout_seconds: 600, max_retries: 0, continue: false, pause_on_failure: false, disable_on_failure: 3, ...more };
  return world.feed({ type: "schedule.create", id: ID, rule, paused: more.paused ?? false, preview: "do", by: "anna" });
}
const notices = (world: Simulation): EventData<"schedule.run">[] => world.log.flatMap(({ item }) => (item.type === "schedule.run" ? [item.data] : []));
const statuses = (world: Simulation) => notices(world).map(({ status }) => status);
/** The object dies and is there again: what is stored is plain data. */
function die(world: Simulation, linked = true): void {
  world.state = JSON.parse(JSON.stringify(world.state)) as State;
  world.feed({ type: "woken", linked });
}
/** The clock stands at the next due time, and everyone does what is right. */
function toNext(world: Simulation): void {
  world.tick((world.state.schedule?.next_at ?? world.now) - world.now);
}

describe("a schedule", () => {
  it("makes a task of every due time, without a runner before the first", () => {
    const world = scheduled();
    expect(world.calls).toEqual([]);
    expect(world.state.session).toMatchObject({ status: "pending", lifecycle_mode: "scheduled", status_reason: "gets its runner with the first run" });
    expect(nextDeadline(world.state)).toBe(T0 + HOUR);
    toNext(world);
    expect(world.calls.map(({ call }) => call.kind)).toContain("lease.request");
    const [id = ""] = world.created;
    expect(world.tasks.get(id)).toMatchObject({ status: "pending", timeout_seconds: 600, labels: { schedule: ID }, resume: { conversation: null } });
    expect(notices(world)).toEqual([{ schedule_id: ID, status: "started", due_at: new Date(T0 + HOUR).toISOString(), task_id: id, missed: 0, next_run_at: new Date(T0 + 2 * HOUR).toISOString(), by: null, reason: null }]);
    world.settle();
    expect(world.state.schedule?.last_run).toEqual({ task_id: id, status: "completed", due_at: new Date(T0 + HOUR).toISOString(), at: new Date(T0 + HOUR).toISOString() });
    for (let i = 2; i <= 4; i++) {
      toNext(world);
      world.settle();
      expect(world.now).toBeGreaterThanOrEqual(T0 + i * HOUR);
    }
    expect(statuses(world)).toEqual(["started", "started", "started", "started"]);
  });

  it("continues the conversation where it is to, and begins a fresh one where not", () => {
    for (const goesOn of [true, false]) {
      const world = scheduled({ continue: goesOn });
      toNext(world);
      world.attached().reports("completed", { conversation: "c1" });
      toNext(world);
      world.attached();
      expect(world.commands("task.start").at(-1)?.body).toMatchObject({ conversation: goesOn ? "c1" : null });
    }
  });

  it("is suspended between its runs as its provider says, but not where the next run is near", () => {
    const world = scheduled({}, {});
    world.offer = OFFER;
    toNext(world);
    world.settle().tick(30_000);
    expect(world.state.session).toMatchObject({ status: "suspending", status_reason: "until its next run" });
    world.capsule().settle();
    expect(world.state).toMatchObject({ session: { status: "suspended" }, suspending: { strategy: "pause", cause: "schedule" } });
    toNext(world);
    expect(world.state.session?.status).toBe("resuming");
    world.settle();
    expect(world.tasks.get(world.created[1] ?? "")?.status).toBe("completed");

    const often = scheduled({ cron: "* * * * *" });
    toNext(often);
    often.settle().tick(30_000);
    expect(often.state.session?.status).toBe("active");
  });

  it("skips what is due while the last run has not ended, and says so", () => {
    const world = scheduled();
    toNext(world);
    world.attached();
    const [id = ""] = world.created;
    world.tick(HOUR / 2);
    expect(world.state.running?.ending?.why).toBe("timeout");
    const asking = scheduled({ timeout_seconds: 604_800 });
    toNext(asking);
    asking.attached();
    toNext(asking);
    expect(notices(asking).at(-1)).toMatchObject({ status: "skipped", task_id: asking.created[0], due_at: new Date(T0 + 2 * HOUR).toISOString(), reason: "the last run has not ended" });
    expect(asking.created).toHaveLength(1);
    asking.reports("completed");
    toNext(asking);
    expect(statuses(asking)).toEqual(["started", "skipped", "started"]);
    expect(world.tasks.get(id)?.attempts).toBe(1);
  });

  it("catches up what was missed with one run", () => {
    const world = scheduled();
    world.tick(5.5 * HOUR);
    expect(world.created).toHaveLength(1);
    expect(notices(world)).toMatchObject([{ status: "caught_up", due_at: new Date(T0 + HOUR).toISOString(), missed: 4, next_run_at: new Date(T0 + 6 * HOUR).toISOString(), reason: expect.stringContaining("4 more times since; one run for all") }]);
    // A little late is not missed.
    world.settle();
    world.tick(T0 + 6 * HOUR + 20_000 - world.now);
    expect(statuses(world)).toEqual(["caught_up", "started"]);
    world.settle();
    world.tick(10_000 * HOUR);
    expect(notices(world).at(-1)).toMatchObject({ missed: 1_000, reason: expect.stringContaining("at least 1000 more") });
  });

  it("counts failures in a row, pauses or is disabled by them, and begins anew when it is resumed", () => {
    const world = scheduled({ disable_on_failure: 3 });
    for (let i = 0; i < 3; i++) {
      toNext(world);
      world.attached().reports("failed", { error: { code: "agent_failed", message: "no idea" } });
    }
    expect(world.state.schedule).toMatchObject({ status: "disabled", consecutive_failures: 3, next_at: null, status_reason: "disabled after 3 failed runs in a row; the last: no idea" });
    expect(notices(world).at(-1)).toMatchObject({ status: "stopped", task_id: world.created[2], next_run_at: null });
    expect(world.log.at(-1)?.item.type === "schedule.run" && world.log.at(-1)?.task_id).toBeNull();
    world.tick(100 * HOUR);
    expect(world.created).toHaveLength(3);
    expect(world.feed({ type: "schedule.pause", by: "anna" }).refused).toBe("conflict");
    world.feed({ type: "schedule.resume", by: "anna" });
    expect(world.state.schedule).toMatchObject({ status: "active", consecutive_failures: 0, next_at: (Math.floor(world.now / HOUR) + 1) * HOUR });

    const pausing = scheduled({ pause_on_failure: true });
    toNext(pausing);
    pausing.attached().reports("failed");
    expect(pausing.state.schedule).toMatchObject({ status: "paused", consecutive_failures: 1, status_reason: expect.stringContaining("paused because a run failed") });

    const never = scheduled({ disable_on_failure: null });
    for (let i = 0; i < 9; i++) {
      toNext(never);
      never.attached().reports("failed");
    }
    expect(never.state.schedule).toMatchObject({ status: "active", consecutive_failures: 9 });
    toNext(never);
    never.attached().reports("completed");
    expect(never.state.schedule).toMatchObject({ consecutive_failures: 0, last_run: { status: "completed" } });
  });

  it("takes a retried or canceled run as what it is", () => {
    const world = scheduled({ max_retries: 1, disable_on_failure: 1 });
    toNext(world);
    world.attached().reports("failed");
    expect(world.state.schedule).toMatchObject({ status: "active", consecutive_failures: 0, last_run: { status: "pending" } });
    world.change("task.cancel", world.created[0] ?? "");
    expect(world.state.schedule).toMatchObject({ status: "active", consecutive_failures: 0, last_run: { status: "canceled" } });
    world.change("task.retry", world.created[0] ?? "").settle();
    expect(world.state.schedule).toMatchObject({ last_run: { status: "completed" } });
  });

  it("is paused, resumed without catching up, run by hand, and changed", () => {
    const world = scheduled({ paused: true });
    expect(world.state.schedule).toMatchObject({ status: "paused", next_at: null, status_reason: "made paused by anna" });
    world.tick(10 * HOUR);
    const trigger = (id = newChildId("task", SESSION, world.now)) => {
      world.feed({ type: "schedule.trigger", task_id: id, by: "anna", known: world.tasks.get(id) ?? null });
      return id;
    };
    const id = trigger();
    expect(notices(world)).toMatchObject([{ status: "started", by: "anna", task_id: id, due_at: new Date(world.now).toISOString(), next_run_at: null }]);
    trigger(id);
    expect([world.refused, world.created]).toEqual([null, [id]]);
    trigger();
    expect(world.refused).toBe("conflict");
    world.settle();
    world.feed({ type: "schedule.resume", by: "anna" });
    expect(world.state.schedule).toMatchObject({ status: "active", next_at: T0 + 11 * HOUR });
    world.feed({ type: "schedule.update", patch: { cron: "30 2 * * *", timezone: "Europe/Berlin", pause_on_failure: true }, preview: null });
    expect(world.state.schedule).toMatchObject({ cron: "30 2 * * *", pause_on_failure: true, next_at: Date.parse("2026-11-22T01:30:00Z") });
    expect(world.feed({ type: "session.update", patch: { lifecycle_mode: "always_on" } }).refused).toBe("conflict");
  });

  it("ends with its session, or leaves it", () => {
    const world = scheduled();
    toNext(world);
    world.attached().feed({ type: "session.terminate", by: "anna" });
    expect(world.state.schedule).toMatchObject({ status: "disabled", status_reason: "its session was terminated by anna", next_at: null, last_run: { status: "canceled" } });
    for (const type of ["schedule.resume", "schedule.trigger"] as const) {
      expect(world.feed(type === "schedule.resume" ? { type, by: "anna" } : { type, task_id: newChildId("task", SESSION, 1), by: "anna", known: null }).refused).toBe("conflict");
    }
    world.feed({ type: "schedule.delete", by: "anna", keep_session: false });
    expect(world.state.schedule?.status).toBe("deleted");

    const kept = scheduled();
    toNext(kept);
    kept.feed({ type: "schedule.delete", by: "anna", keep_session: true });
    expect(kept.state).toMatchObject({ session: { status: "pending", lifecycle_mode: "on_demand" }, schedule: { status: "deleted", next_at: null } });
    kept.settle().tick(50 * HOUR);
    expect([kept.created.length, kept.tasks.get(kept.created[0] ?? "")?.status]).toEqual([1, "completed"]);
    const gone = scheduled();
    gone.feed({ type: "schedule.delete", by: "anna", keep_session: false });
    expect(gone.state.session?.status).toBe("terminated");
  });
});

describe("whatever the clock does, and however often the object dies", () => {
  const act = fc.tuple(fc.constantFrom("pass", "pass", "pass", "jump", "back", "rewind", "die", "die unlinked", "work", "work", "fail", "cancel", "pause", "resume", "trigger", "lose", "suspend", "to due", "to due"), fc.nat(1_000_000));
  const cron = fc.constantFrom("* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0,30 1-3 * * *", "15 0 1 * *");
  const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York");

  function perform(world: Simulation, [name, n]: readonly [string, number]): void {
    const { running, schedule, session } = world.state;
    if (name === "pass") world.tick(n % (2 * HOUR));
    else if (name === "jump") world.tick(n * 1_000 * 60);
    else if (name === "back") world.tick(-(n % (3 * HOUR)));
    else if (name === "rewind") {
      // Resuming asks for the next due time anew, by a clock that is wrong.
      world.feed({ type: "schedule.pause", by: "anna" });
      world.tick(-(n % (3 * HOUR)));
      world.feed({ type: "schedule.resume", by: "anna" });
    } else if (name === "die" || name === "die unlinked") die(world, name === "die");
    else if (name === "work") world.settle();
    else if (name === "fail" && running) world.reports("failed");
    else if (name === "cancel") world.change("task.cancel", world.created.at(-1) ?? newChildId("task", SESSION, T0));
    else if (name === "pause") world.feed({ type: "schedule.pause", by: "anna" });
    else if (name === "resume") world.feed({ type: "schedule.resume", by: "anna" });
    else if (name === "trigger") world.feed({ type: "schedule.trigger", task_id: newChildId("task", SESSION, world.now), by: "anna", known: null });
    else if (name === "lose") world.feed({ type: "runner.gone", epoch: world.state.counters.epoch, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" });
    else if (name === "suspend" && session?.status === "active") world.suspend();
    else if (name === "to due" && schedule?.next_at) world.tick(Math.max(0, schedule.next_at - world.now));
  }

  it("no due time becomes two runs, a silence at most one, and what passed is accounted for", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(cron, zone, fc.array(act, { maxLength: 40 }), fc.boolean(), (expression, timezone, acts, steady) => {
        const rule = { cron: expression, timezone };
        const world = scheduled({ ...rule, disable_on_failure: steady ? null : 3 });
        let served = T0;
        let seen = 0;
        for (const step of acts) {
          if (steady && ["back", "rewind", "pause", "resume"].includes(step[0])) continue;
          const before = world.now;
          perform(world, step);
          const fresh = notices(world).slice(seen).filter(({ by, status }) => by === null && status !== "stopped");
          seen = notices(world).length;
          // One step of the clock is one decision, however much of it passed; `work` takes many steps.
          if (step[0] !== "work") expect(fresh.length).toBeLessThanOrEqual(1);
          for (const { due_at } of fresh) {
            const at = Date.parse(due_at ?? "");
            expect(nextDue(rule, at - 1), "only what is due").toBe(at);
            expect(at, "nothing before it is due").toBeLessThanOrEqual(Math.max(before, world.now));
            expect(at, "each due time once").toBeGreaterThan(served);
            // What passed with it is served, too.
            served = step[0] === "work" ? at : Math.max(at, world.now);
          }
          const open = world.created.filter((id) => ["pending", "running"].includes(world.tasks.get(id)?.status ?? ""));
          expect(open.length, "one run at a time").toBeLessThanOrEqual(1);
          const { schedule } = world.state;
          if (schedule?.next_at) expect(nextDue(rule, schedule.next_at - 1), "the next run is a due time").toBe(schedule.next_at);
          expect(schedule?.status === "active").toBe(schedule?.next_at !== null);
        }
        if (!steady) return;
        world.tick();
        const said = notices(world).filter(({ by, status }) => by === null && status !== "stopped");
        if (said.some(({ missed }) => missed >= 1_000)) return;
        expect(said.reduce((sum, { missed }) => sum + 1 + missed, 0), "every due time was run, skipped or counted as missed").toBe(dueBetween(rule, T0, world.now, 1_000_000));
      }),
      { numRuns: 150 },
    );
  });
});
