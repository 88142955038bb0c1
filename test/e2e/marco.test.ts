import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Session, SessionCreateParams, Task } from "../../sdk/index.ts";
import { killed, runnersOf } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../support/model-server/index.ts";
import { of, said, startScene, type Scene } from "../support/scene.ts";

let scene: Scene;
let model: ModelServer;
beforeAll(async () => {
  [scene, model] = await Promise.all([startScene(), startModelServer()]);
});
afterAll(async () => {
  await scene.close();
  await model.close();
});

const exec = (command: string) => ({ tool: "exec", input: { command } });
const start = (more: Partial<SessionCreateParams> = {}) => scene.session({ agent: "marco", base_url: model.anthropic, api_key: "sk-ant-marco-test", ...more });
const give = (session: Session, steps: StepInput[], words: string, more = {}) => scene.task(session, script(steps, `${words} (${session.id})`), more);

/** Approves whatever the task asks for, until it has ended; answers what was asked. */
async function approveAll(task: Task): Promise<string[]> {
  const asked: string[] = [];
  for await (const event of scene.client.tasks.logs(task.id, { follow: true, types: ["permission.requested"] })) {
    if (event.type !== "permission.requested") continue;
    asked.push(`${event.data.tool}: ${event.data.summary}`);
    await scene.client.permissions.approve(event.data.permission_id);
  }
  return asked;
}

