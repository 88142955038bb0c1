import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSE, newChildId } from "../../sdk/protocol/index.ts";
import { inProcess, runnerDirectories, specFor } from "../../test/support/runner-stage.ts";
import { SessionServer } from "../../test/support/session-server.ts";
import { createRunner, type Runner, type RunnerOptions } from "./runner.ts";
import type { LinkTimings } from "./link.ts";

const TIMINGS: Partial<LinkTimings> = { ping_ms: 40, connect_ms: 200, backoff_min_ms: 5, backoff_max_ms: 40 };
let server: SessionServer;
let directories: ReturnType<typeof runnerDirectories>;
const runners: Runner[] = [];

async function runner(options: Partial<RunnerOptions> = {}): Promise<Runner> {
  const made = await createRunner({ spec: specFor(server, directories), journal: "memory", adapter: talker, timings: TIMINGS, ...options });
  runners.push(made);
  return made;
}
/** Emits as many logs as the prompt says, in as many bursts. */
const talker = inProcess(async (agent) => {
  const { count, pause } = JSON.parse(agent.task.prompt) as { count: number; pause?: boolean };
  for (let n = 0; n < count; n++) {
    await agent.emit({ type: "log", data: { stream: "stdout", text: String(n) } });
    if (pause) await new Promise((resolve) => setImmediate(resolve));
  }
});
const talk = (count: number, pause = false) => server.task(JSON.stringify({ count, pause }));
const numbers = () => server.of("log").map(({ text }) => Number(text));
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

beforeEach(async () => {
  server = await SessionServer.start();
  directories = runnerDirectories();
});
afterEach(async () => {
  for (const made of runners.splice(0)) made.kill();
  await server.stop();
  directories[Symbol.dispose]();
});

describe("the link", () => {
  it("says hello with its journal, and acknowledges a command together with the events that it caused", async () => {
    await runner();
    await server.until("it says hello", () => server.hellos.length > 0);
    expect(server.hellos[0]).toMatchObject({ version: 3, continues: false, epoch: 1, journal: { first: 0, last: 0 }, last_command: 0, run_id: null });
    await server.ended(talk(1).run_id);
    expect(server.ackedCommand).toBe(1);
    expect(server.messages).toContain(2);
    expect(server.faults).toEqual([]);
  });

  it("speaks with a session of the previous version, but not with an older one", async () => {
    await server.stop();
    server = await SessionServer.start({ version: 2 });
    await runner();
    await server.ended(talk(100).run_id);
    expect(server.ackedCommand).toBe(1);
    const old = await SessionServer.start({ version: 1 });
    const refused = await runner({ spec: specFor(old, directories), journal: "memory" });
    expect(await refused.ended).toMatchObject({ kind: "version", reason: expect.stringContaining("version 1") as string });
    await old.stop();
  });

  it("connects anew at once when its sandbox was frozen and goes on, and loses nothing", async () => {
    const made = await runner();
    await server.ended(talk(5).run_id);
    made.woken();
    await server.until("it says hello again", () => server.hellos.length > 1);
    await server.ended(talk(5).run_id);
    expect(server.faults).toEqual([]);
  });

  it("goes through a Unix socket where it is given one", async () => {
    const directory = mkdtempSync(join(tmpdir(), "relay-"));
    await server.stop();
    server = await SessionServer.start({ socket: join(directory, "relay.sock") });
    await runner({ spec: { ...specFor(server, directories), server: "http://nowhere.invalid", socket: join(directory, "relay.sock") } });
    await server.ended(talk(1).run_id);
    rmSync(directory, { recursive: true });
  });

  it("sends at once while nothing is under way, and in full frames while much is", async () => {
    await runner();
    await server.ended(talk(20_000).run_id);
    expect(numbers()).toEqual(upTo(20_000));
    expect(Math.max(...server.frames)).toBeGreaterThan(400);
    expect(server.frames.length).toBeLessThan(120);
  });

  it("loses and doubles nothing however often the connection is cut", async () => {
    await runner();
    const { run_id } = talk(3_000, true);
    let cuts = 0;
    const cut = setInterval(() => {
      if (server.connected && server.last > cuts * 200) {
        cuts++;
        server.cut();
      }
    }, 5);
    await server.ended(run_id);
    clearInterval(cut);
    expect(cuts).toBeGreaterThan(2);
    expect(numbers()).toEqual(upTo(3_000));
    expect(server.log.map(({ seq }) => seq)).toEqual(upTo(server.log.length).map((n) => n + 1));
    expect(server.faults).toEqual([]);
  });

  it("sends again what was sent and not acknowledged", async () => {
    server.silent = true;
    await runner();
    const { run_id } = talk(50, true);
    await server.until("some is there", () => server.last > 0);
    // The session forgets what it had not promised.
    server.last = 0;
    server.log.length = 0;
    server.silent = false;
    server.cut();
    await server.ended(run_id);
    expect(numbers()).toEqual(upTo(50));
    expect(server.faults).toEqual([]);
  });

  it("takes a command once, though it comes again", async () => {
    await runner();
    const { run_id } = talk(1);
    await server.ended(run_id);
    server.send({ type: "command", id: 1, epoch: 1, body: { kind: "task.start", ...server.task('{"count":0}'), attempt: 1, prompt: "x", timeout_seconds: 1, conversation: null } });
    await server.until("the next has ended", () => server.of("run.status").filter(({ status }) => status === "completed").length === 2);
    expect(server.of("run.status", run_id)).toHaveLength(2);
  });

  it("comes back when the session falls silent", async () => {
    await runner();
    await server.until("it says hello", () => server.hellos.length > 0);
    server.dead = true;
    await server.until("the dead connection is given up", () => server.closes.length > 0);
    server.dead = false;
    await server.until("it says hello again", () => server.hellos.length > 1);
    await server.ended(talk(1).run_id);
  });

  it("comes back when the session restarts", async () => {
    await runner();
    await server.until("it says hello", () => server.hellos.length > 0);
    server.close(CLOSE.again);
    await server.until("it says hello again", () => server.hellos.length > 1);
    server.refuse = 503;
    server.cut();
    await server.until("it is gone", () => !server.connected);
    server.refuse = null;
    await server.ended(talk(1).run_id);
  });

  const ends: [string, () => void, string][] = [
    ["its attachment is over", () => server.close(CLOSE.stale, "epoch 2 took over"), "stale"],
    ["its version is not understood", () => server.close(CLOSE.version), "version"],
    ["its token is refused again and again", () => {
      server.refuse = 401;
      server.cut();
    }, "stale"],
  ];
  for (const [when, act, kind] of ends) {
    it(`ends for good when ${when}`, async () => {
      const made = await runner();
      await server.until("it says hello", () => server.hellos.length > 0);
      act();
      expect(await made.ended).toMatchObject({ kind });
    });
  }

  it("ends when its frames are refused again and again", async () => {
    const made = await runner();
    for (let times = 1; times <= 5; times++) {
      await server.until("it is connected", () => server.hellos.length === times);
      server.close(CLOSE.protocol, "no");
    }
    expect(await made.ended).toMatchObject({ kind: "refused" });
  });
});

