/** Owns the tests of capsules that somebody asks for: when a runner is asked, and that each of them is answered, whatever happens to it. */

import { describe, expect, it } from "vitest";
import { newChildId, newId } from "../../sdk/protocol/index.ts";
import { capsuleSynced, hostWish } from "./capsules.ts";
import { HOST, OFFER, SESSION, Simulation } from "./simulation.ts";
import { Work } from "./work.ts";

function worldWith(): Simulation {
  const world = new Simulation();
  world.offer = OFFER;
  return world.attached();
}
let count = 0;
/** Asks for a capsule; its id. */
function ask(world: Simulation): string {
  const id = newChildId("capsule", SESSION, world.now + ++count);
  world.feed({ type: "capsule.take", id });
  return id;
}
const failures = (world: Simulation) => world.log.flatMap(({ item }) => (item.type === "workspace.sync_failed" ? [[item.data.capsule_id, item.data.why, item.data.error.message]] : []));
const refusal = (world: Simulation) => world.last.find((effect) => effect.kind === "refuse")?.error;

describe("a capsule that somebody asks for", () => {
  it("is ordered once, without a word to the agent, and is the latest when it is there", () => {
    const world = worldWith();
    world.task();
    const id = ask(world);
    world.feed({ type: "capsule.take", id });
    expect(world.commands("capsule").map(({ body }) => body)).toEqual([{ kind: "capsule", capsule_id: id, why: "manual", stop_agent: false }]);
    world.synced(id, "manual");
    expect(world.state.session?.capsule_id).toBe(id);
    expect(world.state.running).not.toBeNull();
    world.reports("completed");
    expect(hostWish(world.state)).toEqual({ host_id: HOST, must: true });
    expect(world.down().tick(60_000).state.attachment?.epoch).not.toBe(1);
    expect(failures(world)).toEqual([]);
  });

  it("is told to have failed when a newer one, a suspension or the runner's end comes before it", () => {
    const world = worldWith();
    const [first, second] = [ask(world), ask(world)];
    expect(failures(world)).toEqual([[first, "manual", expect.stringContaining(second)]]);
    world.suspend("pause");
    expect(failures(world).slice(1)).toEqual([[second, "manual", expect.stringContaining("suspended")]]);
    const other = worldWith();
    const lost = ask(other);
    other.down().tick(60_000);
    expect(failures(other)).toEqual([[lost, "manual", expect.stringContaining("runner")]]);
    const ended = worldWith();
    ask(ended);
    ended.feed({ type: "session.terminate", by: "anna" }).down(true);
    expect(failures(ended)).toEqual([]);
  });

  it("has no turn that was interrupted: only a suspension's has, of the host that it was interrupted on", () => {
    const elsewhere = newId("host", 2);
    for (const [why, host_id, left] of [["suspend", HOST, null], ["suspend", elsewhere, elsewhere], ["manual", HOST, HOST]] as const) {
      const world = worldWith();
      world.suspend("terminate_preserve_storage").capsule().down(true);
      world.task();
      world.attached();
      const { running, queue } = world.state;
      if (!running) expect.unreachable();
      const head = { ...running.task, interrupted: { run_id: running.run.id, conversation: "c1", host_id, permissions: [] } };
      const work = new Work({ ...world.state, running: null, queue: [head, ...queue] }, world.now, "");
      const tree = { manifest_id: newId("manifest", 1), files: 1, bytes: 1, sent_bytes: 1 };
      capsuleSynced(work, { capsule_id: newChildId("capsule", SESSION, 1), why, workspace: tree, state: tree, torn: false, left_out: [], duration_ms: 1 }, { task_id: null, run_id: null });
      expect(work.state.queue[0]?.interrupted?.host_id).toBe(left);
    }
  });

  it("is refused, with what would work, where no runner can take one", () => {
    const none = new Simulation();
    ask(none);
    expect(refusal(none)).toMatchObject({ code: "conflict", details: { status: "pending", instead: ["wait"] } });
    const world = worldWith();
    world.suspend("terminate_preserve_storage");
    ask(world);
    expect(refusal(world)).toMatchObject({ code: "conflict", details: { status: "suspending", instead: ["wait"] } });
    world.capsule().down(true);
    ask(world);
    expect(refusal(world)).toMatchObject({ code: "conflict", message: expect.stringContaining(world.capsules[0]?.id ?? "-"), details: { status: "suspended", instead: ["resume"] } });
    world.feed({ type: "session.terminate", by: "anna" });
    ask(world);
    expect(refusal(world)).toMatchObject({ code: "conflict", details: { instead: ["fork"] } });
    const given = worldWith();
    given.feed({ type: "lease.wanted", epoch: 1 }).down(true);
    ask(given);
    expect(refusal(given)).toMatchObject({ code: "conflict", message: expect.stringContaining("no runner") });
    const away = worldWith().down();
    ask(away);
    expect(refusal(away)).toMatchObject({ code: "conflict", details: { instead: ["wait"] } });
  });
});
