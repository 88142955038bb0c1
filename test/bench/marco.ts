/** Owns marco's bench: what the runtime costs beside the bare HTTP call, how fast an agent is ready, and that long conversations stay linear. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import Docker from "dockerode";
import * as z from "zod";
import { createAgent, createDockerSandboxProvider, createLocalSandboxProvider, AnthropicProvider, OpenAICompatibleProvider, isFinal, toolFromZod, type CreateAgentOptions, type CreatedAgent, type FinalEvent, type Message } from "../../agent/runtime/index.ts";
import { script, type StepInput } from "../support/model-server/index.ts";
import { forkModel, type ModelProcess } from "./model-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const CALLS = 10;
const ROUNDS = 60;
/** Rounds before the compiler has done its work; not counted. */
const WARM = 20;
const TURNS = 1_000;
/** Of the Docker sandbox; one of our own, or what is there anyway. */
const IMAGES = ["marco-sandbox:latest", "debian:bookworm-slim"];

const echo = toolFromZod({ name: "echo", description: "says it again", input: z.strictObject({ text: z.string() }), execute: ({ text }) => text });

export async function benchMarco(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), "marco-bench-"));
  const server = await forkModel();
  const sandbox = createLocalSandboxProvider({ directory: dir });
  const create = (more: Partial<CreateAgentOptions> = {}): Promise<CreatedAgent> =>
    createAgent({
      agent: { id: "bench", displayName: "Bench", workspaceInstructionsSeed: "Be brief." }, context: { agentId: "bench", workspaceId: "w" }, sandbox,
      modelProvider: new AnthropicProvider({ apiKey: "k", baseURL: server.anthropic }), model: "claude-sonnet-4-5", tools: [echo], ...more,
    });
  try {
    await lay((path, text) => put(join(dir, "w", "workspace", path), text));
    return [...(await overheads(server, create)), await ready("local", create), await inDocker(create), ...(await long(create))];
  } finally {
    await sandbox.close();
    server.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** A workspace as people have it. */
async function lay(write: (path: string, text: string) => Promise<unknown>): Promise<void> {
  const files: [string, string][] = [
    ["memory/MEMORY.md", Array.from({ length: 50 }, (_, i) => `- entry-${i}.md: about ${i}`).join("\n")],
    ...Array.from({ length: 20 }, (_, i): [string, string] => [`skills/skill-${i}/SKILL.md`, `---\nname: skill-${i}\ndescription: How ${i} is done\n---\n${"Do it. ".repeat(100)}`]),
    ...Array.from({ length: 5 }, (_, i): [string, string] => [`agents/agent-${i}/AGENT.md`, `---\ndescription: Does ${i}\n---\nYou do ${i}.`]),
  ];
  for (const [path, text] of files) await write(path, text);
}

async function end(stream: AsyncIterable<Parameters<typeof isFinal>[0]>): Promise<FinalEvent> {
  let last: FinalEvent | null = null;
  for await (const event of stream) if (isFinal(event)) last = event;
  if (last?.type !== "done" || last.reason !== "completed") throw new Error(`the turn ended badly: ${JSON.stringify(last)}`);
  return last;
}

/** CPU time of this process, in milliseconds. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/**
 * A turn of ten model calls and nine tool calls, beside the same ten requests sent bare and read to their ends; turn about. What is our own is told as
 * CPU time, which other work on the machine does not lengthen as it does the clock's.
 */
async function overheads(server: ModelProcess, create: (more?: Partial<CreateAgentOptions>) => Promise<CreatedAgent>): Promise<Figure[]> {
  const steps: StepInput[] = [...Array.from({ length: CALLS - 1 }, (_, i) => ({ text: `Step ${i} of the work, told in a sentence.`, calls: [{ tool: "echo", input: { text: String(i) } }] })), { text: "Everything is done, and this says so in a few words." }];
  const bare: { url: string; body: string }[] = [];
  const seen: typeof fetch = (input, init) => {
    bare.push({ url: input instanceof Request ? input.url : input.toString(), body: typeof init?.body === "string" ? init.body : "" });
    return fetch(input, init);
  };
  const figures: Figure[] = [];
  for (const [name, provider] of [["Anthropic", (more: object) => new AnthropicProvider({ apiKey: "k", baseURL: server.anthropic, ...more })], ["OpenAI-compatible", (more: object) => new OpenAICompatibleProvider({ apiKey: "k", baseURL: server.openai, ...more })]] as const) {
    bare.length = 0;
    await end((await create({ modelProvider: provider({ fetch: seen }) })).agent.stream(script(steps)));
    const { agent } = await create({ modelProvider: provider({}) });
    const ours: number[] = [];
    const raw: number[] = [];
    const own: number[] = [];
    for (let i = 0; i < ROUNDS + WARM; i++) {
      const [began, used] = [performance.now(), cpu()];
      await end(agent.stream(script(steps), { history: [] }));
      const [between, usedBetween] = [performance.now(), cpu()];
      for (const { url, body } of bare) await (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).text();
      if (i < WARM) continue;
      ours.push((between - began) / CALLS);
      raw.push((performance.now() - between) / CALLS);
      own.push((usedBetween - used - (cpu() - usedBetween)) / CALLS);
    }
    const [mine, theirs, added] = [quantile(ours, 0.5), quantile(raw, 0.5), quantile(own, 0.5)];
    figures.push({ work: `marco: a model call, ${name}, with its tool call`, result: `p50 ${number(mine)} ms; CPU of our own ${number(added)} ms`, raw: `${number(theirs)} ms (the same requests bare)`, ratio: mine / theirs, goal: "own ≤ 2 ms", met: added <= 2 });
  }
  return figures;
}

async function ready(where: "local" | "Docker", create: () => Promise<CreatedAgent>): Promise<Figure> {
  await create();
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const began = performance.now();
    await create();
    times.push(performance.now() - began);
  }
  const usual = quantile(times, 0.5);
  return { work: `marco: createAgent on a warm sandbox, ${where}, 20 skills, 5 subagents`, result: `p50 ${number(usual)} ms, p99 ${number(quantile(times, 0.99))} ms`, raw: "–", ratio: null, goal: "p50 ≤ 50 ms", met: usual <= 50 };
}

