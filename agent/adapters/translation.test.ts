import { describe, expect, it } from "vitest";
import { ClaudeEvents } from "./claude-events.ts";
import { record } from "./claude-records.ts";
import { configToml } from "./codex-config.ts";
import { CodexEvents } from "./codex-events.ts";

describe("Claude's records", () => {
  const of = (value: object, resumed = false) => {
    const events = new ClaudeEvents({ workspace: "/w", resumed, now: () => 0 });
    return events.of(record.parse(value), null).map(({ type, data }) => ({ type, data }));
  };

  it("become a plan where it writes its list of tasks", () => {
    const input = { todos: [{ content: "look", status: "completed", activeForm: "Looking" }, { content: "write", status: "in_progress", activeForm: "Writing" }, { content: "rest", status: "someday" }] };
    expect(of({ type: "assistant", message: { content: [{ type: "tool_use", id: "t", name: "TodoWrite", input }] } })[1]).toEqual({
      type: "plan",
      data: { items: [{ text: "look", status: "completed" }, { text: "write", status: "in_progress" }, { text: "rest", status: "pending" }] },
    });
  });

  it("tell a call once, however often they repeat it", () => {
    const events = new ClaudeEvents({ workspace: "/w", resumed: false, now: () => 0 });
    const call = record.parse({ type: "assistant", message: { content: [{ type: "tool_use", id: "t", name: "Bash", input: {} }] } });
    expect([events.of(call, null), events.of(call, null)].map((told) => told.length)).toEqual([1, 0]);
  });

  it("pass over blocks of kinds that are not known, and keep those beside them", () => {
    expect(of({ type: "assistant", message: { content: [{ type: "hologram" }, { type: "text", text: "hi" }, 3] } })).toEqual([{ type: "message", data: { text: "hi" } }]);
  });

  it("leave out totals of a resumed conversation where the difference is not told", () => {
    const result = { type: "result", subtype: "success", modelUsage: { m: { inputTokens: 5, outputTokens: 6, cacheReadInputTokens: 7, cacheCreationInputTokens: 8, costUSD: 0.5 } } };
    expect(of(result)).toMatchObject([{ type: "usage", data: { input_tokens: 5, output_tokens: 6, cache_read_tokens: 7, cache_write_tokens: 8, cost_usd: 0.5, model: "m" } }]);
    expect(of(result, true)).toEqual([]);
    expect(of({ ...result, model_usage_since_last_result: { m: { inputTokens: 1, outputTokens: 1, costUSD: 0.1 } } }, true)).toMatchObject([{ data: { input_tokens: 1, cost_usd: 0.1 } }]);
  });

  it("count what replies told only once, and subagents' tokens with the result", () => {
    const events = new ClaudeEvents({ workspace: "/w", resumed: false, now: () => 0 });
    const tell = (value: object) => events.of(record.parse(value), null).flatMap((event) => (event.type === "usage" ? [event.data] : []));
    tell({ type: "stream_event", event: { type: "message_start", message: { model: "m" } } });
    const reply = tell({ type: "stream_event", event: { type: "message_delta", usage: { input_tokens: 3, output_tokens: 10 } } });
    const rest = tell({ type: "result", subtype: "success", modelUsage: { "m": { inputTokens: 5, outputTokens: 16, costUSD: 0.5 } } });
    expect([...reply, ...rest].map(({ input_tokens, output_tokens, cost_usd }) => [input_tokens, output_tokens, cost_usd])).toEqual([[3, 10, null], [2, 6, 0.5]]);
  });
});

describe("Codex's notifications", () => {
  const events = (resumed = false) => {
    const made = new CodexEvents({ workspace: "/w", resumed, now: () => 0 });
    made.thread = "t";
    made.turn = "now";
    return made;
  };
  const tokens = (inputTokens: number, outputTokens: number) => ({ inputTokens, outputTokens, cachedInputTokens: 0, cacheWriteInputTokens: 0, reasoningOutputTokens: 0 });
  const usage = (turnId: string, total: object, last: object) => ({ threadId: "t", turnId, tokenUsage: { total, last } });

  it("become a plan", () => {
    expect(events().of("turn/plan/updated", { plan: [{ step: "a", status: "inProgress" }, { step: "b", status: "later" }] }, null)).toMatchObject([
      { type: "plan", data: { items: [{ text: "a", status: "in_progress" }, { text: "b", status: "pending" }] } },
    ]);
  });

  it("tell the share of this task where the thread goes on, with and without a word of where it stood", () => {
    const told = events(true);
    expect(told.of("thread/tokenUsage/updated", usage("before", tokens(100, 50), tokens(40, 20)), null)).toEqual([]);
    expect(told.of("thread/tokenUsage/updated", usage("now", tokens(130, 55), tokens(30, 5)), null)).toMatchObject([{ data: { input_tokens: 30, output_tokens: 5 } }]);
    expect(told.of("thread/tokenUsage/updated", usage("now", tokens(130, 55), tokens(30, 5)), null)).toEqual([]);
    expect(events(true).of("thread/tokenUsage/updated", usage("now", tokens(130, 55), tokens(30, 5)), null)).toMatchObject([{ data: { input_tokens: 30, output_tokens: 5 } }]);
  });

  it("tell a file that is gone, and an update with its header", () => {
    const changes = [{ path: "/w/a", kind: { type: "delete" }, diff: "x\n" }, { path: "/w/b", kind: { type: "update" }, diff: "@@ -1 +1 @@\n-x\n+y\n" }];
    expect(events().of("item/completed", { threadId: "t", item: { type: "fileChange", id: "i", status: "completed", changes } }, null).slice(1)).toEqual([
      { type: "file.changed", data: { path: "a", change: "deleted", diff: "--- a/a\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n" } },
      { type: "file.changed", data: { path: "b", change: "modified", diff: "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-x\n+y\n" } },
    ]);
  });

  it("of another thread do not speak for this one", () => {
    const told = events();
    expect(told.of("item/agentMessage/delta", { threadId: "other", delta: "hi" }, null)).toEqual([]);
    expect(told.of("item/completed", { threadId: "other", item: { type: "agentMessage", id: "i", text: "hi" } }, null)).toEqual([]);
    expect(told.lastWords).toBeNull();
  });
});

describe("Codex's configuration", () => {
  it("names no key where there is none, and no provider of ours where nothing is known of one", () => {
    const base = { workspace: "/w", model: null, base: "http://m/v1", ownKey: false };
    expect(configToml(base)).not.toContain("env_key");
    expect(configToml({ ...base, ownKey: true })).toContain(`env_key = "OPENAI_API_KEY"`);
    expect(configToml({ ...base, base: undefined })).not.toContain("model_provider");
  });

  it("cannot be broken out of by a name", () => {
    const text = configToml({ workspace: '/w"]\n[mcp_servers.evil]', model: 'm"\napproval = "x', base: undefined, ownKey: false });
    expect(text.split("\n").filter((line) => line.startsWith("[mcp") || line.startsWith("approval"))).toEqual([]);
  });
});
