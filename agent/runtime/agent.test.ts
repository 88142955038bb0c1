import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as z from "zod";
import { script, startModelServer, type ModelServer, type StepInput } from "../../test/support/model-server/index.ts";
import { createAgent, type CreateAgentOptions, type CreatedAgent } from "./agent.ts";
import { isFinal, type AgentEvent } from "./events.ts";
import { journalEntry, type JournalEntry } from "./history/journal.ts";
import { AnthropicProvider } from "./models/anthropic.ts";
import { OpenAICompatibleProvider } from "./models/openai-compatible.ts";
import { createLocalSandboxProvider } from "./sandbox/local.ts";
import type { Sandbox } from "./sandbox/contracts.ts";
import { toolFromZod } from "./tool.ts";

let server: ModelServer;
let dir: string;
let sandbox: Sandbox;
beforeAll(async () => {
  server = await startModelServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "marco-agent-"));
  sandbox = createLocalSandboxProvider({ directory: dir });
  return async () => {
    await sandbox.stop("w");
    await rm(dir, { recursive: true, force: true });
  };
});

const inside = (path: string) => join(dir, "w", "workspace", path);
async function put(path: string, text: string | Uint8Array): Promise<void> {
  await mkdir(dirname(inside(path)), { recursive: true });
  await writeFile(inside(path), text);
}
const create = (more: Partial<CreateAgentOptions> = {}): Promise<CreatedAgent> =>
  createAgent({
    agent: { id: "ada", displayName: "Ada", workspaceInstructionsSeed: "Be kind.", publishedSystemPromptFragment: "You help with research.", defaultModelId: "claude-sonnet-4-5" },
    context: { agentId: "ada", workspaceId: "w" },
    sandbox,
    modelProvider: new AnthropicProvider({ apiKey: "k", baseURL: server.anthropic }),
    retries: { baseMs: 1 },
    ...more,
  });
let serial = 0;
const said = (steps: StepInput[]) => script(steps, `Please, ${++serial}.`);
async function all(stream: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  const events: AgentEvent[] = [];
  for await (const event of stream) events.push(event);
  expect(events.filter(isFinal)).toHaveLength(1);
  return events;
}
const of = <T extends AgentEvent["type"]>(events: readonly AgentEvent[], type: T) => events.filter((event): event is Extract<AgentEvent, { type: T }> => event.type === type);
const outputs = (events: readonly AgentEvent[]) => of(events, "tool-result").map(({ output }) => output);
const lastSystem = () => JSON.stringify((server.asked("anthropic").at(-1)?.body as { system: unknown } | undefined)?.system);

