/** Owns the tests of sessions that work in a directory of a host's own: they stay there, and nothing is restored over it. */

import { describe, expect, it } from "vitest";
import { newId } from "../../sdk/protocol/index.ts";
import { hostWish } from "./capsules.ts";
import { receiptOf } from "./receipt.ts";
import { sessionOf } from "./session.ts";
import { HOST, OFFER, Simulation, T0 } from "./simulation.ts";

const directory = { host_id: HOST, path: "/home/anna/project" };
const refusal = (world: Simulation) => world.last.flatMap((effect) => (effect.kind === "refuse" ? [effect.error] : []))[0];

function suspended(): Simulation {
  const world = new Simulation({ directory });
  world.offer = OFFER;
  world.attached();
  world.task();
  world.reports("completed", { conversation: "c1" });
  return world.suspend("terminate").capsule().down(true);
}

describe("a session in a directory", () => {
  it("is shown with it, and is for its host alone from the first lease to the last", () => {
    const world = new Simulation({ directory });
    expect(sessionOf(world.state, 0)).toMatchObject({ directory, host_id: HOST });
    const must = { host_id: HOST, must: true };
    expect(hostWish(world.state)).toEqual(must);
    const after = suspended();
    expect(after.state.session).toMatchObject({ status: "suspended", host_id: HOST });
    expect(hostWish(after.state)).toEqual(must);
  });

  it("goes on nowhere else, and says where it is", () => {
    const world = suspended();
    const resume = (selector?: string) => world.feed({ type: "session.resume", by: "anna", options: selector === undefined ? {} : { selector }, from: null, has_api_key: false });
    resume("zone=b");
    expect(refusal(world)).toMatchObject({ code: "conflict", message: `the session works in /home/anna/project on host ${HOST}: it goes on there and nowhere else`, details: { instead: ["resume"] } });
    expect(resume().state.session?.status).toBe("resuming");
  });

  it("has no earlier files chosen for it", () => {
    const world = suspended();
    world.feed({ type: "workspace.chosen", manifest_id: newId("manifest", T0) });
    expect(refusal(world)).toMatchObject({ code: "conflict", message: expect.stringContaining("nothing is ever restored over that") as string });
    expect(world.state.restore).toBeNull();
  });

  it("has a receipt that says that the files are as they are now", () => {
    const capsule = { id: "caps", covers: null, workspace_manifest_id: "mfst", state_manifest_id: null, files: 0, bytes: 0, left_out: ["/home/anna/project: a directory of the host's own"] };
    const before = { how: "suspended", strategy: "terminate_preserve_storage", host_id: HOST, trouble: null, interrupted: false } as const;
    const { survived, lost } = receiptOf({ before, to_host_id: HOST, restored: true, directory: directory.path, capsule, uncovered: true, conversation: true, pending_permissions: 0, queued_tasks: 0 });
    expect(survived).toContain("the files of /home/anna/project: they are its owner's and stay there, as they are now");
    expect([...survived, ...lost].join()).not.toMatch(/0 files|left out|written after/);
  });
});
