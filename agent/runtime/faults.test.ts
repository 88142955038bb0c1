import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { script, startModelServer, type ModelServer, type StepInput } from "../../test/support/model-server/index.ts";
import { Agent } from "./conversation.ts";
import { isFinal, type AgentEvent } from "./events.ts";
import type { JournalEntry } from "./history/journal.ts";
import { mended } from "./history/messages.ts";
import { Window } from "./history/window.ts";
import { AnthropicProvider } from "./models/anthropic.ts";
import { OpenAICompatibleProvider } from "./models/openai-compatible.ts";
import type { ModelProvider } from "./models/provider.ts";
import { toolFromZod } from "./tool.ts";

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer();
});
afterAll(() => server.close());

const tools = [
  toolFromZod({ name: "echo", description: "says it again", input: z.strictObject({ text: z.string() }), execute: ({ text }) => text }),
  toolFromZod({ name: "fails", description: "fails", input: z.strictObject({}), execute: () => { throw new Error("no luck"); } }),
  toolFromZod({ name: "slow", description: "takes a while, and listens", input: z.strictObject({}), execute: (_, { signal, progress }) => new Promise<string>((resolve) => { progress("…"); const timer = setTimeout(() => resolve("done"), 5); signal.addEventListener("abort", () => { clearTimeout(timer); resolve("stopped"); }); }) }),
  toolFromZod({ name: "huge", description: "says very much", input: z.strictObject({}), execute: () => "x".repeat(300_000) }),
];

function agentOf(provider: ModelProvider, budget = {}, more: Partial<ConstructorParameters<typeof Agent>[0]> = {}): Agent {
  return new Agent({ provider, model: "claude-sonnet-4-5", system: ["Be brief."], tools, turnTools: () => [], hooks: {}, path: [], parents: [], window: new Window({ tokens: 20_000 }), retries: { baseMs: 1, maxRetries: 2, maxRetryAfterMs: 20 }, ...more }, { budget, history: [], warnings: [] });
}

/** Exactly one end, at the end; one result for each call; a conversation that any provider takes. */
function wellEnded(events: readonly AgentEvent[], agent: Agent): void {
  expect(events.filter(isFinal)).toHaveLength(1);
  expect(isFinal(events.at(-1) as AgentEvent)).toBe(true);
  const ids = (type: "tool-call" | "tool-result") => events.flatMap((event) => (event.type === type ? [event.callId] : [])).sort();
  expect(ids("tool-result")).toEqual(ids("tool-call"));
  const { history } = agent;
  expect(mended(history)).toBe(history);
}

const call = fc.oneof(
  fc.record({ tool: fc.constant("echo"), input: fc.oneof(fc.record({ text: fc.string({ maxLength: 20 }) }), fc.constantFrom<Record<string, never> | string>({}, "{", "[1]", "null", '"text"', '{"text": 1}')) }),
  fc.record({ tool: fc.constantFrom("fails", "slow", "huge", "unknown"), input: fc.constant({}) }),
);
const failure = fc.record({ status: fc.constantFrom(400, 401, 403, 404, 408, 413, 429, 500, 503, 529), times: fc.integer({ min: 1, max: 4 }) }, { requiredKeys: ["status"] });
const step: fc.Arbitrary<StepInput> = fc.record(
  {
    text: fc.string({ maxLength: 60 }), thinking: fc.string({ maxLength: 30 }), calls: fc.array(call, { maxLength: 4 }), stop: fc.constantFrom<"length" | "refusal">("length", "refusal"),
    fail: fc.array(failure, { maxLength: 2 }), cut_after: fc.nat(12), cut_times: fc.integer({ min: 1, max: 4 }),
  },
  { requiredKeys: [] },
);
const disturbance = fc.record({
  api: fc.constantFrom("anthropic" as const, "chat" as const),
  /** Canceled, or no longer listened to, after so many events. */
  leave: fc.option(fc.record({ after: fc.nat(25), how: fc.constantFrom("abort", "break") }), { freq: 3 }),
  veto: fc.constantFrom<"no" | "throw" | null>(null, null, "no", "throw"),
  unrecorded: fc.option(fc.nat(12), { freq: 5 }),
  budget: fc.constantFrom({}, {}, { maxModelCallsPerTurn: 2 }, { maxTokensPerTurn: 500 }, { maxSecondsPerTurn: 0.02 }, { maxCostUsdPerTurn: 0.000_1 }),
});

let serial = 0;

