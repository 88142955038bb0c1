/** Owns the tests of the pool's machine: tables with a fixed time, and properties over any interleaving of events. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LeaseRequest } from "../rpc.ts";
import { ASK_MS, CLOSED_MS, emptyPool, nextDeadline, step, type Effect, type PoolEvent, type State } from "./machine.ts";
import { eligible } from "./placement.ts";
import { hostInfoFor, leaseFor, sampleId } from "./sample.ts";
import { parseSelector } from "./selector.ts";

const T0 = Date.UTC(2026, 0, 1);
const host = (n: number) => sampleId("host", n);
const session = (n: number) => sampleId("sess", n);
const up = (n: number, max_runners: number, draining = false, labels: Record<string, string> = {}): PoolEvent => ({ type: "member.up", host_id: host(n), info: hostInfoFor(`h${n}`, { max_runners, labels }), draining });
function request(n: number, more: Partial<LeaseRequest> = {}): PoolEvent {
  const lease = leaseFor(n, more);
  const conditions = parseSelector(lease.selector);
  return { type: "request", request: lease, conditions: conditions.ok ? conditions.value : [] };
}
/** On this host and no other. */
const on = (n: number): Partial<LeaseRequest> => ({ host: { host_id: host(n), must: true } });
const release = (n: number, epoch = 1): PoolEvent => ({ type: "release", session_id: session(n), epoch });
const idle = (n: number, is = true, epoch = 1): PoolEvent => ({ type: "idle", session_id: session(n), epoch, idle: is });

class Pool {
  state: State = emptyPool("default");
  now = T0;
  does(...events: PoolEvent[]): Effect[] {
    return events.flatMap((event) => {
      const result = step(this.state, event, this.now);
      this.state = result.state;
      return result.effects;
    });
  }
  at = (n: number) => this.state.entries.get(session(n))?.host_id;
  why = (n: number) => this.state.entries.get(session(n))?.reason;
}

