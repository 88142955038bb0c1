import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { gatewayToken, parseGatewayKey } from "../../sdk/protocol/index.ts";
import { inProcess, RunnerStage, steps } from "../../test/support/runner-stage.ts";
import { SessionServer } from "../../test/support/session-server.ts";
import type { JournalStore } from "./journal-store.ts";
import type { RunnerSpec } from "./spec.ts";

let stage: RunnerStage;
let server: SessionServer;
beforeEach(async () => {
  stage = await RunnerStage.start();
  ({ server } = stage);
});
afterEach(async () => expect(await stage.close()).toEqual([]));
const alive = (pid: number) => {
  try {
    // A zombie has no command line.
    return process.kill(pid, 0) && readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
};

describe("a task", () => {
  it("runs the agent's process and tells its beginning, its words and its end", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(["delta", "he"], ["text", "hello"], ["result", "done", "talk-1"]));
    expect(await server.ended(run_id)).toMatchObject({ status: "completed", exit_code: 0, result: "done", conversation: "talk-1" });
    const [first] = server.of("run.status", run_id);
    expect(first).toMatchObject({ status: "running", pid: expect.any(Number) as number });
    expect(server.of("message.delta", run_id)).toEqual([{ text: "he" }]);
    expect(server.of("message", run_id)).toEqual([{ text: "hello" }]);
  });

  it("starts the next one as soon as one has ended, in order", async () => {
    await stage.runner({ adapter: inProcess(async (agent) => agent.emit({ type: "message", data: { text: agent.task.prompt } })) });
    const tasks = ["a", "b", "c"].map((prompt) => server.task(prompt));
    await server.ended(tasks[2]?.run_id ?? "");
    expect(server.of("message").map(({ text }) => text)).toEqual(["a", "b", "c"]);
  });

  it("says that an agent is unknown, missing, or without its key, and what to do", async () => {
    const cases: [Partial<RunnerSpec>, object][] = [
      [{ agent: null, agent_name: "nobody", agent_hint: "this host knows claude" }, { code: "agent_unknown", hint: "this host knows claude" }],
      [{ agent: { name: "x", adapter: "custom", binary: "no-such-program", args: [], env: {}, how_to_get: "npm install -g x" } }, { code: "agent_missing", hint: "npm install -g x" }],
      [{ needs_key: true }, { code: "key_missing", hint: expect.stringContaining("PATCH") as string }],
    ];
    for (const [spec, error] of cases) {
      const made = await stage.runner({ journal: "memory" }, spec);
      await server.until("it is connected", () => server.connected);
      const { run_id } = server.task("hi");
      expect(await server.ended(run_id)).toMatchObject({ status: "failed", error });
      made.kill();
      server.cut();
      server.last = 0;
      server.ackedCommand = 0;
      await server.until("it is gone", () => !server.connected);
      await server.stop();
      server = stage.server = await SessionServer.start();
    }
  });

  it("fails where the session's rules do not parse, rather than run unguarded", async () => {
    server.settings = { edit_mode: "off", rules: [{ verdict: "perhaps" }] } as never;
    await stage.runner({ adapter: inProcess(async () => {}) });
    const { run_id } = server.task("hi");
    expect(await server.ended(run_id)).toMatchObject({ status: "failed", error: { code: "gate_failed" } });
    server.command({ kind: "settings", settings: { edit_mode: "off", rules: [] } });
    expect(await server.ended(server.task("again").run_id)).toMatchObject({ status: "completed" });
  });

  it("gives the agent the gateway and its token, the session's variables and HOME, and keeps the runner's own to itself", async () => {
    process.env["MARIONETTE_API_URL"] = "http://secret";
    await stage.runner({}, { env: { COLOUR: "blue" }, gateway: true });
    const { run_id } = server.task(steps(["env", "MARIONETTE_GATEWAY_URL"], ["env", "COLOUR"], ["env", "HOME"], ["env", "MARIONETTE_API_URL"]));
    await server.ended(run_id);
    expect(server.of("message", run_id).map(({ text }) => text)).toEqual([expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/gateway$/), "blue", stage.directories.home, "unset"]);
    delete process.env["MARIONETTE_API_URL"];
  });

  it("fails with the agent's exit code and last words, or the signal that ended it", async () => {
    await stage.runner();
    const left = server.task(steps(["stderr", "no more tokens"], ["exit", 7]));
    expect(await server.ended(left.run_id)).toMatchObject({ status: "failed", exit_code: 7, error: { code: "agent_failed", hint: expect.stringContaining("no more tokens") as string } });
    const crashed = server.task(steps(["crash"]));
    expect(await server.ended(crashed.run_id)).toMatchObject({ status: "failed", error: { code: "agent_crashed", message: expect.stringContaining("SIGSEGV") as string } });
  });

  it("ends as canceled when it is interrupted, also where the agent hears nothing", async () => {
    await stage.runner();
    const polite = server.task(steps(["text", "here"], ["sleep", 60_000]));
    await server.until("it talks", () => server.of("message", polite.run_id).length > 0);
    server.command({ kind: "task.cancel", run_id: polite.run_id, why: "canceled", grace_seconds: 10 });
    expect(await server.ended(polite.run_id)).toMatchObject({ status: "canceled", error: { code: "canceled" } });
    expect(server.of("message", polite.run_id).at(-1)).toEqual({ text: "interrupted" });

    const deaf = server.task(steps(["fork", false], ["hang"]));
    await server.until("it hangs", () => server.of("message", deaf.run_id).some(({ text }) => text === "hanging"));
    server.command({ kind: "task.cancel", run_id: deaf.run_id, why: "timeout", grace_seconds: 0.1 });
    expect(await server.ended(deaf.run_id)).toMatchObject({ status: "timeout", error: { code: "timeout" } });
    const child = Number(/child (\d+)/.exec(server.of("message", deaf.run_id)[0]?.text ?? "")?.[1]);
    await expect.poll(() => alive(child)).toBe(false);
  });

  it("times out by itself where the session cannot say so", async () => {
    await stage.runner({ adapter: inProcess(({ interrupt }) => new Promise((resolve) => interrupt.addEventListener("abort", () => resolve()))) });
    const { run_id } = server.task("long", { timeout_seconds: 1 });
    expect(await server.ended(run_id)).toMatchObject({ status: "timeout", error: { code: "timeout" } });
  });

  it("does not run what was canceled while it waited", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await stage.runner({ adapter: inProcess(() => promise) });
    const first = server.task("first");
    const second = server.task("second");
    server.command({ kind: "task.cancel", run_id: second.run_id, why: "canceled", grace_seconds: 1 });
    expect(await server.ended(second.run_id)).toMatchObject({ status: "canceled" });
    resolve();
    expect(await server.ended(first.run_id)).toMatchObject({ status: "completed" });
    expect(server.of("run.status", second.run_id)).toHaveLength(1);
  });

  it("leaves nothing of the agent running, not even what has escaped its process group", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(["fork", false], ["fork", true]));
    await server.ended(run_id);
    const children = server.of("message", run_id).map(({ text }) => Number(text.split(" ")[1]));
    expect(children).toHaveLength(2);
    await expect.poll(() => children.filter(alive)).toEqual([]);
  });

  it("hands on what is not UTF-8 as base64, and long lines in pieces or marked", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(["binary"], ["flood", 6_000_000]));
    await server.ended(run_id);
    const logs = server.of("log", run_id);
    expect(logs[0]).toEqual({ stream: "stdout", encoding: "base64", text: Buffer.from([0xff, 0xfe, 0x00, 0x80, 0xc3, 0x28]).toString("base64") });
    const kept = logs.slice(1).reduce((sum, { text }) => sum + text.length, 0);
    const dropped = logs.reduce((sum, { truncated }) => sum + (truncated ?? 0), 0);
    expect(logs.every(({ text }) => text.length <= 65_536)).toBe(true);
    expect(kept + dropped).toBe(Math.ceil(6_000_000 / 65_536) * 65_536);
    expect(dropped).toBeGreaterThan(0);
  });

  it("loses nothing of an agent that talks faster than the session takes", async () => {
    server.silent = true;
    await stage.runner();
    const { run_id } = server.task(steps(["spam", 40_000_000], ["text", "all said"]));
    await server.until("the window is full", () => server.last > 2_000);
    server.silent = false;
    server.acknowledge();
    await server.until("it has ended", () => server.log.at(-1)?.item.type === "run.status" && server.last > 2_000, 60_000);
    expect(server.of("log", run_id).length).toBe(400_000);
    expect(server.of("message", run_id)).toEqual([{ text: "all said" }]);
  });
});

