import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openGateway } from "../../agent/runner/gateway.ts";
import {
  agentConfig as agentConfigSchema, agentConfigTest as agentConfigTestSchema, budget as budgetSchema, eventPage, gatewayKey, gatewayToken, metricsSummary, modelRequest, newId, newToken, pageOf,
  permission as permissionSchema, task as taskSchema, usageReport, type ModelRequest,
} from "../../sdk/protocol/index.ts";
import { apiOf } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { ANTHROPIC_KEY, callerHost, gatewayCaller, OPENAI_KEY, runnerOf } from "../support/gateway-caller.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../support/model-server/index.ts";
import { eventsOf } from "../support/raw-runner.ts";
import { startSpecHost, type SpecHost } from "../support/spec-host.ts";
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
        expect(answer.status, `${path}`).toBe(200);
        await answer.text();
      }
    }
    const calls = [...(await requests(anthropic.session.id, 2)), ...(await requests(openai.session.id, 6))];
    for (const call of calls) expect(call, `${JSON.stringify(call)}`).toMatchObject({ outcome: "completed", estimated: false, priced: true, output_tokens: expect.any(Number) as number });
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
    // As an agent does: through the runner's own door.
    const door = await openGateway({ ...caller.spec, gateway: true, server: stack.url });
    for (const step of [{ text: "word ".repeat(2_000), delay: 20 }, { text: "then silence", delay: 30_000 }, { text: "late", wait: 20_000 }]) {
      const left = new AbortController();
      const words = `leaving ${step.text.length}`;
      const sent = { method: "POST", body: JSON.stringify(messages([step], words)), headers: { "x-api-key": door?.key.reveal() ?? "", "content-type": "application/json" }, signal: left.signal };
      const pending = fetch(`${door?.url}/gateway/anthropic/v1/messages`, sent).then(async (answer) => (await answer.body?.getReader().read())?.done);
      await eventually("upstream was asked", () => model.asked("anthropic").some(({ prompt }) => prompt.join().includes(words)));
      if (step.text !== "late") await pending;
      left.abort();
      await pending.catch(() => {});
      await eventually("upstream was left", () => model.asked("anthropic").find(({ prompt }) => prompt.join().includes(words))?.aborted === true);
    }
    for (const call of await requests(caller.session.id, 3)) expect(call.outcome).toBe("client_left");
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
    for (const path of ["/nowhere", "/compatible/", "/compatible/none/chat/completions", "/anthropic/..%2f..%2fadmin"]) expect((await caller.post(path, messages([]))).status, `${path}`).toBe(404);
    expect((await caller.post("/openai/chat/completions", chat([]))).status).toBe(200);
  });

  it("is 502 with who and what where upstream is down", async () => {
    const caller = await gatewayCaller(stack, host, null, { api_key: ANTHROPIC_KEY, base_url: "http://127.0.0.1:9" });
    const [status, body] = await refusal(await caller.post("/anthropic/v1/messages", messages([{ text: "x" }])));
    expect([status, JSON.stringify(body)]).toEqual([502, expect.stringContaining("127.0.0.1:9")]);
    expect((await requests(caller.session.id, 1))[0]).toMatchObject({ outcome: "unreachable", status: null });
  });

  it("goes to no other address than the session's: a redirect is the agent's to read, and carries no key on", async () => {
    const asked: string[] = [];
    const inside = createServer((request, answer) => {
      asked.push(request.url ?? "");
      answer.writeHead(307, { location: "/secret" }).end("elsewhere");
    });
    await new Promise<void>((done) => void inside.listen(0, "127.0.0.1", done));
    try {
      const caller = await gatewayCaller(stack, host, null, { api_key: ANTHROPIC_KEY, base_url: `http://127.0.0.1:${(inside.address() as AddressInfo).port}` });
      const answer = await caller.post("/anthropic/v1/messages", messages([{ text: "x" }]), { redirect: "manual" });
      expect([answer.status, answer.headers.get("location"), asked]).toEqual([307, "/secret", ["/v1/messages"]]);
      // Nothing of a model came: nothing is charged.
      expect((await requests(caller.session.id, 1))[0]).toMatchObject({ status: 307, outcome: "failed", cost_usd: 0, input_tokens: 0 });
    } finally {
      inside.close();
    }
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

  it("carries and settles what is no answer of a model: lines of megabytes, other types than said, a status that is none", async () => {
    const piece = "a".repeat(64 * 1024);
    const end = 'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\ndata: [DONE]\n\n';
    const wild = createServer((request, answer) => {
      const kind = request.url ?? "";
      request.resume().on("end", () => {
        if (kind.startsWith("/none")) request.socket.end("HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nhi");
        else answer.writeHead(200, { "content-type": kind.startsWith("/plain") ? "text/plain" : "text/event-stream" });
        if (kind.startsWith("/long")) answer.write(`data: {"choices":[{"delta":{"content":"${piece.repeat(240)}"}}]}\n\n`);
        if (!request.socket.writableEnded) answer.end(end);
      });
    });
    await new Promise<void>((done) => void wild.listen(0, "127.0.0.1", done));
    const base = `http://127.0.0.1:${(wild.address() as AddressInfo).port}`;
    const ask = async (kind: string, more: object = {}) => {
      const caller = await gatewayCaller(stack, host, null, { api_key: OPENAI_KEY, base_url: `${base}/${kind}`, budget: { max_tokens: 1_000_000 } });
      const answer = await caller.post("/openai/chat/completions", chat([{ text: "x" }], "wild", more));
      const text = await answer.text();
      const [call] = await requests(caller.session.id, 1);
      expect((await caller.now()).budget).toMatchObject({ reserved_tokens: 0 });
      return { status: answer.status, size: text.length, text, call };
    };
    const counted = { outcome: "completed", estimated: false, input_tokens: 10, output_tokens: 5 };
    try {
      for (const more of [{}, { stream_options: { include_usage: true } }]) {
        const long = await ask("long", more);
        expect([long.status, long.size > 15_000_000, long.call]).toEqual([200, true, expect.objectContaining(counted)]);
      }
      expect((await ask("plain")).call).toMatchObject(counted);
      expect(await ask("none")).toMatchObject({ status: 502, text: expect.stringContaining("999") as string, call: { outcome: "unreachable", cost_usd: 0 } });
    } finally {
      wild.close();
    }
  });
});

