import { describe, expect, it } from "vitest";
import * as z from "zod";
import { Agent } from "../conversation.ts";
import { isFinal, type AgentEvent } from "../events.ts";
import { callsOf, type Message } from "../history/messages.ts";
import { Window } from "../history/window.ts";
import { toolFromJsonSchema, toolFromZod, type JsonSchema } from "../tool.ts";
import { AnthropicProvider } from "./anthropic.ts";
import { OpenAICompatibleProvider } from "./openai-compatible.ts";
import type { ModelProvider } from "./provider.ts";

const echo = toolFromZod({ name: "echo", description: "says it again", input: z.strictObject({ text: z.string() }), execute: ({ text }) => text });

/** An endpoint that calls these tools, answer by answer, and then says that it is done. */
function calling(answers: { id: string; name: string; arguments: string }[][]) {
  const bodies: { messages: { role: string; tool_call_id?: string; tool_calls?: { id: string; function: { name: string } }[] }[]; tools: unknown }[] = [];
  const fetch: typeof globalThis.fetch = async (_, init) => {
    const calls = answers[bodies.length];
    bodies.push(JSON.parse(init?.body as string) as (typeof bodies)[number]);
    const delta = calls === undefined ? { content: "done" } : { tool_calls: calls.map(({ id, ...called }, index) => ({ index, id, type: "function", function: called })) };
    const chunks = [{ delta }, { delta: {}, finish_reason: calls === undefined ? "stop" : "tool_calls" }].map((choice) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
    return new Response(`${chunks.join("")}data: [DONE]\n\n`, { headers: { "content-type": "text/event-stream" } });
  };
  return { bodies, provider: new OpenAICompatibleProvider({ baseURL: "http://endpoint/v1", fetch }) };
}

async function run(provider: ModelProvider, history: Message[] = []): Promise<{ agent: Agent; events: AgentEvent[] }> {
  const agent = new Agent({ provider, model: "claude-x", system: [], tools: [echo], turnTools: () => [], hooks: {}, path: [], parents: [], window: new Window({ tokens: 50_000 }), retries: { maxRetries: 0 } }, { budget: {}, history, warnings: [] });
  const events: AgentEvent[] = [];
  for await (const event of agent.stream("go")) events.push(event);
  expect(events.filter(isFinal)).toHaveLength(1);
  return { agent, events };
}

describe("a server's calls", () => {
  it("have ids of their own in the whole conversation, though it counts them anew in each answer", async () => {
    const said = (text: string) => [{ id: "call_0", name: "echo", arguments: JSON.stringify({ text }) }, { id: "call_1", name: "echo", arguments: "{" }];
    const { provider, bodies } = calling([said("a"), said("b"), said("c")]);
    const { agent, events } = await run(provider);
    const ids = agent.history.flatMap((one) => callsOf(one).map(({ callId }) => callId));
    expect(ids).toEqual(["call_0", "call_1", "call_0_2", "call_1_2", "call_0_3", "call_1_3"]);
    expect(events.flatMap((event) => (event.type === "tool-result" && !event.isError ? [[event.callId, event.output]] : []))).toEqual([["call_0", "a"], ["call_0_2", "b"], ["call_0_3", "c"]]);
    expect(events.flatMap((event) => (event.type === "tool-result" && event.isError ? [event.output] : [])).every((output) => output.includes("is no JSON"))).toBe(true);
    expect(bodies.at(-1)?.messages.flatMap(({ tool_call_id: id }) => (id === undefined ? [] : [id]))).toEqual(ids);
  });
  it("of tools that cannot be are answered, and sent back under names that every provider takes", async () => {
    const { provider, bodies } = calling([[{ id: "a", name: "echo<|channel|>json", arguments: "{}" }, { id: "b", name: "x".repeat(100), arguments: "{}" }]]);
    const { events } = await run(provider);
    expect(events.at(-1)).toMatchObject({ type: "done", reason: "completed" });
    for (const call of bodies[1]?.messages.flatMap(({ tool_calls: calls }) => calls ?? []) ?? []) expect(call.function.name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });
  it("keep the ids that it gave them, and get others where another provider would refuse them", async () => {
    const kimi = calling([[{ id: "functions.echo:0", name: "echo", arguments: '{"text":"x"}' }]]);
    const { agent } = await run(kimi.provider);
    expect(kimi.bodies[1]?.messages.at(-1)).toMatchObject({ role: "tool", tool_call_id: "functions.echo:0" });
    let sent = "";
    await run(new AnthropicProvider({ apiKey: "k", fetch: async (_, init) => ((sent = init?.body as string), Response.json({ type: "error", error: { type: "api_error", message: "no" } }, { status: 400 })) }), agent.history);
    expect(sent.match(/functions_echo_0/g)).toHaveLength(2);
    expect(sent).not.toContain("functions.echo:0");
  });
});

describe("a history of several providers", () => {
  const result = (callId: string, more: object = {}): Message => ({ role: "tool", content: [{ type: "tool-result", callId, tool: "echo", content: "r", ...more }] });
  const call = (callId: string, provider: Record<string, unknown>): Message => ({ role: "assistant", content: [{ type: "tool-call", callId, tool: "echo", input: {}, provider }] });
  const history: Message[] = [
    { role: "user", content: [{ type: "text", text: "go" }] },
    call("a", { thoughtSignature: "sig" }), result("a"),
    call("b", { caller: { type: "direct" } }), result("b", { content: [{ type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" }], isError: true }),
  ];
  it("gives each only what came from it, and shows a picture of what failed to all", async () => {
    const sent: string[] = [];
    const fetch: typeof globalThis.fetch = async (_, init) => (sent.push(init?.body as string), Response.json({ error: { message: "no" } }, { status: 400 }));
    for (const provider of [new AnthropicProvider({ apiKey: "k", fetch }), new OpenAICompatibleProvider({ baseURL: "http://endpoint/v1", fetch })]) await run(provider, history);
    const [anthropic = "", chat = ""] = sent;
    expect([anthropic.includes('"caller"'), anthropic.includes("sig"), chat.includes("caller"), chat.includes('"thought_signature":"sig"')]).toEqual([true, false, false, true]);
    for (const body of [anthropic, chat]) expect(body).toContain("iVBORw0KGgo=");
    expect(anthropic).toMatch(/"text":"Error:"[^]*"type":"image"/);
    expect(anthropic).not.toContain("see the next message");
  });
});

describe("a schema of somebody else's", () => {
  const told = (inputSchema: JsonSchema) => toolFromJsonSchema({ name: "t", description: "", inputSchema, execute: async () => "" });
  it("is told as an object with properties and without a choice at its root, and checked as it is", () => {
    expect(told({}).inputSchema).toEqual({ type: "object", properties: {} });
    expect(told({ type: "object", $defs: { a: {} } }).inputSchema).toEqual({ type: "object", properties: {}, $defs: { a: {} } });
    const either = told({ type: "object", properties: { c: { type: "string" } }, oneOf: [{ properties: { a: { type: "string" } }, required: ["a"] }, { properties: { b: { type: "number" } }, required: ["b"] }, true] });
    expect(either.inputSchema).toEqual({ type: "object", properties: { a: { type: "string" }, b: { type: "number" }, c: { type: "string" } } });
    const choice = told({ anyOf: [{ type: "object", properties: { a: { type: "string" } }, required: ["a"] }, { type: "object", properties: { b: { type: "number" } }, required: ["b"] }] });
    expect(choice.parse({})).toEqual({ ok: false, issues: ["a: Invalid input: expected string, received undefined"] });
    const nested = told({ type: "object", properties: { to: { anyOf: [{ type: "object", properties: { id: { type: "number" } }, required: ["id"] }, { type: "object", properties: { name: { type: "string" }, of: { type: "string" } }, required: ["name", "of"] }] } }, required: ["to"] });
    expect(nested.parse({ to: {} })).toEqual({ ok: false, issues: ["to.id: Invalid input: expected number, received undefined"] });
    expect([choice.parse({ a: "x" }).ok, choice.parse({ b: 1 }).ok, choice.parse({}).ok, choice.parse([]).ok]).toEqual([true, true, false, false]);
  });
});