describe("the gate", () => {
  const bash = (command: string) => ["ask", "Bash", { command }] as [string, ...unknown[]];

  it("answers low risk itself, asks about the rest, and brings the answer to the agent", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(bash("ls"), bash("touch x"), bash("touch y"), ["result", "end"]));
    const first = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    expect(first).toMatchObject({ tool: "Bash", summary: "touch x", risk: "medium", call_id: "ask-2" });
    server.command({ kind: "permission.answer", permission_id: first.permission_id, run_id, decision: "approved", reason: null, scope: "once" });
    const second = await server.until("it asks again", () => server.of("permission.requested", run_id)[1]);
    server.command({ kind: "permission.answer", permission_id: second.permission_id, run_id, decision: "denied", reason: "y is mine", scope: "once" });
    await server.ended(run_id);
    expect(server.of("message", run_id).map(({ text }) => text)).toEqual(["Bash: approved", "Bash: approved", "Bash: denied: y is mine"]);
    expect(server.of("tool.call", run_id)).toHaveLength(3);
    expect(server.of("permission.withdrawn")).toEqual([]);
  });

  it("remembers an approval for the turn or the session, and forgets the turn's", async () => {
    await stage.runner();
    const turn = server.task(steps(bash("touch a"), bash("touch b")));
    const asked = await server.until("it asks", () => server.of("permission.requested", turn.run_id)[0]);
    server.command({ kind: "permission.answer", permission_id: asked.permission_id, run_id: turn.run_id, decision: "approved", reason: null, scope: "turn" });
    await server.ended(turn.run_id);
    expect(server.of("permission.requested", turn.run_id)).toHaveLength(1);
    const next = server.task(steps(bash("touch c")));
    const again = await server.until("it asks again", () => server.of("permission.requested", next.run_id)[0]);
    server.command({ kind: "permission.answer", permission_id: again.permission_id, run_id: next.run_id, decision: "approved", reason: null, scope: "session" });
    await server.ended(next.run_id);
    const last = server.task(steps(bash("touch d")));
    await server.ended(last.run_id);
    expect(server.of("permission.requested", last.run_id)).toEqual([]);
  });

  it("takes new rules at once", async () => {
    await stage.runner();
    server.command({ kind: "settings", settings: { edit_mode: "off", rules: [{ tool: "Bash", verdict: "deny", reason: "no shell here" }] } });
    const { run_id } = server.task(steps(bash("ls")));
    await server.ended(run_id);
    expect(server.of("message", run_id)).toEqual([{ text: "Bash: denied: no shell here" }]);
  });

  it("waits through a lost link and gives the answer that came meanwhile", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(bash("touch x")));
    const asked = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    server.cut();
    server.command({ kind: "permission.answer", permission_id: asked.permission_id, run_id, decision: "approved", reason: null, scope: "once" });
    await server.ended(run_id);
    expect(server.of("message", run_id)).toEqual([{ text: "Bash: approved" }]);
    expect(server.of("permission.requested")).toHaveLength(1);
  });

  it("takes back its questions when the task is canceled", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(bash("touch x")));
    const { permission_id } = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    server.command({ kind: "task.cancel", run_id, why: "canceled", grace_seconds: 5 });
    expect(await server.ended(run_id)).toMatchObject({ status: "canceled" });
    expect(server.of("permission.withdrawn", run_id)).toEqual([{ permission_id }]);
    server.command({ kind: "permission.answer", permission_id, run_id, decision: "approved", reason: null, scope: "once" });
    expect(await server.ended(server.task(steps(["text", "fine"])).run_id)).toMatchObject({ status: "completed" });
  });

  it("asks about hundreds of calls at once", async () => {
    await stage.runner({ adapter: inProcess(async (agent) => {
      const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => agent.gate({ tool: "Bash", input: { command: `touch ${i}` }, call_id: `c${i}` })));
      await agent.emit({ type: "message", data: { text: String(answers.filter(({ allow }) => allow).length) } });
    }) });
    const { run_id } = server.task("many");
    await server.until("all are asked", () => server.of("permission.requested", run_id).length === 500);
    for (const { permission_id } of server.of("permission.requested", run_id)) server.command({ kind: "permission.answer", permission_id, run_id, decision: "approved", reason: null, scope: "once" });
    await server.ended(run_id);
    expect(server.of("message", run_id)).toEqual([{ text: "500" }]);
  });
});