describe("createAgent", () => {
  it("seeds a fresh workspace, tells the prompt and the tools, and works", async () => {
    const { agent, systemPrompt, tools, warnings } = await create();
    expect(warnings).toEqual([]);
    expect(systemPrompt).toMatch(/You are Ada[^]*You help with research\.[^]*This workspace: AGENTS\.md\nBe kind\.[^]*What you remember/);
    expect(tools.map(({ name }) => name)).toEqual(["exec", "exec_output", "exec_kill", "read_file", "list_dir", "write_file", "edit_file", "delete_file", "grep", "glob", "remember", "recall", "list_skills", "load_skill"]);
    const events = await all(agent.stream(said([{ calls: [{ tool: "exec", input: { command: "echo hello | tee out.txt" } }] }, { text: "It says hello." }])));
    expect(outputs(events)[0]).toContain("hello");
    expect(await readFile(inside("out.txt"), "utf8")).toBe("hello\n");
    expect(await readFile(join(dir, "w", "identity", "prompt.md"), "utf8")).toBe("You help with research.");
  });

  it("has the tools of MCP servers, and warns of what they left out", async () => {
    const ping = toolFromZod({ name: "far__ping", description: "pings", input: z.strictObject({}), execute: () => "pong" });
    const { agent, tools } = await create({ mcp: [{ tools: [ping], warnings: ["far has two tools that are called far__ping here"] }] });
    expect(tools.map(({ name }) => name)).toContain("far__ping");
    const events = await all(agent.stream(said([{ calls: [{ tool: "far__ping", input: {} }] }, { text: "ok" }])));
    expect(events[0]).toEqual({ type: "warning", code: "mcp", message: "far has two tools that are called far__ping here" });
    expect(outputs(events)).toEqual(["pong"]);
  });

  it("seeds once: what a person changed stays, what they deleted stays away, what they left alone is kept up to date", async () => {
    const agent = { id: "ada", displayName: "Ada", workspaceInstructionsSeed: "One.", seedFiles: { "skills/a.md": "# A", "skills/b.md": "# B" }, defaultModelId: "m" };
    await create({ agent });
    await put("AGENTS.md", "Mine.");
    await rm(inside("skills/a.md"));
    await create({ agent: { ...agent, workspaceInstructionsSeed: "Two.", seedFiles: { "skills/a.md": "# A2", "skills/b.md": "# B2", "skills/c.md": "# C" } } });
    expect(await readFile(inside("AGENTS.md"), "utf8")).toBe("Mine.");
    await expect(readFile(inside("skills/a.md"))).rejects.toThrow("ENOENT");
    expect(await readFile(inside("skills/b.md"), "utf8")).toBe("# B2");
    expect(await readFile(inside("skills/c.md"), "utf8")).toBe("# C");
    expect((await create({ agent, seed: false })).systemPrompt).toContain("Mine.");
  });

  it("does not seed where it is not to, and reads CLAUDE.md where there is no AGENTS.md", async () => {
    await put("CLAUDE.md", "From Claude's file.");
    const { systemPrompt } = await create({ seed: false });
    expect(systemPrompt).toContain("# This workspace: CLAUDE.md\nFrom Claude's file.");
    await expect(readFile(inside("AGENTS.md"))).rejects.toThrow("ENOENT");
  });

  it("loads skills with what lies beside them", async () => {
    await put("skills/review-pr/SKILL.md", "---\nname: review-pr\ndescription: How a review goes\n---\nRead the diff twice.");
    await put("skills/review-pr/checklist.md", "- names");
    await put("skills/ship.md", "---\ndescription: How to ship\n---\nTag it.");
    const { agent, systemPrompt } = await create();
    expect(systemPrompt).toContain("# Skills that you can load\n- review-pr: How a review goes\n- ship: How to ship");
    const events = await all(agent.stream(said([{ calls: [{ tool: "list_skills", input: {} }, { tool: "load_skill", input: { name: "review-pr" } }, { tool: "load_skill", input: { name: "no" } }] }, { text: "ok" }])));
    expect(outputs(events).sort()).toEqual([
      "# Skill review-pr (/workspace/skills/review-pr/SKILL.md)\n\nRead the diff twice.\n\nFiles that come with it, in /workspace/skills/review-pr:\n- checklist.md",
      "- review-pr: How a review goes\n- ship: How to ship",
      "there is no skill 'no'; there are review-pr, ship",
    ]);
  });

  it("names in warnings whatever is wrong in the workspace, and works without it", async () => {
    await put("skills/open.md", "---\nname: open\nnever closed");
    await put("skills/bad.md", "---\nname: [\n---\nx");
    await put("skills/empty/readme.md", "no skill");
    await put("skills/one.md", "---\nname: same\n---\nfirst");
    await put("skills/two.md", "---\nname: same\n---\nsecond");
    await put("skills/binary.md", Buffer.from([0, 255, 1, 2]));
    await put("skills/good.md", "Good.");
    execFileSync("mkfifo", [inside("skills/pipe.md"), inside("skills/pipe")]);
    await put("agents/wrong/AGENT.md", "---\nmax_model_calls: many\n---\nx");
    await put("agents/none/other.md", "x");
    await put("agents/greedy/AGENT.md", "---\ndescription: wants much\ntools: read_file, launch_rockets\n---\nYou look.");
    await put("AGENTS.md", Buffer.from([0, 1, 2]));
    const { agent, warnings, systemPrompt, tools } = await create();
    const texts = warnings.map(({ message }) => message).join("\n");
    for (const word of ["skills/open.md is left out: the front matter is opened", "skills/bad.md is left out: the front matter is not valid YAML", "skills/empty is a directory without SKILL.md", "two skills are called 'same'", "skills/binary.md is not UTF-8", "skills/pipe.md is not a file", "agents/wrong/AGENT.md is left out: max_model_calls", "agents/none is a directory without AGENT.md", "launch_rockets", "AGENTS.md is not UTF-8"]) expect(texts).toContain(word);
    expect(systemPrompt).toContain("- good: Good.");
    expect(tools.at(-1)?.name).toBe("task");
    const events = await all(agent.stream(said([{ text: "fine" }])));
    expect(of(events, "warning").length).toBe(warnings.length);
    expect(events.at(-1)).toMatchObject({ reason: "completed" });
    expect(of(await all(agent.stream(said([{ text: "again" }]))), "warning")).toEqual([]);
  });

  it("gives tasks to subagents side by side, with their own prompt, model, tools and budget, their events nested", async () => {
    await put("agents/reader/AGENT.md", "---\ndescription: Reads\ntools: [read_file]\nmodel: small-model\nmax_model_calls: 2\n---\nYou only read.");
    await put("agents/writer/AGENT.md", "---\ndescription: Writes\n---\nYou write.");
    const seen: unknown[] = [];
    const { agent } = await create({
      providerFor: () => new OpenAICompatibleProvider({ baseURL: server.openai }),
      onSubagentRun: ({ name, path }) => { seen.push([name, path]); },
      onToolCall: ({ tool, path }) => { seen.push([tool, path]); },
    });
    const reading = said([{ calls: [{ tool: "read_file", input: { path: "AGENTS.md" } }] }, { text: "It says: be kind." }]);
    const writing = said([{ calls: [{ tool: "write_file", input: { path: "a.txt", content: "a" } }] }, { text: "Written." }]);
    const events = await all(agent.stream(said([{ calls: [{ tool: "task", input: { name: "reader", prompt: reading } }, { tool: "task", input: { name: "writer", prompt: writing } }, { tool: "task", input: { name: "nobody", prompt: "x" } }] }, { text: "Both are done." }])));
    expect(outputs(events).sort()).toEqual(["It says: be kind.", "Written.", "there is no subagent 'nobody'; there are reader, writer"]);
    const nested = of(events, "subagent");
    expect(new Set(nested.map(({ name, event }) => (event.type === "done" ? `${name} ${event.reason}` : null)).filter(Boolean))).toEqual(new Set(["reader completed", "writer completed"]));
    expect(nested.find(({ name, event }) => name === "reader" && event.type === "tool-result")).toBeDefined();
    expect(await readFile(inside("a.txt"), "utf8")).toBe("a");
    expect(seen).toContainEqual(["reader", []]);
    expect(seen).toContainEqual(["read_file", ["reader"]]);
    const small = server.asked("chat").at(-1)?.body as { model: string; tools: { function: { name: string } }[]; messages: { content: string }[] };
    expect(small).toMatchObject({ model: "small-model" });
    expect(small.tools.map((tool) => tool.function.name)).toEqual(["read_file"]);
    expect(small.messages[0]?.content).toContain("You only read.");
    const end = events.at(-1) as Extract<AgentEvent, { type: "done" }>;
    expect(end.modelCalls).toBe(6);
  });

  it("takes subagents up where their process died, at any depth: what is finished is not done twice", async () => {
    await put("agents/deep/AGENT.md", "You go on.");
    const ran: string[] = [];
    const log = toolFromZod({ name: "log", description: "logs", input: z.strictObject({ text: z.string() }), execute: ({ text }) => { ran.push(text); return `logged ${text}`; } });
    const task = (prompt: string) => ({ tool: "task", input: { name: "deep", prompt } });
    const inner = said([{ calls: [{ tool: "log", input: { text: "c" } }] }, { text: "innermost" }]);
    const outer = said([{ calls: [{ tool: "log", input: { text: "a" } }] }, { calls: [task(inner), { tool: "log", input: { text: "b" } }] }, { text: "within" }]);
    const entries: JournalEntry[] = [];
    const first = await all((await create({ tools: [log] })).agent.stream(said([{ calls: [task(outer), { tool: "log", input: { text: "d" } }] }, { text: "all done" }]), { record: (entry) => void entries.push(journalEntry.parse(JSON.parse(JSON.stringify(entry)))) }));
    expect(first.at(-1)).toMatchObject({ type: "done", text: "all done" });
    expect([...ran].sort()).toEqual(["a", "b", "c", "d"]);
    const steps = (entry: JournalEntry): JournalEntry => (entry.type === "inside" ? steps(entry.entry) : entry);
    const opened = (entry: JournalEntry): string[] => (entry.type === "inside" ? [entry.callId, ...opened(entry.entry)] : []);
    const logs = new Set(entries.map(steps).flatMap((entry) => (entry.type === "finished" && entry.result.tool === "log" ? [entry.result.callId] : [])));
    for (let cut = 1; cut < entries.length; cut++) {
      const kept = entries.slice(0, cut);
      const begun = kept.map(steps).flatMap((entry) => (entry.type === "started" ? [entry.callId] : []));
      ran.length = 0;
      const events = await all((await create({ tools: [log] })).agent.resume(kept));
      expect(events.at(-1)).toMatchObject({ type: "done", reason: "completed", text: "all done" });
      // A subagent that had begun and not said its first step is told as lost, like any other call.
      const lost = begun.some((callId) => !logs.has(callId) && !kept.flatMap(opened).includes(callId));
      expect(JSON.stringify(events).includes("had begun when the process that ran it died")).toBe(lost || kept.map(steps).filter((entry) => entry.type === "finished" && entry.result.tool === "log").length < begun.filter((callId) => logs.has(callId)).length);
      if (!lost) expect(ran.length).toBe(4 - begun.filter((callId) => logs.has(callId)).length);
    }
  });

  it("bounds subagents by depth, by their own budget and by their parent's, and obeys its hook", async () => {
    await put("agents/deep/AGENT.md", "---\ndescription: Goes deeper\nmax_model_calls: 1\n---\nYou go on.");
    const { agent, tools } = await create();
    expect(tools.map(({ name }) => name)).toContain("task");
    const looping = said([{ calls: [{ tool: "recall", input: {} }] }, { text: "never" }]);
    const events = await all(agent.stream(said([{ calls: [{ tool: "task", input: { name: "deep", prompt: looping } }] }, { text: "so be it" }])));
    expect(of(events, "tool-result")[0]).toMatchObject({ isError: true, output: expect.stringContaining("all of its 1 model calls") as string });
    await put("agents/deep/AGENT.md", "You go on.");
    const third = said([{ text: "deepest" }]);
    const second = said([{ calls: [{ tool: "task", input: { name: "deep", prompt: third } }] }, { text: "deeper" }]);
    const first = said([{ calls: [{ tool: "task", input: { name: "deep", prompt: second } }] }, { text: "deep" }]);
    const nested = await all((await create()).agent.stream(said([{ calls: [{ tool: "task", input: { name: "deep", prompt: first } }] }, { text: "done" }])));
    expect(JSON.stringify(nested)).toContain("there is no tool 'task'");
    const spent = await all((await create({ budget: { maxModelCallsPerTurn: 2 } })).agent.stream(said([{ calls: [{ tool: "task", input: { name: "deep", prompt: looping } }] }, { text: "never" }])));
    expect(spent.at(-1)).toMatchObject({ type: "done", reason: "budget", limit: "maxModelCallsPerTurn", modelCalls: 2 });
    const refused = await all((await create({ onSubagentRun: () => ({ allow: false, reason: "no helpers today" }) })).agent.stream(said([{ calls: [{ tool: "task", input: { name: "deep", prompt: "x" } }] }, { text: "alone" }])));
    expect(outputs(refused)).toEqual(["not allowed: no helpers today"]);
  });

  it("keeps to its filter, and lets the runtime's layer be replaced whole", async () => {
    const { tools, systemPrompt, warnings } = await create({ toolFilter: ["read_file", "grep", "raed_file", "task"], runtimePrompt: "Only this." });
    expect(warnings).toMatchObject([{ code: "tool", message: expect.stringContaining("names tools that there are not: raed_file; there are exec") as string }]);
    expect(tools.map(({ name }) => name)).toEqual(["read_file", "grep"]);
    expect(systemPrompt.startsWith("Only this.\n\n# This agent")).toBe(true);
    const { agent } = await create({ toolFilter: (name) => name !== "exec" });
    expect(outputs(await all(agent.stream(said([{ calls: [{ tool: "exec", input: { command: "ls" } }] }, { text: "ok" }]))))[0]).toContain("there is no tool 'exec'");
  });

  it("says what is wrong with what it is given", async () => {
    await expect(create({ agent: { id: "x", displayName: "X", colour: "red" } as never })).rejects.toThrow(/`agent` is not valid: colour/);
    await expect(create({ agent: { id: "x", displayName: "X" } })).rejects.toThrow(/no model is given/);
    await expect(create({ history: [{ role: "user", content: "words" }] as never })).rejects.toThrow(/message 0 of the history is not one of this runtime's: content: /);
    await expect(create({ budget: { maxCost: 1 } as never })).rejects.toThrow(/`budget` is not valid: maxCost/);
  });

  it("sends the two blocks of its prompt, the agent's before the workspace's", async () => {
    const { agent } = await create();
    await all(agent.stream(said([{ text: "hi" }])));
    expect(lastSystem()).toMatch(/You help with research[^]*cache_control[^]*Be kind/);
  });
});