describe("a hostile message of the session", () => {
  const run = () => ({ task_id: newChildId("task", server.session_id, 0), run_id: newChildId("run", server.session_id, 0) });
  const start = (more: object = {}, body: object = {}) => ({ type: "command", id: 1, epoch: 1, body: { kind: "task.start", ...run(), attempt: 1, prompt: "x", timeout_seconds: 1, conversation: null, ...body }, ...more });
  const HOSTILE: [string, () => unknown][] = [
    ["no JSON", () => "{"], ["no frame", () => "[]"], ["a number", () => 7], ["an unknown type", () => ({ type: "shell" })], ["a second welcome", () => ({ type: "welcome", version: 2, epoch: 1, last: 0, settings: { edit_mode: "off", rules: [] } })],
    ["an unknown kind of command", () => ({ ...start(), body: { kind: "exec", command: "rm" } })], ["an unknown field", () => start({}, { sudo: true })], ["a foreign epoch", () => start({ epoch: 2 })], ["a command out of order", () => start({ id: 7 })],
    ["an acknowledgement of what was never sent", () => ({ type: "events.ack", up_to: 10_000 })], ["a prototype", () => ({ type: "__proto__" })], ["frames of which one is bad", () => [{ type: "events.ack", up_to: 0 }, null]],
  ];
  for (const [name, frame] of HOSTILE) {
    it(`is refused and the link made anew: ${name}`, async () => {
      await runner();
      await server.until("it says hello", () => server.hellos.length > 0);
      const message = frame();
      server.send(typeof message === "string" ? message : JSON.stringify(message));
      await server.until("the runner closes", () => server.closes.includes(CLOSE.protocol));
      await server.until("it says hello again", () => server.hellos.length > 1);
      expect(server.hellos[1]).toMatchObject({ last_command: 0 });
      await server.ended(talk(1).run_id);
      expect(server.of("run.status")).toHaveLength(2);
    });
  }

  it("may be of any size, and does not end the runner", async () => {
    await runner();
    await server.until("it says hello", () => server.hellos.length > 0);
    server.send("x".repeat(9 * 1024 * 1024));
    await server.until("it says hello again", () => server.hellos.length > 1);
    await server.ended(talk(1).run_id);
  });
});