describe("a runner's death and return", () => {
  it("reports the run as lost, leaves its questions to whoever goes on, kills what is left, and goes on", async () => {
    const first = await stage.runner();
    const { run_id } = server.task(steps(["fork", true], ["ask", "Bash", { command: "touch x" }]), { conversation: "kept" });
    await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    const child = Number(server.of("message", run_id)[0]?.text.split(" ")[1]);
    const agent = Number(server.of("run.status", run_id)[0]?.pid);
    first.kill();
    await server.until("the link is down", () => !server.connected);
    expect(alive(child)).toBe(true);
    await stage.runner();
    expect(await server.ended(run_id)).toMatchObject({ status: "lost", error: { code: "runner_lost" }, conversation: "kept" });
    expect(server.of("permission.withdrawn", run_id)).toEqual([]);
    expect([child, agent].filter(alive)).toEqual([]);
    expect(server.hellos.at(-1)).toMatchObject({ last_command: 1, run_id: null });
    expect(await server.ended(server.task(steps(["text", "back"])).run_id)).toMatchObject({ status: "completed" });
  });

  it("sends what the session had not acknowledged, and nothing twice", async () => {
    server.silent = true;
    const told = Array.from({ length: 2_000 }, (_, i) => `line ${i}`);
    const first = await stage.runner({ adapter: inProcess(async (agent) => {
      for (const text of told) await agent.emit({ type: "log", data: { stream: "stdout", text } });
      await new Promise((resolve) => agent.interrupt.addEventListener("abort", resolve));
    }) });
    const { run_id } = server.task("talk");
    await server.until("some of it is there", () => server.last > 500);
    first.kill();
    await server.until("the link is down", () => !server.connected);
    server.silent = false;
    await stage.runner();
    await server.ended(run_id);
    const texts = server.of("log", run_id).map(({ text }) => text);
    expect(texts).toEqual(told.slice(0, texts.length));
    expect(server.log.map(({ seq }) => seq)).toEqual(server.log.map((_, i) => i + 1));
  });

  it("begins a task that it had received and not begun", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = await stage.runner({ adapter: inProcess(() => promise) });
    const one = server.task("one");
    const two = server.task("two");
    await server.until("both are acknowledged", () => server.ackedCommand === 2);
    first.kill();
    await server.until("the link is down", () => !server.connected);
    await stage.runner({ adapter: inProcess(async () => ({ result: "second life" })) });
    expect(await server.ended(two.run_id)).toMatchObject({ status: "completed", result: "second life" });
    expect(await server.ended(one.run_id)).toMatchObject({ status: "lost" });
    resolve();
  });
});

