import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { NO_USAGE, type AgentEvent } from "../events.ts";
import type { JournalEntry } from "../history/journal.ts";
import { mended } from "../history/messages.ts";
import { ConversationLog, openConversation } from "./conversations.ts";
import { gateInput } from "./gate-call.ts";
import { recordsOf, teller } from "./records.ts";
import { settingsOf } from "./settings.ts";

const home = mkdtempSync(join(tmpdir(), "marco-session-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const asks: JournalEntry = { type: "message", message: { role: "user", content: [{ type: "text", text: "do it" }] } };
const calls: JournalEntry = { type: "message", message: { role: "assistant", content: [{ type: "tool-call", callId: "a", tool: "exec", input: {} }, { type: "tool-call", callId: "b", tool: "exec", input: {} }] } };
const begun: JournalEntry = { type: "started", callId: "a" };
const done: JournalEntry = { type: "finished", result: { type: "tool-result", callId: "a", tool: "exec", content: "fine" } };

describe("a session's conversations", () => {
  it("are empty before anything is said, and whole after a turn", () => {
    expect(openConversation(home, "c1", "t1")).toEqual({ history: [], open: [] });
    const log = new ConversationLog(home, "c1", "t1");
    log.record(asks);
    log.end({ completed: true });
    expect(openConversation(home, "c1", "t2")).toEqual({ history: [asks.type === "message" ? asks.message : null], open: [] });
  });
  it("give a broken turn back to its own task, over several attempts, and to others as it ended", () => {
    const log = new ConversationLog(home, "c2", "t1");
    for (const entry of [asks, calls, begun]) log.record(entry);
    new ConversationLog(home, "c2", "t1").record(done);
    expect(openConversation(home, "c2", "t1")).toEqual({ history: [], open: [asks, calls, begun, done] });
    const { history, open } = openConversation(home, "c2", "t2");
    expect(open).toEqual([]);
    expect(history.map(({ role }) => role)).toEqual(["user", "assistant", "tool"]);
    expect(JSON.stringify(history[2])).toMatch(/"fine"[^]*not run: the turn was broken off/);
  });
  it("give a turn that failed back to its own task too", () => {
    const log = new ConversationLog(home, "c4", "t1");
    for (const entry of [asks, calls, begun, done]) log.record(entry);
    log.end({ completed: false });
    expect(openConversation(home, "c4", "t1").open).toEqual([asks, calls, begun, done]);
    expect(openConversation(home, "c4", "t2")).toMatchObject({ history: { length: 3 }, open: [] });
  });
  it("keep what subagents did, at any depth, for the task; to others the call is told as cut off", () => {
    const log = new ConversationLog(home, "c5", "t1");
    const inside: JournalEntry = { type: "inside", callId: "a", entry: { type: "inside", callId: "b", entry: done } };
    for (const entry of [asks, calls, begun, inside]) log.record(entry);
    expect(openConversation(home, "c5", "t1").open).toEqual([asks, calls, begun, inside]);
    expect(JSON.stringify(openConversation(home, "c5", "t2").history[2])).toMatch(/"callId":"a"[^]*had begun when[^]*"callId":"b"[^]*not run/);
  });
  it("are read wherever a crash has cut them", () => {
    const log = new ConversationLog(home, "c3", "t1");
    for (const entry of [asks, calls, begun, done]) log.record(entry);
    const path = join(home, ".marco", "conversations", "c3.jsonl");
    const bytes = readFileSync(path);
    fc.assert(fc.property(fc.nat(bytes.length), (length) => {
      writeFileSync(path, bytes.subarray(0, length));
      new ConversationLog(home, "c3", "t2").record(asks);
      const { history } = openConversation(home, "c3", "t3");
      expect(mended(history)).toBe(history);
      expect(history.at(-1)).toEqual(asks.type === "message" ? asks.message : null);
    }), { numRuns: 60 });
  });
  it("refuse names that lead elsewhere", () => {
    for (const name of ["../x", "a/b", "", ".", "x".repeat(300)]) expect(() => openConversation(home, name, "t")).toThrow("is not the name of a conversation");
    expect(readdirSync(join(home, ".marco"))).toEqual(["conversations"]);
  });
});

describe("what a session is told", () => {
  const usage = { ...NO_USAGE, inputTokens: 3, costUsd: null };
  it("is one or more records for each event that people see", () => {
    const table: [AgentEvent, unknown[]][] = [
      [{ type: "token", text: "a" }, [{ type: "message.delta", text: "a" }]],
      [{ type: "thinking", text: "hm" }, []],
      [{ type: "message", text: "a", thinking: "hm" }, [{ type: "thinking", text: "hm" }, { type: "message", text: "a" }]],
      [{ type: "tool-result", callId: "1", tool: "t", output: "o", isError: false, durationMs: 1.4, changes: [{ path: "a", change: "created", diff: "+x" }] }, [{ type: "tool.result", call_id: "1", output: "o", is_error: false, duration_ms: 1 }, { type: "file.changed", path: "a", change: "created", diff: "+x" }]],
      [{ type: "usage", model: "m", usage }, [{ type: "usage", input_tokens: 3, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null, model: "m" }]],
      [{ type: "done", reason: "completed", text: "x", modelCalls: 1, usage }, []],
      [{ type: "done", reason: "doom-loop", note: "again and again", text: "x", modelCalls: 1, usage }, [{ type: "error", message: "the turn was stopped: again and again" }]],
      [{ type: "error", code: "aborted", message: "x", modelCalls: 0, usage }, []],
      [{ type: "error", code: "auth", message: "no", hint: "check", modelCalls: 0, usage }, [{ type: "error", message: "no", hint: "check" }]],
      [{ type: "subagent", callId: "1", name: "r", event: { type: "subagent", callId: "2", name: "s", event: { type: "tool-call", callId: "3", tool: "t", input: { a: 1 } } } }, [{ type: "tool.call", call_id: "1/2/3", tool: "t", input: { a: 1 }, summary: 'r › s: t {"a":1}' }]],
      [{ type: "subagent", callId: "1", name: "r", event: { type: "done", reason: "budget", text: "x", modelCalls: 1, usage } }, []],
      [{ type: "subagent", callId: "1", name: "r", event: { type: "token", text: "x" } }, []],
      [{ type: "retry", attempt: 1, afterMs: 1_500, reason: "busy", discarded: false }, [{ type: "progress", text: "the model call failed (busy); trying again in 2 s" }]],
    ];
    for (const [event, records] of table) expect(recordsOf(event)).toEqual(records);
  });
  it("has thoughts before the words that follow from them, once, however the call goes", () => {
    const tell = teller();
    const told = (events: AgentEvent[]) => events.flatMap((event) => tell(event)).map(({ type, text }) => [type, text]);
    const thinking = ["h", "m"].map((text): AgentEvent => ({ type: "thinking", text }));
    expect(told([...thinking, { type: "token", text: "a" }, { type: "token", text: "b" }, { type: "message", text: "ab", thinking: "hm" }])).toEqual([["thinking", "hm"], ["message.delta", "a"], ["message.delta", "b"], ["message", "ab"]]);
    expect(told([...thinking, { type: "retry", attempt: 1, afterMs: 1, reason: "busy", discarded: true }, ...thinking, { type: "message", text: "", thinking: "hm" }]).map(([type]) => type)).toEqual(["progress", "thinking"]);
    expect(told([{ type: "message", text: "x" }])).toEqual([["message", "x"]]);
  });
  it("and what its gate is asked has paths as programs see them", () => {
    const places = { workspace: "/srv/w", identity: "/home/a/id" };
    expect(gateInput("exec", { command: "ls", cwd: "/workspace/src" }, places)).toEqual({ command: "ls", cwd: "/srv/w/src" });
    expect(gateInput("read_file", { path: "/.marco/prompt.md" }, places)).toEqual({ path: "/home/a/id/prompt.md" });
    expect(gateInput("read_file", { path: "/workspaces/x" }, places)).toEqual({ path: "/workspaces/x" });
    expect(gateInput("remember", { name: "a" }, places)).toEqual({ name: "a", path: "/srv/w/memory/a.md" });
    expect(gateInput("exec", null, places)).toEqual({});
    for (const path of ["/workspace/a/b", "//workspace/a/b", "/./workspace/a/b", "/workspace//a/./b/", "/srv/w/a/b", "//srv/w/a/b"]) expect(gateInput("read_file", { path }, places)).toEqual({ path: "/srv/w/a/b" });
    for (const path of ["a/./b", "/workspace/../etc", "/etc//passwd"]) expect(gateInput("read_file", { path }, places)).toEqual({ path });
    expect(gateInput("read_file", { path: "~/a" }, places)).toEqual({ path: "/srv/w/~/a" });
  });
});

describe("what the environment says", () => {
  const provider = (env: Record<string, string>, model: string | null = null) => settingsOf(env, model).providerFor(model ?? "claude-x").name;
  it("chooses provider and limits", () => {
    expect(provider({ ANTHROPIC_API_KEY: "k" })).toBe("anthropic");
    expect(provider({ OPENAI_API_KEY: "k" }, "gpt-5")).toBe("api.openai.com");
    expect(provider({ OPENAI_BASE_URL: "http://localhost:11434/v1" }, "llama3")).toBe("localhost:11434");
    expect(provider({ MARCO_PROVIDER: "openai-compatible", MARCO_BASE_URL: "https://openrouter.ai/api/v1" }, "claude-x")).toBe("openrouter.ai");
    expect(() => provider({}, "gpt-5")).toThrow("there is no key for gpt-5");
    expect(() => settingsOf({ MARCO_MAX_SECONDS: "-1" }, null)).toThrow("MARCO_MAX_SECONDS");
    expect(settingsOf({ MARCO_MAX_OUTPUT_TOKENS: "9000", MARCO_CONTEXT_TOKENS: "50000" }, null)).toMatchObject({ maxOutputTokens: 9_000, contextTokens: 50_000 });
    expect(settingsOf({ MARCO_MAX_MODEL_CALLS: "3", MARCO_MAX_COST_USD: "" }, null).budget).toEqual({ maxModelCallsPerTurn: 3 });
  });
  it("keeps keys from the commands, and the gateway's token from everybody else", async () => {
    const env = { PATH: "/bin", MINE: "yes", ANTHROPIC_API_KEY: "gateway-token", OPENAI_API_KEY: "gateway-token", MARCO_BASE_URL: "http://127.0.0.1:9", MARIONETTE_GATEWAY_URL: "http://gate", MARIONETTE_RUN_ID: "r" };
    expect(settingsOf(env, null).commands).toEqual({ PATH: "/bin", MINE: "yes", MARIONETTE_GATEWAY_URL: "http://gate", MARIONETTE_RUN_ID: "r" });
    const heads: string[] = [];
    const server = (await import("node:http")).createServer((req, res) => { heads.push(JSON.stringify(req.headers)); res.writeHead(400).end("{}"); });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as { port: number };
    for (const model of ["claude-x", "other"]) {
      const called = settingsOf({ ...env, MARCO_BASE_URL: `http://127.0.0.1:${port}` }, model).providerFor(model);
      await expect((async () => { for await (const _ of called.stream({ model, system: [], messages: [{ role: "user", content: [{ type: "text", text: "x" }] }], tools: [], signal: new AbortController().signal })); })()).rejects.toThrow(/./);
    }
    server.close();
    expect(heads).toHaveLength(2);
    expect(heads.join()).not.toContain("gateway-token");
  });
});
