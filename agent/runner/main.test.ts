import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSE } from "../../sdk/protocol/index.ts";
import { runnerDirectories, SCRIPTED_AGENT, specFor, steps } from "../../test/support/runner-stage.ts";
import { SessionServer } from "../../test/support/session-server.ts";
import { EXIT } from "./spec.ts";

const MAIN = resolve(import.meta.dirname, "main.ts");
const EXAMPLE = resolve(import.meta.dirname, "example.ts");
let server: SessionServer;
let directories: ReturnType<typeof runnerDirectories>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  server = await SessionServer.start();
  directories = runnerDirectories();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await server.stop();
  directories[Symbol.dispose]();
});

/** The runner as the daemon starts it: its spec in a file, nothing on stdin. */
function start(spec: object = {}) {
  const path = join(directories.state, "runner.json");
  writeFileSync(path, JSON.stringify({ ...specFor(server, directories), ...spec }));
  const child = spawn(process.execPath, [MAIN, path], { cwd: directories.workspace, stdio: ["ignore", "ignore", "pipe"] });
  children.push(child);
  let told = "";
  child.stderr.on("data", (chunk: Buffer) => (told += chunk.toString()));
  const exited = new Promise<{ code: number | null; told: string }>((done) => child.once("close", (code) => done({ code, told })));
  return { child, exited };
}

describe("the runner's process", { timeout: 30_000 }, () => {
  it("says which field of its spec is not valid, and exits for good", async () => {
    const cases: [object, string][] = [[{ epoch: 0 }, "epoch"], [{ session_id: "x" }, "session_id"], [{ sudo: true }, "sudo: unknown field"], [{ agent: { name: "a", adapter: "magic", binary: "x" } }, "agent.adapter"]];
    for (const [spec, field] of cases) {
      const { code, told } = await start(spec).exited;
      expect(code).toBe(EXIT.bad_spec);
      expect(told).toContain(field);
    }
    expect(server.hellos).toEqual([]);
  });

  it("begins no task where the session's model key is gone", async () => {
    start({ needs_key: true });
    expect(await server.ended(server.task("hi").run_id)).toMatchObject({ status: "failed", error: { code: "key_missing" } });
  });

  it("leaves in order when it is told to, by its session or by a signal", async () => {
    const commanded = start();
    await server.ended(server.task(steps(["text", "x"])).run_id);
    server.command({ kind: "stop", reason: "released" });
    expect((await commanded.exited).code).toBe(EXIT.stopped);
    expect(server.closes).toContain(CLOSE.stopped);
  });

  it("ends what runs as lost when its host stops it", async () => {
    const { child, exited } = start();
    const { run_id } = server.task(steps(["text", "here"], ["sleep", 60_000]));
    await server.until("it talks", () => server.of("message", run_id).length > 0);
    child.kill("SIGTERM");
    expect((await exited).code).toBe(EXIT.stopped);
    expect(server.of("run.status", run_id).at(-1)).toMatchObject({ status: "lost" });
  });

  it("exits for good when its attachment is over", async () => {
    const { exited } = start();
    await server.until("it says hello", () => server.hellos.length > 0);
    server.close(CLOSE.stale, "over");
    expect((await exited).code).toBe(EXIT.stale);
  });

  it("survives SIGKILL: what it told arrives once, its agent is gone, the run is lost, the next one runs", async () => {
    const first = start();
    const { run_id } = server.task(steps(["fork", true], ["spam", 2_000_000], ["sleep", 60_000]));
    await server.until("it talks", () => server.of("log", run_id).length > 3_000);
    first.child.kill("SIGKILL");
    await first.exited;
    await server.until("the link is down", () => !server.connected);
    start();
    expect(await server.ended(run_id)).toMatchObject({ status: "lost", error: { code: "runner_lost" } });
    expect(server.faults).toEqual([]);
    expect(server.log.map(({ seq }) => seq)).toEqual(server.log.map((_, i) => i + 1));
    const pids = [Number(server.of("run.status", run_id)[0]?.pid), Number(server.of("message", run_id)[0]?.text.split(" ")[1])];
    expect(pids.filter((pid) => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "")).toEqual([]);
    expect(await server.ended(server.task(steps(["text", "again"])).run_id)).toMatchObject({ status: "completed" });
  });
});

describe("the example agent", { timeout: 30_000 }, () => {
  const example = { agent: { name: "example", adapter: "custom", binary: process.execPath, args: [EXAMPLE], env: {} }, agent_name: "example" };

  it("streams, asks, writes its file, and remembers the conversation", async () => {
    start(example);
    const { run_id } = server.task("say 'hello'; $(touch /tmp/no)");
    const asked = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    expect(asked).toMatchObject({ tool: "Bash", risk: "medium" });
    server.command({ kind: "permission.answer", permission_id: asked.permission_id, run_id, decision: "approved", reason: null, scope: "session" });
    const end = await server.ended(run_id);
    expect(end).toMatchObject({ status: "completed", exit_code: 0, result: expect.stringContaining("hello-marionette.md") as string, conversation: expect.stringContaining("example-") as string });
    expect(readFileSync(join(directories.workspace, "hello-marionette.md"), "utf8")).toContain("hello");
    expect(server.of("file.changed", run_id)).toMatchObject([{ path: "hello-marionette.md", change: "created" }]);
    expect(server.of("message.delta", run_id).length).toBeGreaterThan(20);
    expect(server.of("usage", run_id)).toHaveLength(1);
    const next = server.task("again", { conversation: end.conversation ?? null });
    expect(await server.ended(next.run_id)).toMatchObject({ status: "completed", conversation: end.conversation });
    expect(server.of("message", next.run_id)[0]?.text).toContain("Hello again");
    expect(server.of("file.changed", next.run_id)).toMatchObject([{ change: "modified" }]);
  });

  it("takes no for an answer", async () => {
    start(example);
    const { run_id } = server.task("hello");
    const { permission_id } = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    server.command({ kind: "permission.answer", permission_id, run_id, decision: "denied", reason: "not today", scope: "once" });
    expect(await server.ended(run_id)).toMatchObject({ status: "completed" });
    expect(server.of("message", run_id).some(({ text }) => text.includes("not today"))).toBe(true);
    expect(existsSync(join(directories.workspace, "hello-marionette.md"))).toBe(false);
  });
});

it("the scripted agent is where the tests expect it", () => expect(existsSync(SCRIPTED_AGENT)).toBe(true));
