/** Owns the tests of the doors of runners: pausing, resuming and draining one asks the session that it serves, and nobody else's. */

import { beforeEach, describe, expect, it } from "vitest";
import { newId, type Runner, type Session } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});
async function runner(more: Partial<Runner> = {}): Promise<Runner> {
  const { id: session_id } = await d.json<Session>("POST", "/sessions", { body: { agent: "example" } }, 201);
  const value: Runner = {
    id: newId("runner", Date.now()), tenant_id: d.one.id, session_id, host_id: newId("host", 1), pool: "default", provider: "docker", sandbox: "docker", isolation: "a container", epoch: 1, status: "busy", status_reason: null,
    created_at: new Date().toISOString(), ended_at: null, version: 1, ...more,
  };
  await d.records.projection.apply([{ resource: "runner", value }]);
  return value;
}

describe("runners", () => {
  it("are paused, resumed and drained through the session that they serve", async () => {
    const one = await runner();
    for (const verb of ["pause", "resume", "drain"]) expect(await d.json<Runner>("POST", `/runners/${one.id}/${verb}`)).toEqual(one);
    expect(d.sessions.get(one.session_id)?.ofRunners).toEqual([["pause", one.id], ["resume", one.id], ["drain", one.id]]);
  });

  it("are not found by another tenant, and not changed where they have ended or the key may only read", async () => {
    const one = await runner();
    const gone = await runner({ status: "destroyed", ended_at: new Date().toISOString() });
    const { token } = await d.one.key(["read"]);
    for (const verb of ["pause", "resume", "drain"]) {
      expect((await d.failure("POST", `/runners/${one.id}/${verb}`, { key: d.two.token })).status).toBe(404);
      expect((await d.failure("POST", `/runners/${newId("runner", 2)}/${verb}`)).status).toBe(404);
      expect((await d.failure("POST", `/runners/${one.id}/${verb}`, { key: token })).status).toBe(403);
      expect(await d.failure("POST", `/runners/${gone.id}/${verb}`)).toMatchObject({ status: 409, message: "The runner has ended" });
    }
    expect(d.sessions.get(one.session_id)?.ofRunners).toEqual([]);
  });
});