/** The same in a container that runs already; skipped where no engine answers or has an image for it. */
async function inDocker(create: (more?: Partial<CreateAgentOptions>) => Promise<CreatedAgent>): Promise<Figure> {
  const skipped = (why: string): Figure => ({ work: "marco: createAgent on a warm sandbox, Docker", result: `skipped: ${why}`, raw: "–", ratio: null, goal: "p50 ≤ 50 ms", met: true });
  const engine = new Docker();
  if (!(await engine.ping().then(() => true, () => false))) return skipped("no Docker engine answers");
  const there = await Promise.all(IMAGES.map((image) => engine.getImage(image).inspect().then(() => true, () => false)));
  const image = IMAGES.find((_, i) => there[i]);
  if (image === undefined) return skipped(`the engine has neither ${IMAGES.join(" nor ")}: npm run image:marco`);
  const sandbox = createDockerSandboxProvider({ image, namespace: `bench-${process.pid}`, network: "none", pull: false });
  try {
    const { workspace } = await sandbox.materialize("w");
    await lay((path, text) => workspace.write(`/workspace/${path}`, Buffer.from(text)));
    return await ready("Docker", () => create({ sandbox }));
  } finally {
    await sandbox.destroy("w");
  }
}

/** Answers at once, without a network: what remains is ours. */
function instant(): OpenAICompatibleProvider {
  const chunk = (delta: object, finish: string | null) => `data: ${JSON.stringify({ id: "c", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const body = `${chunk({ role: "assistant", content: "Well, that is how it is." }, null)}${chunk({}, "stop")}data: [DONE]\n\n`;
  const answer = () => Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
  return new OpenAICompatibleProvider({ baseURL: "http://instant.invalid/v1", fetch: answer });
}

/** Conversations of a thousand turns: one that fits, and one that is cut again and again. */
async function long(create: (more?: Partial<CreateAgentOptions>) => Promise<CreatedAgent>): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, contextTokens] of [["that fits", 1_000_000], ["cut to 32,000 tokens", 32_000]] as const) {
    const { agent } = await create({ modelProvider: instant(), model: "m", contextTokens });
    const used: number[] = [];
    for (let i = 0; i < TURNS; i++) {
      used.push(cpu());
      await end(agent.stream(`Question ${i}: ${"what about it? ".repeat(20)}`));
    }
    // The mean of fifty turns: single ones are shorter than what the clock of a process tells.
    const mean = (from: number) => ((used[from + 50] ?? 0) - (used[from] ?? 0)) / 50;
    const [early, late] = [mean(75), mean(TURNS - 51)];
    figures.push({ work: `marco: a turn at the end of 1,000, ${name}`, result: `${number(late)} ms CPU`, raw: `${number(early)} ms CPU at 100`, ratio: late / early, goal: "linear: ratio ≤ 10", met: late / early <= 10 });
  }
  const history: Message[] = Array.from({ length: TURNS }, (_, i): Message[] => [
    { role: "user", content: [{ type: "text", text: `Question ${i}` }] },
    { role: "assistant", content: [{ type: "tool-call", callId: `c${i}`, tool: "echo", input: { text: "x" } }] },
    { role: "tool", content: [{ type: "tool-result", callId: `c${i}`, tool: "echo", content: "x".repeat(2_000) }] },
    { role: "assistant", content: [{ type: "text", text: "Fine." }] },
  ]).flat();
  const took: number[] = [];
  for (const turns of [TURNS / 10, TURNS]) {
    const { agent } = await create({ modelProvider: instant(), model: "m" });
    const fresh = structuredClone(history.slice(0, turns * 4));
    const began = cpu();
    await end(agent.stream("And now?", { history: fresh }));
    took.push(cpu() - began);
  }
  const [tenth = 0, whole = 0] = took;
  figures.push({ work: "marco: the first turn on a given history of 1,000 turns", result: `${number(whole)} ms CPU`, raw: `${number(tenth)} ms CPU on 100`, ratio: whole / tenth, goal: "linear: ratio ≤ 10", met: whole / tenth <= 10 });
  return figures;
}
