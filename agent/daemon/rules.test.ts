import { describe, expect, it } from "vitest";
import { newId, type HostProvider, type RunnerReport } from "../../sdk/protocol/index.ts";
import { EXIT } from "../runner/spec.ts";
import { chooseProvider, defaultRunners } from "./capacity.ts";
import { linkUrl, reconnectDelay } from "./link.ts";
import { logger } from "./log.ts";
import { displaced, planStart, planWelcome } from "./reconcile.ts";
import { described, judge, MAX_RESTARTS, WINDOW_MS } from "./watchdog.ts";

const T0 = Date.UTC(2026, 10, 21);
const crash = { code: 1, signal: null, reason: null };

describe("watchdog", () => {
  it.each([EXIT.stopped, EXIT.stale, EXIT.bad_spec])("lets a runner be that exits with %i", (code) => {
    expect(judge([], { ...crash, code }, T0).action).toBe("end");
  });
  it.each([{ ...crash }, { ...crash, code: 137 }, { code: null, signal: "SIGKILL", reason: null }, { code: null, signal: null, reason: "gone" }])("starts again after %j, at first at once", (exit) => {
    expect(judge([], exit, T0)).toEqual({ action: "restart", delay_ms: 0, restarts: [T0] });
  });
  it("waits longer each time, gives up after five in a minute, and forgets after that", () => {
    let restarts: number[] = [];
    const delays: number[] = [];
    for (let i = 0; i < MAX_RESTARTS; i++) {
      const verdict = judge(restarts, crash, T0 + i);
      if (verdict.action !== "restart") throw new Error("gave up early");
      restarts = verdict.restarts;
      delays.push(verdict.delay_ms);
    }
    expect(delays).toEqual(delays.toSorted((a, b) => a - b));
    expect(judge(restarts, crash, T0 + MAX_RESTARTS)).toMatchObject({ action: "end", reason: expect.stringContaining("within a minute, last with exit code 1") as string });
    expect(judge(restarts, crash, T0 + 2 * WINDOW_MS)).toMatchObject({ action: "restart", delay_ms: 0 });
  });
  it("describes an exit in words", () => {
    expect(described({ code: null, signal: "SIGSEGV", reason: null })).toBe("by signal SIGSEGV");
    expect(described({ code: 137, signal: null, reason: "memory" })).toBe("with exit code 137 (memory)");
  });
});

describe("reconciling", () => {
  const [a, b, c] = [1, 2, 3].map((n) => ({ runner_id: newId("runner", T0 + n) })) as [{ runner_id: string }, { runner_id: string }, { runner_id: string }];
  const report = (runner_id: string, state: RunnerReport["state"]): RunnerReport => ({ runner_id, session_id: newId("session", T0), epoch: 1, provider: "process", sandbox: null, isolation: null, state, exit_code: null, reason: null });

  it("at the start adopts what runs, starts again what died, ends what nobody knows", () => {
    expect(planStart([a, b], [b, c])).toEqual({ adopt: [b.runner_id], saved: [], restart: [a.runner_id], destroy: [c.runner_id] });
  });
  it("at the start leaves alone what was saved, and adopts it where it runs again", () => {
    expect(planStart([{ ...a, saved: true }, { ...b, saved: true }], [b])).toEqual({ adopt: [b.runner_id], saved: [a.runner_id], restart: [], destroy: [] });
  });
  it("does nothing where nothing is", () => {
    expect(planStart([], [])).toEqual({ adopt: [], saved: [], restart: [], destroy: [] });
  });
  it("after a welcome ends what is not wanted and forgets what has been told", () => {
    const reports = [report(a.runner_id, "running"), report(b.runner_id, "exited"), report(c.runner_id, "running")];
    expect(planWelcome(reports, [a.runner_id, newId("runner", T0)])).toEqual({ destroy: [a.runner_id], forget: [b.runner_id] });
  });
  it("lets a newer attachment displace the older ones of its session alone", () => {
    const session_id = newId("session", T0);
    const next = { runner_id: c.runner_id, session_id, epoch: 3 };
    const existing = [{ ...a, session_id, epoch: 2 }, { ...b, session_id: newId("session", T0), epoch: 1 }, { ...c, session_id, epoch: 3 }];
    expect(displaced(existing, next)).toEqual([a.runner_id]);
  });
});

describe("capacity", () => {
  const provider = (name: string, available: boolean): HostProvider => ({ name, available, sandbox: null, detail: "", capabilities: { isolation: "none", pause: false, snapshot: false, limits: false, network_policy: false } });
  it.each([[1, 512, 4], [2, 24_576, 16], [16, 8_192, 16], [4, 65_536, 32]])("of %i processors and %i MB is %i runners", (cpus, memory, runners) => {
    expect(defaultRunners(cpus, memory)).toBe(runners);
  });
  it("prefers Docker where it works, and the configured one always", () => {
    expect(chooseProvider(undefined, [provider("docker", true), provider("process", true)])).toBe("docker");
    expect(chooseProvider(undefined, [provider("docker", false), provider("process", true)])).toBe("process");
    expect(chooseProvider("docker", [provider("docker", false), provider("process", true)])).toBe("docker");
  });
});

describe("link", () => {
  it("comes back from 50 ms up to 5 s, slowly where its token is refused", () => {
    expect([0, 1, 2, 10, 39, 40, 1_000].map((failures) => reconnectDelay(failures, false, 0))).toEqual([50, 100, 200, 500, 500, 5_000, 5_000]);
    expect(reconnectDelay(0, true, 0)).toBe(10_000);
    expect(reconnectDelay(100, false, 1)).toBeGreaterThan(3_000);
  });
  it("dials the server's own scheme and names the host that it is", () => {
    expect(linkUrl("https://m.example/base/", "host_1")).toBe("wss://m.example/base/links/host?host_id=host_1");
    expect(linkUrl("http://127.0.0.1:8420", null)).toBe("ws://127.0.0.1:8420/links/host");
  });
});

describe("log", () => {
  it("writes one JSON line an event, from its level up", () => {
    const lines: string[] = [];
    const log = logger({ level: "info", pretty: false, write: (line) => lines.push(line), now: () => new Date(T0) });
    log.debug("no");
    log.warn("runner.crashed", { runner: "run_1" });
    expect(lines).toEqual(['{"time":"2026-11-21T00:00:00.000Z","level":"warn","event":"runner.crashed","runner":"run_1"}\n']);
  });
  it("writes a readable line for people", () => {
    const lines: string[] = [];
    logger({ level: "info", pretty: true, write: (line) => lines.push(line), now: () => new Date(T0) }).info("host.ready", { data: "/x y", none: null });
    expect(lines).toEqual(['00:00:00.000 host.ready data="/x y"\n']);
  });
});
