/** Owns the tests of suspension in the machine: tables with a fixed time, one for each way there and back. */

import { describe, expect, it } from "vitest";
import type { Capsule, SuspendStrategy } from "../../sdk/protocol/index.ts";
import { hostWish } from "./capsules.ts";
import { receiptOf } from "./receipt.ts";
import { HOST, OFFER, Simulation, T0 } from "./simulation.ts";
import { idleDeadline } from "./suspend.ts";

/** A session on a provider that can do everything, with its runner. */
function worldWith(more: Partial<typeof OFFER> = {}, input: ConstructorParameters<typeof Simulation>[0] = {}): Simulation {
  const world = new Simulation(input);
  world.offer = { ...OFFER, ...more };
  return world.attached();
}
function held(world: Simulation, strategy: SuspendStrategy = "pause"): Simulation {
  world.suspend(strategy).capsule();
  return world.feed({ type: "host.suspended", runner_id: world.state.attachment?.runner_id ?? "", answer: { ok: true, strategy, detail: "" } });
}
const status = (world: Simulation) => world.state.session?.status;
const calls = (world: Simulation) => world.state.chores.map(({ call }) => call.kind);
const receipts = (world: Simulation) => world.log.flatMap(({ item }) => (item.type === "session.receipt" ? [item.data] : []));

describe("a session is suspended", () => {
  it("by idleness after its time, not sooner than its provider allows, and not where it is always on", () => {
    const world = worldWith({ min_duration_seconds: 1_000 });
    expect(idleDeadline(world.state)).toBe(T0 + 1_000_000);
    world.task();
    world.reports("completed").tick(999_999);
    expect(status(world)).toBe("active");
    world.tick(1);
    expect(world.state.suspending).toMatchObject({ cause: "idle", phase: "capsule", strategy: "pause" });
    const always = worldWith({}, { lifecycle_mode: "always_on" });
    expect(idleDeadline(always.state)).toBeNull();
    expect(always.feed({ type: "lease.wanted", epoch: 1 }).commands("stop")).toEqual([]);
  });
  it("by idleness also where it has given its runner back, without asking anybody", () => {
    const world = worldWith();
    world.feed({ type: "lease.wanted", epoch: 1 }).down(true);
    expect(status(world)).toBe("active");
    world.tick(900_000);
    expect(status(world)).toBe("suspended");
    world.task();
    expect(status(world)).toBe("resuming");
    world.attached();
    expect(world.state.running).not.toBeNull();
  });
  it("by silence: an answer begins it anew, and time stands still meanwhile", () => {
    const world = worldWith();
    const id = world.task({ timeout_seconds: 60 });
    world.reports("running");
    const [first, second] = [world.asks(), world.asks()];
    world.tick(1_799_999).answer(first).tick(1_799_999);
    expect(status(world)).toBe("active");
    world.tick(1);
    expect(world.state.suspending?.cause).toBe("permission");
    held(world);
    expect(status(world)).toBe("suspended");
    // Days, in which neither the task's time nor patience runs out; then the answer.
    world.offer = OFFER;
    world.tick(3_000_000);
    expect(world.tasks.get(id)?.status).toBe("running");
    world.answer(second);
    expect([status(world), calls(world)]).toEqual(["resuming", expect.arrayContaining(["host.resume"])]);
  });
  it("in the way that was asked for, else as its options say, else as its provider does", () => {
    for (const [asked, option, expected] of [["snapshot", "terminate", "snapshot"], [null, "terminate", "terminate"], [null, undefined, "pause"]] as const) {
      expect(worldWith({}, option && { suspend_strategy: option }).suspend(asked).state.suspending?.strategy).toBe(expected);
    }
    const poor = new Simulation({ suspend_strategy: "pause" }).attached();
    expect(poor.suspend("pause").refused).toBe("conflict");
    expect(poor.suspend().state.suspending).toMatchObject({ strategy: "terminate_preserve_storage", trouble: "its provider cannot pause" });
  });
  it("while it waits for a runner that was never met: at once", () => {
    const world = worldWith();
    world.feed({ type: "lease.wanted", epoch: 1 }).down(true);
    world.task();
    world.suspend();
    expect([status(world), world.state.attachment]).toEqual(["suspended", null]);
    world.resume();
    expect(world.state.attachment?.epoch).toBe(3);
  });
});

