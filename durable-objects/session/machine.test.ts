import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_PENDING_PERMISSIONS, MAX_QUEUED_TASKS, newChildId, newId, TASK_ENDED } from "../../sdk/protocol/index.ts";
import { nextDeadline } from "./machine.ts";
import { act, perform } from "./acts.ts";
import { HOST, OFFER, SESSION, Simulation, T0 } from "./simulation.ts";

describe("a task", () => {
  it("is dispatched in the step in which the one before it ends", () => {
    const world = new Simulation().attached();
    const [first, second] = [world.task(), world.task()];
    world.reports("running").reports("completed", { conversation: "c1" });
    expect(world.state.running?.task.id).toBe(second);
    expect(world.commands("task.start").map(({ body }) => body.kind === "task.start" && body.conversation)).toEqual(["c1"]);
    expect(world.statuses(first)).toEqual(["running", "completed"]);
  });
  it("continues the conversation of the task that it names, however that ended", () => {
    const world = new Simulation().attached();
    const first = world.task();
    world.reports("failed", { conversation: "c1" });
    world.task();
    world.reports("completed", { conversation: "c2" });
    world.task({ continue_from: first });
    expect(world.commands("task.start").at(-1)?.body).toMatchObject({ conversation: "c1" });
    world.task({ continue_from: world.state.running?.task.id ?? "" });
    expect(world.refused).toBe("conflict");
    world.task({ continue_from: newChildId("task", SESSION, T0) });
    expect(world.refused).toBe("bad_request");
  });
  it("that is created twice is one", () => {
    const world = new Simulation().attached();
    const id = world.task();
    world.task({}, id);
    world.reports("completed");
    world.task({}, id);
    expect(world.statuses(id)).toEqual(["running", "completed"]);
  });
  it("is refused in words when too many wait", () => {
    const world = new Simulation();
    const task = world.state.queue;
    for (let i = 0; i < 3; i++) world.task();
    expect(task.length + 3).toBe(world.state.queue.length);
    const filler = world.state.queue[0];
    if (!filler) throw new Error("no task");
    world.state = { ...world.state, queue: Array.from({ length: MAX_QUEUED_TASKS }, (_, i) => ({ ...filler, id: `task_${i}`, order: i })) };
    world.created.length = 0;
    world.task();
    expect(world.refused).toBe("conflict");
  });
  it("pending is canceled at once, and canceling it again is fine", () => {
    const world = new Simulation();
    const id = world.task();
    world.change("task.cancel", id);
    expect(world.tasks.get(id)).toMatchObject({ status: "canceled", error: { code: "canceled" } });
    expect(world.change("task.cancel", id).refused).toBeNull();
  });
  it("running is interrupted, and its runner destroyed when it does not end within the grace", () => {
    const world = new Simulation().attached();
    const id = world.task({ max_retries: 3 });
    world.change("task.cancel", id);
    expect(world.commands("task.cancel")[0]?.body).toMatchObject({ why: "canceled", grace_seconds: 10 });
    expect(world.tasks.get(id)?.status).toBe("running");
    world.tick(15_000);
    expect(world.tasks.get(id)?.status).toBe("canceled");
    expect([...world.runs.values()].map(({ status }) => status)).toEqual(["lost"]);
    expect(world.state.chores.map(({ call }) => call.kind)).toContain("host.destroy");
  });
  it("that completes although it was canceled has completed", () => {
    const world = new Simulation().attached();
    const id = world.task();
    world.change("task.cancel", id).reports("completed");
    expect(world.tasks.get(id)?.status).toBe("completed");
    expect(world.change("task.cancel", id).refused).toBe("conflict");
  });
  it("out of time is interrupted; the runner's word or the end of the grace ends it as timeout", () => {
    for (const end of [(w: Simulation) => w.reports("timeout"), (w: Simulation) => w.tick(15_000), (w: Simulation) => w.reports("failed")]) {
      const world = new Simulation().attached();
      const id = world.task({ timeout_seconds: 60 });
      world.reports("running").tick(60_000);
      expect(world.commands("task.cancel")[0]?.body).toMatchObject({ why: "timeout" });
      end(world);
      expect(world.tasks.get(id)).toMatchObject({ status: "timeout", error: { code: expect.any(String) } });
    }
  });
  it("is tried again with exponential backoff, in its place, until no retries are left", () => {
    const world = new Simulation().attached();
    const id = world.task({ max_retries: 2 });
    const behind = world.task();
    for (const wait of [1_000, 2_000]) {
      world.reports("failed");
      expect(world.tasks.get(id)?.status).toBe("pending");
      expect(nextDeadline(world.state)).toBeLessThanOrEqual(world.now + wait);
      world.tick(wait - 1);
      expect(world.state.running).toBeNull();
      world.tick(1);
      expect(world.state.running?.task.id).toBe(id);
    }
    world.reports("lost");
    expect(world.tasks.get(id)).toMatchObject({ status: "failed", attempts: 3, error: { code: "runner_lost" } });
    expect(world.state.running?.task.id).toBe(behind);
  });
  it("is not begun by a runner that had told of its attempt's end and forgot that it was given it", () => {
    const world = new Simulation().attached();
    world.task({ max_retries: 1 });
    const [start] = world.commands("task.start");
    world.reports("failed");
    expect(world.state.commands.find(({ id }) => id === start?.id)?.body).toEqual({ kind: "settings" });
    world.tick(1_000);
    expect(world.commands("task.start").map(({ id }) => id)).toEqual([(start?.id ?? 0) + 1]);
  });
  it("does not wait for its backoff when it is executed", () => {
    const world = new Simulation().attached();
    const id = world.task({ max_retries: 1 });
    world.reports("failed").change("task.execute", id);
    expect(world.state.running?.task.id).toBe(id);
    expect(world.change("task.execute", id).refused).toBe("conflict");
  });
  it("that ended badly goes to the end of the queue when it is tried again by hand; a completed one does not", () => {
    const world = new Simulation().attached();
    const id = world.task();
    world.reports("failed");
    const other = world.task();
    world.task();
    expect(world.change("task.retry", id).refused).toBeNull();
    expect(world.state.queue.at(-1)?.id).toBe(id);
    world.reports("completed");
    expect(world.change("task.retry", other).refused).toBe("conflict");
    world.settle();
    expect(world.tasks.get(id)).toMatchObject({ status: "completed", attempts: 2 });
  });
});

