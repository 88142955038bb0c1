import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newId, newToken, type SpawnSpec } from "../sdk/protocol/index.ts";
import { marked } from "./providers/proc.ts";
import { openDoor, type TestDoor } from "../test/support/host-door.ts";

const WAIT = { timeout: 20_000, interval: 20 };
let root: string;
let door: TestDoor;
let daemon: ChildProcess | undefined;
let stderr: string;
const token = newToken("runner");

async function start(...args: string[]): Promise<ChildProcess> {
  const hellos = door.hellos.length;
  daemon = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "--data", join(root, "data"), "--runner-bundle", join(root, "bundle/runner.js"), ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, MARIONETTE_API_URL: door.url, MARIONETTE_RUNNER_TOKEN: token, MARIONETTE_CONFIG: undefined },
  });
  daemon.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  await vi.waitFor(() => expect(door.hellos.length).toBeGreaterThan(hellos), WAIT);
  return daemon;
}
async function spawnRunner(script: string): Promise<SpawnSpec> {
  const now = Date.now();
  const spec: SpawnSpec = {
    runner_id: newId("runner", now), session_id: newId("session", now), tenant_id: newId("tenant", now), workspace_id: newId("workspace", now), epoch: 1, run_token: newToken("run"),
    agent: "example", model: null, provider: "process", env: { SCRIPT: script }, keep_raw: true, needs_key: false,
  };
  expect(await door.daemon?.spawn(spec)).toMatchObject({ ok: true });
  return spec;
}
const beats = (spec: SpawnSpec) => readFile(join(root, "data/runners", spec.runner_id, "state/beats"), "utf8").then((text) => text.length, () => 0);
const BEATING = `process.on("SIGTERM", () => process.exit(0)); for (;;) { require("node:fs").appendFileSync(spec.state + "/beats", "x"); await new Promise((r) => setTimeout(r, 10)); }`;
async function stillBeats(spec: SpawnSpec): Promise<void> {
  const before = await beats(spec);
  await vi.waitFor(async () => expect(await beats(spec)).toBeGreaterThan(before), WAIT);
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mrn-main-"));
  stderr = "";
  door = await openDoor();
  await cp(join(import.meta.dirname, "../test/support/scripted-runner.mjs"), join(root, "bundle/runner.js"));
});
afterEach(async () => {
  // Whatever a test left alive is taken up and stopped.
  if (daemon?.exitCode !== null || daemon.signalCode !== null) daemon = await start("--on-exit", "stop");
  else daemon.kill("SIGKILL");
  daemon.kill("SIGTERM");
  await once(daemon, "exit");
  await door.close();
  await rm(root, { recursive: true, force: true });
});

describe("marionette-agent as a process", { timeout: 60_000 }, () => {
  it("leaves its runners alive on SIGTERM, and takes them up at the next start", async () => {
    const first = await start();
    const spec = await spawnRunner(BEATING);
    first.kill("SIGTERM");
    expect(await once(first, "exit")).toEqual([0, null]);
    await stillBeats(spec);
    await start();
    expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "running" }]);
    await door.daemon?.destroy(spec.runner_id, "test");
    expect(await readdir(join(root, "data/runners"))).toEqual([]);
    daemon?.kill("SIGTERM");
    await once(daemon as ChildProcess, "exit");
  });

  it("is killed, and the next one takes up what runs", async () => {
    const first = await start();
    const spec = await spawnRunner(BEATING);
    await stillBeats(spec);
    // One more waits to be used, or still loads: it must be gone afterwards, and only it.
    const waiting = await vi.waitFor(async () => {
      const [name] = await readdir(join(root, "data/warm"));
      expect(await marked(`MARIONETTE_RUNNER_ID=${name}`)).not.toEqual([]);
      return name;
    }, WAIT);
    first.kill("SIGKILL");
    await once(first, "exit");
    await stillBeats(spec);
    const second = await start("--on-exit", "stop");
    expect(await marked(`MARIONETTE_RUNNER_ID=${waiting}`)).toEqual([]);
    expect(door.hellos.at(-1)?.runners).toMatchObject([{ runner_id: spec.runner_id, state: "running" }]);
    second.kill("SIGTERM");
    expect(await once(second, "exit")).toEqual([0, null]);
    // It stopped in order, and its object was told.
    expect(await beats(spec)).toBe(0);
    expect(door.reports).toMatchObject([{ runner_id: spec.runner_id, state: "exited" }]);
  });

  it("never prints its token, and logs JSON lines where nobody watches", async () => {
    const first = await start("--on-exit", "stop");
    first.kill("SIGINT");
    await once(first, "exit");
    expect(stderr).not.toContain(token);
    for (const line of stderr.trim().split("\n")) expect(JSON.parse(line)).toMatchObject({ time: expect.any(String) as string, level: expect.any(String) as string, event: expect.any(String) as string });
  });

  it("refuses to start on a bad file, without a word to the control plane", async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "--config", join(root, "none.yaml")], {
      stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, MARIONETTE_API_URL: door.url, MARIONETTE_RUNNER_TOKEN: token },
    });
    expect((await once(child, "exit"))[0]).toBe(1);
    expect(door.joins).toEqual([]);
    daemon = child;
  });
});
