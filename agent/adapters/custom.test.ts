import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { directories, stage, type StageOptions } from "../../test/support/adapter-context.ts";
import { SCRIPTED_AGENT, steps } from "../../test/support/runner-stage.ts";
import { custom } from "./custom.ts";

let places: ReturnType<typeof directories>;
beforeEach(() => {
  places = directories();
});
afterEach(() => places[Symbol.dispose]());

const scripted = (prompt: string, more: Partial<StageOptions> = {}) => stage({ launch: { adapter: "custom", binary: process.execPath, args: [SCRIPTED_AGENT] }, prompt, ...places, ...more });
const shell = (script: string, more: Partial<StageOptions> = {}) => stage({ launch: { adapter: "custom", binary: "sh", args: ["-c", script] }, prompt: "do it", ...places, ...more });

describe("a custom agent", () => {
  it("may be any program: what it prints is log, its exit code is its verdict", async () => {
    const good = shell("echo one; echo two >&2; printf three");
    expect(await custom.run(good.context)).toMatchObject({ status: "completed", exit_code: 0, result: null });
    expect(good.of("log")).toHaveLength(3);
    expect(good.of("log")).toEqual(expect.arrayContaining([{ stream: "stdout", text: "one" }, { stream: "stderr", text: "two" }, { stream: "stdout", text: "three" }]));
    const bad = shell("echo 'no such model' >&2; exit 3");
    expect(await custom.run(bad.context)).toMatchObject({ status: "failed", exit_code: 3, error: { code: "agent_failed", hint: expect.stringContaining("no such model") as string } });
    expect(await custom.run(shell("kill -9 $$").context)).toMatchObject({ status: "failed", error: { code: "agent_crashed", message: expect.stringContaining("SIGKILL") as string } });
  });

  it("gets its task as one line, with the conversation to continue", async () => {
    const agent = shell("head -n 1", { prompt: "a\n\"b\" ü", conversation: "talk-7", model: "m" });
    await custom.run(agent.context);
    expect(JSON.parse(agent.of("log")[0]?.text.replace('"type":"task"', '"kind":"task"') ?? "")).toMatchObject({ prompt: 'a\n"b" ü', conversation: "talk-7", workspace: places.workspace, attempt: 1, model: "m" });
  });

  it("speaks in records, each of which becomes an event with its original", async () => {
    const records = [
      { type: "message.delta", text: "h" }, { type: "message", text: "hi" }, { type: "thinking", text: "hm" }, { type: "tool.call", call_id: "1", tool: "T", input: { a: 1 } }, { type: "tool.result", call_id: "1", output: "ok" },
      { type: "file.changed", path: "a", change: "created" }, { type: "usage", input_tokens: 3, output_tokens: 4, model: "m" }, { type: "plan", items: [{ text: "x", status: "pending" }] }, { type: "progress", text: "half", fraction: 0.5 }, { type: "error", message: "oh" },
    ];
    const agent = scripted(steps(...records.map((record): [string, unknown] => ["record", record]), ["result", "all done", "talk-9"]));
    expect(await custom.run(agent.context)).toEqual({ status: "completed", exit_code: 0, result: "all done", conversation: "talk-9" });
    expect(agent.events.map(({ type }) => type)).toEqual(records.map(({ type }) => type));
    expect(agent.events.map(({ raw }) => raw)).toEqual(records);
    expect(agent.conversations).toEqual(["talk-9"]);
    expect(agent.of("usage")).toEqual([{ input_tokens: 3, output_tokens: 4, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null, model: "m" }]);
  });

  it("asks, is answered, and its call is told once", async () => {
    const agent = scripted(steps(["ask", "Bash", { command: "ls" }], ["ask", "Write", { file_path: "x" }], ["record", { type: "tool.call", call_id: "ask-2", tool: "Write", input: {} }]), { gate: ({ tool }) => (tool === "Bash" ? { allow: true } : { allow: false, reason: "not that" }) });
    await custom.run(agent.context);
    expect(agent.of("message").map(({ text }) => text)).toEqual(["Bash: approved", "Write: denied: not that"]);
    expect(agent.of("tool.call").map(({ call_id }) => call_id)).toEqual(["ask-1", "ask-2"]);
    expect(agent.asked).toMatchObject([{ tool: "Bash", call_id: "ask-1" }, { tool: "Write", call_id: "ask-2" }]);
  });

  it("may go on talking while a person thinks", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const agent = shell(`echo '{"type":"permission_request","id":"q","tool":"Bash","input":{}}'; echo meanwhile; read -r task; read -r answer; echo "$answer"`, {
      gate: async () => {
        await promise;
        return { allow: true };
      },
      onEvent: (event) => void (event.type === "log" && resolve()),
    });
    await custom.run(agent.context);
    expect(agent.of("log").map(({ text }) => text)).toEqual(["meanwhile", '{"type":"permission_response","id":"q","decision":"approved","reason":null}']);
  });

  it("is told where its record is not valid, and is denied what it asked so", async () => {
    const agent = shell(`echo '{"type":"message"}'; echo '{"type":"permission_request","id":"q"}'; echo '{"type":"unheard-of","x":1}'; echo '{broken'; read -r task; read -r answer; echo "$answer"`);
    await custom.run(agent.context);
    expect(agent.of("error").map(({ message }) => message)).toEqual([expect.stringContaining("message record is not valid: text"), expect.stringContaining("permission_request record is not valid: tool")]);
    expect(agent.of("log").map(({ text }) => text).slice(2)).toEqual(['{"type":"unheard-of","x":1}', "{broken", expect.stringContaining('"decision":"denied"')]);
    expect(agent.asked).toEqual([]);
  });

  it("is interrupted by a record, and by SIGINT where it does not listen", async () => {
    const polite = scripted(steps(["text", "here"], ["sleep", 60_000]), { onEvent: () => polite.interrupt() });
    expect(await custom.run(polite.context)).toMatchObject({ exit_code: 0, result: "interrupted" });
    const plain = shell("trap 'echo stopped; exit 5' INT; echo here; while :; do sleep 0.05; done", { onEvent: () => plain.interrupt() });
    expect(await custom.run(plain.context)).toMatchObject({ exit_code: 5 });
    expect(plain.of("log").at(-1)).toEqual({ stream: "stdout", text: "stopped" });
  });

  it("is not waited for through a child that holds its output", async () => {
    const agent = shell("echo here; sleep 600 & exit 0");
    expect(await custom.run(agent.context)).toMatchObject({ status: "completed" });
    agent.processes[0]?.kill("SIGKILL");
  });

  it("gets the model's key in its environment alone", async () => {
    const agent = shell("echo $MODEL_API_KEY", { apiKey: "sk-1" });
    await custom.run(agent.context);
    expect(agent.of("log")).toEqual([{ stream: "stdout", text: "sk-1" }]);
    expect(JSON.stringify(agent.starts[0]?.args)).not.toContain("sk-1");
  });
});