describe("a budget", () => {
  /** A caller whose task runs, as far as its session knows. */
  async function running(params: Record<string, unknown>, task: Record<string, unknown> = {}) {
    const caller = await gatewayCaller(stack, host, model, params);
    const runner = await runnerOf(stack, caller);
    const made = await stack.api.post(`/sessions/${caller.session.id}/tasks`, { prompt: "spend", ...task }, taskSchema);
    const { run_id } = await runner.command("task.start");
    return { caller, runner, task: made, run_id };
  }
  const pending = (sessionId: string) => eventually("the owner is asked", async () => (await stack.api.get(`/permissions?status=pending&session_id=${sessionId}`, pageOf(permissionSchema))).items[0]);
  // With 100 tokens out at most, and a few hundred bytes in: so much may one call cost.
  const body = (words: string) => messages([{ text: "word ".repeat(40) }], words);

  it("is never overshot by calls side by side", async () => {
    const caller = await gatewayCaller(stack, host, model, { budget: { max_tokens: 1_500 } });
    const answers = await Promise.all(Array.from({ length: 30 }, async (_, i) => {
      const answer = await caller.post("/anthropic/v1/messages", body(`parallel ${i}`));
      await answer.text();
      return answer.status;
    }));
    expect(new Set(answers)).toEqual(new Set([200, 429]));
    const done = answers.filter((status) => status === 200).length;
    const calls = await requests(caller.session.id, done);
    expect(calls).toHaveLength(done);
    const { budget } = await eventually("all is settled", async () => ((await caller.now()).budget?.reserved_tokens === 0 ? caller.now() : null));
    expect(budget?.spent_tokens).toBeLessThanOrEqual(1_500);
    expect(budget?.spent_tokens).toBe(calls.reduce((sum, call) => sum + call.input_tokens + call.output_tokens + call.cache_read_tokens + call.cache_write_tokens, 0));
  });

  it("warns at four fifths, refuses at its end, asks the owner, and goes on when the cap is raised", async () => {
    const { caller, runner, task, run_id } = await running({ budget: { max_tokens: 900 } });
    let refused: Response | null = null;
    for (let i = 0; i < 20 && !refused; i++) {
      const answer = await caller.post("/anthropic/v1/messages", body(`spend ${i}`));
      if (answer.status === 402) refused = answer;
      else await answer.text();
      await eventually("it is settled", async () => (await caller.now()).budget?.reserved_tokens === 0);
    }
    expect(await refused?.json()).toMatchObject({ type: "error", error: { type: "billing_error", code: "budget_exceeded", message: expect.stringContaining("900 tokens") as string } });
    const asked = await pending(caller.session.id);
    expect(asked).toMatchObject({ tool: "budget", risk: "high", task_id: task.id, input: { scope: "session", max_tokens: 900 } });
    // Asked once, however often the agent tries.
    expect((await caller.post("/anthropic/v1/messages", body("again"))).status).toBe(402);
    expect(await stack.api.get(`/permissions?session_id=${caller.session.id}`, pageOf(permissionSchema))).toMatchObject({ total: 1 });
    // The agent gives up; its task waits for the answer, and nothing else begins.
    runner.send(eventsOf(1, { task_id: task.id, run_id }, [{ at: new Date().toISOString(), type: "run.status", data: { status: "failed", exit_code: 1, error: { code: "agent_failed", message: "no money" }, conversation: "talk-1" } }]));
    await eventually("the task waits", async () => (await stack.api.get(`/tasks/${task.id}`, taskSchema)).waiting_for?.includes("budget"));
    expect(await caller.now()).toMatchObject({ task_id: null, queued_tasks: 1, pending_permissions: 1 });
    await stack.api.post(`/permissions/${asked.id}/approve`, { budget: { max_tokens: 100_000 } }, permissionSchema);
    const second = await eventually("the task goes on", () => runner.frames.flatMap((frame) => (frame.type === "command" && frame.body.kind === "task.start" && frame.body.run_id !== run_id ? [frame.body] : []))[0]);
    expect(second).toMatchObject({ task_id: task.id, conversation: "talk-1", notice: expect.stringContaining("budget has been raised") as string });
    expect((await caller.post("/anthropic/v1/messages", body("after"))).status).toBe(200);
    expect((await caller.now()).budget).toMatchObject({ max_tokens: 100_000 });
    const events = await stack.api.get(`/sessions/${caller.session.id}/events?types=budget.warning&types=budget.exceeded`, eventPage);
    expect(events.events.map(({ type }) => type)).toEqual(expect.arrayContaining(["budget.exceeded"]));
  });

  it("of a task ends the task where more is denied", async () => {
    const { caller, runner, task, run_id } = await running({}, { budget: { max_cost_usd: 0.000_001 } });
    expect((await caller.post("/anthropic/v1/messages", body("too dear"))).status).toBe(402);
    const asked = await pending(caller.session.id);
    expect(asked).toMatchObject({ input: { scope: "task" } });
    runner.send(eventsOf(1, { task_id: task.id, run_id }, [{ at: new Date().toISOString(), type: "run.status", data: { status: "failed", error: { code: "agent_failed", message: "no money" } } }]));
    await eventually("the task waits", async () => (await stack.api.get(`/tasks/${task.id}`, taskSchema)).waiting_for?.includes("budget"));
    await stack.api.post(`/permissions/${asked.id}/deny`, { reason: "it is enough" }, permissionSchema);
    expect(await eventually("the task has ended", async () => { const now = await stack.api.get(`/tasks/${task.id}`, taskSchema); return now.ended_at ? now : null; })).toMatchObject({ status: "failed", error: { code: "budget_exceeded", message: expect.stringContaining("it is enough") as string } });
  });

  it("of a label and of the tenant holds over all its sessions", async () => {
    const { tenantId, apiKey } = await stack.tenant("thrifty");
    const api = apiOf(stack.url, apiKey);
    const own = await startSpecHost(stack.url, (await stack.admin.createRunnerToken(tenantId, "callers")).token);
    const thrifty = { ...stack, api };
    const made = await api.post("/budgets", { label: { name: "team", value: "web" }, max_cost_usd: 0.002, name: "web's" }, budgetSchema);
    const [web, other] = await Promise.all([gatewayCaller(thrifty, own, model, { labels: { team: "web" } }), gatewayCaller(thrifty, own, model)]);
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const answer = await web.post("/anthropic/v1/messages", body(`label ${i}`));
      statuses.push(answer.status);
      await answer.text();
    }
    expect(statuses.at(-1)).toBe(402);
    expect((await other.post("/anthropic/v1/messages", body("no label"))).status).toBe(200);
    expect((await other.post("/anthropic/v1/messages", { ...body("free"), model: "unpriced" })).status).toBe(200);
    const now = await api.get(`/budgets/${made.id}`, budgetSchema);
    expect(now).toMatchObject({ scope: "label", name: "web's" });
    expect(now.spent_cost_usd).toBeLessThanOrEqual(0.002);
    await api.post("/budgets", { max_tokens: 1 }, budgetSchema);
    expect((await other.post("/anthropic/v1/messages", body("tenant"))).status).toBe(402);
    own.close();
  });
});

