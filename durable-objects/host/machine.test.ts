/** Owns the tests of the host's machine: a table of what reconciling does, and properties over any interleaving of events. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostInfoFor, sampleId } from "../pool/sample.ts";
import type { RunnerReport } from "../../sdk/protocol/index.ts";
import { hostOf, NO_HOST, running, step, type Effect, type HostEvent, type State } from "./machine.ts";

const T0 = Date.UTC(2026, 0, 1);
const JOIN = { tenant_id: sampleId("ten", 1), host_id: sampleId("host", 1), pool: "default", labels: {} };
const runner = (n: number) => sampleId("run", n);
// Three runners a session, one an epoch.
const sessionOf = (n: number) => sampleId("sess", Math.floor(n / 3));
const epochOf = (n: number) => (n % 3) + 1;

const report = (n: number, state: RunnerReport["state"] = "running"): RunnerReport => ({ runner_id: runner(n), session_id: sessionOf(n), epoch: epochOf(n), provider: "process", sandbox: "process", isolation: "none", state, exit_code: null, reason: null });
const hello = (...reports: RunnerReport[]): HostEvent => ({ type: "hello", join: JOIN, info: hostInfoFor("a"), reports });
const spawn = (n: number): HostEvent => ({ type: "spawn", runner_id: runner(n), session_id: sessionOf(n), epoch: epochOf(n), provider: null });
const spawned = (n: number, ok = true): HostEvent => ({ type: "spawned", runner_id: runner(n), answer: ok ? { ok, provider: "process", sandbox: "process", isolation: "none" } : { ok, retryable: false, error: { code: "provider_failed", message: "no" } } });
const destroy = (n: number): HostEvent => ({ type: "destroy", runner_id: runner(n), reason: "because" });

function play(events: HostEvent[], from: State = NO_HOST): { state: State; effects: Effect[] } {
  const effects: Effect[] = [];
  let state = from;
  events.forEach((event, i) => {
    const result = step(state, event, T0 + i);
    state = result.state;
    effects.push(...result.effects);
  });
  return { state, effects };
}
const kinds = (effects: Effect[]) => effects.map(({ kind }) => kind);

describe("a host", () => {
  it("is known with how far its clock is off, as of its last hello", () => {
    const at = (clock?: string) => hostOf(play([{ type: "hello", join: JOIN, info: hostInfoFor("a"), reports: [], clock }]).state)?.clock_skew_ms;
    expect([at(new Date(T0 + 90_000).toISOString()), at(new Date(T0 - 2_500).toISOString()), at()]).toEqual([90_000, -2_500, undefined]);
    const { state } = play([{ type: "hello", join: JOIN, info: hostInfoFor("a"), reports: [], clock: new Date(T0 + 90_000).toISOString() }, { type: "link.down" }]);
    expect(hostOf(state)).toMatchObject({ status: "offline", clock_skew_ms: 90_000 });
    expect(hostOf(play([hello()], state).state)).not.toHaveProperty("clock_skew_ms");
  });
});

describe("reconciling", () => {
  it.each<[string, HostEvent[], HostEvent, Partial<Record<"destroy" | "gone" | "kept", number[]>>]>([
    ["adopts what runs and is wanted", [hello(), spawn(1), spawned(1)], hello(report(1)), { kept: [1] }],
    ["destroys what nobody wants", [hello()], hello(report(1)), { destroy: [1] }],
    ["destroys what was given up while the daemon was away", [hello(), spawn(1), spawned(1), destroy(1)], hello(report(1)), { destroy: [1] }],
    ["loses what is wanted and not there", [hello(), spawn(1), spawned(1)], hello(), { gone: [1] }],
    ["loses what ended while the daemon was away", [hello(), spawn(1), spawned(1)], hello(report(1, "exited")), { gone: [1] }],
    ["adopts what runs although its spawn was never answered", [hello(), spawn(1)], hello(report(1)), { kept: [1] }],
    ["leaves it to the session to repeat a spawn that was never answered", [hello(), spawn(1)], hello(), { kept: [] }],
    ["takes no notice of the end of what nobody wants", [hello()], hello(report(1, "exited")), {}],
  ])("%s", (_, before, last, expected) => {
    const { state } = play(before);
    const { state: after, effects } = step(state, last, T0);
    const welcome = effects.find((effect) => effect.kind === "welcome");
    expect(welcome?.destroy).toEqual((expected.destroy ?? []).map(runner));
    expect(effects.flatMap((effect) => (effect.kind === "gone" ? [effect.runner_id] : []))).toEqual((expected.gone ?? []).map(runner));
    expect(running(after).map(({ runner_id }) => runner_id)).toEqual((expected.kept ?? []).map(runner));
  });

  it("orders what is displaced or given up to be destroyed, and says so in its row", () => {
    const { effects } = play([hello(), spawn(3), spawned(3), spawn(4)]);
    expect(effects).toContainEqual({ kind: "daemon.destroy", runner_id: runner(3), reason: "displaced by a newer attachment" });
    expect(effects).toContainEqual({ kind: "runner.row", value: expect.objectContaining({ id: runner(3), status: "destroyed" }) });
  });

  it("makes no rows of a runner that never was", () => {
    expect(kinds(play([hello(), spawn(1), spawned(1, false)]).effects)).not.toContain("runner.row");
  });

  it("repeats what is to be forgotten at every hello until it is", () => {
    const forget: HostEvent = { type: "forget", session_id: sessionOf(1) };
    const { state } = play([forget, forget]);
    expect(kinds(play([hello()], state).effects)).toContain("daemon.forget");
    expect(kinds(play([{ type: "forgotten", session_id: sessionOf(1) }, hello()], state).effects)).not.toContain("daemon.forget");
  });

  it("adopts what is held, and lets nobody hold what is not wanted", () => {
    const { state } = play([hello(), spawn(1), spawned(1), { type: "held", runner_id: runner(1), suspended: true }]);
    expect(running(state)).toMatchObject([{ runner_id: runner(1), state: "suspended" }]);
    const { state: after, effects } = play([{ type: "link.down" }, hello(report(1, "suspended"), report(2, "suspended"))], state);
    expect(effects.find((effect) => effect.kind === "welcome")?.destroy).toEqual([runner(2)]);
    expect(running(play([{ type: "held", runner_id: runner(1), suspended: false }], after).state)).toMatchObject([{ state: "running" }]);
    const ended = step(after, { type: "ended", runner_id: runner(1), reason: "suspended: terminate" }, T0);
    expect(kinds(ended.effects)).toEqual(["runner.row", "host.row"]);
  });

  it("removes files when nobody uses them any more, at every hello until they are gone, and not once their session is back", () => {
    const discard: HostEvent = { type: "discard", session_id: sessionOf(1), workspace_id: sampleId("ws", 1) };
    const { state, effects } = play([hello(), spawn(1), spawned(1), discard]);
    expect(kinds(effects)).toContain("daemon.discard");
    expect(kinds(play([{ type: "report", report: report(1, "exited") }], state).effects)).toContain("daemon.discard");
    expect(kinds(play([hello()], state).effects)).toContain("daemon.discard");
    expect(kinds(play([{ type: "discarded", session_id: sessionOf(1) }, hello()], state).effects)).not.toContain("daemon.discard");
    expect(kinds(play([spawn(2), hello()], state).effects)).not.toContain("daemon.discard");
  });

  it("says nothing where nothing changes", () => {
    const { state } = play([hello(), { type: "drain", draining: true }]);
    for (const event of [{ type: "drain", draining: true }, { type: "report", report: report(9) }, { type: "spawned", runner_id: runner(9), answer: { ok: false, retryable: true, error: { code: "internal", message: "" } } }] satisfies HostEvent[]) {
      expect(step(state, event, T0 + 9)).toMatchObject({ state, effects: [] });
    }
  });
});

const some = fc.integer({ min: 0, max: 8 });
const anyEvent: fc.Arbitrary<HostEvent> = fc.oneof(
  fc.uniqueArray(fc.tuple(some, fc.boolean()), { selector: ([n]) => n, maxLength: 9 }).map((all) => hello(...all.map(([n, runs]) => report(n, runs ? "running" : "exited")))),
  some.map(spawn),
  fc.tuple(some, fc.boolean()).map(([n, ok]) => spawned(n, ok)),
  some.map(destroy),
  fc.tuple(some, fc.boolean()).map(([n, runs]): HostEvent => ({ type: "report", report: report(n, runs ? "running" : "exited") })),
  fc.constant<HostEvent>({ type: "link.down" }),
  fc.boolean().map((draining): HostEvent => ({ type: "drain", draining })),
);

describe("whatever happens, the host", () => {
  it("wants a runner until it is destroyed, displaced, refused or gone, and says each end once", () => {
    fc.assert(fc.property(fc.array(anyEvent, { maxLength: 80 }), (events) => {
      let state: State = NO_HOST;
      for (const event of events) {
        const { state: after, effects } = step(state, event, T0);
        for (const [id, known] of state.runners) {
          const ends = effects.filter((effect) => (effect.kind === "gone" || effect.kind === "daemon.destroy") && effect.runner_id === id).length;
          const refused = event.type === "spawned" && !event.answer.ok && event.runner_id === id && !known.started;
          expect(after.runners.has(id) ? 0 : 1).toBe(ends + (refused ? 1 : 0));
        }
        state = after;
      }
    }));
  });

  it("numbers its row anew whenever it changes, and never lets two runners of a session be wanted from an older spawn on", () => {
    fc.assert(fc.property(fc.array(anyEvent, { maxLength: 80 }), (events) => {
      let state: State = NO_HOST;
      for (const event of events) {
        const { state: after, effects } = step(state, event, T0);
        const rows = effects.filter((effect) => effect.kind === "host.row");
        const { version: _old, ...was } = hostOf(state) ?? { version: 0 };
        const { version: _new, ...is } = hostOf(after) ?? { version: 0 };
        expect(rows.length).toBe(JSON.stringify(was) === JSON.stringify(is) ? 0 : 1);
        expect(after.version).toBe(state.version + rows.length);
        if (event.type === "spawn") for (const other of after.runners.values()) if (other.session_id === event.session_id) expect(other.epoch >= event.epoch).toBe(true);
        state = after;
      }
    }));
  });
});