describe("marco in a session", () => {
  it("reads a skill, writes a program, runs it, gives a task to a subagent, remembers, and is asked for permission", async () => {
    const session = await start();
    // A workspace as people have it: a skill and a subagent, written by an earlier task.
    const SKILL = "---\nname: greet\ndescription: How greetings are written here\n---\nEvery greeting ends with three exclamation marks.";
    const AGENT = "---\ndescription: Reviews programs\ntools: [read_file, grep]\n---\nYou review programs.";
    const laid = await give(session, [{ calls: [{ tool: "write_file", input: { path: "skills/greet/SKILL.md", content: SKILL } }, { tool: "write_file", input: { path: "agents/reviewer/AGENT.md", content: AGENT } }] }, { text: "Laid out." }], "Lay out");
    const [written] = await Promise.all([approveAll(laid), scene.end(laid)]);
    expect(written).toHaveLength(2);
    const review = script([{ calls: [{ tool: "read_file", input: { path: "greet.py" } }] }, { text: "It greets correctly." }], "Review greet.py");
    const task = await give(session, [
      { text: "I look for a skill.", calls: [{ tool: "load_skill", input: { name: "greet" } }] },
      { calls: [{ tool: "write_file", input: { path: "greet.sh", content: "echo 'Hello!!!' | tee greeting.txt\n" } }] },
      { calls: [exec("cp greet.sh greet.py; sh greet.sh")] },
      { calls: [{ tool: "task", input: { name: "reviewer", prompt: review } }] },
      { calls: [{ tool: "remember", input: { name: "greetings", description: "how greetings end", content: "Greetings end with three exclamation marks." } }] },
      { text: "The greeting is written and reviewed." },
    ], "Write a greeting program");
    const [asked, ended] = await Promise.all([approveAll(task), scene.end(task)]);
    expect(ended).toMatchObject({ status: "completed", result: "The greeting is written and reviewed." });
    expect(asked.map((one) => one.split(":", 1)[0])).toEqual(["write_file", "exec", "remember"]);

    const log = await scene.log(task);
    const results = of(log, "tool.result");
    expect(results.every(({ is_error }) => !is_error)).toBe(true);
    expect(results.map(({ output }) => output).join("\n")).toMatch(/three exclamation marks[^]*Hello!!![^]*It greets correctly\./);
    expect(of(log, "tool.call").map(({ tool }) => tool)).toEqual(["load_skill", "write_file", "exec", "task", "read_file", "remember"]);
    expect(of(log, "tool.call")[4]?.call_id).toMatch(new RegExp(`^${of(log, "tool.call")[3]?.call_id}/`));
    expect(of(log, "file.changed").map(({ path, change }) => [path, change])).toEqual([["greet.sh", "created"], ["memory/greetings.md", "created"]]);
    // Each call is told by the agent and, as what it cost, by the gateway, which alone has the key.
    await eventually("the gateway has counted every call", async () => of(await scene.log(task), "usage").filter(({ source }) => source === "gateway").length === 8);
    expect(of(log, "usage").filter(({ source }) => source !== "gateway")).toHaveLength(8);
    expect(model.asked("anthropic").at(-1)?.headers["x-api-key"]).toBe("sk-ant-marco-test");
    expect(said(log)).toEqual(["I look for a skill.", "The greeting is written and reviewed."]);
    expect(await scene.client.sessions.files.text(session.id, "greeting.txt")).toBe("Hello!!!\n");
    expect(await scene.client.sessions.files.text(session.id, "memory/MEMORY.md")).toContain("how greetings end");

    // The next task goes on in the conversation, and its prompt holds what was remembered.
    const next = await give(session, [{ text: "Three." }], "How many exclamation marks?");
    expect(await scene.end(next)).toMatchObject({ status: "completed", result: "Three." });
    const body = JSON.stringify(model.asked("anthropic").findLast(({ prompt }) => prompt.join().includes("How many exclamation marks?"))?.body);
    for (const word of ["how greetings end", "Write a greeting program", "greet: How greetings are written here"]) expect(body).toContain(word);
    expect((await scene.client.sessions.get(session.id)).usage.output_tokens).toBeGreaterThan(0);
  });

  it("is told why a call was denied, and is canceled in the middle of a turn", async () => {
    const session = await start({ model: "some/model", base_url: model.openai, api_key: "sk-marco-test" });
    const task = await give(session, [{ calls: [exec("touch denied.txt && curl https://example.org")] }, { text: "As you wish." }], "Try it");
    await scene.client.permissions.deny((await scene.asked(task)).id, { reason: "the moon is wrong" });
    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "As you wish." });
    expect(JSON.stringify(model.asked("chat").at(-1)?.body)).toContain("the moon is wrong");
    const long = await give(session, [{ text: "word ".repeat(2_000), delay: 50 }], "Talk for long");
    for await (const event of scene.client.tasks.logs(long.id, { follow: true, types: ["message.delta"] })) if (event.type === "message.delta") break;
    await scene.client.tasks.cancel(long.id);
    expect(await scene.end(long)).toMatchObject({ status: "canceled" });
    expect(await scene.end(await give(session, [{ text: "Here again." }], "And now?"))).toMatchObject({ status: "completed", result: "Here again." });
  });

  it("runs from the command line, with any model and endpoint", async () => {
    const { url, apiKey } = scene.stack;
    const mctl = resolve(import.meta.dirname, "../../sdk/cli/bin.mjs");
    const args = [mctl, "run", "--agent", "marco", "--model", "local/tiny", "--base-url", model.openai, "--yes", "--rm", script([{ calls: [exec("echo from-mctl > made.txt; cat made.txt")] }, { text: "It is made." }], "From the command line")];
    const child = spawn(process.execPath, args, { env: { PATH: process.env["PATH"], HOME: scene.stack.dir, MARIONETTE_API_URL: url, MARIONETTE_API_KEY: apiKey, OPENAI_API_KEY: "sk-of-the-command-line" } });
    let [out, err] = ["", ""];
    child.stdout.on("data", (part: Buffer) => (out += part.toString()));
    child.stderr.on("data", (part: Buffer) => (err += part.toString()));
    const code = await new Promise((ended) => child.once("close", ended));
    expect({ code, out, err }).toMatchObject({ code: 0, out: "It is made.\n" });
    expect(err).toContain("from-mctl");
    expect(model.asked("chat").at(-1)).toMatchObject({ headers: { authorization: "Bearer sk-of-the-command-line" }, body: { model: "local/tiny" } });
  });

  it("goes on in mid-turn after its runner was killed; finished calls are not run again", async () => {
    const session = await start({ edit_mode: "session" });
    const task = await give(session, [
      { calls: [exec("echo one >> steps.txt")] },
      { calls: [exec("curl --version; echo two >> steps.txt")] },
      { text: "Both." },
    ], "Two steps", { max_retries: 2 });
    const first = await scene.asked(task);
    if (first.summary.includes("one")) await scene.client.permissions.approve(first.id);
    const waiting = first.summary.includes("two") ? first : await scene.asked(task, 2);
    expect(waiting.summary).toContain("two");
    const runner = (await runnersOf(scene.host)).find(({ session_id }) => session_id === session.id);
    expect(runner).toBeDefined();
    expect(killed(runner?.pid ?? 0)).toBe(true);
    const [, ended] = await Promise.all([approveAgain(task, waiting.run_id), scene.end(task)]);
    expect(ended).toMatchObject({ status: "completed", result: "Both." });
    expect(await scene.client.sessions.files.text(session.id, "steps.txt")).toBe("one\ntwo\n");
  });

  it("is suspended with its question waiting and everything gone from the host, and goes on where it was, asked once", async () => {
    const session = await scene.session({ agent: "marco", env: { MARCO_BASE_URL: model.anthropic } });
    const task = await give(session, [{ calls: [{ tool: "recall", input: {} }] }, { calls: [exec("curl --version; echo ran >> ran.txt")] }, { text: "All done." }], "Be suspended");
    const asked = await scene.asked(task);
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await eventually("it is suspended", async () => (await scene.client.sessions.get(session.id)).status === "suspended");
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "All done.", attempts: 2 });
    const log = await scene.log(task);
    expect(of(log, "permission.requested")).toHaveLength(1);
    expect(of(log, "tool.call").filter(({ tool }) => tool === "recall")).toHaveLength(1);
    expect(await scene.client.sessions.files.text(session.id, "ran.txt")).toBe("ran\n");
  });
});

/** Approves what another run than that one asks for, until the task has ended. */
async function approveAgain(task: Task, lost: string): Promise<void> {
  for await (const event of scene.client.tasks.logs(task.id, { follow: true, types: ["permission.requested"] })) {
    if (event.type === "permission.requested" && event.run_id !== lost) await scene.client.permissions.approve(event.data.permission_id);
  }
}
