import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gatewayKey, gatewayToken, modelRequest, newId, newToken, type ModelRequest } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { ANTHROPIC_KEY, callerHost, gatewayCaller, OPENAI_KEY } from "../support/gateway-caller.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../support/model-server/index.ts";
import type { SpecHost } from "../support/spec-host.ts";
import { startStack, type Stack } from "../support/stack.ts";

let stack: Stack;
let host: SpecHost;
let model: ModelServer;
beforeAll(async () => {
  [stack, model] = await Promise.all([startStack(), startModelServer()]);
  host = await callerHost(stack);
});
afterAll(async () => {
  host.close();
  await stack.close();
  await model.close();
});

const user = (steps: StepInput[], words: string) => ({ role: "user", content: script(steps, words) });
const messages = (steps: StepInput[], words = "go", more: object = {}) => ({ model: "claude-sonnet-4-5", max_tokens: 100, stream: true, messages: [user(steps, words)], ...more });
const chat = (steps: StepInput[], words = "go", more: object = {}) => ({ model: "gpt-5-mini", stream: true, messages: [user(steps, words)], ...more });
const responses = (steps: StepInput[], words = "go", more: object = {}) => ({ model: "gpt-5-mini", stream: true, input: [user(steps, words)], ...more });

async function requests(sessionId: string, count: number): Promise<ModelRequest[]> {
  return eventually(`${count} calls are in the database`, async () => {
    const response = await fetch(`${stack.url}/api/v1/metrics/requests?selector=session=${sessionId}`, { headers: { authorization: `Bearer ${stack.apiKey}` } });
    const lines = (await response.text()).split("\n").filter(Boolean);
    return lines.length >= count ? lines.map((line) => modelRequest.parse(JSON.parse(line))) : null;
  });
}

