import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Session, SessionCreateParams, Task } from "../../sdk/index.ts";
import { modelRequest, type ModelRequest } from "../../sdk/protocol/index.ts";
import { steps } from "../support/agents.ts";
import { missingCli } from "../support/clis.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer, type Api, type ModelServer, type StepInput } from "../support/model-server/index.ts";
import { memoryHolds } from "../support/process-memory.ts";
import { processes, processesWith, runnerProcess } from "../support/processes.ts";
import { of, said, startScene, type Scene } from "../support/scene.ts";

/** What differs between the two. */
const AGENTS = {
  claude: { api: "anthropic", tool: "Bash", shell: (command: string) => ({ tool: "Bash", input: { command } }), base: (model: ModelServer) => model.anthropic, model: "claude-sonnet-4-5", key: "sk-ant-test-only-7d1f0c2b9a" },
  codex: { api: "responses", tool: "shell", shell: (command: string) => ({ tool: "exec_command", input: { cmd: command } }), base: (model: ModelServer) => model.openai, model: "gpt-5-codex", key: "sk-test-only-41c0aa93d7" },
} as const satisfies Record<string, { api: Api; tool: string; shell: (command: string) => StepInput["calls"] extends (infer C)[] | undefined ? C : never; base: (model: ModelServer) => string; model: string; key: string }>;

let scene: Scene;
let model: ModelServer;
beforeAll(async () => {
  [scene, model] = await Promise.all([startScene(), startModelServer()]);
});
afterAll(async () => {
  await scene.close();
  await model.close();
});

/** Files below a directory whose bytes hold the text. */
function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => join(dir, name))
    .filter((path) => {
      try {
        return statSync(path).isFile() && readFileSync(path).includes(text);
      } catch {
        // It went away while we looked.
        return false;
      }
    });
}

/** Rows of all tables that hold the text. */
async function rowsWith(text: string): Promise<string[]> {
  const { postgres } = scene.stack;
  const tables = await postgres.query("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'");
  const rows = await Promise.all(tables.map(({ name }) => postgres.query(`SELECT t::text AS row FROM "${String(name)}" t`)));
  return rows.flat().map(({ row }) => String(row)).filter((row) => row.includes(text));
}