describe("an orderly stop", () => {
  it("sends the rest, closes with `stopped`, and ends", async () => {
    const made = await stage.runner();
    await server.ended(server.task(steps(["text", "bye"])).run_id);
    server.command({ kind: "stop", reason: "released" });
    expect(await made.ended).toMatchObject({ kind: "stopped" });
    await server.until("the socket is closed", () => server.closes.includes(4000));
    expect(server.ackedCommand).toBe(2);
  });

  it("tells the run under way as lost when the host goes", async () => {
    const made = await stage.runner();
    const { run_id } = server.task(steps(["text", "here"], ["sleep", 60_000]));
    await server.until("it talks", () => server.of("message", run_id).length > 0);
    made.stop("the host stops");
    expect(await made.ended).toMatchObject({ kind: "stopped" });
    expect(server.of("run.status", run_id).at(-1)).toMatchObject({ status: "lost", error: { code: "runner_lost", message: "the host stops" } });
  });
});

describe("a full disk", () => {
  it("fails the run with that word, and the next once there is room again goes well", async () => {
    let full = false;
    const error = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    const write = () => {
      if (full) throw error;
    };
    await stage.runner({
      journal: { size: 0, load: () => [], append: write, replace: write, truncate: () => {}, close: () => {} },
      adapter: inProcess(async (agent) => {
        await agent.emit({ type: "message", data: { text: "begun" } });
        if (agent.task.prompt === "long") await new Promise((resolve) => agent.interrupt.addEventListener("abort", resolve));
      }),
    });
    const { run_id } = server.task("long");
    await server.until("it runs", () => server.of("message", run_id).length > 0);
    full = true;
    server.command({ kind: "settings", settings: { edit_mode: "off", rules: [] } });
    expect(await server.ended(run_id)).toMatchObject({ status: "failed", error: { message: expect.stringContaining("ENOSPC") as string } });
    full = false;
    const again = server.task("short");
    const end = await server.ended(again.run_id);
    expect(["completed", "failed"]).toContain(end.status);
    expect(await server.ended(server.task("short").run_id)).toMatchObject({ status: "completed" });
  });
});

