import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi } from "../../test/support/fake-api.ts";
import { FakeIo, type FakeIoOptions } from "../../test/support/fake-io.ts";
import type { Task } from "../protocol/index.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await new FakeApi().start();
});
afterEach(() => api.close());
const ioFor = (options: FakeIoOptions = {}) => new FakeIo({ ...options, env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey, ...options.env } });
const plain = (text: string) => text.replace(/\x1b\[[0-9;]*m/g, "");
const usage = { input_tokens: 1_200, output_tokens: 340, cache_read_tokens: 10_000, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: 0.0095 };

/** An agent that says something, asks for one command, and ends as the answer says. */
async function asking(task: Task, server: FakeApi): Promise<void> {
  for (const text of ["I will ", "look.\n"]) server.emit(task, "message.delta", { text });
  server.emit(task, "message", { text: "I will look.\n" });
  const { status, decision } = await server.ask(task, { tool: "Bash", summary: "curl https://example.com" });
  server.emit(task, "message", { text: status === "approved" ? `ran (${decision?.scope})` : `refused: ${decision?.reason}` });
  server.end(task, status === "approved" ? "completed" : "failed", { usage });
}

describe("mctl run", () => {
  it("shows what the agent says on stdout and everything else on stderr", async () => {
    api.script = (task, server) => {
      server.emit(task, "task.status", { status: "pending", attempt: 1, error: null, reason: "no host in pool 'default' is online" });
      server.emit(task, "task.status", { status: "running", attempt: 1, error: null, reason: null });
      server.emit(task, "thinking", { text: "hm\nhm" });
      server.emit(task, "message.delta", { text: "Hel" });
      server.emit(task, "message.delta", { text: "lo" });
      server.emit(task, "message", { text: "Hello" });
      server.emit(task, "tool.call", { call_id: "1", tool: "Bash", input: {}, summary: "ls -l" });
      server.emit(task, "tool.result", { call_id: "1", output: Array.from({ length: 20 }, (_, i) => `file${i}`).join("\n"), is_error: false });
      server.emit(task, "file.changed", { path: "a.txt", change: "created", diff: "+hi" });
      server.emit(task, "log", { stream: "stdout", text: "printed\n" });
      server.emit(task, "log", { stream: "stderr", text: "warned\n" });
      server.emit(task, "message", { text: "Bye" });
      server.end(task, "completed", { usage });
    };
    const io = ioFor({ env: { ANTHROPIC_API_KEY: "sk-ant-1" } });
    expect(await io.run("run", "do", "it")).toBe(0);
    expect(io.out).toBe("Hello\nprinted\nBye\n");
    const session = [...api.sessions.keys()][0];
    expect(io.err.split("\n")).toEqual([
      "Using ANTHROPIC_API_KEY of your environment as the agent's model key (--api-key-env none gives none).",
      `Session ${session} (claude)`,
      "… waiting: no host in pool 'default' is online",
      "  hm", "  hm",
      "● Bash ls -l",
      ...Array.from({ length: 7 }, (_, i) => `  │ file${i}`), "  │ … 13 more lines (-v shows all)",
      "± a.txt (created)", "  +hi",
      "warned",
      "usage: 11.2k in (10.0k cached) · 340 out · $0.0095",
      `Session ${session} is kept; go on with: mctl run --session ${session} "…"`, "",
    ]);
    expect(api.seen("POST", "/sessions")[0]?.body).toEqual({ agent: "claude", api_key: "sk-ant-1" });
    expect(api.seen("POST", "/tasks")[0]?.body).toEqual({ prompt: "do it" });
  });
  it.each([
    ["y", "once", "completed", 0],
    ["t", "turn", "completed", 0],
    ["session", "session", "completed", 0],
  ])("asks at the terminal, and '%s' approves for: %s", async (typed, scope, _, code) => {
    api.script = asking;
    const io = ioFor({ tty: true });
    const running = io.run("run", "go", "--agent", "example");
    await io.printed("allow?");
    io.type("what");
    io.type(typed);
    expect(await running).toBe(code);
    expect(plain(io.out)).toBe(`I will look.\nran (${scope})\n`);
    expect(plain(io.err)).toContain("? Bash  high risk\n    curl https://example.com\n  reaches the network\n");
    expect([...api.permissions.values()].map((p) => [p.status, p.decision?.scope])).toEqual([["approved", scope]]);
  });
  it("tells the agent why it was denied, and exits with 1 where the task fails", async () => {
    api.script = asking;
    const io = ioFor({ tty: true });
    const running = io.run("run", "go", "--agent", "example", "--rm");
    await io.printed("allow?");
    io.type("n");
    await io.printed("why");
    io.type("use the mirror");
    expect(await running).toBe(1);
    expect(plain(io.out)).toContain("refused: use the mirror");
    expect([...api.sessions.values()][0]?.status).toBe("terminated");
  });
  it("with --yes approves what is asked, once each", async () => {
    api.script = asking;
    const io = ioFor();
    expect(await io.run("run", "go", "--agent", "example", "--yes")).toBe(0);
    expect([...api.permissions.values()].map((p) => [p.status, p.decision?.scope])).toEqual([["approved", "once"]]);
  });
  it("without a terminal names the request and waits for somebody else's answer", async () => {
    api.script = asking;
    const io = ioFor({ stdin: "" });
    const running = io.run("run", "go", "--agent", "example");
    await io.printed("mctl permissions approve perm_");
    const id = [...api.permissions.keys()][0] ?? "";
    const other = ioFor();
    expect(await other.run("permissions", "approve", id, "--scope", "turn")).toBe(0);
    expect(await running).toBe(0);
    expect(io.out).toContain("ran (turn)");
    expect(io.err).toContain("✓ approved for the turn by tester");
    expect(await other.run("permissions", "deny", id)).toBe(1);
    expect(other.err).toContain("Already approved by tester");
  });
  it("takes the question back when somebody else has answered it", async () => {
    api.script = asking;
    const io = ioFor({ tty: true });
    const running = io.run("run", "go", "--agent", "example");
    await io.printed("allow?");
    await ioFor().run("permissions", "approve", [...api.permissions.keys()][0] ?? "");
    expect(await running).toBe(0);
    expect(plain(io.out)).toContain("ran (once)");
  });
  it("with -o json prints the events as JSON lines, each once, although the connection breaks", async () => {
    api.script = asking;
    api.cuts = [1, 2, 1];
    const io = ioFor({ stdin: "from a file" });
    expect(await io.run("run", "--prompt-file", "-", "--agent", "example", "--yes", "-o", "json", "-q")).toBe(0);
    const events = io.out.trim().split("\n").map((line) => JSON.parse(line) as { seq: number; type: string });
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(events.at(-1)?.type).toBe("task.status");
    expect(api.tasks.values().next().value?.prompt).toBe("from a file");
    expect(io.err).toBe("");
  });
  it("names the model's endpoint, with the key that is usual for the model", async () => {
    api.script = (task, server) => server.end(task, "completed");
    const io = ioFor({ env: { OPENAI_API_KEY: "sk-o", ANTHROPIC_API_KEY: "sk-a" } });
    expect(await io.run("run", "go", "--agent", "marco", "--model", "deepseek/chat", "--base-url", "https://router.test/v1", "-q")).toBe(0);
    expect(await io.run("run", "go", "--agent", "marco", "-q")).toBe(0);
    expect(await io.run("run", "go", "--agent", "claude", "--base-url", "http://127.0.0.1:9", "--env", "A=1", "-q")).toBe(0);
    expect(api.seen("POST", "/sessions").map(({ body }) => body)).toEqual([
      { agent: "marco", model: "deepseek/chat", base_url: "https://router.test/v1", api_key: "sk-o" },
      { agent: "marco", api_key: "sk-a" },
      { agent: "claude", env: { A: "1" }, base_url: "http://127.0.0.1:9", api_key: "sk-a" },
    ]);
  });
  it("goes on in a session that it is given", async () => {
    api.script = (task, server) => server.end(task, "completed");
    const io = ioFor();
    await io.run("sessions", "create", "--agent", "claude", "-q");
    const id = io.out.trim();
    expect(await io.run("run", "--session", id, "more")).toBe(0);
    expect([...api.tasks.values()].map((task) => task.session_id)).toEqual([id]);
    expect(api.sessions.size).toBe(1);
  });
  it("says why a task failed, with the hint, and exits with 1", async () => {
    api.script = (task, server) => server.end(task, "failed", { error: { code: "agent_missing", message: "claude is not installed on this host", hint: "npm install -g @anthropic-ai/claude-code" } });
    const io = ioFor();
    expect(await io.run("run", "go", "--agent", "claude")).toBe(1);
    expect(io.err).toContain("✗ task failed: claude is not installed on this host (agent_missing)\n  hint: npm install -g @anthropic-ai/claude-code\n");
  });
  it("cannot be driven by what the agent prints", async () => {
    api.script = (task, server) => {
      for (const text of ["\x1b", "]0;owned\x07 \x1b[3", "1mred\x1b[2J"]) server.emit(task, "message.delta", { text });
      server.emit(task, "tool.call", { call_id: "1", tool: "Ba\x1b[1Ash", input: {}, summary: "ls\n\x1b[2Krm" });
      server.end(task, "completed");
    };
    const io = ioFor({ tty: true });
    await io.run("run", "go", "--agent", "example");
    expect(io.out).toBe("␛]0;owned␇ \x1b[31mred␛[2J\x1b[0m\n");
    expect(plain(io.err)).toContain("● Ba␛[1Ash ls\n    ␛[2Krm\n");
  });
  it("on Ctrl-C cancels the task, waits for its end, and exits with 130", async () => {
    api.script = (task, server) => server.emit(task, "message", { text: "working" });
    const io = ioFor();
    const running = io.run("run", "go", "--agent", "example");
    await io.printed("working");
    io.interrupt();
    expect(await running).toBe(130);
    expect([...api.tasks.values()].map((task) => task.status)).toEqual(["canceled"]);
    expect(io.err).toContain("Canceling the task");
  });
  it("on a second Ctrl-C leaves at once", async () => {
    api.script = (task, server) => server.emit(task, "message", { text: "working" });
    api.fault("POST /cancel", { status: 503, headers: { "retry-after": "30" } });
    const io = ioFor();
    const running = io.run("run", "go", "--agent", "example");
    await io.printed("working");
    io.interrupt();
    io.interrupt();
    expect(await running).toBe(130);
    expect(io.err).toContain("mctl tasks logs --follow task_");
  });
});

describe("mctl tasks and permissions", () => {
  async function session(): Promise<string> {
    const io = ioFor();
    await io.run("sessions", "create", "--agent", "example", "-q");
    return io.out.trim();
  }
  it("create waits where it is told to, and exits with the result", async () => {
    api.script = (task, server) => server.end(task, "timeout");
    const io = ioFor();
    expect(await io.run("tasks", "create", "-s", await session(), "go", "--wait", "--timeout", "2h", "--retries", "3", "-o", "json")).toBe(1);
    expect(JSON.parse(io.out)).toMatchObject({ status: "timeout", timeout_seconds: 7_200, max_retries: 3 });
  });
  it("logs follows to the end, all of it on stdout, or shows the tail", async () => {
    api.script = (task, server) => {
      for (let i = 0; i < 5; i++) server.emit(task, "message", { text: `m${i}` });
      server.end(task, "completed");
    };
    const io = ioFor();
    await io.run("tasks", "create", "-s", await session(), "go", "-q");
    const id = io.out.trim();
    io.out = "";
    expect(await io.run("tasks", "logs", "--follow", id)).toBe(0);
    expect([io.out, io.err]).toEqual(["m0\nm1\nm2\nm3\nm4\n", ""]);
    io.out = "";
    expect(await io.run("tasks", "logs", id, "--tail", "2", "-o", "json")).toBe(0);
    expect(io.out.trim().split("\n").map((line) => (JSON.parse(line) as { type: string }).type)).toEqual(["message", "task.status"]);
  });
  it("watch shows what waits and what comes, until the input ends", async () => {
    const id = await session();
    const [one, two] = await Promise.all([0, 1].map(async () => {
      const io = ioFor();
      await io.run("tasks", "create", "-s", id, "go", "-q");
      return api.tasks.get(io.out.trim());
    }));
    if (!one || !two) throw new Error("no tasks");
    const first = api.ask(one, { tool: "Bash", summary: "curl one" });
    const io = ioFor({ tty: true });
    const watching = io.run("permissions", "watch");
    await io.printed("curl one");
    io.type("y");
    expect((await first).status).toBe("approved");
    const second = api.ask(two, { tool: "Bash", summary: "curl two" });
    await io.printed("curl two");
    io.type("no because");
    expect((await second).decision?.reason).toBe("because");
    const third = api.ask(two, { tool: "Bash", summary: "curl three" });
    await io.printed("curl three");
    io.interrupt();
    expect(await watching).toBe(130);
    await ioFor().run("permissions", "approve", [...api.permissions.keys()].at(-1) ?? "");
    expect((await third).status).toBe("approved");
  });
});