describe("a held runner", () => {
  it("is demoted when it has been held for too long, then cheaper again, and its turn goes on with the next runner", () => {
    const world = worldWith();
    const id = world.task();
    world.reports("running", { conversation: "c1" });
    held(world);
    expect(world.state.suspending?.deadline).toBe(world.now + 3_600_000);
    world.tick(3_600_000);
    expect(world.state.chores.map(({ call }) => call)).toContainEqual(expect.objectContaining({ kind: "host.suspend", strategy: "snapshot", fallback: "terminate_preserve_storage" }));
    world.feed({ type: "host.suspended", runner_id: world.state.attachment?.runner_id ?? "", answer: { ok: true, strategy: "snapshot", detail: "" } });
    expect(world.tasks.get(id)).toMatchObject({ status: "pending", attempts: 1, interrupted: { conversation: "c1", host_id: null } });
    world.tick(3_600_000);
    expect([world.state.attachment, world.state.suspending?.strategy, status(world)]).toEqual([null, "terminate_preserve_storage", "suspended"]);
    world.resume().attached();
    expect(world.commands("task.start")[0]?.body).toMatchObject({ interrupted: true, conversation: "c1" });
    expect(receipts(world)).toMatchObject([{ strategy: "terminate_preserve_storage" }]);
  });
  it("gives its place to a session that waits", () => {
    const world = held(worldWith({ strategies: ["pause", "terminate_preserve_storage"] }));
    expect(calls(world)).toContain("lease.idle");
    world.feed({ type: "lease.wanted", epoch: 1 });
    expect([world.state.attachment, status(world)]).toEqual([null, "suspended"]);
    expect(calls(world)).toEqual(expect.arrayContaining(["lease.release", "host.destroy"]));
  });
  it("may lose its link without being lost, and its host without the session being lost", () => {
    const world = worldWith();
    world.task();
    held(world).down();
    expect(world.state.attachment).toMatchObject({ state: "held", linked: false });
    world.tick(600_000);
    expect(world.state.running).not.toBeNull();
    const runner_id = world.state.attachment?.runner_id ?? "";
    world.feed({ type: "runner.gone", epoch: 1, runner_id, reason: "its host was made anew" });
    expect([status(world), world.state.suspending?.strategy, world.state.queue.length]).toEqual(["suspended", "terminate_preserve_storage", 1]);
    world.resume();
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: false });
    world.attached().settle();
    expect(status(world)).toBe("active");
  });
  it("comes back by its link or by its host's word, whichever is first", () => {
    for (const order of ["link", "host"] as const) {
      const world = worldWith();
      world.task();
      held(world).down().resume();
      const runner_id = world.state.attachment?.runner_id ?? "";
      const word = () => world.feed({ type: "host.resumed", runner_id, answer: { ok: true } });
      if (order === "link") world.up();
      else word();
      expect(status(world)).toBe("active");
      if (order === "link") word();
      else world.up();
      expect(world.state.attachment?.state).toBe("connected");
      expect(receipts(world)).toHaveLength(1);
    }
  });
});