describe("agent configs, prices and usage", () => {
  const api = () => stack.api;

  it("keep a key out of sight, use it, test it, and rename its sums", async () => {
    const made = await api().post("/agent-configs", { name: "house", api: "anthropic", model: "claude-haiku-4-5", base_url: model.anthropic, key: ANTHROPIC_KEY, shared: true }, agentConfigSchema);
    expect(made).toMatchObject({ key: "sk-ant-…9e8c", model: "claude-haiku-4-5" });
    const caller = await gatewayCaller(stack, host, null, { agent_config: "house", labels: { team: "a" } });
    expect(caller.session).toMatchObject({ agent_config_id: made.id, model: "claude-haiku-4-5", has_api_key: false });
    expect((await (await caller.post("/anthropic/v1/messages", messages([{ text: "x" }], "config"))).text()).length).toBeGreaterThan(0);
    expect(model.asked("anthropic").at(-1)?.headers["x-api-key"]).toBe(ANTHROPIC_KEY);
    const other = await gatewayCaller(stack, host, model);
    expect((await other.post("/compatible/house/v1/messages", messages([{ text: "shared" }]))).status).toBe(200);
    const test = await api().post(`/agent-configs/${made.id}/test`, undefined, agentConfigTestSchema);
    expect(test).toMatchObject({ ok: true, status: 200 });
    const rows = await stack.postgres.query(`SELECT c::text AS row FROM agent_configs c`);
    expect(JSON.stringify(rows)).not.toContain(ANTHROPIC_KEY);
    const [call] = await requests(caller.session.id, 1);
    expect(call).toMatchObject({ key_source: "agent_config", agent_config_id: made.id, labels: { team: "a" } });
    const report = await api().get(`/usage?group_by=label:team&selector=team%3Da`, usageReport);
    expect(report.rows).toMatchObject([{ key: "a", requests: 1, cost_usd: call?.cost_usd }]);
    const csv = await (await fetch(`${stack.url}/api/v1/usage?group_by=model&format=csv`, { headers: { authorization: `Bearer ${stack.apiKey}` } })).text();
    expect(csv.split("\r\n")[0]).toMatch(/^model,requests,/);
    expect(csv).toMatch(/\r\ntotal,/);
    expect(await api().get("/metrics/summary", metricsSummary)).toMatchObject({ total: { requests: expect.any(Number) as number }, by_agent: [{ key: "raw" }] });
  });

  it("count with the tenant's own price where there is one", async () => {
    await api().request("PUT", "/metrics/pricing", { models: [{ match: "house-*", input: 1_000, output: 1_000 }] });
    const caller = await gatewayCaller(stack, host, model);
    await (await caller.post("/anthropic/v1/messages", messages([{ text: "x" }], "own price", { model: "house-model" }))).text();
    const [call] = await requests(caller.session.id, 1);
    expect(call).toMatchObject({ priced: true, price_version: "2026-11-21+tenant" });
    expect(call?.cost_usd).toBeCloseTo(((call?.input_tokens ?? 0) + (call?.cache_write_tokens ?? 0) + (call?.output_tokens ?? 0)) / 1_000, 6);
  });

  it("are limited in calls a minute, by key", async () => {
    await api().post("/agent-configs", { name: "slow", api: "anthropic", base_url: model.anthropic, key: ANTHROPIC_KEY, requests_per_minute: 2 }, agentConfigSchema);
    const caller = await gatewayCaller(stack, host, null, { agent_config: "slow" });
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) {
      const answer = await caller.post("/anthropic/v1/messages", messages([{ text: "x" }], `rate ${i}`));
      await answer.text();
      statuses.push(answer.status);
    }
    expect(statuses).toEqual([200, 200, 429]);
  });
});
