import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { script, startModelServer, type ModelServer, type StepInput } from "../../test/support/model-server/index.ts";
import { Agent, type StreamOptions } from "./conversation.ts";
import { isFinal, type AgentEvent } from "./events.ts";
import type { JournalEntry } from "./history/journal.ts";
import { Window } from "./history/window.ts";
import type { Message } from "./history/messages.ts";
import { AnthropicProvider } from "./models/anthropic.ts";
import { OpenAICompatibleProvider } from "./models/openai-compatible.ts";
import type { TurnSetup } from "./turn.ts";
import { toolFromZod, type Tool } from "./tool.ts";

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer();
});
afterAll(() => server.close());

const PROVIDERS = {
  anthropic: () => new AnthropicProvider({ apiKey: "sk-test", baseURL: server.anthropic }),
  chat: () => new OpenAICompatibleProvider({ apiKey: "sk-test", baseURL: server.openai }),
} as const;
const MODEL = "claude-sonnet-4-5";

const echo = toolFromZod({ name: "echo", description: "says it again", input: z.strictObject({ text: z.string() }), execute: ({ text }) => text });
const fails = toolFromZod({ name: "fails", description: "fails", input: z.strictObject({ n: z.number().optional() }), execute: () => { throw new Error("no luck"); } });
const hangs = toolFromZod({ name: "hangs", description: "waits", input: z.strictObject({}), execute: (_, { signal, progress }) => new Promise((resolve) => { progress("waiting"); signal.addEventListener("abort", () => resolve("stopped")); }) });
const picture = toolFromZod({ name: "picture", description: "shows", input: z.strictObject({}), execute: () => ({ content: [{ type: "text", text: "here" }, { type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" }] }) });
const drawing = toolFromZod({ name: "drawing", description: "shows what no model sees", input: z.strictObject({}), execute: () => ({ content: [{ type: "image", data: btoa("<svg/>"), mediaType: "image/svg+xml" }, { type: "image", data: "/9j/4AAQSkZJRg==", mediaType: "image/png" }, { type: "image", data: `iVBORw0KGgo${"A".repeat(8_000_000)}`, mediaType: "image/png" }] }) });

interface Extra extends Partial<TurnSetup> {
  budget?: StreamOptions["budget"];
  history?: Message[];
}

function agentOf(api: keyof typeof PROVIDERS, { budget, history, ...more }: Extra = {}): Agent {
  const tools: Tool[] = [echo, fails, hangs, picture, drawing];
  const setup: TurnSetup = { provider: PROVIDERS[api](), model: MODEL, system: ["You are a test.", "Be brief."], tools, turnTools: () => [], hooks: {}, path: [], parents: [], window: new Window({ tokens: 100_000 }), retries: { baseMs: 1, maxRetries: 3 }, ...more };
  return new Agent(setup, { budget: budget ?? {}, history: history ?? [], warnings: [] });
}

async function all(stream: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  const events: AgentEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}
const of = <T extends AgentEvent["type"]>(events: AgentEvent[], type: T) => events.filter((event): event is Extract<AgentEvent, { type: T }> => event.type === type);
const call = (tool: string, input: Record<string, string | number> | string = {}) => ({ tool, input });
let serial = 0;
const said = (steps: StepInput[]) => script(steps, `Do as scripted, ${++serial}.`);

describe.each(Object.keys(PROVIDERS) as (keyof typeof PROVIDERS)[])("a turn over %s", (api) => {
  const run = async (steps: StepInput[], extra: Extra = {}, options: StreamOptions = {}) => {
    const agent = agentOf(api, extra);
    const events = await all(agent.stream(said(steps), options));
    expect(events.filter(isFinal)).toHaveLength(1);
    expect(isFinal(events.at(-1) as AgentEvent)).toBe(true);
    const calls = of(events, "tool-call").map(({ callId }) => callId);
    expect(of(events, "tool-result").map(({ callId }) => callId).sort()).toEqual(calls.sort());
    return { agent, events, end: events.at(-1) as Extract<AgentEvent, { type: "done" | "error" }> };
  };

  it("tells the answer piece by piece, then whole, with its usage and cost", async () => {
    const { events, end, agent } = await run([{ thinking: "let me see", text: "one two three" }]);
    expect(of(events, "token").map(({ text }) => text).join("")).toBe("one two three");
    expect(of(events, "token").length).toBeGreaterThan(1);
    expect(of(events, "thinking").map(({ text }) => text).join("")).toBe("let me see");
    expect(of(events, "message")).toEqual([{ type: "message", text: "one two three", thinking: "let me see" }]);
    expect(end).toMatchObject({ type: "done", reason: "completed", text: "one two three", modelCalls: 1 });
    expect(end.usage.costUsd).toBeGreaterThan(0);
    expect(end.usage).toEqual(of(events, "usage")[0]?.usage);
    expect(agent.history.map(({ role }) => role)).toEqual(["user", "assistant"]);
  });

  it("runs tools in parallel and goes on with their results", async () => {
    const { events, end, agent } = await run([{ calls: [call("echo", { text: "a" }), call("echo", { text: "b" }), call("fails")] }, { text: "done" }]);
    expect(of(events, "tool-result").map(({ output, isError }) => `${output} ${isError}`).sort()).toEqual(["a false", "b false", "fails failed: no luck true"]);
    expect(end).toMatchObject({ type: "done", reason: "completed", text: "done", modelCalls: 2 });
    expect(agent.history.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    const body = JSON.stringify(server.asked().at(-1)?.body);
    for (const word of ["You are a test.", "fails failed: no luck"]) expect(body).toContain(word);
  });

  it("goes on in the conversation that it is given, images among the results", async () => {
    const { agent: kept } = await run([{ calls: [call("drawing")] }, { text: "seen" }]);
    expect(kept.history[2]?.content).toMatchObject([{ content: [{ type: "text", text: "[image/svg+xml is not shown: models see PNG, JPEG, GIF and WebP]" }, { type: "image", mediaType: "image/jpeg" }, { type: "text", text: expect.stringContaining("bytes is not shown") as string }] }]);
    const first = await run([{ calls: [call("picture")] }, { text: "seen" }]);
    const history = JSON.parse(JSON.stringify(first.agent.history)) as Message[];
    const { end } = await run([{ text: "and on" }], {}, { history });
    expect(end).toMatchObject({ reason: "completed", text: "and on" });
    expect(JSON.stringify(server.asked().at(-1)?.body)).toContain("iVBORw0KGgo=");
  });

  it("takes input that is no JSON, or no object, for unfit; and a refusal for an end", async () => {
    const { events, end } = await run([{ calls: [call("echo", '{"text": "never clo'), call("echo", '["a"]')] }, { text: "better" }]);
    expect(of(events, "tool-result").map(({ output }) => output).join()).toMatch(/no JSON[^]*JSON but no object/);
    expect(end).toMatchObject({ reason: "completed", text: "better" });
    expect((await run([{ text: "I would rather not", stop: "refusal" }])).end).toMatchObject({ type: "done", reason: "refused", text: "I would rather not" });
    expect((await run([{ text: "on and", stop: "length" }])).end).toMatchObject({ type: "done", reason: "length" });
    const cut = await run([{ calls: [call("echo", { text: "whole" })], stop: "length" }, { text: "shorter" }]);
    expect(of(cut.events, "tool-result")[0]?.output).toContain("reached its longest output");
    expect(cut.end).toMatchObject({ reason: "completed", text: "shorter" });
  });

  it("shows the model the images that a person sends", async () => {
    const agent = agentOf(api);
    const image = { type: "image" as const, data: "iVBORw0KGgo=", mediaType: "image/png" };
    expect((await all(agent.stream([{ type: "text", text: said([{ text: "A dot." }]) }, image]))).at(-1)).toMatchObject({ text: "A dot." });
    expect(JSON.stringify(server.asked().at(-1)?.body)).toMatch(/"media_type":"image\/png","data":"iVBORw0KGgo="|data:image\/png;base64,iVBORw0KGgo=/);
  });

  it("goes on with another history after a long one, and with text that holds half characters", async () => {
    const long: Message[] = Array.from({ length: 60 }, () => [{ role: "user" as const, content: [{ type: "text" as const, text: "x".repeat(4_000) }] }, { role: "assistant" as const, content: [{ type: "text" as const, text: "yes" }] }]).flat();
    const agent = agentOf(api, { window: new Window({ tokens: 10_000 }) });
    expect(of(await all(agent.stream(said([{ text: "long" }]), { history: long })), "warning")).toMatchObject([{ code: "history" }]);
    expect((await all(agent.stream(`\ud83d ${said([{ text: "short" }])}`, { history: [] }))).at(-1)).toMatchObject({ text: "short" });
    expect(JSON.stringify(server.asked().at(-1)?.body)).not.toMatch(/left out|ud83d/);
  });

  it("sends unfit input back with field and reason, three times, then stops", async () => {
    const bad = { calls: [call("echo", { text: 7 })] };
    const { events, end } = await run([bad, bad, bad, bad, bad]);
    expect(of(events, "tool-result")).toHaveLength(4);
    expect(of(events, "tool-result")[0]?.output).toContain("- text: Invalid input: expected string");
    expect(end).toMatchObject({ type: "done", reason: "stop-loss", modelCalls: 4 });
  });

  it("names the tools that there are where one is unknown, and unknown fields", async () => {
    const { events, end } = await run([{ calls: [call("nothing"), call("echo", { text: "x", more: 1 })] }, { text: "oh" }]);
    expect(of(events, "tool-result").map(({ output }) => output).join("\n")).toMatch(/no tool 'nothing'; there are echo, fails[^]*more: no such field/);
    expect(end).toMatchObject({ reason: "completed" });
  });

  it("stops after failure on failure, and where the same call comes again and again", async () => {
    const failing = Array.from({ length: 12 }, (_, n) => ({ calls: [call("fails", { n })] }));
    const loss = await run(failing);
    expect(loss.end).toMatchObject({ reason: "stop-loss", modelCalls: 10 });
    const warned = of(loss.events, "tool-result").length;
    expect(warned).toBe(10);
    const doom = await run(Array.from({ length: 8 }, () => ({ calls: [call("echo", { text: "again" })] })));
    expect(doom.end).toMatchObject({ reason: "doom-loop", modelCalls: 5 });
    expect(JSON.stringify(doom.agent.history)).toContain("note from the runtime: the same call of echo has now given the same result 3 times");
  });

  it("tries again as the server asks, after 429, 529, 500 and a torn stream", async () => {
    const { events, end } = await run([{ fail: [{ status: 429, retry_after: 0.02 }, { status: 529 }, { status: 500 }], text: "after all" }]);
    expect(of(events, "retry").map(({ attempt, discarded }) => [attempt, discarded])).toEqual([[1, false], [2, false], [3, false]]);
    expect(of(events, "retry")[0]?.afterMs).toBe(20);
    expect(end).toMatchObject({ reason: "completed", text: "after all" });
    const torn = await run([{ cut_after: 4, text: "one two three four five six" }]);
    expect(of(torn.events, "retry")).toHaveLength(1);
    expect(torn.end).toMatchObject({ reason: "completed", text: "one two three four five six" });
  });

  it("fails in words where the provider goes on refusing, or refuses the key or the request", async () => {
    expect((await run([{ fail: [{ status: 529, times: 9 }] }])).end).toMatchObject({ type: "error", code: "overloaded" });
    expect((await run([{ fail: [{ status: 429, retry_after: 3_600 }] }])).end).toMatchObject({ type: "error", code: "overloaded", hint: "the provider asks to wait 3600 s" });
    expect((await run([{ fail: [{ status: 401, message: "invalid x-api-key" }] }])).end).toMatchObject({ type: "error", code: "auth", message: expect.stringContaining("401") as string });
    expect((await run([{ fail: [{ status: 400, message: "no such thing" }] }])).end).toMatchObject({ type: "error", code: "bad_request", message: expect.stringContaining("no such thing") as string });
    expect((await run([{ cut_after: 2, cut_times: 9, text: "a b c d e f" }])).end).toMatchObject({ type: "error", code: "provider" });
  });

  it("sends less where the model says that it is too much", async () => {
    const long: Message[] = Array.from({ length: 40 }, (_, i) => [{ role: "user" as const, content: [{ type: "text" as const, text: `${i} ${"x".repeat(2_000)}` }] }, { role: "assistant" as const, content: [{ type: "text" as const, text: "yes" }] }]).flat();
    const { end, events } = await run([{ fail: [{ status: 400, message: "prompt is too long: 210000 tokens > 200000 maximum" }], text: "short now" }], {}, { history: long });
    expect(end).toMatchObject({ reason: "completed", text: "short now" });
    expect(of(events, "warning")[0]).toMatchObject({ code: "history" });
  });

  it("stops at each limit of its budget with a clear end", async () => {
    const steps = Array.from({ length: 9 }, (_, i) => ({ calls: [call("echo", { text: String(i) })] }));
    expect((await run(steps, { budget: { maxModelCallsPerTurn: 3 } })).end).toMatchObject({ type: "done", reason: "budget", limit: "maxModelCallsPerTurn", modelCalls: 3 });
    expect((await run(steps, { budget: { maxCostUsdPerTurn: 0.000_001 } })).end).toMatchObject({ reason: "budget", limit: "maxCostUsdPerTurn", modelCalls: 1 });
    expect((await run(steps, { budget: { maxTokensPerTurn: 5 } })).end).toMatchObject({ reason: "budget", limit: "maxTokensPerTurn", modelCalls: 1 });
    expect((await run([{ calls: [call("hangs")] }], { budget: { maxSecondsPerTurn: 0.1 } })).end).toMatchObject({ reason: "budget", limit: "maxSecondsPerTurn" });
    const unpriced = await run([{ text: "hm" }], { budget: { maxCostUsdPerTurn: 1 }, model: "mystery" });
    expect(of(unpriced.events, "warning")[0]?.message).toContain("no price is known for mystery");
    expect((await run(steps, { budget: { maxCostUsdPerTurn: 1.5 }, model: "mystery", pricing: () => 1 })).end).toMatchObject({ limit: "maxCostUsdPerTurn", modelCalls: 2, usage: { costUsd: 2 } });
  });

  it("ends at once when it is canceled, in mid-stream and in mid-call, and leaves a conversation that goes on", async () => {
    for (const steps of [[{ delay: 30, text: "a very long answer that comes slowly piece by piece" }], [{ calls: [call("hangs"), call("echo", { text: "x" })] }]] satisfies StepInput[][]) {
      const agent = agentOf(api);
      const stop = new AbortController();
      const events: AgentEvent[] = [];
      for await (const event of agent.stream(said(steps), { signal: stop.signal })) {
        events.push(event);
        if (event.type === "token" || event.type === "tool-progress") stop.abort();
      }
      expect(events.at(-1)).toMatchObject({ type: "error", code: "aborted" });
      expect((await all(agent.stream(said([{ text: "fine" }])))).at(-1)).toMatchObject({ reason: "completed", text: "fine" });
    }
  });

  it("stops when nobody listens any more", async () => {
    const agent = agentOf(api);
    for await (const event of agent.stream(said([{ delay: 30, text: "a b c d e f g h i j k" }]))) if (event.type === "token") break;
    expect((await all(agent.stream(said([{ text: "fine" }])))).at(-1)).toMatchObject({ text: "fine" });
  });

  it("asks its hook before a tool runs; a hook that says no or fails is obeyed", async () => {
    const asked: unknown[] = [];
    const { events } = await run([{ calls: [call("echo", { text: "yes" }), call("echo", { text: "no" }), call("echo", { text: "throw" })] }, { text: "ok" }], {
      hooks: { onToolCall: ({ input, tool, path }) => { asked.push([tool, path]); const { text } = input as { text: string }; if (text === "throw") throw new Error("broken hook"); return text === "no" ? { allow: false, reason: "not on a Friday" } : undefined; } },
    });
    expect(asked).toEqual(Array.from({ length: 3 }, () => ["echo", []]));
    expect(of(events, "tool-result").map(({ output }) => output).sort()).toEqual(["not allowed: not on a Friday", "not allowed: the hook that decides about this failed: broken hook", "yes"]);
  });

  it("takes nothing for a yes that is none, and nothing for a result, where no compiler looked", async () => {
    let verdict: unknown;
    const odd = toolFromZod({ name: "odd", description: "", input: z.strictObject({ n: z.number() }), execute: ({ n }) => [undefined, 5, {}, { content: 7 }, { content: [{ type: "video" }] }, null, "fine"][n] as string });
    const calls = Array.from({ length: 7 }, (_, n) => call("odd", { n }));
    const { events } = await run([{ calls }, { text: "ok" }], { tools: [odd] });
    expect(of(events, "tool-result").map(({ output }) => output).sort()).toEqual([...Array<string>(6).fill("odd failed: it answered with something that is no result of a tool"), "fine"].sort());
    for (const [said, allowed] of [[undefined, true], [null, true], [true, true], [{ allow: true }, true], [false, false], [{}, false], [{ allow: "yes" }, false], [{ allow: false }, false], ["no", false], [0, false]] as const) {
      verdict = said;
      const { events: asked } = await run([{ calls: [call("echo", { text: "did it" })] }, { text: "ok" }], { hooks: { onToolCall: () => verdict as undefined } });
      expect([said, of(asked, "tool-result")[0]?.output]).toEqual([said, allowed ? "did it" : "not allowed: the hook that decides about this said no"]);
    }
  });

  it("takes a turn up where its process died: what is finished is not done twice", async () => {
    const ran: string[] = [];
    const log = toolFromZod({ name: "log", description: "logs", input: z.strictObject({ text: z.string() }), execute: ({ text }) => { ran.push(text); return `logged ${text}`; } });
    const steps: StepInput[] = [{ calls: [call("log", { text: "a" }), call("log", { text: "b" })] }, { calls: [call("log", { text: "c" })] }, { text: "all three" }];
    const entries: JournalEntry[] = [];
    const first = agentOf(api, { tools: [log] });
    await all(first.stream(said(steps), { record: (entry) => void entries.push(structuredClone(entry)) }));
    expect(ran).toEqual(["a", "b", "c"]);
    for (let cut = 1; cut < entries.length; cut++) {
      ran.length = 0;
      const kept = entries.slice(0, cut);
      const finished = kept.flatMap((entry) => (entry.type === "finished" ? [entry.result.callId] : []));
      const begun = kept.flatMap((entry) => (entry.type === "started" ? [entry.callId] : []));
      const events = await all(agentOf(api, { tools: [log] }).resume(kept));
      expect(events.at(-1)).toMatchObject({ type: "done", reason: "completed", text: "all three" });
      expect(ran.length).toBe(3 - begun.length);
      if (begun.length > finished.length) expect(JSON.stringify(events)).toContain("had begun when the process that ran it died");
    }
  });

  it("says so where the turn cannot be recorded", async () => {
    let left = 2;
    const { end } = await run([{ calls: [call("echo", { text: "x" })] }, { text: "y" }], {}, { record: () => { if (left-- === 0) throw new Error("disk full"); } });
    expect(end).toMatchObject({ type: "error", code: "persistence", message: "the turn cannot be recorded: disk full" });
  });

  it("refuses a second turn while one runs, and prompts, histories and budgets that are none, before anything is sent", async () => {
    const agent = agentOf(api);
    const first = agent.stream(said([{ delay: 5, text: "a b c" }]));
    await first.next();
    expect(await all(agent.stream("me too"))).toMatchObject([{ type: "error", code: "bad_request" }]);
    await all(first);
    expect(await all(agent.stream("x", { history: [{ role: "robot" }] as unknown as Message[] }))).toMatchObject([{ type: "error", code: "bad_request", message: expect.stringContaining("message 0 of the history is not one of this runtime's: role") as string }]);
    const before = agent.history;
    const asked = server.asked().length;
    for (const prompt of ["", " \n", [], [{ type: "text", text: "" }], undefined, 7, [{ type: "text", text: "x" }, { type: "image", data: btoa("<svg/>"), mediaType: "image/svg+xml" }]]) expect(await all(agent.stream(prompt as string))).toMatchObject([{ type: "error", code: "bad_request", message: expect.stringMatching(/^the prompt(:| is) /) as string }]);
    expect(await all(agent.stream("x", { budget: { maxCostUSD: 1 } as never }))).toMatchObject([{ type: "error", code: "bad_request", message: expect.stringContaining("`budget` is not valid: maxCostUSD") as string }]);
    expect([agent.history, server.asked().length]).toEqual([before, asked]);
    expect((await all(agent.stream([{ type: "text", text: " " }, { type: "text", text: said([{ text: "fine" }]) }]))).at(-1)).toMatchObject({ type: "done", text: "fine" });
  });
});

describe("prompt caching", () => {
  it("marks the stable prefix and the ends of the last two requests for Anthropic", async () => {
    await all(agentOf("anthropic").stream(said([{ calls: [call("echo", { text: "a" })] }, { calls: [call("echo", { text: "b" })] }, { text: "c" }])));
    const body = server.asked("anthropic").at(-1)?.body as { system: { cache_control?: unknown }[]; messages: { role: string; content: { type: string; cache_control?: unknown }[] }[] };
    expect(body.system.map(({ cache_control }) => cache_control)).toEqual([{ type: "ephemeral" }, { type: "ephemeral" }]);
    expect(body.messages.map(({ content }) => content.some(({ cache_control }) => cache_control !== undefined))).toEqual([false, false, true, false, true]);
  });
  it("sends the same prefix in every request", async () => {
    const agent = agentOf("chat");
    await all(agent.stream(said([{ calls: [call("echo", { text: "a" })] }, { text: "c" }])));
    await all(agent.stream(said([{ text: "d" }])));
    const bodies = server.asked("chat").slice(-3).map(({ body }) => JSON.stringify((body as { messages: unknown }).messages).slice(0, -1));
    expect(bodies[1]?.startsWith(bodies[0] ?? "")).toBe(true);
    expect(bodies[2]?.startsWith(bodies[1] ?? "")).toBe(true);
  });
  it("marks what OpenRouter hands on to Anthropic", async () => {
    const bodies: string[] = [];
    const fetch: typeof globalThis.fetch = async (_, init) => { bodies.push(init?.body as string); return Response.json({ error: { message: "no" } }, { status: 400 }); };
    const provider = new OpenAICompatibleProvider({ apiKey: "k", baseURL: "https://openrouter.ai/api/v1", fetch });
    await all(agentOf("chat", { provider, model: "anthropic/claude-sonnet-4.5" }).stream("hello"));
    expect(JSON.parse(bodies[0] ?? "")).toMatchObject({ messages: [{ role: "system", content: [{ cache_control: { type: "ephemeral" } }] }, { role: "user", content: [{ text: "hello", cache_control: { type: "ephemeral" } }] }] });
  });
});

describe("the longest answer", () => {
  it("is named as the model's endpoint knows it", async () => {
    const bodies: Record<string, unknown>[] = [];
    const fetch: typeof globalThis.fetch = async (_, init) => (bodies.push(JSON.parse(init?.body as string) as Record<string, unknown>), Response.json({ error: { message: "no" } }, { status: 400 }));
    const provider = new OpenAICompatibleProvider({ baseURL: "http://x.test/v1", fetch });
    for (const model of ["gpt-5.6", "o3", "llama3", "openai/gpt-5"]) await all(agentOf("chat", { provider, model, maxOutputTokens: 9 }).stream("x"));
    await all(agentOf("chat", { provider, model: "gpt-5" }).stream("x"));
    expect(bodies.map(({ max_tokens, max_completion_tokens }) => [max_tokens, max_completion_tokens])).toEqual([[undefined, 9], [undefined, 9], [9, undefined], [9, undefined], [undefined, undefined]]);
  });
  it("is asked for of those who speak Anthropic's API for models of their own", async () => {
    const ask = async (model: string, maxOutputTokens?: number) => {
      await all(agentOf("anthropic", { model, maxOutputTokens }).stream(said([{ text: "x" }])));
      return server.asked("anthropic").at(-1)?.body as { max_tokens: number };
    };
    expect([await ask("kimi-k2.6"), await ask("kimi-k2.6", 500), await ask("claude-sonnet-4-5"), await ask("claude-of-tomorrow-9")]).toMatchObject([32_000, 500, 64_000, 128_000].map((max_tokens) => ({ max_tokens })));
  });
});
