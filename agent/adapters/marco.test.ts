import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { directories, stage, type Stage, type StageOptions } from "../../test/support/adapter-context.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../../test/support/model-server/index.ts";
import { decide } from "../../sdk/protocol/decide.ts";
import { gateInput } from "../runtime/session/gate-call.ts";
import { marco } from "./marco.ts";

let server: ModelServer;
let program: string;
const built = directories();
beforeAll(async () => {
  server = await startModelServer();
  program = join(built.home, "marco.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "../runtime/session/main.ts")], outfile: program, bundle: true, platform: "node", format: "esm", target: "node24", logLevel: "silent",
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
  });
});
afterAll(async () => {
  built[Symbol.dispose]();
  await server.close();
});

let serial = 0;
const said = (steps: StepInput[]) => script(steps, `Do it, ${++serial}.`);
const exec = (command: string) => ({ tool: "exec", input: { command } });

function staged(places: { home: string; workspace: string }, prompt: string, more: Partial<StageOptions> = {}): Stage {
  return stage({ launch: { adapter: "marco", binary: process.execPath, args: [program] }, prompt, ...places, apiKey: "sk-test-marco", env: { ANTHROPIC_BASE_URL: server.anthropic, OPENAI_BASE_URL: server.openai, GREETING: "hello from the session" }, ...more });
}