describe.each(["claude", "codex"] as const)("the real %s", (name) => {
  const missing = missingCli(name);
  const { api, tool, shell, base, key } = AGENTS[name];
  const start = (more: Partial<SessionCreateParams> = {}) => scene.session({ agent: name, base_url: base(model), api_key: key, model: AGENTS[name].model, ...more });
  const give = (session: Session, steps: StepInput[], words: string) => scene.task(session, script(steps, `${words} (${session.id})`));
  /** What the model was last told in this session. */
  const lastRequest = (session: Session) => JSON.stringify(model.asked(api).findLast(({ body }) => JSON.stringify(body).includes(session.id))?.body);
  const agentProcess = (task: Task) => processesWith(`MARIONETTE_RUN_ID=${task.run_id}`).find(({ command: [file] }) => file?.includes(name));

  describe.skipIf(missing !== null)(`through the whole stack${missing === null ? "" : ` (${missing})`}`, () => {
    it("runs a command that was approved, answers, and goes on with the conversation in the next task", async () => {
      const session = await start();
      const task = await give(session, [{ text: "I will write it down.", calls: [shell("echo marzipan > note.txt")] }, { text: "It is written." }], "Note the word marzipan");
      const asked = await scene.asked(task);
      expect(asked).toMatchObject({ tool, status: "pending", summary: expect.stringContaining("echo marzipan > note.txt") as unknown });
      expect(await scene.client.sessions.files.list(session.id)).not.toContainEqual(expect.objectContaining({ name: "note.txt" }));
      await scene.client.permissions.approve(asked.id);
      expect(await scene.end(task)).toMatchObject({ status: "completed", result: "It is written." });
      expect(await scene.client.sessions.files.text(session.id, "note.txt")).toBe("marzipan\n");
      const log = await scene.log(task);
      expect(said(log)).toEqual(["I will write it down.", "It is written."]);
      expect(of(log, "usage").length).toBeGreaterThan(0);
      expect(of(log, "tool.call")).toHaveLength(1);
      expect(of(log, "tool.result")).toEqual([expect.objectContaining({ is_error: false })]);

      const second = await give(session, [{ text: "You said marzipan." }], "Which word was it?");
      expect(await scene.end(second)).toMatchObject({ status: "completed", result: "You said marzipan." });
      expect(lastRequest(session)).toContain("Note the word marzipan");
      expect((await scene.client.sessions.get(session.id)).usage.output_tokens).toBeGreaterThan(0);
    });

    it("is told why a command was denied, and the command has not run", async () => {
      const session = await start();
      const task = await give(session, [{ calls: [shell("touch denied.txt && curl https://example.org")] }, { text: "As you wish." }], "Try it");
      await scene.client.permissions.deny((await scene.asked(task)).id, { reason: "the moon is wrong" });
      expect(await scene.end(task)).toMatchObject({ status: "completed", result: "As you wish." });
      expect(lastRequest(session)).toContain("the moon is wrong");
      expect((await scene.client.sessions.files.list(session.id)).map((file) => file.name)).not.toContain("denied.txt");
    });

    it("is canceled in the middle of a turn, and takes the next task", async () => {
      const session = await start();
      const task = await give(session, [{ text: "word ".repeat(2_000), delay: 50 }], "Talk for long");
      for await (const event of scene.client.tasks.logs(task.id, { follow: true, types: ["message.delta"] })) {
        if (event.type === "message.delta") break;
      }
      await scene.client.tasks.cancel(task.id);
      expect(await scene.end(task)).toMatchObject({ status: "canceled" });
      expect(await scene.end(await give(session, [{ text: "Here again." }], "And now?"))).toMatchObject({ status: "completed", result: "Here again." });
    });

    it("is killed, which fails its task, and the next task works and knows what was said before", async () => {
      const session = await start();
      const begun = await give(session, [{ text: "Noted." }], "The word is nougat");
      expect(await scene.end(begun)).toMatchObject({ status: "completed" });
      const task = await give(session, [{ calls: [shell("curl https://example.org")] }, { text: "never" }], "Fetch it");
      await scene.asked(task);
      const agent = agentProcess(await scene.client.tasks.get(task.id));
      expect(agent).toBeDefined();
      process.kill(agent?.pid ?? 0, "SIGKILL");
      expect(await scene.end(task)).toMatchObject({ status: "failed", error: { code: "agent_crashed" } });
      expect(await scene.end(await give(session, [{ text: "It was nougat." }], "Which word?"))).toMatchObject({ status: "completed", result: "It was nougat." });
      expect(lastRequest(session)).toContain("The word is nougat");
    });

    it("never gets the model's key: it is in no process, no memory of the runner, no file, no table and no log of the whole machine", async () => {
      const needle = `${key}-kept-at-the-edge`;
      const session = await start({ api_key: needle });
      expect(session).toMatchObject({ has_api_key: true });
      expect(JSON.stringify(session)).not.toContain(needle);
      const task = await give(session, [{ calls: [shell("env; curl https://example.org")] }, { text: "Done." }], "Wait for me");
      const asked = await scene.asked(task);
      const { run_id } = await scene.client.tasks.get(task.id);
      const agent = agentProcess({ ...task, run_id });
      expect(agent?.environment.join("\n")).toMatch(/_API_KEY=gtok_/);
      const { runner } = await scene.client.sessions.get(session.id);
      const own = runnerProcess(scene.host.dir, runner?.id ?? "");
      expect(own).toBeDefined();
      expect(processes().filter(({ environment, command }) => [...environment, ...command].join("\n").includes(needle))).toEqual([]);
      // While the agent waits with a call of the model behind it: the runner, the agent, and the daemon that started them.
      const scanned = [own, agent, ...processes().filter(({ command }) => command.join(" ").includes(scene.host.dir))];
      for (const each of scanned) if (each) expect(memoryHolds(each.pid, needle), `${each.command[0]}`).toBe(false);
      // The search finds what is there.
      expect(memoryHolds(own?.pid ?? 0, session.id)).toBe(true);
      await scene.client.permissions.approve(asked.id);
      expect(await scene.end(task)).toMatchObject({ status: "completed" });
      expect(JSON.stringify(model.asked(api).at(-1)?.headers)).toContain(needle);
      expect(existsSync(join(scene.host.dir, "runners", runner?.id ?? "", "state", "journal.jsonl"))).toBe(true);

      // The daemon's data (runner.json, journals, homes, workspaces), the objects' SQLite and R2, the lines of all.
      expect(filesWith(scene.stack.dir, session.id).length).toBeGreaterThan(0);
      expect(filesWith(scene.stack.dir, needle)).toEqual([]);
      await eventually("the session is in the database", async () => (await rowsWith(session.id)).length > 0);
      expect(await rowsWith(needle)).toEqual([]);
      expect([...scene.stack.log, ...scene.host.log].filter((line) => line.includes(needle))).toEqual([]);
      expect(JSON.stringify(await scene.log(task))).not.toContain(needle);
    });

    it("is counted by the gateway, once: by call, run, task and session", async () => {
      const session = await start();
      const task = await scene.end(await give(session, [{ text: "Counted." }], "Count me"));
      const read = async () => (await (await fetch(`${scene.stack.url}/api/v1/metrics/requests?selector=task=${task.id}`, { headers: { authorization: `Bearer ${scene.stack.apiKey}` } })).text()).split("\n").filter(Boolean).map((line) => modelRequest.parse(JSON.parse(line)));
      // Rows and the session's sum come by different ways, each a moment later.
      const tokens = (calls: ModelRequest[]) => calls.reduce((total, call) => total + call.output_tokens, 0);
      const calls = await eventually("all calls are in the database", async () => {
        const found = await read();
        const { output_tokens } = (await scene.client.sessions.get(session.id)).usage;
        return found.length > 0 && tokens(found) === output_tokens ? found : null;
      });
      const sum = (of: (call: ModelRequest) => number) => calls.reduce((total, call) => total + of(call), 0);
      expect(calls.every(({ run_id, priced, outcome }) => run_id === task.run_id && priced && outcome === "completed")).toBe(true);
      const { usage } = await scene.client.sessions.get(session.id);
      expect(usage).toMatchObject({ output_tokens: sum((call) => call.output_tokens), cache_write_tokens: sum((call) => call.cache_write_tokens) });
      expect(usage.cost_usd).toBeCloseTo(sum((call) => call.cost_usd ?? 0), 9);
      expect((await scene.client.tasks.get(task.id)).usage).toMatchObject({ cost_usd: usage.cost_usd });
    });

    it("is told where its budget ends, and its owner is asked", async () => {
      const session = await start({ budget: { max_tokens: 10 } });
      const task = await give(session, [{ text: "Too dear." }], "Spend");
      const asked = await scene.asked(task);
      expect(asked).toMatchObject({ tool: "budget", status: "pending" });
      await eventually("its task waits for the answer", async () => (await scene.client.tasks.get(task.id)).waiting_for?.includes("budget"));
      await scene.client.permissions.approve(asked.id, { budget: { max_tokens: 10_000_000 } });
      expect(await scene.end(task)).toMatchObject({ status: "completed", result: "Too dear." });
    });
  });
});

