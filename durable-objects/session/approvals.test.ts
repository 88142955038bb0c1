/** Owns the tests of approvals with a scope in the machine: how long each holds, and who takes it back. */

import { describe, expect, it } from "vitest";
import { keepGrants, MAX_GRANTS, newId } from "../../sdk/protocol/index.ts";
import { sessionOf } from "./session.ts";
import { OFFER, Simulation } from "./simulation.ts";

function worldWith(): Simulation {
  const world = new Simulation();
  world.offer = OFFER;
  world.attached();
  return world;
}
const held = (world: Simulation) => ({ turn: world.state.approvals.turn.length, session: world.state.approvals.session.length });
/** A running task that has asked and was answered with both scopes. */
function approved(world: Simulation): Simulation {
  world.task({ max_retries: 1 });
  world.reports("running");
  return world.answer(world.asks(), "approved", "turn").answer(world.asks(), "approved", "session");
}

describe("an approval with a scope", () => {
  it("for the turn ends with the run, also where its task is tried again; for the session it stays until that ends", () => {
    const world = approved(worldWith());
    expect(held(world)).toEqual({ turn: 1, session: 1 });
    world.reports("failed");
    expect(held(world)).toEqual({ turn: 0, session: 1 });
    world.feed({ type: "session.terminate", by: "anna" });
    expect(held(world)).toEqual({ turn: 0, session: 0 });
  });

  it("goes on with an interrupted turn, and takes an answer that comes while the session is suspended", () => {
    const world = worldWith();
    world.task();
    world.reports("running");
    const [first, second, third] = [world.asks(), world.asks(), world.asks()];
    world.answer(first, "approved", "turn").suspend("terminate").capsule().down(true);
    expect(world.state.session?.status).toBe("suspended");
    expect(held(world)).toEqual({ turn: 1, session: 0 });
    world.answer(second, "approved", "turn").answer(third, "approved", "session");
    expect(held(world)).toEqual({ turn: 2, session: 1 });
    world.attached().restored();
    expect(world.commands("task.start").at(-1)?.body).toMatchObject({ interrupted: true });
    expect(held(world)).toEqual({ turn: 2, session: 1 });
    world.reports("completed");
    expect(held(world)).toEqual({ turn: 0, session: 1 });
  });

  it("for the turn does not outlive a turn that is lost with its host, or canceled while it waits", () => {
    const world = worldWith();
    world.continues = true;
    world.task({ max_retries: 1 });
    world.up().reports("running");
    world.answer(world.asks(), "approved", "turn").feed({ type: "runner.gone", epoch: 1, runner_id: world.state.attachment?.runner_id ?? "", reason: "killed" });
    expect([world.state.queue[0]?.interrupted !== null, held(world)]).toEqual([true, { turn: 1, session: 0 }]);
    world.feed({ type: "lease.granted", epoch: 2, host_id: newId("host", 9), runner_id: newId("runner", 9), token_hash: "h" }).spawned().up();
    expect([world.state.running !== null, held(world)]).toEqual([true, { turn: 0, session: 0 }]);
    world.answer(world.asks(), "approved", "turn").suspend("terminate").capsule().down(true);
    expect(held(world).turn).toBe(1);
    world.change("task.cancel", world.created[0] ?? "");
    expect(held(world).turn).toBe(0);
  });

  it("is shown with who gave it, and taken back by the session's update, of which its runner hears", () => {
    const world = approved(worldWith());
    const approvals = sessionOf(world.state, 0)?.approvals ?? [];
    expect(approvals).toMatchObject([{ scope: "session", tool: "Bash", by_name: "anna", summary: "rm" }, { scope: "turn", tool: "Bash" }]);
    const version = world.state.session?.version ?? 0;
    world.feed({ type: "session.update", patch: { approvals: [approvals[1]?.permission_id ?? ""] } });
    expect(held(world)).toEqual({ turn: 1, session: 0 });
    expect([world.commands("settings").length, world.state.session?.version]).toEqual([1, version + 1]);
    world.feed({ type: "session.update", patch: { approvals: approvals.map(({ permission_id }) => permission_id) } });
    expect(world.commands("settings")).toHaveLength(1);
  });

  it("is nothing where the request does not say what it covers, and the oldest goes where there are too many", () => {
    const world = worldWith();
    world.task();
    world.journal({ at: "", type: "permission.requested", data: { permission_id: "perm_x", tool: "Bash", input: {}, summary: "rm", risk: "medium", reasons: [] } });
    world.feed({ type: "permission.answer", id: "perm_x", decision: "approved", actor: { tenant_id: newId("tenant", 1), key_id: newId("key", 1), key_name: null }, reason: null, scope: "session", known: world.permissions.get("perm_x") ?? null });
    expect(held(world)).toEqual({ turn: 0, session: 0 });
    const many = Array.from({ length: MAX_GRANTS + 5 }, (_, i) => ({ tool: "Bash", risk: "medium" as const, keys: [`k${i}`], input: "" }));
    expect(keepGrants([...many, ...many.slice(50, 51)])).toEqual([...many.filter((_, i) => i !== 50).slice(-MAX_GRANTS + 1), ...many.slice(50, 51)]);
    const large = Array.from({ length: 60 }, (_, i) => ({ tool: "Bash", risk: "critical" as const, keys: null, input: `${i}`.repeat(8_000) }));
    expect(keepGrants(large).length).toBeLessThan(60);
  });
});
