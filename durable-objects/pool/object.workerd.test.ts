/** Owns the tests of the PoolObject in the runtime: storage, calls that are repeated, eviction. Sessions are played by the test. */

import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import type { ObjectsEnv } from "../ports.ts";
import { poolObject } from "./object.ts";
import { hostInfoFor, leaseFor, sampleId } from "./sample.ts";

const objects = env as unknown as ObjectsEnv;
const ports = () => ({ projection: { apply: async () => {} } });
const host = sampleId("host", 1);
const session = (n: number) => sampleId("sess", n);

class Sessions {
  told: unknown[][] = [];
  failures = 0;
  #hear(...what: unknown[]) {
    if (this.failures-- > 0) throw new Error("not now");
    this.told.push(what);
  }
  of = (_env: unknown, id: string) => ({
    leaseGranted: async (epoch: number, hostId: string) => this.#hear("granted", id, epoch, hostId),
    leaseQueued: async (epoch: number, reason: string) => this.#hear("queued", id, epoch, reason),
    leaseWanted: async (epoch: number) => this.#hear("wanted", id, epoch),
  });
}

/** Runs a pool of the test's own in the storage of an object that does nothing of itself. */
async function inPool(name: string, test: (make: () => InstanceType<ReturnType<typeof poolObject<ObjectsEnv>>>, sessions: Sessions, state: DurableObjectState) => Promise<void>) {
  const stub = objects.TENANTS.get(objects.TENANTS.idFromName(`ten/${name}`));
  await runInDurableObject(stub, async (_instance, state) => {
    const sessions = new Sessions();
    const Pool = poolObject<ObjectsEnv>(ports, { session: sessions.of });
    await test(() => new Pool(state, objects), sessions, state);
  });
}

describe("the PoolObject", () => {
  it("knows its pool's name, refuses a selector by its part, and queues in words", () =>
    inPool("gpus", async (make) => {
      const pool = make();
      expect(await pool.request(leaseFor(1, { selector: "os=linux,vram>=lots" }))).toMatchObject({ ok: false, error: { code: "bad_request", message: expect.stringContaining("'vram>=lots'") } });
      expect(await pool.request(leaseFor(1))).toEqual({ ok: true, value: { granted: false, reason: "no host in pool 'gpus' is online" } });
    }));

  it("grants fifty at once, and tells the next in the queue when one comes back", () =>
    inPool("fifty", async (make, sessions) => {
      const pool = make();
      await pool.memberUp(sampleId("ten", 1), host, hostInfoFor("a", { max_runners: 50 }), false);
      const answers = await Promise.all(Array.from({ length: 51 }, (_, n) => pool.request(leaseFor(n))));
      expect(answers.filter((answer) => answer.ok && answer.value.granted).length).toBe(50);
      expect(sessions.told).toEqual([]);
      await pool.release(session(7), 1);
      await vi.waitFor(() => expect(sessions.told).toEqual([["granted", session(50), 1, host]]));
      expect(await pool.request(leaseFor(50))).toEqual({ ok: true, value: { granted: true, host_id: host } });
      expect(await pool.request(leaseFor(7))).toMatchObject({ ok: false, error: { code: "conflict" } });
    }));

  it("repeats a grant whose call failed until it arrives", () =>
    inPool("repeat", async (make, sessions, state) => {
      const pool = make();
      expect(await pool.request(leaseFor(1))).toMatchObject({ value: { granted: false } });
      sessions.failures = 2;
      await pool.memberUp(sampleId("ten", 1), host, hostInfoFor("a"), false);
      await vi.waitFor(async () => {
        await pool.alarm();
        expect(sessions.told).toEqual([["granted", session(1), 1, host]]);
      });
      await vi.waitFor(() => expect(state.storage.sql.exec("select * from courier_sessions").toArray()).toEqual([]));
    }));

  it("sets its alarm for what has not arrived, and carries it out after an eviction", () =>
    inPool("evicted", async (make, sessions, state) => {
      const before = make();
      await before.request(leaseFor(1, { selector: "os=linux" }));
      sessions.failures = 1;
      await before.memberUp(sampleId("ten", 1), host, hostInfoFor("a", { max_runners: 1 }), false);
      await vi.waitFor(() => expect(sessions.failures).toBe(0));
      await before.request(leaseFor(2));
      expect(await state.storage.getAlarm()).not.toBeNull();
      const after = make();
      await vi.waitFor(async () => {
        await after.alarm();
        expect(sessions.told).toEqual([["granted", session(1), 1, host]]);
      });
      await after.release(session(1), 1);
      await vi.waitFor(() => expect(sessions.told.at(-1)).toEqual(["granted", session(2), 1, host]));
    }));

  it("asks an idle session for its runner when another waits", () =>
    inPool("idle", async (make, sessions) => {
      const pool = make();
      await pool.memberUp(sampleId("ten", 1), host, hostInfoFor("a", { max_runners: 1 }), false);
      await pool.request(leaseFor(1));
      await pool.setIdle(session(1), 1, true);
      await pool.request(leaseFor(2));
      await vi.waitFor(() => expect(sessions.told).toEqual([["wanted", session(1), 1]]));
      await pool.memberDown(host);
      await vi.waitFor(() => expect(sessions.told.at(-1)).toEqual(["queued", session(2), 1, "no host in pool 'idle' is online"]));
    }));
});