describe("the pool", () => {
  it("grants where there is room, and answers the same request the same", () => {
    const pool = new Pool();
    pool.does(up(1, 1), request(1));
    expect(pool.at(1)).toBe(host(1));
    const before = pool.state;
    expect(pool.does(request(1))).toEqual([]);
    expect(pool.state.entries).toBe(before.entries);
  });

  it("queues in words and wakes the queue at once when a lease comes back", () => {
    const pool = new Pool();
    pool.does(up(1, 1), request(1), request(2), request(3));
    expect(pool.why(2)).toBe("1 host matches, and it is full (1 of 1 runners)");
    expect(pool.does(release(1))).toEqual([{ kind: "granted", session_id: session(2), epoch: 1, host_id: host(1) }]);
    expect(pool.at(3)).toBeNull();
  });

  it("places those behind a request that nothing fits", () => {
    const pool = new Pool();
    pool.does(up(1, 1), request(1, { selector: "gpu=nvidia" }), request(2));
    expect(pool.at(1)).toBeNull();
    expect(pool.at(2)).toBe(host(1));
  });

  it("tells those that wait when their reason changes", () => {
    const pool = new Pool();
    pool.does(request(1));
    expect(pool.why(1)).toBe("no host in pool 'default' is online");
    expect(pool.does(up(1, 0))).toEqual([{ kind: "queued", session_id: session(1), epoch: 1, reason: "1 host matches, and it is full (0 of 0 runners)" }]);
    expect(pool.does(up(1, 0))).toEqual([]);
    expect(pool.does({ type: "member.down", host_id: host(1) })).toEqual([{ kind: "queued", session_id: session(1), epoch: 1, reason: "no host in pool 'default' is online" }]);
  });

  it("gives a newer epoch a new place and the older one's lease to whoever waits", () => {
    const pool = new Pool();
    pool.does(up(1, 1), request(1), request(2));
    expect(pool.does(request(1, { epoch: 2 }))).toEqual([{ kind: "granted", session_id: session(2), epoch: 1, host_id: host(1) }]);
    expect(pool.at(1)).toBeNull();
    expect(pool.does(release(1, 1))).toEqual([]);
    expect(pool.state.entries.get(session(1))?.request.epoch).toBe(2);
  });

  it("does not take up an epoch that was given back, until that is long ago", () => {
    const pool = new Pool();
    pool.does(up(1, 1), release(1, 3), request(1, { epoch: 3 }), request(1, { epoch: 2 }));
    expect(pool.at(1)).toBeUndefined();
    expect(nextDeadline(pool.state, pool.now)).toBe(T0 + CLOSED_MS);
    pool.now += CLOSED_MS;
    pool.does({ type: "tick" });
    expect(pool.state.closed.size).toBe(0);
  });

  it("keeps the leases of a host that is offline, and grants nothing more on it", () => {
    const pool = new Pool();
    pool.does(up(1, 2), request(1), { type: "member.down", host_id: host(1) }, request(2));
    expect([pool.at(1), pool.at(2)]).toEqual([host(1), null]);
    expect(pool.does(up(1, 2))).toEqual([{ kind: "granted", session_id: session(2), epoch: 1, host_id: host(1) }]);
  });

  it("prefers the host that has the files, and takes another where that one is full or away", () => {
    const pool = new Pool();
    const prefers: Partial<LeaseRequest> = { host: { host_id: host(2), must: false } };
    pool.does(up(1, 9), up(2, 1), request(1, prefers), request(2, prefers));
    expect([pool.at(1), pool.at(2)]).toEqual([host(2), host(1)]);
    pool.does(release(1), { type: "member.down", host_id: host(2) }, request(3, prefers), request(4, on(2)));
    expect([pool.at(3), pool.at(4)]).toEqual([host(1), null]);
    expect(pool.why(4)).toContain("its workspace is on host h2, which is offline");
  });

  it("asks the longest idle session, once for each that waits and could have its place", () => {
    const pool = new Pool();
    pool.does(up(1, 2), up(2, 1, false, { gpu: "nvidia" }), request(1, on(1)), request(2, on(1)), request(3, on(2)));
    pool.does(idle(3));
    pool.now += 10;
    pool.does(idle(2));
    pool.now += 10;
    pool.does(idle(1));
    expect(pool.does(request(4, on(1)))).toEqual([{ kind: "wanted", session_id: session(2), epoch: 1 }]);
    expect(pool.does(request(5, { selector: "gpu!=none" }))).toEqual([{ kind: "wanted", session_id: session(3), epoch: 1 }]);
    expect(pool.does(request(6, { selector: "gpu=amd" }))).toEqual([]);
    expect(nextDeadline(pool.state, pool.now)).toBe(pool.now + ASK_MS);
  });

  it("asks another when the one asked does not answer, and again after its answer that it is busy", () => {
    const pool = new Pool();
    pool.does(up(1, 2), request(1), request(2), idle(1));
    pool.now += 1;
    pool.does(idle(2));
    expect(pool.does(request(3))).toEqual([{ kind: "wanted", session_id: session(1), epoch: 1 }]);
    pool.now += ASK_MS;
    expect(pool.does({ type: "tick" })).toEqual([{ kind: "wanted", session_id: session(2), epoch: 1 }]);
    expect(pool.does(idle(2, false))).toEqual([{ kind: "wanted", session_id: session(1), epoch: 1 }]);
    expect(pool.does(idle(1, false))).toEqual([]);
    expect(nextDeadline(pool.state, pool.now)).toBeNull();
    expect(pool.does(idle(1))).toEqual([{ kind: "wanted", session_id: session(1), epoch: 1 }]);
  });

  it("places fifty requests over five hosts evenly", () => {
    const pool = new Pool();
    pool.does(...[1, 2, 3, 4, 5].map((n) => up(n, 10)), ...Array.from({ length: 50 }, (_, i) => request(i)));
    const counts = Map.groupBy(pool.state.entries.values(), ({ host_id }) => host_id);
    expect([...counts.values()].map(({ length }) => length)).toEqual([10, 10, 10, 10, 10]);
  });
});

const anyEvent: fc.Arbitrary<PoolEvent> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ n: fc.integer({ min: 1, max: 12 }), epoch: fc.integer({ min: 1, max: 4 }), host: fc.option(fc.integer({ min: 1, max: 4 })), must: fc.boolean(), selector: fc.constantFrom(null, null, "gpu=nvidia", "os!=linux"), provider: fc.constantFrom(null, null, "docker") }).map(({ n, epoch, host: where, must, selector, provider }) => request(n, { epoch, host: where === null ? null : { host_id: host(where), must }, selector, provider })) },
  { weight: 4, arbitrary: fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4 })).map(([n, epoch]) => release(n, epoch)) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 1, max: 12 }), fc.boolean(), fc.integer({ min: 1, max: 4 })).map(([n, is, epoch]) => idle(n, is, epoch)) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 }), fc.boolean(), fc.boolean()).map(([n, max, draining, gpu]) => up(n, max, draining, gpu ? { gpu: "nvidia" } : {})) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }).map((n): PoolEvent => ({ type: "member.down", host_id: host(n) })) },
  { weight: 1, arbitrary: fc.constant<PoolEvent>({ type: "tick" }) },
);
const story = fc.array(fc.tuple(anyEvent, fc.integer({ min: 0, max: 3_000 })), { maxLength: 120 });