describe("a runner that dies while its disk is full", () => {
  it("is heard again when it is back: its next life talks behind what was told from memory", async () => {
    let full = false;
    let file = "";
    const store = (): JournalStore => {
      const write = (text: string, whole: boolean) => {
        if (full) throw new Error("ENOSPC: no space left on device, write");
        file = whole ? text : file + text;
      };
      return { size: 0, load: () => file.split("\n").slice(0, -1), append: (text) => write(text, false), replace: (text) => write(text, true), truncate: (count) => (file = file.split("\n").slice(0, count).map((line) => `${line}\n`).join("")), close: () => {} };
    };
    const adapter = inProcess(async (agent) => {
      for (let n = 0; n < 20; n++) await agent.emit({ type: "message", data: { text: `${agent.task.prompt} ${n}` } });
      if (agent.task.prompt === "long") await new Promise((resolve) => agent.interrupt.addEventListener("abort", resolve));
    });
    const first = await stage.runner({ journal: store(), adapter });
    const { run_id } = server.task("long");
    await server.until("it runs", () => server.of("message", run_id).length === 20);
    full = true;
    // Any change now fails to be written, and the run with it, which is told from memory.
    server.command({ kind: "settings", settings: { edit_mode: "off", rules: [] } });
    expect(await server.ended(run_id)).toMatchObject({ status: "failed" });
    first.kill();
    full = false;
    await server.until("it is gone", () => !server.connected);
    await stage.runner({ journal: store(), adapter });
    const next = server.task("short");
    expect(await server.ended(next.run_id)).toMatchObject({ status: "completed" });
    expect(server.of("message", next.run_id)).toHaveLength(20);
  });
});

it("gives the agent a key that is not the runner's own, and nothing where there is no gateway", async () => {
  await stage.runner({}, { gateway: true });
  const { run_id } = server.task(steps(["env", "ANTHROPIC_API_KEY"], ["env", "OPENAI_BASE_URL"]));
  await server.ended(run_id);
  const [key = "", base] = server.of("message", run_id).map(({ text }) => text);
  expect(parseGatewayKey(key)).toMatchObject({ session_id: server.session_id, token: await gatewayToken(server.run_token) });
  expect(key).not.toContain(server.run_token);
  expect(base).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/gateway\/openai$/);
});