describe("a permission", () => {
  it("is answered once; the second answer hears what was decided", () => {
    const world = new Simulation().attached();
    world.task();
    const id = world.asks();
    world.answer(id, "denied");
    expect(world.commands("permission.answer")[0]?.body).toMatchObject({ decision: "denied", permission_id: id });
    world.answer(id);
    expect(world.last.find((effect) => effect.kind === "refuse")?.error).toMatchObject({ code: "conflict", details: { status: "denied", decision: { by_name: "anna" } } });
    world.answer(newChildId("permission", SESSION, T0));
    expect(world.refused).toBe("not_found");
  });
  it("is canceled when its run ends or the agent takes it back", () => {
    const world = new Simulation().attached();
    world.task();
    const [first, second] = [world.asks(), world.asks()];
    world.journal({ at: "", type: "permission.withdrawn", data: { permission_id: first } });
    world.reports("completed");
    for (const id of [first, second]) expect(world.permissions.get(id)?.status).toBe("canceled");
  });
  it("stops the task's clock while it waits", () => {
    const world = new Simulation().attached();
    world.task({ timeout_seconds: 60 });
    world.reports("running").tick(40_000);
    const id = world.asks();
    world.tick(86_400_000);
    expect(world.state.running?.ending).toBeNull();
    world.answer(id).tick(19_999);
    expect(world.state.running?.ending).toBeNull();
    world.tick(1);
    expect(world.state.running?.ending?.why).toBe("timeout");
  });
  it("beyond the limit is denied at once, in words", () => {
    const world = new Simulation().attached();
    world.task();
    for (let i = 0; i < MAX_PENDING_PERMISSIONS; i++) world.asks();
    const id = world.asks();
    expect(world.permissions.get(id)).toMatchObject({ status: "denied", decision: { by: "system", reason: expect.stringContaining("1000") } });
    expect(world.state.permissions.length).toBe(MAX_PENDING_PERMISSIONS);
    expect(world.log.at(-1)?.item).toMatchObject({ type: "permission.answered", data: { status: "denied" } });
  });
});