const leasesOn = (state: State, hostId: string) => [...state.entries.values()].filter(({ host_id }) => host_id === hostId).length;
const waiting = (state: State) => [...state.entries.values()].filter(({ host_id }) => host_id === null);

describe("whatever happens, the pool", () => {
  const always = (check: (before: State, event: PoolEvent, after: State, effects: Effect[]) => void) =>
    fc.assert(
      fc.property(story, (events) => {
        const pool = new Pool();
        for (const [event, passes] of events) {
          pool.now += passes;
          const before = pool.state;
          const effects = pool.does(event);
          check(before, event, pool.state, effects);
        }
      }),
      { numRuns: 300 },
    );

  it("never grants beyond a host's capacity, nor on one that is offline or draining", () => {
    always((before, _event, after) => {
      for (const [id, { info, online, draining }] of after.members) {
        const held = leasesOn(after, id);
        const kept = [...after.entries].filter(([key, entry]) => entry.host_id === id && before.entries.get(key)?.host_id === id && before.entries.get(key)?.request.epoch === entry.request.epoch).length;
        if (held > kept) expect(online && !draining && held <= info.max_runners).toBe(true);
      }
    });
  });

  it("loses no lease and no place: only a release or a newer epoch of the session takes them", () => {
    always((before, event, after) => {
      for (const [id, entry] of before.entries) {
        const now = after.entries.get(id);
        const ended = event.type === "release" && event.session_id === id && event.epoch >= entry.request.epoch;
        const renewed = event.type === "request" && event.request.session_id === id && event.request.epoch > entry.request.epoch;
        if (ended) expect(now).toBeUndefined();
        else if (!renewed) expect([now?.request, now?.host_id ?? entry.host_id]).toEqual([entry.request, entry.host_id ?? now?.host_id ?? null]);
      }
    });
  });

  it("lets nobody wait who could be placed", () => {
    always((_before, _event, after) => {
      for (const entry of waiting(after)) {
        const { hosts } = eligible("default", [...after.members.values()], { ...entry.request, conditions: entry.conditions });
        for (const { host_id, info } of hosts) expect(leasesOn(after, host_id)).toBeGreaterThanOrEqual(info.max_runners);
        expect(entry.reason).toEqual(expect.any(String));
      }
    });
  });

  it("is fair: of those that wish the same, the earlier is placed first", () => {
    always((before, _event, after) => {
      const alike = (a: LeaseRequest, b: LeaseRequest) => (a.host?.must ? a.host.host_id : null) === (b.host?.must ? b.host.host_id : null) && a.selector === b.selector && a.provider === b.provider;
      for (const [id, late] of after.entries) {
        if (late.host_id === null || before.entries.get(id)?.host_id === late.host_id) continue;
        for (const early of waiting(after)) if (alike(early.request, late.request)) expect(early.order).toBeGreaterThan(late.order);
      }
    });
  });

  it("tells every grant and every reason, but for the answer to the request itself", () => {
    always((before, event, after, effects) => {
      for (const [id, entry] of after.entries) {
        const old = before.entries.get(id);
        const same = old?.request.epoch === entry.request.epoch && old.host_id === entry.host_id && old.reason === entry.reason;
        const own = event.type === "request" && event.request.session_id === id;
        const told = effects.filter((effect) => effect.session_id === id && effect.kind !== "wanted");
        expect(told.length).toBe(same || own ? 0 : 1);
      }
    });
  });

  it("asks nobody who works, and nobody twice within five seconds", () => {
    always((before, _event, after, effects) => {
      for (const effect of effects) {
        if (effect.kind !== "wanted") continue;
        const entry = after.entries.get(effect.session_id);
        expect(entry?.host_id != null && entry.idle_since !== null && entry.request.epoch === effect.epoch).toBe(true);
        const last = before.entries.get(effect.session_id)?.asked_at ?? null;
        if (last !== null) expect(entry?.asked_at).toBeGreaterThanOrEqual(last + ASK_MS);
      }
      expect(effects.filter(({ kind }) => kind === "wanted").length).toBeLessThanOrEqual(waiting(after).length);
    });
  });
});
