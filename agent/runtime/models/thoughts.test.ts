import { describe, expect, it } from "vitest";
import type { Message } from "../history/messages.ts";
import { AnthropicProvider } from "./anthropic.ts";
import { OpenAICompatibleProvider } from "./openai-compatible.ts";
import type { ModelProvider } from "./provider.ts";

const user: Message = { role: "user", content: [{ type: "text", text: "go" }] };
const results: Message = { role: "tool", content: [{ type: "tool-result", callId: "c1", tool: "look", content: "seen" }] };
const CALL = { tool_calls: [{ index: 0, id: "c1", type: "function", function: { name: "look", arguments: "{}" } }] };

/** An endpoint that answers with these deltas, and the bodies that it was asked with. */
function endpoint(deltas: object[]): { provider: ModelProvider; bodies: { messages: Record<string, unknown>[] }[] } {
  const bodies: { messages: Record<string, unknown>[] }[] = [];
  const lines = [...deltas.map((delta) => ({ choices: [{ index: 0, delta }] })), { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] }].map((chunk) => `data: ${JSON.stringify({ id: "x", ...chunk })}\n\n`);
  const fetch: typeof globalThis.fetch = async (_, init) => {
    bodies.push(JSON.parse(init?.body as string) as (typeof bodies)[number]);
    return new Response(`${lines.join("")}data: [DONE]\n\n`, { headers: { "content-type": "text/event-stream" } });
  };
  return { provider: new OpenAICompatibleProvider({ baseURL: "http://endpoint/v1", fetch }), bodies };
}

/** What the model answers to these messages, after it went through JSON as a kept history does. */
async function answer(provider: ModelProvider, messages: readonly Message[]): Promise<Message> {
  for await (const part of provider.stream({ model: "m", system: [], messages, tools: [], signal: new AbortController().signal })) {
    if (part.type === "answer") return JSON.parse(JSON.stringify(part.message)) as Message;
  }
  throw new Error("no answer");
}

/** The assistant's message as it comes back to the endpoint after a tool call. */
async function givenBack(deltas: object[]): Promise<Record<string, unknown> | undefined> {
  const { provider, bodies } = endpoint(deltas);
  const said = await answer(provider, [user]);
  await answer(provider, [user, said, results]);
  return bodies[1]?.messages[1];
}

describe("a chat endpoint gets its model's thoughts back as they came", () => {
  const calls = { role: "assistant", tool_calls: [{ id: "c1" }] };
  it.each(["reasoning_content", "reasoning"])("in %s, and in no other field", async (field) => {
    const message = await givenBack([{ [field]: "let me " }, { [field]: "see" }, CALL]);
    expect(message).toMatchObject({ ...calls, [field]: "let me see" });
    expect(Object.keys(message ?? {}).sort()).toEqual(["content", field, "role", "tool_calls"].sort());
  });
  it("in OpenRouter's details, put together, with signatures and what is encrypted", async () => {
    const text = { type: "reasoning.text", format: "anthropic-claude-v1", index: 0 };
    const hidden = { type: "reasoning.encrypted", data: "Zm9v", id: "r1", index: 1 };
    const message = await givenBack([{ reasoning: "let me ", reasoning_details: [{ ...text, text: "let me " }] }, { reasoning: "see", reasoning_details: [{ ...text, text: "see" }] }, { reasoning_details: [{ ...text, signature: "c2ln" }] }, { reasoning_details: [hidden, { ...hidden, id: "r2" }] }, CALL]);
    expect(message).toMatchObject({ ...calls, reasoning_details: [{ ...text, text: "let me see", signature: "c2ln" }, hidden, { ...hidden, id: "r2" }] });
    expect(message).not.toHaveProperty("reasoning");
  });
  it("also where no word of them can be read", async () => {
    const hidden = { type: "reasoning.encrypted", data: "Zm9v", id: "r1" };
    expect(await givenBack([{ ...CALL, reasoning_details: [hidden] }])).toMatchObject({ ...calls, reasoning_details: [hidden] });
  });
  it("and nothing where there were none, or where what it sent cannot be read", async () => {
    for (const deltas of [[CALL], [{ reasoning: null }, CALL], [{ reasoning_details: "odd" }, CALL]]) expect(Object.keys((await givenBack(deltas)) ?? {}).sort()).toEqual(["content", "role", "tool_calls"]);
  });
  it("but never another provider's, in either direction", async () => {
    const { provider, bodies } = endpoint([{ reasoning_content: "hm" }, CALL]);
    const own = await answer(provider, [user]);
    const signed: Message = { role: "assistant", content: [{ type: "thinking", text: "mine", provider: { signature: "c2ln" } }, { type: "text", text: "ok" }] };
    await answer(provider, [user, signed, user]);
    expect(bodies[1]?.messages[1]).toEqual({ role: "assistant", content: "ok" });
    const sent: string[] = [];
    const anthropic = new AnthropicProvider({ apiKey: "k", fetch: async (_, init) => (sent.push(init?.body as string), Response.json({ type: "error", error: { type: "api_error", message: "no" } }, { status: 400 })) });
    await answer(anthropic, [user, own, results, signed, user]).catch(() => {});
    expect(sent[0]).not.toContain("hm");
    expect(sent[0]).toContain('"signature":"c2ln"');
  });
});

describe("a thought after which nothing came", () => {
  it("is not given back: no message may end in one", async () => {
    const thought = { type: "thinking" as const, text: "cut off", provider: { signature: "c2ln" } };
    const bodies: { messages: { role: string; content: { type: string }[] }[] }[] = [];
    const anthropic = new AnthropicProvider({ apiKey: "k", fetch: async (_, init) => (bodies.push(JSON.parse(init?.body as string) as (typeof bodies)[number]), Response.json({ type: "error", error: { type: "api_error", message: "no" } }, { status: 400 })) });
    await answer(anthropic, [user, { role: "assistant", content: [thought] }, user, { role: "assistant", content: [thought, { type: "text", text: "so" }, thought] }, user]).catch(() => {});
    expect(bodies[0]?.messages.map(({ role, content }) => [role, content.map(({ type }) => type).join()])).toEqual([["user", "text,text"], ["assistant", "thinking,text"], ["user", "text"]]);
  });
});

describe("blank words of a model", () => {
  it("are not given back: who sent them refuses them", async () => {
    const { provider, bodies } = endpoint([CALL]);
    await answer(provider, [user, { role: "assistant", content: [{ type: "text", text: "\n\n" }] }, user]);
    expect(bodies[0]?.messages.map(({ role }) => role)).toEqual(["user", "user"]);
  });
});