describe("an attachment", () => {
  it("says why a task waits, within the step that knows it", () => {
    const world = new Simulation();
    const id = world.task();
    world.feed({ type: "lease.queued", epoch: 1, reason: "2 hosts match, both full" });
    expect(world.tasks.get(id)?.waiting_for).toBe("2 hosts match, both full");
    expect(world.state.session?.status_reason).toBe("2 hosts match, both full");
    expect(world.statuses(id)).toEqual(["pending"]);
    world.attached();
    expect(world.state.session).toMatchObject({ status: "active", status_reason: null, host_id: HOST });
    expect(world.state.running?.task.id).toBe(id);
  });
  it("comes back within the grace without losing its run, and later does not", () => {
    const world = new Simulation().attached();
    const id = world.task();
    world.feed({ type: "link.down", epoch: 1, stopped: false }).tick(29_999).up();
    expect(world.state.running?.task.id).toBe(id);
    world.feed({ type: "link.down", epoch: 1, stopped: false }).tick(30_000);
    expect(world.tasks.get(id)).toMatchObject({ status: "failed", error: { code: "runner_lost" } });
    expect(world.state.attachment).toBeNull();
  });
  it("gives its runner back when others wait and nothing is left to do, and not before", () => {
    const world = new Simulation().attached();
    world.task();
    world.feed({ type: "lease.wanted", epoch: 1 });
    expect(world.commands("stop")).toEqual([]);
    world.reports("completed").feed({ type: "lease.wanted", epoch: 1 });
    expect(world.commands("stop").length).toBe(1);
    world.task();
    expect(world.state.running).toBeNull();
    world.feed({ type: "link.down", epoch: 1, stopped: true });
    expect(world.state.attachment).toMatchObject({ epoch: 2, state: "leasing" });
    expect(world.state.chores.map(({ call }) => call)).toContainEqual({ kind: "lease.release", epoch: 1 });
  });
  it("serves one task only where every task gets a runner of its own", () => {
    const world = new Simulation({ runner_lifecycle: "per-task" }).attached();
    world.task();
    world.task();
    world.reports("completed");
    expect(world.commands("stop").length).toBe(1);
    world.feed({ type: "link.down", epoch: 1, stopped: true }).attached();
    expect(world.state.attachment?.epoch).toBe(2);
    expect(world.state.running).not.toBeNull();
  });
  it("is replaced when the session gets a new model key", () => {
    const world = new Simulation().attached();
    world.task();
    world.feed({ type: "session.update", patch: { has_api_key: true } });
    expect(world.commands("stop")).toEqual([]);
    world.reports("completed");
    expect(world.commands("stop").length).toBe(1);
  });
  it("that is drained ends its task and takes no other, and a paused one is refused", () => {
    const world = new Simulation().attached();
    world.task();
    const next = world.task();
    world.feed({ type: "runner.drain", by: "anna" }).feed({ type: "runner.drain", by: "ben" });
    expect([world.commands("stop"), world.state.attachment?.runner?.status_reason]).toEqual([[], "takes no new task"]);
    world.reports("completed");
    expect(world.commands("stop").length).toBe(1);
    world.feed({ type: "link.down", epoch: 1, stopped: true }).attached();
    expect([world.state.attachment?.epoch, world.state.running?.task.id]).toEqual([2, next]);
    world.reports("completed").suspend();
    expect(world.feed({ type: "runner.drain", by: "anna" }).refused).toBe("conflict");
  });
  it("whose spawn fails for good fails the task at once; one that may work later waits, and five in a row fail it", () => {
    const refuse = (world: Simulation, retryable: boolean) =>
      world.grant().feed({ type: "spawn.answered", runner_id: world.state.attachment?.runner_id ?? "", answer: { ok: false, retryable, error: { code: "image_missing", message: "no image" } } });
    const world = new Simulation();
    const id = world.task();
    refuse(world, false);
    expect(world.tasks.get(id)).toMatchObject({ status: "failed", error: { code: "image_missing" }, attempts: 1 });
    const other = world.task();
    for (let i = 0; i < 5; i++) {
      expect(world.tasks.get(other)?.status).toBe("pending");
      refuse(world, true);
      if (i < 4) expect(world.tasks.get(other)?.waiting_for).toContain("no image");
      world.tick(2 ** i * 1_000);
    }
    expect(world.tasks.get(other)?.status).toBe("failed");
  });
  it("starts its runner anew when its token is forgotten", () => {
    const world = new Simulation().grant();
    const old = world.state.attachment?.runner_id ?? "";
    const fresh = newId("runner", T0 + 1);
    world.feed({ type: "spawn.renewed", runner_id: old, new_runner_id: fresh, token_hash: "other" });
    expect(world.state.attachment).toMatchObject({ runner_id: fresh, token_hash: "other", state: "spawning" });
    expect(world.state.chores.map(({ key }) => key)).toEqual(expect.arrayContaining([`destroy:${old}`, `spawn:${fresh}`]));
    expect(world.feed({ type: "spawn.renewed", runner_id: old, new_runner_id: old, token_hash: "x" }).state.attachment?.runner_id).toBe(fresh);
  });
  it("of an epoch that is over changes nothing, and a lease for it goes back", () => {
    const world = new Simulation().attached();
    world.feed({ type: "runner.gone", epoch: 1, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" });
    world.task();
    const before = world.state;
    for (const input of [
      { type: "lease.queued", epoch: 1, reason: "x" }, { type: "link.up", epoch: 1, last_command: 0 }, { type: "link.down", epoch: 1, stopped: true },
      { type: "journal", epoch: 1, to: 9, task_id: null, run_id: null, items: [], seq: 0 }, { type: "command.ack", epoch: 1, up_to: 9 },
    ] as const) expect(world.feed(input).state).toBe(before);
    world.calls = [];
    world.state = { ...world.state, chores: [] };
    world.grant(1);
    expect(world.state.attachment).toBe(before.attachment);
    expect(world.state.chores.map(({ call }) => call)).toEqual([{ kind: "lease.release", epoch: 1 }]);
  });
});

describe("a session", () => {
  it("ends with everything in it, and asks for nothing more", () => {
    const world = new Simulation().attached();
    const ids = [world.task(), world.task(), world.task()];
    world.asks();
    world.feed({ type: "session.terminate", by: "anna" });
    for (const id of ids) expect(world.tasks.get(id)?.status).toBe("canceled");
    expect(world.log.at(-1)?.item).toMatchObject({ type: "session.status", data: { status: "terminated" } });
    expect(world.commands().map(({ body }) => body.kind)).toEqual(["settings", "task.cancel", "stop"]);
    world.task();
    expect(world.refused).toBe("conflict");
    world.tick(15_000).settle();
    expect(world.answered).toEqual(expect.arrayContaining([{ kind: "lease.release", epoch: 1 }, { kind: "host.forget", host_id: HOST }]));
    expect(nextDeadline(world.state)).toBeNull();
  });
  it("that allows edits until the task ends does not allow them in the next one", () => {
    const world = new Simulation().attached();
    world.task();
    world.task();
    world.feed({ type: "session.update", patch: { edit_mode: "turn" } }).reports("running").reports("completed");
    expect(world.state.session?.edit_mode).toBe("off");
    // The runner hears of it before it begins the next task.
    expect(world.commands("settings").filter(({ id }) => id > 1)).toHaveLength(2);
    expect(world.commands("settings").at(-1)?.id).toBeLessThan(world.commands("task.start").at(-1)?.id ?? 0);
  });
  it("tells its runner when rules or edit mode change", () => {
    const world = new Simulation().attached();
    world.feed({ type: "session.update", patch: { edit_mode: "session" } }).feed({ type: "session.update", patch: { rules: [{ verdict: "allow" }] } }).feed({ type: "session.update", patch: { name: "x" } });
    expect(world.commands("settings").length).toBe(2);
  });
});

describe("whatever happens in whatever order", () => {
  it("keeps its invariants, and once all behave, every task ends once, every lease is given back and every suspended session can resume", () => {
    const kind = fc.record({ runner_lifecycle: fc.constantFrom("per-session" as const, "per-task" as const), lifecycle_mode: fc.constantFrom("on_demand" as const, "always_on" as const), offers: fc.boolean(), continues: fc.boolean(), version: fc.constantFrom(2, 3, 3, 3) });
    fc.assert(
      fc.property(kind, fc.array(act, { maxLength: 150, size: "max" }), ({ runner_lifecycle, lifecycle_mode, offers, continues, version }, acts) => {
        const world = new Simulation({ runner_lifecycle, lifecycle_mode, idle_timeout_seconds: 60, suspend_after_seconds: 120 });
        Object.assign(world, { continues, version, ...(offers && { offer: OFFER }) });
        for (const one of acts) perform(world, one);
        world.settle();
        const { session } = world.state;
        if (session?.status === "suspended") {
          world.resume().settle();
          expect(world.state.session?.status).toBe("active");
        }
        for (const id of world.created) expect(TASK_ENDED.has(world.tasks.get(id)?.status ?? "pending")).toBe(true);
        expect(world.state.chores).toEqual([]);
        expect(world.state.permissions).toEqual([]);
        for (let epoch = 1; epoch <= world.state.counters.epoch; epoch++) expect(world.released.has(epoch)).toBe(epoch !== world.state.attachment?.epoch);
        const ends = world.log.filter(({ item }) => item.type === "task.status" && TASK_ENDED.has(item.data.status));
        const retries = world.log.filter(({ item }) => item.type === "task.status" && item.data.reason === "tried again by hand");
        expect(ends.length).toBe(world.created.length + retries.length);
        for (const [id, decision] of world.answers) expect(world.permissions.get(id)?.status).toBe(decision);
      }),
      { numRuns: 500 },
    );
  });
});
