import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Marionette } from "../../sdk/index.ts";
import { verdictOn } from "../chaos/invariants.ts";
import { subject, working } from "../chaos/subject.ts";
import { killed, lineHostArgs, patientClient, runnersOf, storedLog } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { startProxy } from "../support/proxy.ts";
import { chance } from "../support/random.ts";
import { startStack, type Stack } from "../support/stack.ts";

const LINES = 100;
const NODE = { PATH: process.env["PATH"] ?? "" };

/** A stack, and what a host needs to know the agent of lines. */
interface Place {
  stack: Stack;
  client: Marionette;
  args: string[];
}

describe("whatever dies", () => {
  const places: Place[] = [];
  const dirs: string[] = [];
  async function place(): Promise<Place> {
    const dir = await mkdtemp(join(tmpdir(), "marionette-kills-"));
    dirs.push(dir);
    const stack = await startStack();
    const made = { stack, client: patientClient(stack), args: await lineHostArgs(dir) };
    places.push(made);
    return made;
  }
  let linking: Place;
  beforeAll(async () => {
    linking = await place();
  });
  afterAll(async () => {
    await Promise.all(places.map(({ stack }) => stack.close()));
    await Promise.all(dirs.map((dir) => rm(dir, { recursive: true, force: true, maxRetries: 10 })));
  });

  it.concurrent("a way that stalls, delays, cuts and swallows without a word loses nothing, and the runner comes back", async () => {
    const { stack, client, args } = linking;
    const random = chance();
    console.info(`TEST_SEED=${random.seed}`);
    const proxy = await startProxy(stack.url);
    try {
      await stack.host({ args: [...args, "--server", proxy.url], env: NODE });
      const subjects = await Promise.all(Array.from({ length: 3 }, () => subject(stack, client)));
      let over = false;
      const driven = Promise.all(subjects.map((each) => each.drive({ lines: LINES, ms: 10, ask: true }, () => over)));
      for (let turn = 0; turn < 12; turn++) {
        await working(subjects, random.pick);
        await delay(random.below(200));
        const trouble = turn % 3;
        if (trouble === 0) proxy.cut();
        else if (trouble === 1) {
          proxy.stall();
          await delay(200 + random.below(800));
          // Half of the time what was held back is never delivered.
          if (random.below(2) === 0) proxy.cut();
          proxy.resume();
        } else {
          proxy.delay(20 + random.below(80));
          await delay(500);
          proxy.delay(0);
        }
      }
      await eventually("all are connected again", () => proxy.open >= subjects.length + 1);
      const before = proxy.made;
      proxy.swallow();
      // Two pings without an answer, then the next attempt.
      await eventually("every link is made anew", () => proxy.made >= before + subjects.length + 1, 90_000);
      over = true;
      await driven;
      await Promise.all(subjects.map((each) => each.settled()));
      const verdicts = await Promise.all(subjects.map((each) => verdictOn(client, each, LINES)));
      expect(verdicts.flatMap(({ broken }) => broken)).toEqual([]);
      const runs = verdicts.flatMap(({ runs }) => runs);
      // A link that breaks costs no attempt while the runner comes back in time.
      expect(runs.filter(({ status }) => status !== "completed")).toEqual([]);
    } finally {
      await proxy.close();
    }
  });

  it.concurrent("a task without retries fails with its runner, and a runner that dies again and again is given up for another", async () => {
    const { stack, client, args } = linking;
    const host = await stack.host({ args, env: NODE, pool: "direct" });
    const session = await client.sessions.create({ agent: "lines", pool: "direct" });
    const prompt = JSON.stringify({ lines: 5_000, ms: 5, ask: false });
    const alive = () => eventually("a runner lives", async () => (await runnersOf(host)).find(({ session_id }) => session_id === session.id));
    const epochs = new Set<number>();
    for (let turn = 0; turn < 8; turn++) {
      const task = await client.tasks.create(session.id, { prompt });
      await eventually("it runs", async () => (await storedLog(client, session.id)).some((event) => event.type === "log" && event.task_id === task.id));
      const runner = await alive();
      epochs.add(runner.epoch);
      expect(killed(runner.pid)).toBe(true);
      expect(await client.tasks.wait(task.id)).toMatchObject({ status: "failed", attempts: 1, error: { code: "runner_lost" } });
    }
    // Five restarts a minute, then another attachment.
    expect([...epochs]).toEqual([1, 2]);
    const last = await client.tasks.create(session.id, { prompt: JSON.stringify({ lines: 10, ms: 1, ask: false }) });
    expect(await client.tasks.wait(last.id)).toMatchObject({ status: "completed", result: "wrote 10 lines" });
    const events = await storedLog(client, session.id);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    await client.sessions.terminate(session.id);
  });
});
