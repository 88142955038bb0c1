import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RpcStub } from "capnweb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newChildId, newId, newToken, type Daemon, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { openDoor, type TestDoor } from "../../test/support/host-door.ts";
import { parseConfig } from "../config/file.ts";
import { runnerSpec } from "../runner/spec.ts";
import { HostDaemon } from "./daemon.ts";
import { logger } from "./log.ts";

const WAIT = { timeout: 20_000, interval: 10 };
const SIGNS = `const fs = require("node:fs"); const sign = (name, text = "") => fs.appendFileSync(spec.state + "/" + name, text + "\\n");`;

let root: string;
let data: string;
let door: TestDoor;
let lines: string[];
const daemons: HostDaemon[] = [];
const token = newToken("runner");

async function startDaemon(config = "", providers = ""): Promise<HostDaemon> {
  const daemon = new HostDaemon({
    server: door.url, token, pool: "default", labels: { zone: "a" }, name: "here", maxRunners: undefined,
    config: parseConfig(`providers: { default: process${providers} }\n${config}`), data, runnerBundle: join(root, "bundle/runner.js"), beside: root, version: "0.0.0", env: process.env,
    log: logger({ level: "debug", pretty: false, write: (line) => lines.push(line) }),
  });
  daemons.push(daemon);
  await daemon.start();
  await vi.waitFor(() => expect(daemon.connected).toBe(true), WAIT);
  return daemon;
}
async function stopDaemon(daemon: HostDaemon, runners: "keep" | "stop"): Promise<void> {
  daemons.splice(daemons.indexOf(daemon), 1);
  await daemon.close(runners);
}
function order(script: string, more: Partial<SpawnSpec> = {}): SpawnSpec {
  const now = Date.now();
  return {
    runner_id: newId("runner", now), session_id: newId("session", now), tenant_id: newId("tenant", now), workspace_id: newId("workspace", now), epoch: 1, run_token: newToken("run"),
    agent: "example", model: null, provider: null, env: { SCRIPT: `${SIGNS}\n${script}` }, keep_raw: true, needs_key: false, ...more,
  };
}
const remote = (): RpcStub<Daemon> => {
  if (!door.daemon) throw new Error("no daemon is connected");
  return door.daemon;
};
const state = (spec: SpawnSpec) => join(data, "runners", spec.runner_id, "state");
const sign = (spec: SpawnSpec, name: string, times = 1) =>
  vi.waitFor(async () => {
    const text = await readFile(join(state(spec), name), "utf8");
    expect(text.split("\n").length - 1).toBeGreaterThanOrEqual(times);
    return text;
  }, WAIT);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mrn-daemon-"));
  data = join(root, "data");
  lines = [];
  door = await openDoor();
  await cp(join(import.meta.dirname, "../../test/support/scripted-runner.mjs"), join(root, "bundle/runner.js"));
});
afterEach(async () => {
  await Promise.all(daemons.splice(0).map((daemon) => daemon.close("stop")));
  await door.close();
  await rm(root, { recursive: true, force: true, maxRetries: 5 });
});