describe("a session whose agent needs a key", () => {
  it("says what to do where there is none", async () => {
    const task = await scene.end(await scene.task(await scene.session({ agent: "codex" }), "hello"));
    expect(task).toMatchObject({ status: "failed", error: { code: "key_missing", hint: expect.stringContaining("api_key") as unknown } });
  });

  it("says how to give it again once the runner that it was for has gone, and goes on when it has", async () => {
    const session = await scene.session({ api_key: "sk-test-only-gone" });
    const first = await scene.task(session, steps(["env", "MODEL_API_KEY"]));
    expect(await scene.end(first)).toMatchObject({ status: "completed", result: expect.stringMatching(/^gtok_/) as unknown });
    const { dir, id } = scene.host;
    await scene.host.stop();
    await scene.stack.controlPlane.kill();
    // A control plane that was killed may not have written down yet that the host had gone.
    scene.host = await scene.stack.host({ dir, id, args: scene.agents.args });
    const task = await scene.end(await scene.task(session, "hello"));
    expect(task).toMatchObject({ status: "failed", error: { code: "key_missing", hint: expect.stringContaining("PATCH") as unknown } });
    await scene.client.sessions.update(session.id, { api_key: "sk-test-only-new" });
    expect(await scene.end(await scene.task(session, steps(["env", "MODEL_API_KEY"])))).toMatchObject({ status: "completed", result: expect.stringMatching(/^gtok_/) as unknown });
  });
});