describe("the gateway", () => {
  it("passes a stream as it is, with the provider's key in place of the agent's, and counts it", async () => {
    const caller = await gatewayCaller(stack, host, model);
    const body = messages([{ text: "one two three" }], "as it is");
    const [through, direct] = [await caller.post("/anthropic/v1/messages", body, { headers: { "anthropic-beta": "x-unknown-1" } }), await fetch(`${model.anthropic}/v1/messages`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } })];
    const same = (text: string) => text.replaceAll(/scripted_\d+/g, "scripted");
    expect(same(await through.text())).toBe(same(await direct.text()));
    expect(through.headers.get("content-type")).toBe("text/event-stream");
    expect(model.asked("anthropic").at(-2)?.headers).toMatchObject({ "x-api-key": ANTHROPIC_KEY, "anthropic-beta": "x-unknown-1", "anthropic-version": "2023-06-01" });
    expect(JSON.stringify(model.asked("anthropic").at(-2)?.headers)).not.toContain("gtok_");
    const [call] = await requests(caller.session.id, 1);
    expect(call).toMatchObject({ outcome: "completed", status: 200, model: "claude-sonnet-4-5", api: "anthropic.messages", key_source: "byok", priced: true, estimated: false, stop_reason: "end_turn", price_version: "2026-11-21" });
    expect(call?.cost_usd).toBeGreaterThan(0);
    expect(call?.ttft_ms).toBeGreaterThan(0);
    expect((await caller.now()).usage).toMatchObject({ output_tokens: call?.output_tokens, cost_usd: call?.cost_usd });
  });

  it("counts each of the three APIs, streamed and whole", async () => {
    const anthropic = await gatewayCaller(stack, host, model);
    const openai = await gatewayCaller(stack, host, null, { api_key: OPENAI_KEY, base_url: model.openai });
    const steps = [{ thinking: "well", text: "four words are here" }];
    for (const stream of [true, false]) {
      for (const [caller, path, body] of [
        [anthropic, "/anthropic/v1/messages", messages(steps, "a", { stream })],
        [openai, "/openai/responses", responses(steps, "r", { stream })],
        [openai, "/openai/v1/responses", responses(steps, "r", { stream })],
        [openai, "/openai/chat/completions", chat(steps, "c", { stream })],
      ] as const) {
        const answer = await caller.post(path, body, { bearer: path.startsWith("/openai") });
        expect(answer.status, path).toBe(200);
        await answer.text();
      }
    }
    const calls = [...(await requests(anthropic.session.id, 2)), ...(await requests(openai.session.id, 6))];
    for (const call of calls) expect(call, JSON.stringify(call)).toMatchObject({ outcome: "completed", estimated: false, priced: true, output_tokens: expect.any(Number) as number });
    expect(calls.every(({ output_tokens, input_tokens, cache_write_tokens }) => output_tokens > 0 && input_tokens + cache_write_tokens > 0)).toBe(true);
    expect(model.asked("chat").at(-1)?.headers.authorization).toBe(`Bearer ${OPENAI_KEY}`);
  });

  it("shows a chat that did not ask for usage no usage, and counts it all the same", async () => {
    const caller = await gatewayCaller(stack, host, null, { api_key: OPENAI_KEY, base_url: model.openai });
    const body = chat([{ text: "nobody asked" }], "unasked", { custom_field: 12345678901234567890n.toString() });
    const text = await (await caller.post("/openai/chat/completions", body)).text();
    expect(text).toContain("nobody");
    expect(text).toContain("[DONE]");
    expect(text).not.toContain("usage");
    expect(model.asked("chat").at(-1)?.body).toMatchObject({ stream_options: { include_usage: true }, custom_field: "12345678901234567890" });
    expect((await requests(caller.session.id, 1))[0]).toMatchObject({ estimated: false, outcome: "completed" });
    const asked = await (await caller.post("/openai/chat/completions", { ...body, stream_options: { include_usage: true } })).text();
    expect(asked).toContain('"usage"');
  });

  it("lets a cut be seen as a cut, and marks the count as an estimate", async () => {
    const caller = await gatewayCaller(stack, host, model, { budget: { max_cost_usd: 10 } });
    const answer = await caller.post("/anthropic/v1/messages", messages([{ text: "word ".repeat(40), cut_after: 12, delay: 5 }], "cut"));
    await expect(answer.text()).rejects.toThrow(/terminated/);
    const [call] = await requests(caller.session.id, 1);
    expect(call).toMatchObject({ outcome: "cut", estimated: true, status: 200 });
    expect(call?.output_tokens).toBeGreaterThan(3);
    expect((await caller.now()).budget).toMatchObject({ reserved_cost_usd: 0, reserved_tokens: 0, spent_cost_usd: call?.cost_usd });
  });

  it("leaves upstream when its client leaves, in the stream and before it", async () => {
    const caller = await gatewayCaller(stack, host, model);
    for (const step of [{ text: "word ".repeat(2_000), delay: 20 }, { text: "late", wait: 20_000 }]) {
      const left = new AbortController();
      const words = `leaving ${step.text.length}`;
      const pending = caller.post("/anthropic/v1/messages", messages([step], words), { signal: left.signal }).then(async (answer) => (await answer.body?.getReader().read())?.done);
      await eventually("upstream was asked", () => model.asked("anthropic").some(({ prompt }) => prompt.join().includes(words)));
      if (step.text !== "late") await pending;
      left.abort();
      await pending.catch(() => {});
      await eventually("upstream was left", () => model.asked("anthropic").find(({ prompt }) => prompt.join().includes(words))?.aborted === true);
    }
    for (const call of await requests(caller.session.id, 2)) expect(call.outcome).toBe("client_left");
  });

  it("takes refusals that pass by asking again as upstream says, and passes the others on", async () => {
    const caller = await gatewayCaller(stack, host, model);
    const again = await caller.post("/anthropic/v1/messages", messages([{ fail: [{ status: 429, retry_after: 1 }, { status: 529 }], text: "third time" }], "again"));
    expect(await again.text()).toContain("third");
    const [first] = await requests(caller.session.id, 1);
    expect(first).toMatchObject({ outcome: "completed", retries: 2 });
    const long = await caller.post("/anthropic/v1/messages", messages([{ fail: [{ status: 429, retry_after: 600 }], text: "x" }], "long"));
    expect([long.status, long.headers.get("retry-after")]).toEqual([429, "600"]);
    const bad = await caller.post("/anthropic/v1/messages", messages([{ fail: [{ status: 400, message: "upstream's own words" }], text: "x" }], "bad"));
    expect([bad.status, await bad.json()]).toMatchObject([400, { type: "error", error: { message: "upstream's own words" } }]);
    const calls = await requests(caller.session.id, 3);
    expect(calls.filter(({ outcome }) => outcome === "failed").map(({ status, cost_usd }) => [status, cost_usd])).toEqual([[400, 0], [429, 0]]);
  });

  it("counts tokens without counting the call", async () => {
    const caller = await gatewayCaller(stack, host, model);
    expect(await (await caller.post("/anthropic/v1/messages/count_tokens", { model: "m", messages: [] })).json()).toMatchObject({ input_tokens: expect.any(Number) as number });
  });

  it("marks a model without a price, and counts its tokens", async () => {
    const caller = await gatewayCaller(stack, host, model);
    await (await caller.post("/anthropic/v1/messages", messages([{ text: "who knows" }], "unpriced", { model: "someone-elses-model" }))).text();
    expect((await requests(caller.session.id, 1))[0]).toMatchObject({ priced: false, cost_usd: null, output_tokens: expect.any(Number) as number });
    expect((await caller.now()).usage).toMatchObject({ cost_usd: null });
  });
});

