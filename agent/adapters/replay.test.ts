import { readdirSync } from "node:fs";
import { basename, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { directories, stage, type Stage } from "../../test/support/adapter-context.ts";
import { parseTranscript, type Entry } from "../../test/support/transcript.ts";
import { acp } from "./acp.ts";
import type { Adapter, Emitted, GateAnswer } from "./adapter.ts";
import { claude } from "./claude.ts";
import { codex } from "./codex.ts";

const transcripts = resolve(import.meta.dirname, "transcripts");
const player = resolve(import.meta.dirname, "../../test/support/replay-agent.ts");
const ADAPTERS: Record<string, Adapter> = { claude, codex, acp };

/** The prompt that the recorded adapter sent, wherever its protocol puts it. */
function promptOf(entries: Entry[], workspace: string): string {
  const sent = entries.flatMap((entry) => ("line" in entry && entry.from === "adapter" ? [JSON.stringify(entry.line)] : []));
  const quoted = sent.map((line) => /"text":("Do as scripted\.(?:[^"\\]|\\.)*")/.exec(line)?.[1]).find((one) => one !== undefined);
  return (JSON.parse(quoted ?? '""') as string).replaceAll("${WORKSPACE}", workspace);
}

/** What the log will hold, without what differs from run to run. */
function told(events: Emitted[]): string {
  const lines = events.map(({ type, data }) => JSON.stringify({ type, data }, (key, value: unknown) => (key === "duration_ms" ? undefined : value)));
  return `${lines.join("\n")}\n`;
}

describe("an adapter against the recorded wire of its agent", { timeout: 30_000 }, () => {
  it.each(readdirSync(transcripts).filter((name) => name.endsWith(".jsonl") && !name.endsWith(".events.jsonl")))("sends the same lines and tells the same events: %s", async (file) => {
    using dirs = directories();
    const path = resolve(transcripts, file);
    const name = basename(file, ".jsonl");
    const [kind = "", how = ""] = name.split("-");
    const adapter = ADAPTERS[kind] ?? claude;
    const answers: Record<string, () => GateAnswer | Promise<GateAnswer>> = {
      denial: () => ({ allow: false, reason: "not before lunch" }),
      interrupt: () => {
        queueMicrotask(() => task.interrupt());
        return new Promise<never>(() => {});
      },
    };
    const task: Stage = stage({
      ...dirs,
      // A wrapper, because Claude and Codex are given their own arguments.
      launch: { adapter: adapter.name, binary: "/bin/sh", args: [], env: {} },
      prompt: promptOf(parseTranscript(path), dirs.workspace),
      env: { OPENAI_BASE_URL: "http://model.invalid/v1" },
      gate: answers[how] ?? (() => ({ allow: true })),
    });
    const outcome = await adapter.run({ ...task.context, launch: { ...task.context.launch, args: [] }, start: (_args, env) => task.context.start(["-c", `exec '${process.execPath}' '${player}' '${path}' '${dirs.home}'`], env) });
    expect(task.of("log").filter(({ stream, text }) => stream === "stderr" && text.includes("where the transcript has"))).toEqual([]);
    expect(outcome.status).toBe(how === "interrupt" ? "failed" : "completed");
    expect(task.conversations).toEqual([outcome.conversation]);
    expect(task.events.filter(({ type }) => type === "tool.call" || type === "message").every(({ type, raw }) => raw !== undefined || (kind === "acp" && type === "message"))).toBe(true);
    await expect(told(task.events).replaceAll(dirs.workspace, "${WORKSPACE}")).toMatchFileSnapshot(resolve(transcripts, `${name}.events.jsonl`));
  });
});
