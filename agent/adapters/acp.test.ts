import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { acpScript, type AcpStep } from "../../test/support/acp-agent.ts";
import { directories, stage, type StageOptions } from "../../test/support/adapter-context.ts";
import { acp } from "./acp.ts";

const agent = resolve(import.meta.dirname, "../../test/support/acp-agent.ts");

function on(steps: AcpStep[] | string, more: Partial<StageOptions> = {}) {
  const dirs = directories();
  onTestFinished(() => dirs[Symbol.dispose]());
  const prompt = typeof steps === "string" ? steps : acpScript(steps);
  return { ...dirs, ...stage({ launch: { name: "scripted", adapter: "acp", binary: process.execPath, args: [agent] }, prompt, ...dirs, ...more }) };
}

describe("acp against an agent made with the official library", { timeout: 30_000 }, () => {
  it("tells text, thoughts, plan, calls and changes as they happen, and asks each call once", async () => {
    const task = on([{ think: "well now" }, { say: "I will look. " }, { plan: ["look", "write"] }, { run: "echo looked" }, { edit: "note.txt", content: "one\ntwo\n", asking: true }, { say: "All done." }]);
    expect(await acp.run(task.context)).toMatchObject({ status: "completed", result: "All done.", exit_code: 0, conversation: task.conversations[0] });
    expect(task.asked.map(({ tool, input }) => [tool, (input as { command?: string }).command])).toEqual([
      ["execute", "echo looked"],
      ["edit", undefined],
    ]);
    expect(task.events.map(({ type }) => type).filter((type) => type !== "message.delta")).toEqual([
      "thinking", "message", "plan", "tool.call", "tool.result", "tool.call", "file.changed", "tool.result", "message",
    ]);
    expect(task.of("tool.result").map(({ output, is_error }) => [output, is_error])).toEqual([
      ["looked\n", false],
      ["", false],
    ]);
    expect(task.of("file.changed")).toEqual([{ path: "note.txt", change: "created", diff: "--- /dev/null\n+++ b/note.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n" }]);
    expect(task.of("message.delta").map(({ text }) => text).join("")).toBe("I will look. All done.");
    expect(readFileSync(join(task.workspace, "note.txt"), "utf8")).toBe("one\ntwo\n");
  });

  it("tells the agent why a call was denied, in the turn after the one that the denial ended", async () => {
    const task = on([{ run: "touch made" }, { say: "unreached" }], { gate: () => ({ allow: false, reason: "not before lunch" }) });
    const outcome = await acp.run(task.context);
    expect(outcome).toMatchObject({ status: "completed", result: expect.stringContaining("not before lunch") as string });
    expect(existsSync(join(task.workspace, "made"))).toBe(false);
    expect(task.of("tool.result")).toMatchObject([{ is_error: true }]);
  });

  it("asks for a write that comes without a question, and keeps files inside the workspace", async () => {
    const task = on([{ edit: "free.txt", content: "x" }, { edit: "/var/tmp/outside.txt", content: "x" }, { edit: "link/out.txt", content: "x" }, { read: "free.txt" }, { read: "/etc/hostname" }, { read: "link/hostname" }]);
    symlinkSync("/etc", join(task.workspace, "link"));
    expect(await acp.run(task.context)).toMatchObject({ status: "completed" });
    expect(task.asked.map(({ tool, input }) => [tool, (input as { path: string }).path])).toEqual([["edit", "free.txt"]]);
    expect(task.of("tool.result").map(({ is_error }) => is_error)).toEqual([false, true, true]);
    const said = task.of("message").map(({ text }) => text).join("");
    expect(said).toContain("read: x");
    expect(said.match(/outside the workspace/g)).toHaveLength(2);
    expect(existsSync("/var/tmp/outside.txt")).toBe(false);
    expect(existsSync("/etc/out.txt")).toBe(false);
  });

  it("is held by no pipe in the workspace, for reading or writing", async () => {
    const task = on([{ read: "pipe" }, { edit: "pipe", content: "x" }, { edit: "big.txt", content: "now small" }, { say: "done" }]);
    execFileSync("mkfifo", [join(task.workspace, "pipe")]);
    writeFileSync(join(task.workspace, "big.txt"), "x\n".repeat(9_000_000));
    expect(await acp.run(task.context)).toMatchObject({ status: "completed" });
    expect(JSON.stringify(task.events).match(/pipe is not a file/g)?.length).toBeGreaterThanOrEqual(2);
    expect(task.of("file.changed")).toMatchObject([{ path: "big.txt", change: "modified" }]);
    expect(readFileSync(join(task.workspace, "big.txt"), "utf8")).toBe("now small");
  });

  it("refuses a write where the gate does", async () => {
    const task = on([{ edit: "no.txt", content: "x" }], { gate: () => ({ allow: false, reason: "read only" }) });
    expect(await acp.run(task.context)).toMatchObject({ status: "completed" });
    expect(task.of("tool.result")).toMatchObject([{ is_error: true, output: expect.stringContaining("read only") as string }]);
    expect(existsSync(join(task.workspace, "no.txt"))).toBe(false);
  });

  it("ends the task when the agent runs a command without asking", async () => {
    const task = on([{ run: "echo sly", unasked: true }, { hang: true }]);
    expect(await acp.run(task.context)).toMatchObject({ status: "failed", error: { code: "gate_failed", message: expect.stringContaining("without asking") as string } });
  });

  it("continues a conversation without telling its old words again", async () => {
    const first = on("Good morning.");
    const outcome = await acp.run(first.context);
    expect(outcome.result).toBe("Heard 1: Good morning.");
    const second = on("And again.", { home: first.home, workspace: first.workspace, conversation: outcome.conversation });
    expect(await acp.run(second.context)).toMatchObject({ status: "completed", result: "Heard 2: And again.", conversation: outcome.conversation });
    expect(second.of("message").map(({ text }) => text)).toEqual(["Heard 2: And again."]);
    const lost = on("hi", { conversation: "scripted-0" });
    expect(await acp.run(lost.context)).toMatchObject({ status: "failed", error: { code: "agent_failed", message: expect.stringContaining("no session scripted-0") as string } });
  });

  it("withdraws a waiting question and stops when it is interrupted", async () => {
    const asking = on([{ run: "touch never" }], { gate: () => new Promise(() => {}) });
    const hanging = on([{ say: "Waiting." }, { hang: true }]);
    const runs = [acp.run(asking.context), acp.run(hanging.context)];
    await vi.waitFor(() => expect(asking.asked).toHaveLength(1), { timeout: 20_000 });
    await vi.waitFor(() => expect(hanging.of("message.delta")).toHaveLength(1), { timeout: 20_000 });
    asking.interrupt();
    hanging.interrupt();
    for (const outcome of await Promise.all(runs)) expect(outcome).toMatchObject({ status: "failed", error: { code: "canceled" } });
    expect(asking.asked[0]?.signal?.aborted).toBe(true);
    expect(existsSync(join(asking.workspace, "never"))).toBe(false);
  });

  it("says that the agent crashed, and logs what is no message", async () => {
    const dying = on([{ say: "Soon." }, { print: "half a line {\n" }, { print: "\u0000\u0001binary\n" }, { die: true }]);
    expect(await acp.run(dying.context)).toMatchObject({ status: "failed", exit_code: null, error: { code: "agent_crashed" }, conversation: dying.conversations[0] });
    expect(dying.of("log").map(({ text, encoding }) => [text, encoding])).toEqual([
      ["half a line {", undefined],
      [Buffer.from("\u0000\u0001binary").toString("base64"), "base64"],
    ]);
  });
});