describe("a host's daemon", () => {
  it("joins with its token, says what it is, and keeps the id that it is given", async () => {
    const daemon = await startDaemon();
    expect(door.joins).toEqual([{ token: `Bearer ${token}`, hostId: null }]);
    expect(door.hellos[0]).toMatchObject({ version: 2, runners: [], info: { name: "here", pool: "default", labels: { zone: "a" }, default_provider: "process" } });
    expect(door.hellos[0]?.info.agents).toContainEqual({ name: "example", available: true, detail: "bundled" });
    await stopDaemon(daemon, "keep");
    await startDaemon();
    expect(door.joins.at(-1)?.hostId).toBe(door.hostId);
  });

  it("comes back when its link breaks, and tells of what runs", async () => {
    await startDaemon();
    const spec = order("sign('up'); await forever();");
    expect(await remote().spawn(spec)).toMatchObject({ ok: true, provider: "process" });
    door.drop();
    await vi.waitFor(() => expect(door.hellos).toHaveLength(2), WAIT);
    expect(door.hellos[1]?.runners).toMatchObject([{ runner_id: spec.runner_id, session_id: spec.session_id, epoch: 1, state: "running" }]);
  });

  it("says that its token is refused and keeps trying", async () => {
    door.refuse = 401;
    const starting = startDaemon();
    await vi.waitFor(() => expect(lines.join("")).toContain("link.refused"), WAIT);
    expect(lines.join("")).not.toContain(token);
    // The slow retry is ten seconds away: a test of the delay itself stands beside the rule.
    await Promise.all(daemons.splice(0).map((daemon) => daemon.close("keep")));
    starting.catch(() => {});
  });

  it("starts a runner with a private runner.json, nothing on stdin, its token in no log", async () => {
    await startDaemon();
    const spec = order("sign('up', stdin.trim()); await forever();", { needs_key: true, gateway: true, model: "m" });
    const answer = await remote().spawn(spec);
    expect(answer).toMatchObject({ ok: true, isolation: expect.any(String) as string });
    expect((await sign(spec, "up")).trim()).toBe("");
    const file = join(state(spec), "runner.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const written = runnerSpec.parse(JSON.parse(await readFile(file, "utf8")));
    expect(written).toMatchObject({ runner_id: spec.runner_id, run_token: spec.run_token, server: door.url, agent_name: "example", agent: { adapter: "custom" }, model: "m", needs_key: true, gateway: true });
    const everything = lines.join("") + (await readFile(join(data, "runners", spec.runner_id, "record.json"), "utf8"));
    expect(everything).not.toContain(spec.run_token);
  });

  it("starts a runner once, however often it is asked", async () => {
    await startDaemon();
    const spec = order("sign('up', String(process.pid)); await forever();");
    const answers = await Promise.all([1, 2, 3].map(() => remote().spawn(spec)));
    expect(answers.map((answer) => answer.ok)).toEqual([true, true, true]);
    await sign(spec, "up");
    expect(lines.filter((line) => line.includes('"runner.started"'))).toHaveLength(1);
  });

  it("starts a crashed runner again on its state, and reports it when it crashes on", async () => {
    await startDaemon();
    const spec = order("sign('started'); console.error('cannot go on'); process.exit(1);");
    await remote().spawn(spec);
    await vi.waitFor(() => expect(door.reports).toHaveLength(1), WAIT);
    expect(door.reports[0]).toMatchObject({ runner_id: spec.runner_id, state: "exited", exit_code: 1, reason: expect.stringContaining("cannot go on") as string });
    expect(lines.filter((line) => line.includes('"runner.started"'))).toHaveLength(6);
  });

  it("reports a runner that stopped in order, and forgets it", async () => {
    await startDaemon();
    const spec = order("process.exitCode = 0;");
    await remote().spawn(spec);
    await vi.waitFor(() => expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited", exit_code: 0, reason: "stopped in order" }]), WAIT);
    await vi.waitFor(async () => expect(await readdir(join(data, "runners"))).toEqual([]), WAIT);
  });

  it("reports again what was not heard", async () => {
    await startDaemon();
    door.deaf = true;
    const spec = order("process.exitCode = 10;");
    await remote().spawn(spec);
    await vi.waitFor(() => expect(lines.join("")).toContain("link.report_failed"), WAIT);
    door.drop();
    await vi.waitFor(() => expect(door.hellos[1]?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "exited", exit_code: 10 }]), WAIT);
    await vi.waitFor(async () => expect(await readdir(join(data, "runners"))).toEqual([]), WAIT);
  });

  it("destroys a runner, also one that it does not know", async () => {
    await startDaemon();
    const spec = order("sign('up'); await forever();");
    await remote().spawn(spec);
    await remote().destroy(spec.runner_id, "test");
    await remote().destroy(spec.runner_id, "test");
    expect(await readdir(join(data, "runners"))).toEqual([]);
    expect(door.reports).toEqual([]);
  });

  it("ends what a welcome does not want", async () => {
    await startDaemon();
    const spec = order("await forever();");
    await remote().spawn(spec);
    door.unwanted.add(spec.runner_id);
    door.drop();
    await vi.waitFor(async () => expect(await readdir(join(data, "runners"))).toEqual([]), WAIT);
  });

  it("lets a newer attachment displace the older, and refuses an older one", async () => {
    await startDaemon();
    const old = order("await forever();", { epoch: 2 });
    await remote().spawn(old);
    const next = { ...order("await forever();", { epoch: 3 }), session_id: old.session_id };
    expect(await remote().spawn(next)).toMatchObject({ ok: true });
    expect(await readdir(join(data, "runners"))).toEqual([next.runner_id]);
    expect(await remote().spawn({ ...order("", { epoch: 1 }), session_id: old.session_id })).toMatchObject({ ok: false, retryable: false });
  });

  it("starts a runner without an agent where nobody knows that agent, and says which there are", async () => {
    await startDaemon("agents: { custom: { mine: { binary: no-such-program } } }");
    const unknown = order("await forever();", { agent: "nobody" });
    expect(await remote().spawn(unknown)).toMatchObject({ ok: true });
    expect(JSON.parse(await readFile(join(state(unknown), "runner.json"), "utf8"))).toMatchObject({ agent: null, agent_name: "nobody", agent_hint: expect.stringContaining("example, gemini, marco, mine") as string });
    const missing = order("await forever();", { agent: "mine" });
    expect(await remote().spawn(missing)).toMatchObject({ ok: true });
    expect(JSON.parse(await readFile(join(state(missing), "runner.json"), "utf8"))).toMatchObject({ agent: { binary: "no-such-program" } });
  });

  it("refuses a provider that it has not, and an order that it cannot read", async () => {
    await startDaemon();
    expect(await remote().spawn(order("", { provider: "e2b" }))).toMatchObject({ ok: false, retryable: false, error: { code: "provider_failed" } });
    expect(await remote().spawn({ ...order(""), runner_id: "../../etc" })).toMatchObject({ ok: false, retryable: false, error: { message: expect.stringContaining("runner_id") as string } });
  });

  it("shows a workspace's files, and no others", async () => {
    await startDaemon();
    const spec = order("fs.writeFileSync(spec.workspace + '/made.txt', 'by the agent'); sign('up'); await forever();");
    await remote().spawn(spec);
    await sign(spec, "up");
    expect(await remote().listFiles(spec.workspace_id, "")).toMatchObject({ ok: true, value: [{ name: "made.txt", kind: "file", size: 12 }] });
    const content = await remote().readFile(spec.workspace_id, "made.txt", 0, 100);
    expect(content.ok && Buffer.from(content.value.base64, "base64").toString()).toBe("by the agent");
    expect(await remote().listFiles(spec.workspace_id, "../..")).toMatchObject({ ok: false, code: "bad_request" });
    await expect(remote().listFiles("..", "")).rejects.toThrow("not a workspace id");
  });

  it("leaves runners alive when it goes, and takes them up when it comes back", async () => {
    const first = await startDaemon();
    const spec = order("sign('up', String(process.ppid)); fs.writeFileSync(spec.state + '/pid', ''); while (!fs.existsSync(spec.state + '/end')) await new Promise((r) => setTimeout(r, 10)); process.exitCode = 0;");
    await remote().spawn(spec);
    await sign(spec, "up");
    await stopDaemon(first, "keep");
    await startDaemon();
    expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "running" }]);
    expect(lines.join("")).toContain("runner.adopted");
    await writeFile(join(state(spec), "end"), "");
    await vi.waitFor(() => expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited" }]), WAIT);
    expect((await readFile(join(root, "data/host_id"), "utf8")).trim()).toBe(door.hostId);
  });

  it("stops its runners in order when it is told to, says so, and does not start them again", async () => {
    const first = await startDaemon();
    const spec = order("process.on('SIGTERM', () => process.exit(0)); sign('up'); await forever();");
    await remote().spawn(spec);
    await sign(spec, "up");
    await stopDaemon(first, "stop");
    expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited", exit_code: 0 }]);
    await startDaemon();
    expect(door.hellos.at(-1)?.runners).toEqual([]);
  });

  it("starts again what died while it was away", async () => {
    const first = await startDaemon();
    const spec = order("sign('up'); if (fs.existsSync(spec.state + '/die')) { fs.rmSync(spec.state + '/die'); process.exit(1); } await forever();");
    await remote().spawn(spec);
    await sign(spec, "up");
    await stopDaemon(first, "stop");
    await startDaemon();
    await sign(spec, "up", 2);
    expect(lines.join("")).toContain("runner.missing");
    expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "running" }]);
  });

  const TICKS = "setInterval(() => sign('tick'), 5); process.on('SIGTERM', () => { sign('polite'); process.exit(0); }); await forever();";
  const ticks = async (spec: SpawnSpec) => (await readFile(join(state(spec), "tick"), "utf8").catch(() => "")).length;
  const goesOn = async (spec: SpawnSpec) => {
    const before = await ticks(spec);
    await vi.waitFor(async () => expect(await ticks(spec)).toBeGreaterThan(before), WAIT);
  };
  /** Another runner has started, talked and gone. */
  const rests = async (spec: SpawnSpec) => {
    const before = await ticks(spec);
    const other = order("sign('up'); await forever();");
    await remote().spawn(other);
    await sign(other, "up");
    await remote().destroy(other.runner_id, "test");
    expect(await ticks(spec)).toBe(before);
  };

  it("says with its providers and with every spawn how it can suspend, as its file says", async () => {
    await startDaemon("", ", process: { suspend_config: { strategy: pause, fallback: terminate, min_duration: 5s, max_duration: 1h } }");
    const offer = { strategies: ["pause", "terminate_preserve_storage", "terminate"], strategy: "pause", fallback: "terminate", min_duration_seconds: 5, max_duration_seconds: 3_600 };
    expect(door.hellos[0]?.info.providers.find(({ name }) => name === "process")?.suspend).toEqual(offer);
    expect(await remote().spawn(order(TICKS))).toMatchObject({ ok: true, suspend: offer });
  });

  it("pauses a runner and lets it go on, however often it is asked", async () => {
    await startDaemon();
    const spec = order(TICKS);
    await remote().spawn(spec);
    await goesOn(spec);
    for (let i = 0; i < 2; i++) expect(await remote().suspend(spec.runner_id, "pause", null)).toMatchObject({ ok: true, strategy: "pause" });
    await rests(spec);
    door.drop();
    await vi.waitFor(() => expect(door.hellos).toHaveLength(2), WAIT);
    expect(door.hellos[1]?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "suspended" }]);
    await vi.waitFor(() => expect(door.daemon).not.toBeNull(), WAIT);
    for (let i = 0; i < 2; i++) expect(await remote().resume(spec.runner_id)).toEqual({ ok: true });
    await goesOn(spec);
    expect(door.reports).toEqual([]);
  });

  it("takes up a paused runner after its own restart, and resumes it", async () => {
    const first = await startDaemon();
    const spec = order(TICKS);
    await remote().spawn(spec);
    await goesOn(spec);
    await remote().suspend(spec.runner_id, "pause", null);
    await stopDaemon(first, "keep");
    await startDaemon();
    expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "suspended" }]);
    await rests(spec);
    expect(await remote().resume(spec.runner_id)).toEqual({ ok: true });
    await goesOn(spec);
    door.drop();
    await vi.waitFor(() => expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "running" }]), WAIT);
  });

  it("demotes a paused runner: it ends in order, its agents do not go on, its files stay", async () => {
    await startDaemon();
    const spec = order(`fs.writeFileSync(spec.workspace + '/made.txt', 'kept'); ${TICKS}`);
    await remote().spawn(spec);
    await goesOn(spec);
    await remote().suspend(spec.runner_id, "pause", null);
    expect(await remote().suspend(spec.runner_id, "terminate_preserve_storage", null)).toMatchObject({ ok: true, strategy: "terminate_preserve_storage", detail: expect.stringContaining("files stay") as string });
    expect(await readdir(join(data, "runners"))).toEqual([]);
    expect(await readFile(join(data, "workspaces", spec.workspace_id, "made.txt"), "utf8")).toBe("kept");
    expect(await remote().resume(spec.runner_id)).toMatchObject({ ok: false, gone: true });
    // To end what has ended is done; to keep it is too late.
    expect(await remote().suspend(spec.runner_id, "terminate", null)).toMatchObject({ ok: true });
    expect(await remote().suspend(spec.runner_id, "pause", null)).toMatchObject({ ok: false });
    expect(door.reports).toEqual([]);
  });

  it("falls back where the provider cannot do what is asked, and says what it can where there is no way back", async () => {
    await startDaemon();
    const spec = order(TICKS);
    await remote().spawn(spec);
    await goesOn(spec);
    expect(await remote().suspend(spec.runner_id, "snapshot", null)).toMatchObject({ ok: false, error: { hint: "it can pause, terminate_preserve_storage, terminate" } });
    await goesOn(spec);
    expect(await remote().suspend(spec.runner_id, "snapshot", "pause")).toMatchObject({ ok: true, strategy: "pause" });
    await rests(spec);
  });

  it("reports a paused runner that is killed, and does not start it again", async () => {
    await startDaemon();
    const spec = order(`sign('pid', String(process.pid)); ${TICKS}`);
    await remote().spawn(spec);
    await goesOn(spec);
    await remote().suspend(spec.runner_id, "pause", null);
    const { pid } = JSON.parse(await readFile(join(data, "runners", spec.runner_id, "process.json"), "utf8")) as { pid: number };
    process.kill(pid, "SIGKILL");
    await vi.waitFor(() => expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited", reason: expect.stringContaining("while it was suspended") as string }]), WAIT);
    expect(lines.filter((line) => line.includes('"runner.started"'))).toHaveLength(1);
  });

  it("leaves nothing frozen behind when it is told to stop its runners", async () => {
    const first = await startDaemon();
    const spec = order(TICKS);
    await remote().spawn(spec);
    await goesOn(spec);
    await remote().suspend(spec.runner_id, "pause", null);
    const { pid } = JSON.parse(await readFile(join(data, "runners", spec.runner_id, "process.json"), "utf8")) as { pid: number };
    await stopDaemon(first, "stop");
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited", exit_code: 0 }]);
  });

  it("discards its copies of a session's files, but not while a runner uses them", async () => {
    await startDaemon();
    const spec = order("fs.writeFileSync(spec.workspace + '/made.txt', ''); fs.writeFileSync(spec.home + '/talk', ''); sign('up'); await forever();");
    await remote().spawn(spec);
    await sign(spec, "up");
    await remote().suspend(spec.runner_id, "pause", null);
    await expect(remote().discardFiles(spec.session_id, spec.workspace_id)).rejects.toThrow("it must end first");
    await remote().suspend(spec.runner_id, "terminate", null);
    await remote().discardFiles(spec.session_id, spec.workspace_id);
    expect([await readdir(join(data, "workspaces")), await readdir(join(data, "sessions"))]).toEqual([[], []]);
    await remote().discardFiles(spec.session_id, spec.workspace_id);
    await expect(remote().discardFiles("..", spec.workspace_id)).rejects.toThrow("not a session id");
  });

  it("lets its copies go when the session has ended, a capsule holds them and the retention is over; and keeps what is in none", async () => {
    const first = await startDaemon("retention: 0s");
    const noted = order(`fs.writeFileSync(spec.state + '/capsule.json', JSON.stringify({ capsule_id: ${JSON.stringify(newChildId("capsule", newId("session", 0), 0))} })); sign('up'); await forever();`);
    const unknown = order("sign('up'); await forever();");
    for (const spec of [noted, unknown]) {
      await remote().spawn(spec);
      await sign(spec, "up");
      await remote().destroy(spec.runner_id, "test");
      await remote().forget(spec.session_id);
    }
    await stopDaemon(first, "keep");
    await startDaemon("retention: 0s");
    await vi.waitFor(async () => expect(await readdir(join(data, "sessions"))).toEqual([unknown.session_id]), WAIT);
    await vi.waitFor(async () => expect(await readdir(join(data, "workspaces"))).toEqual([unknown.workspace_id]), WAIT);
    expect(lines.find((line) => line.includes("files.pruned"))).toContain(noted.session_id);
    expect(lines.find((line) => line.includes("files.kept"))).toContain(unknown.session_id);
  });

  it("gives a runner what it is to restore and how large its workspace may be", async () => {
    await startDaemon();
    const restore = { capsule_id: null, workspace_manifest_id: newId("manifest", 0), state_manifest_id: null, mode: "exact" as const };
    const spec = order("await forever();", { restore, workspace_quota_mb: 5 });
    await remote().spawn(spec);
    expect(runnerSpec.parse(JSON.parse(await readFile(join(state(spec), "runner.json"), "utf8")))).toMatchObject({ workspace_id: spec.workspace_id, restore, workspace_quota_mb: 5 });
  });
});
