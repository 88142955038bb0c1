import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { script, startModelServer, type ModelServer, type StepInput } from "./index.ts";

let model: ModelServer;
beforeAll(async () => {
  model = await startModelServer();
});
afterAll(() => model.close());

const post = (url: string, body: object, init: RequestInit = {}) => fetch(url, { method: "POST", headers: { "content-type": "application/json", "x-test": "yes" }, body: JSON.stringify(body), ...init });
const user = (content: string) => ({ role: "user", content });

/** The same question in each API's words. */
const APIS = {
  anthropic: (messages: object[], stream: boolean) => post(`${model.anthropic}/v1/messages?beta=true`, { model: "m", max_tokens: 100, messages, stream }),
  responses: (input: object[], stream: boolean) => post(`${model.openai}/responses`, { model: "m", input, stream }),
  chat: (messages: object[], stream: boolean) => post(`${model.openai}/chat/completions`, { model: "m", messages, stream, stream_options: { include_usage: true } }),
} as const;

async function sse(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  return text.split("\n").flatMap((line) => (line.startsWith("data: {") ? [JSON.parse(line.slice(6)) as Record<string, unknown>] : []));
}

/** Texts of a stream or a whole body, by the names that each API gives to them. */
function gathered(api: keyof typeof APIS, events: Record<string, unknown>[]): string {
  const all = events as { delta?: { text?: string } | string; type?: string; choices?: { delta?: { content?: string } }[] }[];
  if (api === "anthropic") return all.map(({ delta }) => (typeof delta === "object" ? (delta.text ?? "") : "")).join("");
  if (api === "responses") return all.map(({ type, delta }) => (type === "response.output_text.delta" && typeof delta === "string" ? delta : "")).join("");
  return all.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join("");
}

describe.each(Object.keys(APIS) as (keyof typeof APIS)[])("the scripted model behind %s", (api) => {
  const ask = (steps: StepInput[] | string, stream = true) => APIS[api]([user(typeof steps === "string" ? steps : script(steps))], stream);

  it("streams a scripted text in pieces, and gives the same reply whole", async () => {
    const events = await sse(await ask([{ text: "one two three" }]));
    expect(gathered(api, events)).toBe("one two three");
    expect(JSON.stringify(await (await ask([{ text: "one two three" }], false)).json())).toContain("one two three");
  });

  it("repeats the prompt where nothing is scripted, and remembers the request", async () => {
    expect(gathered(api, await sse(await ask("Good morning.\nSecond line.")))).toBe("Heard: Good morning.");
    expect(model.asked(api).at(-1)).toMatchObject({ api, prompt: ["Good morning.\nSecond line."], status: 200, headers: { "x-test": "yes" } });
    await vi.waitFor(() => expect(model.asked(api).at(-1)).toMatchObject({ finished: true, aborted: false }));
  });

  it("calls tools in parallel and counts tokens", async () => {
    const calls: StepInput["calls"] = [{ tool: "a", input: { x: 1 } }, { tool: "b", input: { y: 2 } }];
    const text = JSON.stringify(await sse(await ask([{ thinking: "well now", calls }])));
    for (const word of ["well ", '"a"', '"b"', "_scripted_"]) expect(text).toContain(word);
    const body = JSON.stringify(await (await ask([{ thinking: "well now", calls }], false)).json());
    expect(body).toMatch(/"(output_tokens|completion_tokens)":[1-9]/);
  });

  it("fails as often as scripted, then goes on", async () => {
    const steps = [{ fail: [{ status: 429, retry_after: 7 }, { status: 529 }], text: `after all, ${api}` }];
    const [first, second, third] = [await ask(steps), await ask(steps), await ask(steps)];
    expect([first.status, first.headers.get("retry-after"), second.status, third.status]).toEqual([429, "7", 529, 200]);
    expect(await first.json()).toMatchObject({ error: { message: "scripted failure" } });
    expect(gathered(api, await sse(third))).toBe(`after all, ${api}`);
  });

  it("tears the stream where it is cut, once", async () => {
    const steps = [{ text: `torn ${api} apart`, cut_after: 2 }];
    await expect(ask(steps).then((response) => response.text())).rejects.toThrow(/terminated/);
    expect(gathered(api, await sse(await ask(steps)))).toBe(`torn ${api} apart`);
  });

  it("notices that the client left", async () => {
    const left = new AbortController();
    const body = { model: "m", max_tokens: 1, stream: true, messages: [user(script([{ text: "a ".repeat(1_000), delay: 50 }]))] };
    const [url, sent] = api === "anthropic" ? [`${model.anthropic}/v1/messages`, body] : api === "chat" ? [`${model.openai}/chat/completions`, body] : [`${model.openai}/responses`, { ...body, input: body.messages }];
    const response = await post(url, sent, { signal: left.signal });
    await response.body?.getReader().read();
    left.abort();
    await vi.waitFor(() => expect(model.asked(api).at(-1)?.aborted).toBe(true));
  });

  it("complains in words about a body that is none", async () => {
    const url = { anthropic: `${model.anthropic}/v1/messages`, responses: `${model.openai}/responses`, chat: `${model.openai}/chat/completions` }[api];
    expect((await post(url, { model: 3 })).status).toBe(400);
    expect((await post(url, {}, { body: "{" })).status).toBe(400);
  });
});

describe("the step that a conversation has come to", () => {
  const steps = script([{ calls: [{ tool: "a", input: {} }] }, { text: "second" }]);

  it("is counted by the replies since the prompt", async () => {
    const anthropic = await sse(await APIS.anthropic([user(steps), { role: "assistant", content: [{ type: "tool_use", id: "t", name: "a", input: {} }] }, { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "ok" }, { type: "text", text: "<system-reminder>mind</system-reminder>" }] }], true));
    expect(gathered("anthropic", anthropic)).toBe("second");
    const responses = await sse(await APIS.responses([user(steps), { type: "reasoning" }, { type: "function_call", call_id: "t" }, { type: "function_call_output", call_id: "t" }], true));
    expect(gathered("responses", responses)).toBe("second");
    const chat = await sse(await APIS.chat([user(steps), { role: "assistant", tool_calls: [{ id: "t" }] }, { role: "tool", tool_call_id: "t", content: "ok" }], true));
    expect(gathered("chat", chat)).toBe("second");
  });

  it("is refused where a call was left without an answer, as the real services do", async () => {
    expect((await APIS.anthropic([user(steps), { role: "assistant", content: [{ type: "tool_use", id: "t", name: "a", input: {} }] }, user("well?")], true)).status).toBe(400);
    expect((await APIS.responses([user(steps), { type: "function_call", call_id: "t" }, user("well?")], true)).status).toBe(400);
    expect((await APIS.chat([user(steps), { role: "assistant", tool_calls: [{ id: "t" }] }, user("well?")], true)).status).toBe(400);
  });

  it("takes a script inside a script for text", async () => {
    const outer = script([{ calls: [{ tool: "a", input: { prompt: script([{ text: "inner" }]) } }] }]);
    expect(JSON.stringify(await (await APIS.anthropic([user(outer)], false)).json())).toContain("tool_use");
  });

  it("answers other doors as an agent expects", async () => {
    expect(await (await post(`${model.anthropic}/v1/messages/count_tokens`, { messages: [] })).json()).toMatchObject({ input_tokens: expect.any(Number) as number });
    expect((await fetch(model.anthropic, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(`${model.anthropic}/nothing`)).status).toBe(404);
  });
});