describe("whatever a model, a network or a person does", () => {
  it("a turn ends in one final event, and its conversation goes on", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), disturbance, async (steps, { api, leave, veto, unrecorded, budget }) => {
        const provider = api === "anthropic" ? new AnthropicProvider({ apiKey: "k", baseURL: server.anthropic }) : new OpenAICompatibleProvider({ apiKey: "k", baseURL: server.openai });
        const agent = agentOf(provider, budget, { hooks: { onToolCall: () => { if (veto === "throw") throw new Error("broken"); return veto === "no" ? { allow: false, reason: "no" } : undefined; } } });
        const stop = new AbortController();
        const entries: JournalEntry[] = [];
        const events: AgentEvent[] = [];
        let left = unrecorded ?? Infinity;
        const prompt = script(steps, `Case ${++serial} of ${process.pid}.`);
        for await (const event of agent.stream(prompt, { signal: stop.signal, record: (entry) => { if (left-- <= 0) throw new Error("disk full"); entries.push(structuredClone(entry)); } })) {
          events.push(event);
          if (leave && events.length > leave.after && leave.how === "abort") stop.abort();
          if (leave && events.length > leave.after && leave.how === "break") break;
        }
        const broken = leave?.how === "break" && events.length > leave.after;
        if (broken) expect(mended(agent.history)).toEqual(agent.history);
        else wellEnded(events, agent);
        // Where it was stopped, it can be taken up from any of its steps.
        if (entries.length > 1) {
          const again = agentOf(provider);
          const resumed: AgentEvent[] = [];
          for await (const event of again.resume(entries.slice(0, 1 + (serial % (entries.length - 1))))) resumed.push(event);
          wellEnded(resumed, again);
        }
        // And the conversation goes on as it is.
        const next: AgentEvent[] = [];
        for await (const event of agent.stream(script([{ text: "Fine." }], `After ${serial}.`), { budget: {} })) next.push(event);
        expect(next.at(-1)).toMatchObject({ type: "done", text: "Fine." });
      }),
      { numRuns: Number(process.env["FAULT_RUNS"] ?? 80) },
    );
  });
});

describe("an endpoint that is none", () => {
  const sse = (text: string) => new Response(text, { headers: { "content-type": "text/event-stream" } });
  const chunk = (delta: object, finish: string | null = null) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const ANSWERS: Record<string, () => Response | Promise<Response>> = {
    "a page of HTML": () => new Response("<html>Welcome</html>", { headers: { "content-type": "text/html" } }),
    "nothing at all": () => sse(""),
    "JSON of another kind": () => Response.json({ hello: 1 }),
    "chunks that are no JSON": () => sse("data: {broken\n\ndata: [DONE]\n\n"),
    "an end before the end": () => sse(chunk({ content: "half" })),
    "an error in mid-stream": () => sse(`${chunk({ content: "half" })}data: ${JSON.stringify({ error: { message: "the engine fell over" } })}\n\n`),
    "a redirect to nowhere": () => new Response(null, { status: 302, headers: { location: "http://nowhere.invalid" } }),
    "a refusal without words": () => new Response(null, { status: 503 }),
    "a torn connection": () => Promise.reject(new TypeError("fetch failed", { cause: new Error("ECONNRESET") })),
    "a stream that breaks": () => new Response(new ReadableStream({ start(controller) { controller.enqueue(new TextEncoder().encode(chunk({ content: "half" }))); controller.error(new Error("reset")); } }), { headers: { "content-type": "text/event-stream" } }),
    "a call without a name": () => sse(chunk({ tool_calls: [{ index: 0, id: "x", function: { arguments: "{}" } }] }, "tool_calls")),
  };
  for (const [what, answer] of Object.entries(ANSWERS)) {
    it(`that answers with ${what} is an error in words`, async () => {
      for (const provider of [new OpenAICompatibleProvider({ baseURL: "http://x.test/v1", fetch: async () => answer() }), new AnthropicProvider({ apiKey: "k", baseURL: "http://x.test", fetch: async () => answer() })]) {
        const agent = agentOf(provider, {}, { retries: { baseMs: 1, maxRetries: 1 } });
        const events: AgentEvent[] = [];
        for await (const event of agent.stream("hello")) events.push(event);
        wellEnded(events, agent);
        expect(events.at(-1)).toMatchObject({ type: "error" });
        expect((events.at(-1) as { message: string }).message.length).toBeGreaterThan(20);
      }
    });
  }

  it("that says in mid-stream that it is overloaded is asked again", async () => {
    let asked = 0;
    const head = `event: message_start\ndata: ${JSON.stringify({ type: "message_start", message: { id: "m", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 } } })}\n\n`;
    const told = `event: content_block_start\ndata: ${JSON.stringify({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\nevent: content_block_delta\ndata: ${JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "half" } })}\n\n`;
    const fetch = async () => {
      if (++asked > 1) return Response.json({ type: "error", error: { type: "authentication_error", message: "enough" } }, { status: 401 });
      return sse(`${head}${told}event: error\ndata: ${JSON.stringify({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })}\n\n`);
    };
    const agent = agentOf(new AnthropicProvider({ apiKey: "k", baseURL: "http://x.test", fetch }));
    const events: AgentEvent[] = [];
    for await (const event of agent.stream("hello")) events.push(event);
    expect(events.filter(({ type }) => type === "retry")).toMatchObject([{ attempt: 1, discarded: true, reason: "Overloaded" }]);
    expect(events.at(-1)).toMatchObject({ type: "error", code: "auth" });
  });
});
