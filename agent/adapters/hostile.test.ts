import { existsSync } from "node:fs";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { directories, stage } from "../../test/support/adapter-context.ts";
import { acp } from "./acp.ts";
import type { Adapter } from "./adapter.ts";
import { claude } from "./claude.ts";
import { codex } from "./codex.ts";

/** An agent that is a shell script, whatever arguments it is given. */
function on(adapter: Adapter, body: string) {
  const dirs = directories();
  onTestFinished(() => dirs[Symbol.dispose]());
  const task = stage({ launch: { adapter: adapter.name, binary: "/bin/sh" }, prompt: "hi", ...dirs, env: { OPENAI_BASE_URL: "http://model.invalid/v1" } });
  const start = task.context.start.bind(task.context);
  return { task, workspace: dirs.workspace, run: () => adapter.run({ ...task.context, start: (_args, env) => start(["-c", body], env) }) };
}

describe.each([
  ["claude", claude],
  ["codex", codex],
  ["acp", acp],
] as const)("%s with an agent that misbehaves", (_name, adapter) => {
  it("says how it ended, with its last words, where it ends at once", async () => {
    const { run, task } = on(adapter, "echo no licence >&2; exit 7");
    expect(await run()).toMatchObject({ status: "failed", exit_code: 7, conversation: null, error: { code: "agent_crashed", message: expect.stringContaining("code 7") as string, hint: expect.stringContaining("no licence") as string } });
    expect(task.of("log")).toEqual([{ stream: "stderr", text: "no licence" }]);
  });

  it("logs what is no message, as base64 where it is no text", async () => {
    const { run, task } = on(adapter, `echo hello; printf '{"half":'; printf '\\n\\377\\000\\n[1]\\n'; exit 0`);
    expect(await run()).toMatchObject({ status: "failed", error: { code: "agent_crashed" } });
    expect(task.of("log").map(({ text, encoding }) => [text, encoding])).toEqual([
      ["hello", undefined],
      ['{"half":', undefined],
      ["/wA=", "base64"],
      ["[1]", undefined],
    ]);
  });

  it("is ended where it writes a line without end", async () => {
    const { run, task } = on(adapter, "head -c 20000000 /dev/zero | tr '\\0' 'x'; echo; exec sleep 1000");
    expect(await run()).toMatchObject({ status: "failed", error: { code: "output_limit" } });
    expect(task.events).toEqual([]);
  });

  it("is ended where it writes lines without end that are no messages", async () => {
    const { run, task } = on(adapter, "exec yes nonsense");
    expect(await run()).toMatchObject({ status: "failed", error: { code: "agent_protocol" } });
    expect(task.of("log").length).toBeLessThan(1_100);
  });

  it("is let go of where a child of it holds its output open", async () => {
    const { run } = on(adapter, "sleep 1000 & exit 3");
    expect(await run()).toMatchObject({ status: "failed", exit_code: 3, error: { code: "agent_crashed" } });
  });

  it("is interrupted before it has said a word", async () => {
    const { run, task } = on(adapter, "exec sleep 1000");
    const running = run();
    await vi.waitFor(() => expect(task.processes).toHaveLength(1));
    task.interrupt();
    expect(await running).toMatchObject({ status: "failed", error: { code: "canceled" } });
  });
});

describe("a guard that is not there", () => {
  it("fails Claude's task where the hook is refused, before it has a prompt", async () => {
    const { run, workspace } = on(claude, `read line; echo '{"type":"control_response","response":{"subtype":"error","request_id":"initialize","error":"no hooks here"}}'; read prompt && touch prompted; sleep 1000`);
    expect(await run()).toMatchObject({ status: "failed", error: { code: "gate_failed", message: expect.stringContaining("no hooks here") as string } });
    expect(existsSync(`${workspace}/prompted`)).toBe(false);
  });

  it("fails Claude's task where a call has run that was not asked", async () => {
    const records = [
      { type: "control_response", response: { subtype: "success", request_id: "initialize" } },
      { type: "assistant", message: { content: [{ type: "tool_use", id: "t1", name: "Bash", input: { command: "ls" } }] } },
      { type: "user", message: { content: [{ type: "tool_result", tool_use_id: "t1", content: "files" }] } },
    ];
    const { run, task } = on(claude, `printf '%s\\n' ${records.map((record) => `'${JSON.stringify(record)}'`).join(" ")}; sleep 1000`);
    expect(await run()).toMatchObject({ status: "failed", error: { code: "gate_failed", message: expect.stringContaining("t1") as string } });
    expect(task.of("tool.call")).toHaveLength(1);
  });

  it.each([
    ["a command", { type: "commandExecution", id: "c1", command: "ls", status: "completed", aggregatedOutput: "files" }],
    ["a tool of another server", { type: "mcpToolCall", id: "m1" }],
  ])("fails Codex's task where %s has run that was not asked", async (_what, item) => {
    const notice = { method: "item/completed", params: { threadId: "t", item } };
    const { run } = on(codex, `printf '%s\\n' '${JSON.stringify(notice)}'; sleep 1000`);
    expect(await run()).toMatchObject({ status: "failed", error: { code: "gate_failed" } });
  });
});