describe("a runner that is lost", () => {
  it("in mid-turn is followed by one on its host that goes on with the turn, where the agent can, without a retry", () => {
    const world = new Simulation();
    world.continues = true;
    world.attached();
    const id = world.task();
    world.reports("running", { conversation: "c1" });
    const asked = world.asks();
    world.feed({ type: "runner.gone", epoch: 1, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" });
    expect(world.statuses(id)).toEqual(["running", "pending"]);
    expect(world.permissions.get(asked)?.status).toBe("pending");
    expect(world.state.attachment).toMatchObject({ epoch: 2, state: "leasing" });
    world.attached();
    expect(world.commands("task.start")[0]?.body).toMatchObject({ interrupted: true, conversation: "c1", attempt: 2, carried: [asked] });
    expect(world.state.permissions).toEqual([{ id: asked, run_id: world.state.running?.run.id, task_id: id }]);
    // The next runner finds no end of it: after some such losses the task fails.
    for (let epoch = 2; epoch < 5; epoch++) world.feed({ type: "runner.gone", epoch, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" }).attached();
    expect(world.tasks.get(id)).toMatchObject({ status: "failed", error: { code: "runner_lost" } });
  });
  it("is asked to be replaced at once, while its task waits for its next attempt", () => {
    const world = new Simulation().attached();
    const id = world.task({ max_retries: 1 });
    world.reports("running").feed({ type: "runner.gone", epoch: 1, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" });
    expect(world.state.attachment?.state).toBe("leasing");
    world.attached().tick(1_000);
    expect(world.state.running?.task.id).toBe(id);
    expect(world.commands("task.start")[0]?.body).not.toHaveProperty("interrupted");
  });
  it("binds the next one to its host only where no capsule has what was done", () => {
    const world = new Simulation().attached();
    world.task();
    world.reports("completed");
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: true });
    world.synced();
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: false });
    world.task();
    world.reports("failed");
    expect(hostWish(world.state)?.must).toBe(true);
  });
  it("takes what ended while a capsule was read for what it may lack", () => {
    const world = new Simulation().attached();
    world.task();
    world.suspend("pause");
    const id = world.state.suspending?.capsule?.id ?? "";
    world.reading(id).reports("completed").synced(id, "suspend");
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: true });
    world.synced();
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: false });
  });
});

describe("a receipt", () => {
  const capsule = { id: "cap_1", covers: null, workspace_manifest_id: "mfst_1", state_manifest_id: null, files: 2, bytes: 10, left_out: ["big.iso: over the quota"] };
  it("says what a frozen runner kept, and what one that ended lost", () => {
    const common = { to_host_id: "host_b", capsule, conversation: true, pending_permissions: 1, queued_tasks: 2 };
    const frozen = receiptOf({ ...common, before: { how: "suspended", strategy: "pause", host_id: "host_b", trouble: null, interrupted: true }, restored: false, uncovered: true });
    expect(frozen.survived[0]).toContain("memory");
    expect(frozen.lost).toHaveLength(1);
    const moved = receiptOf({ ...common, before: { how: "lost", strategy: null, host_id: "host_a", trouble: null, interrupted: true }, restored: true, uncovered: true });
    expect(moved.text).toContain("on another host");
    expect(moved.lost.join("\n")).toMatch(/processes[^]*tool call[^]*after the capsule was taken[^]*big\.iso: over the quota/);
    expect(moved.survived.join("\n")).toMatch(/2 files, 10 bytes[^]*conversation[^]*1 permission request waiting[^]*2 tasks/);
    expect(moved).toMatchObject({ from_host_id: "host_a", to_host_id: "host_b", capsule_id: "cap_1" });
  });
});

describe("a session that goes back to an older capsule", () => {
  it("begins there with an exact restore, and gives up the turn that was interrupted since", () => {
    const world = worldWith();
    world.task();
    world.reports("completed", { conversation: "c1" }).synced();
    const [older] = world.capsules;
    const id = world.task();
    const asked = world.asks();
    world.suspend("terminate").capsule().down(true);
    expect(world.state.queue[0]?.interrupted).not.toBeNull();
    world.feed({ type: "session.resume", by: "anna", options: {}, from: { ...(older as Capsule), seq: 3, conversation: "c1" }, has_api_key: false });
    expect(world.permissions.get(asked)?.status).toBe("canceled");
    world.attached();
    expect(world.state.attachment?.restore).toMatchObject({ capsule_id: older?.id, mode: "exact" });
    expect(world.state.running).toBeNull();
    world.restored();
    expect(world.commands("task.start").at(-1)?.body).toMatchObject({ task_id: id, conversation: "c1" });
    expect(world.commands("task.start").at(-1)?.body).not.toHaveProperty("interrupted");
  });
});