describe("the agent marco", () => {
  it("works under its conversation, tells what it does, and asks about every call with paths as they are", async () => {
    using places = directories();
    const one = staged(places, said([{ thinking: "hm", text: "Writing. ", calls: [{ tool: "write_file", input: { path: "/workspace/a.txt", content: "a\n" } }, exec("echo $GREETING ${ANTHROPIC_API_KEY:-no key}")] }, { calls: [{ tool: "update_plan", input: { items: [{ text: "write", status: "completed" }] } }] }, { text: "Written." }]));
    expect(await marco.run(one.context)).toMatchObject({ status: "completed", result: "Written.", conversation: "marco-task" });
    expect(one.asked.map(({ tool, input }) => [tool, input])).toContainEqual(["write_file", { path: join(places.workspace, "a.txt"), content: "a\n" }]);
    expect(one.of("tool.result").map(({ output }) => output).join()).toContain("hello from the session no key");
    expect(one.of("file.changed")).toMatchObject([{ path: "a.txt", change: "created" }]);
    expect(one.of("thinking")).toEqual([{ text: "hm" }]);
    expect(one.of("message").map(({ text }) => text)).toEqual(["Writing. ", "Written."]);
    expect(one.of("plan")).toEqual([{ items: [{ text: "write", status: "completed" }] }]);
    expect(one.of("usage")).toHaveLength(3);
    expect(one.of("tool.call")).toHaveLength(3);
    expect(one.conversations).toContain("marco-task");

    const next = staged(places, said([{ text: "You had me write a.txt." }]), { conversation: "marco-task" });
    Object.assign(next.context.task, { task_id: "task2" });
    expect(await marco.run(next.context)).toMatchObject({ status: "completed" });
    expect(JSON.stringify(server.asked().at(-1)?.body)).toContain("Writing. ");
    expect(existsSync(join(places.workspace, "AGENTS.md"))).toBe(false);
  });

  it("is told why a call was denied", async () => {
    using places = directories();
    const one = staged(places, said([{ calls: [exec("touch x")] }, { text: "As you wish." }]), { gate: () => ({ allow: false, reason: "the moon is wrong" }) });
    expect(await marco.run(one.context)).toMatchObject({ status: "completed", result: "As you wish." });
    expect(one.of("tool.result")).toMatchObject([{ is_error: true, output: "not allowed: the moon is wrong" }]);
    expect(existsSync(join(places.workspace, "x"))).toBe(false);
  });

  it("chooses its provider by the model, and by what it is told", async () => {
    using places = directories();
    expect(await marco.run(staged(places, said([{ text: "hi" }]), { model: "deepseek/chat" }).context)).toMatchObject({ status: "completed", result: "hi" });
    expect(server.asked().at(-1)).toMatchObject({ api: "chat", headers: { authorization: "Bearer sk-test-marco" }, body: { model: "deepseek/chat" } });
    const told = staged(places, said([{ text: "hi" }]), { model: "mine", env: { MARCO_PROVIDER: "anthropic", MARCO_BASE_URL: server.anthropic } });
    Object.assign(told.context.task, { task_id: "another" });
    expect(await marco.run(told.context)).toMatchObject({ status: "completed" });
    expect(server.asked().at(-1)).toMatchObject({ api: "anthropic", body: { model: "mine" } });
  });

  it("fails in words: no key, a refused key, a used up budget, a setting that is none", async () => {
    using places = directories();
    expect(await marco.run(staged(places, "x", { apiKey: null, env: {} }).context)).toMatchObject({ status: "failed", error: { code: "agent_failed", message: expect.stringContaining("there is no key for claude-sonnet-4-5") as string } });
    expect(await marco.run(staged(places, said([{ fail: [{ status: 401, message: "invalid x-api-key" }] }])).context)).toMatchObject({ status: "failed", error: { message: expect.stringContaining("invalid x-api-key") as string, hint: expect.stringContaining("check the key") as string } });
    const looping = staged(places, said([{ calls: [exec("true")] }, { text: "never" }]), { env: { ANTHROPIC_BASE_URL: server.anthropic, MARCO_MAX_MODEL_CALLS: "1" } });
    Object.assign(looping.context.task, { task_id: "looping" });
    expect(await marco.run(looping.context)).toMatchObject({ status: "failed", error: { message: "the turn's budget is used up: this turn has made all of its 1 model calls" } });
    expect(await marco.run(staged(places, "x", { env: { MARCO_MAX_COST_USD: "lots" } }).context)).toMatchObject({ error: { message: expect.stringContaining("MARCO_MAX_COST_USD") as string } });
  });

  it("stops when it is interrupted, in mid-stream and in mid-command, and takes the next task", async () => {
    using places = directories();
    for (const [i, steps] of [[{ text: "word ".repeat(500), delay: 20 }], [{ calls: [exec("echo started > started; sleep 60")] }]].entries()) {
      const one: Stage = staged(places, said(steps), { onEvent: (event) => { if (event.type === "message.delta") one.interrupt(); } });
      Object.assign(one.context.task, { task_id: `stop-${i}` });
      const running = marco.run(one.context);
      if (i === 1) {
        await expect.poll(() => existsSync(join(places.workspace, "started"))).toBe(true);
        one.interrupt();
      }
      expect(await running).toMatchObject({ status: "failed", exit_code: 130 });
    }
    const next = staged(places, said([{ text: "Here." }]), { conversation: "marco-stop-0" });
    expect(await marco.run(next.context)).toMatchObject({ status: "completed", result: "Here." });
  });

  it.each(["SIGKILL", "SIGTERM"] as const)("goes on in mid-turn where an attempt got %s: finished calls are not run again", async (signal) => {
    using places = directories();
    const prompt = said([{ calls: [exec("echo one >> log")] }, { calls: [exec("echo two >> log; touch two; sleep 60")] }, { calls: [exec("echo three >> log")] }, { text: "All done." }]);
    const first = staged(places, prompt);
    const running = marco.run(first.context);
    await expect.poll(() => existsSync(join(places.workspace, "two"))).toBe(true);
    for (const each of first.processes) each.kill(signal);
    expect(await running).toMatchObject({ status: "failed", conversation: "marco-task" });

    const second = staged(places, prompt, { conversation: "marco-task", interrupted: true, notice: "The sandbox was lost and is back." });
    expect(await marco.run(second.context)).toMatchObject({ status: "completed", result: "All done." });
    expect(readFileSync(join(places.workspace, "log"), "utf8")).toBe("one\ntwo\nthree\n");
    expect(second.asked.map(({ input }) => JSON.stringify(input))).toEqual([expect.stringContaining("three")]);
    expect(second.of("tool.result")[0]).toMatchObject({ is_error: true, output: expect.stringContaining("had begun when the process that ran it died") as string });
    expect(JSON.stringify(server.asked().at(-1)?.body)).toContain("The sandbox was lost and is back.");
  });

  it("goes on where an attempt failed, instead of being given the prompt again", async () => {
    using places = directories();
    const prompt = said([{ calls: [exec("echo one >> log")] }, { fail: [{ status: 401, message: "no such key" }], calls: [exec("echo two >> log")] }, { text: "Both are done." }]);
    expect(await marco.run(staged(places, prompt).context)).toMatchObject({ status: "failed", conversation: "marco-task", error: { message: expect.stringContaining("no such key") as string } });
    const second = staged(places, prompt, { conversation: "marco-task" });
    expect(await marco.run(second.context)).toMatchObject({ status: "completed", result: "Both are done." });
    expect(readFileSync(join(places.workspace, "log"), "utf8")).toBe("one\ntwo\n");
    expect(JSON.stringify(server.asked().at(-1)?.body).split("Do it, ").length - 1).toBe(1);
  });

  it("remembers what was done in a turn that nobody takes up again", async () => {
    using places = directories();
    const first = staged(places, said([{ text: "Beginning.", calls: [exec("touch begun; sleep 60")] }, { text: "never" }]));
    const running = marco.run(first.context);
    await expect.poll(() => existsSync(join(places.workspace, "begun"))).toBe(true);
    for (const each of first.processes) each.kill("SIGKILL");
    await running;
    const next = staged(places, said([{ text: "I had begun." }]), { conversation: "marco-task" });
    Object.assign(next.context.task, { task_id: "task2" });
    expect(await marco.run(next.context)).toMatchObject({ status: "completed", result: "I had begun." });
    expect(JSON.stringify(server.asked().at(-1)?.body)).toContain("touch begun; sleep 60");
  });

  it("shows what subagents do under the call that started them, and asks about it", async () => {
    using places = directories();
    await mkdir(join(places.workspace, "agents/reader"), { recursive: true });
    await writeFile(join(places.workspace, "agents/reader/AGENT.md"), "---\ndescription: Reads\n---\nYou read.");
    const inner = said([{ text: "Looking.", calls: [exec("echo inside")] }, { text: "It says inside." }]);
    const one = staged(places, said([{ calls: [{ tool: "task", input: { name: "reader", prompt: inner } }] }, { text: "The reader knows." }]));
    expect(await marco.run(one.context)).toMatchObject({ status: "completed", result: "The reader knows." });
    const [outer, nested] = one.of("tool.call");
    expect(nested?.call_id.startsWith(`${outer?.call_id}/`)).toBe(true);
    expect(nested?.summary).toContain("reader: exec");
    expect(one.asked.map(({ tool, call_id }) => [tool, call_id])).toEqual([["task", outer?.call_id], ["exec", nested?.call_id]]);
    expect(one.of("progress").map(({ text }) => text)).toContain("reader: Looking.");
    expect(one.of("message").map(({ text }) => text)).toEqual(["The reader knows."]);
    expect(one.of("usage")).toHaveLength(4);
  });
});

describe("a rule about a path", () => {
  it("holds however marco's model spells it", () => {
    const place = { workspace: "/srv/w", home: "/home/a" };
    for (const path of ["secrets/a", "./secrets//a", "/workspace/secrets/a", "//workspace/secrets/a", "/./workspace/secrets/a", "/workspace/./secrets/a", "/srv/w/secrets/a"]) {
      const input = gateInput("read_file", { path }, { workspace: place.workspace, identity: "/home/a/id" }) as Record<string, string>;
      expect(decide({ tool: "read_file", input }, { rules: [{ pattern: "secrets/*", verdict: "deny" }], edit_mode: "off", place })).toMatchObject({ verdict: "deny" });
    }
  });
});
