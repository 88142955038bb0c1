import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { host } from "../../sdk/protocol/index.ts";
import { apiOf, listOf } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const ROOT = join(import.meta.dirname, "../..");
const running = z.object({ processes: z.array(z.object({ what: z.string(), pid: z.number() })) });
const context = z.object({ url: z.string(), api_key: z.string() });

/** Command lines of this machine's processes that name the directory. */
async function processesOn(dir: string): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return lines.map((line) => line.replaceAll("\0", " ")).filter((line) => line.includes(dir));
}

describe("npm start", () => {
  let data: string;
  let port: number;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "npm-start-"));
    port = await freePort();
  });
  afterAll(async () => {
    for (const child of children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    await rm(data, { recursive: true, force: true, maxRetries: 10 });
  });

  /** Starts it as npm would; `up` resolves with all that it has said once everything runs, and rejects where it ends before. */
  function start(...args: string[]): { child: ChildProcess; up: Promise<string>; exit: Promise<number | null>; said: () => string } {
    const child = spawn(process.execPath, [join(ROOT, "worker/local/start.mjs"), "--port", String(port), "--data", data, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: ROOT });
    children.push(child);
    let text = "";
    const exit = once(child, "exit").then(([code]) => code as number | null);
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const up = Promise.race([
      eventually("it is up", () => (text.includes("Ctrl-C stops everything.") ? text : null), 50_000),
      exit.then((code) => {
        throw new Error(`it ended with ${code}:\n${text}`);
      }),
    ]);
    up.catch(() => {});
    return { child, up, exit, said: () => text };
  }
  const contextOf = async () => context.parse(JSON.parse(await readFile(join(data, "context.json"), "utf8")));
  const runningOf = async () => running.parse(JSON.parse(await readFile(join(data, "running.json"), "utf8"))).processes;
  const pidOf = async (what: string) => (await runningOf()).find((each) => each.what === what)?.pid ?? 0;

  let key: string;

  it("brings up a control plane and a host, and keeps the key where only its owner reads it", async () => {
    const { child, up, exit } = start();
    const text = await up;
    const { url, api_key } = await contextOf();
    key = api_key;
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(text).toContain(key);
    expect((await stat(join(data, "context.json"))).mode & 0o777).toBe(0o600);
    const { items } = await apiOf(url, key).get("/hosts", listOf(host));
    expect(items.map(({ status }) => status)).toEqual(["online"]);
    expect(text).toContain(`Sandbox   ${items[0]?.default_provider}: `);
    const pids = (await runningOf()).map(({ pid }) => pid);
    expect(pids).toHaveLength(3);

    child.kill("SIGINT");
    expect(await exit).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    expect(await processesOn(data)).toEqual([]);
    await expect(stat(join(data, "running.json"))).rejects.toThrow("ENOENT");
  });

  it("starts again on the same data with the same key and the same host", async () => {
    const { child, up, exit } = start();
    expect(await up).toContain(key);
    const { items } = await apiOf((await contextOf()).url, key).get("/hosts", listOf(host));
    expect(items.map(({ status }) => status)).toEqual(["online"]);

    const second = start();
    expect(await second.exit).toBe(1);
    expect(second.said()).toContain(`already runs on this data, at http://127.0.0.1:${port}`);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
  });

  it("ends what it left behind when it was killed itself", async () => {
    const first = start();
    await first.up;
    const left = [await pidOf("host"), await pidOf("control plane")];
    process.kill(await pidOf("npm start"), "SIGKILL");
    await first.exit;
    for (const pid of left) expect(() => process.kill(pid, 0)).not.toThrow();

    const next = start();
    expect(await next.up).toContain("ended what the last start left behind: host, control plane");
    for (const pid of left) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    next.child.kill("SIGINT");
    expect(await next.exit).toBe(0);
    expect(await processesOn(data)).toEqual([]);
  });

  it("brings the host's daemon back when that ends", async () => {
    const { child, up, exit } = start();
    await up;
    const before = await pidOf("host");
    process.kill(before, "SIGKILL");
    const api = apiOf((await contextOf()).url, key);
    await eventually("another daemon is online", async () => (await pidOf("host")) !== before && (await api.get("/hosts", listOf(host))).items.every(({ status }) => status === "online"));
    child.kill("SIGINT");
    expect(await exit).toBe(0);
  });

  it("names the port where another program has it, and does not start", async () => {
    const server = createServer();
    await new Promise<void>((done) => {
      server.listen(port, "127.0.0.1", done);
    });
    const { exit, said } = start();
    expect(await exit).toBe(1);
    expect(said()).toContain(`Port ${port} is in use by another program`);
    server.close();
  });
});
