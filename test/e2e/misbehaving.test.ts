import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_PROMPT_CHARS, MAX_TEXT_CHARS } from "../../sdk/protocol/index.ts";
import { steps } from "../support/agents.ts";
import { eventually } from "../support/eventually.ts";
import { LIVE_MEMORY, liveMemory } from "../support/live-memory.ts";
import { processesWith } from "../support/processes.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

const MEGABYTE = 1_000_000;

describe("an agent that misbehaves", () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({}, { prelude: LIVE_MEMORY });
  });
  afterAll(() => scene.close());

  it("and crashes fails its task in words, and the next one runs", async () => {
    const session = await scene.session();
    const crashed = await scene.end(await scene.task(session, steps(["stderr", "out of ideas"], ["crash"])));
    expect(crashed).toMatchObject({ status: "failed", error: { code: "agent_crashed", message: expect.stringContaining("SIG") as unknown } });
    const exited = await scene.end(await scene.task(session, steps(["stderr", "out of ideas"], ["exit", 3])));
    expect(exited).toMatchObject({ status: "failed", exit_code: 3, error: { code: "agent_failed", hint: expect.stringContaining("out of ideas") as unknown } });
    expect(await scene.end(await scene.task(session, "still here"))).toMatchObject({ status: "completed" });
  });

  it("and prints a hundred megabytes loses none of it unsaid, keeps the runner small and the session answering", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["flood", 50 * MEGABYTE], ["spam", 50 * MEGABYTE], ["text", "that was all"]));
    const running = await eventually("the runner is attached", async () => {
      const { runner } = await scene.client.sessions.get(session.id);
      return runner?.state === "connected" ? runner : null;
    });
    const end = scene.end(task);
    let answers = 0;
    const over = end.then(() => true);
    while (!(await Promise.race([over, scene.client.sessions.get(session.id).then(() => false)]))) answers++;
    expect(await end).toMatchObject({ status: "completed" });
    expect(answers).toBeGreaterThan(10);
    // What waits to be sent is bounded by 32 MiB; the rest is the program itself.
    expect(liveMemory(scene.host.dir, running.id)).toBeLessThan(90);
    let characters = 0;
    for await (const event of scene.client.tasks.logs(task.id, { types: ["log"] })) {
      if (event.type === "log") characters += event.data.text.length + (event.data.truncated ?? 0);
    }
    // One endless line in pieces of 64 KiB, and blocks of 640 lines of 99 characters: to the last one.
    expect(characters).toBe(Math.ceil((50 * MEGABYTE) / 65_536) * 65_536 + Math.ceil((50 * MEGABYTE) / 64_000) * 640 * 99);
  });

  it("and prints bytes that are no text has them kept as base64", async () => {
    const task = await scene.task(await scene.session(), steps(["binary"]));
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    const [log] = of(await scene.log(task), "log");
    expect(log?.encoding).toBe("base64");
    expect([...Buffer.from(log?.text ?? "", "base64")].slice(0, 6)).toEqual([0xff, 0xfe, 0x00, 0x80, 0xc3, 0x28]);
  });

  it("and hears no signal is killed when its time is over, with the children it sent away", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["fork", false], ["fork", true], ["hang"]), { timeout_seconds: 1 });
    const running = await eventually("it hangs", async () => (said(await scene.log(task)).includes("hanging") ? scene.client.tasks.get(task.id) : null));
    expect(processesWith(`MARIONETTE_RUN_ID=${running.run_id}`).length).toBeGreaterThanOrEqual(3);
    expect(await scene.end(task)).toMatchObject({ status: "timeout" });
    await eventually("nothing of it is left", () => processesWith(`MARIONETTE_RUN_ID=${running.run_id}`).length === 0);
    expect(await scene.end(await scene.task(session, "next"))).toMatchObject({ status: "completed" });
  });

  it("and leaves children behind has them ended with its task", async () => {
    const task = await scene.task(await scene.session(), steps(["fork", false], ["fork", true], ["text", "bye"]));
    const ended = await scene.end(task);
    expect(ended).toMatchObject({ status: "completed" });
    expect(said(await scene.log(task))).toEqual([expect.stringMatching(/^child \d+$/), expect.stringMatching(/^child \d+$/), "bye"]);
    await eventually("nothing of it is left", () => processesWith(`MARIONETTE_RUN_ID=${ended.run_id}`).length === 0);
  });

  it("and asks a thousand questions at once gets every one answered", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["asks", 1_000, "Bash"]));
    await eventually("all are asked", async () => (await scene.client.sessions.get(session.id)).pending_permissions === 1_000);
    const listed = await eventually("all are listed", async () => {
      const pending = await all(scene.client.permissions.list({ session_id: session.id, status: "pending", limit: 200 }));
      return pending.length === 1_000 ? pending : null;
    });
    const waiting = listed.map(({ id }) => id);
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) await scene.client.permissions.approve(id);
    }));
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(said(await scene.log(task))).toEqual(["approved 1000 of 1000"]);
    expect(await scene.client.sessions.get(session.id)).toMatchObject({ pending_permissions: 0 });
  });

  it("gets a prompt of a megabyte whole; a larger one is refused by name", async () => {
    const session = await scene.session();
    const task = await scene.task(session, "p".repeat(MAX_PROMPT_CHARS));
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(of(await scene.log(task), "message")).toEqual([{ text: "p".repeat(MAX_TEXT_CHARS), truncated: MAX_PROMPT_CHARS - MAX_TEXT_CHARS }]);
    expect(await scene.task(session, "p".repeat(MAX_PROMPT_CHARS + 1)).catch((error: unknown) => error)).toMatchObject({ status: 400, details: { prompt: expect.any(String) as unknown } });
    expect(await scene.task(session, "p".repeat(5 * MEGABYTE)).catch((error: unknown) => error)).toMatchObject({ status: 413 });
  });
});