describe("bad input", () => {
  const refusal = async (answer: Response) => [answer.status, await answer.json()] as const;

  it("is 401 for every key that is none, in the words of the API asked", async () => {
    const caller = await gatewayCaller(stack, host, model);
    const [token = ""] = caller.key.split(".");
    const keys = ["", "nonsense", token, caller.spec.run_token, gatewayKey(newToken("run"), caller.session.id), gatewayKey(token, newId("session", 1)), gatewayKey(token, (await gatewayCaller(stack, host, model)).session.id), `${caller.spec.run_token}.${caller.session.id}`];
    const answers = await Promise.all(keys.map(async (key) => refusal(await caller.post("/anthropic/v1/messages", messages([{ text: "x" }]), { headers: { "x-api-key": key } }))));
    for (const [status, body] of answers) expect([status, body]).toMatchObject([401, { type: "error", error: { type: "authentication_error" } }]);
    // Nothing tells a wrong token from a wrong session.
    expect(new Set(answers.map(([, body]) => (body as { error: { message: string } }).error.message)).size).toBe(1);
    expect(await refusal(await caller.post("/openai/responses", responses([{ text: "x" }]), { headers: { "x-api-key": "no" } }))).toMatchObject([401, { error: { type: "invalid_request_error", code: "unauthorized" } }]);
  });

  it("is 401 for the token of an attachment that is over, and the key is gone with it", async () => {
    const caller = await gatewayCaller(stack, host, model);
    await host.gone(caller.spec);
    await eventually("the old key is refused", async () => (await caller.post("/anthropic/v1/messages", messages([{ text: "x" }]))).status === 401);
    await stack.api.request("POST", `/sessions/${caller.session.id}/tasks`, { prompt: "another runner comes" });
    const next = await host.spec(caller.session.id, caller.spec.epoch + 1);
    expect(next).toMatchObject({ needs_key: true });
    const key = gatewayKey(await gatewayToken(next.run_token), caller.session.id);
    expect(await refusal(await caller.post("/anthropic/v1/messages", messages([{ text: "x" }]), { headers: { "x-api-key": key } }))).toMatchObject([401, { error: { message: expect.stringContaining("key_missing") as string } }]);
  });

  it("is 413 for a body over the limit, 400 for what is no request, 404 for other doors", async () => {
    const caller = await gatewayCaller(stack, host, model);
    const large = await caller.post("/anthropic/v1/messages", "x".repeat(33 * 1024 * 1024));
    expect(await refusal(large)).toMatchObject([413, { error: { type: "request_too_large" } }]);
    expect((await caller.post("/anthropic/v1/messages", "{")).status).toBe(400);
    expect((await caller.post("/anthropic/v1/messages", "[]")).status).toBe(400);
    for (const path of ["/nowhere", "/compatible/", "/compatible/none/chat/completions", "/anthropic/..%2f..%2fadmin"]) expect((await caller.post(path, messages([]))).status, path).toBe(404);
    expect((await caller.post("/openai/chat/completions", chat([]))).status).toBe(200);
  });

  it("is 502 with who and what where upstream is down", async () => {
    const caller = await gatewayCaller(stack, host, null, { api_key: ANTHROPIC_KEY, base_url: "http://127.0.0.1:9" });
    const [status, body] = await refusal(await caller.post("/anthropic/v1/messages", messages([{ text: "x" }])));
    expect([status, JSON.stringify(body)]).toEqual([502, expect.stringContaining("127.0.0.1:9")]);
    expect((await requests(caller.session.id, 1))[0]).toMatchObject({ outcome: "unreachable", status: null });
  });

  it("says how to give a key where there is none", async () => {
    const caller = await gatewayCaller(stack, host, null);
    expect(await refusal(await caller.post("/openai/responses", responses([{ text: "x" }])))).toMatchObject([401, { error: { message: expect.stringMatching(/key_missing.*api_key/) as string } }]);
  });

  it("never makes the gateway fail, whatever the answer of upstream is", async () => {
    const caller = await gatewayCaller(stack, host, null, { api_key: OPENAI_KEY, base_url: model.openai });
    const hostile = "<script>alert(1)</script>\u001b]0;x\u0007\u202e" + "data: {\"usage\":{\"output_tokens\":1e999}}\n\n".repeat(10);
    const answer = await caller.post("/openai/chat/completions", chat([{ text: hostile }], "hostile"));
    expect(answer.status).toBe(200);
    await answer.text();
    expect((await requests(caller.session.id, 1))[0]).toMatchObject({ outcome: "completed" });
  });
});
