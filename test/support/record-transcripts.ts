/** Owns recording the transcripts anew from the real agents: `node test/support/record-transcripts.ts`, then look at what changed. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Adapter } from "../../agent/adapters/adapter.ts";
import { acp } from "../../agent/adapters/acp.ts";
import { claude } from "../../agent/adapters/claude.ts";
import { codex } from "../../agent/adapters/codex.ts";
import { CLIS } from "./clis.ts";
import { directories, stage, type Stage, type StageOptions } from "./adapter-context.ts";
import { script, startModelServer, type ModelServer } from "./model-server/index.ts";
import { formatTranscript, type Entry } from "./transcript.ts";

const TRANSCRIPTS = resolve(import.meta.dirname, "../../agent/adapters/transcripts");

interface Scenario {
  name: string;
  adapter: Adapter;
  launch: StageOptions["launch"];
  prompt(workspace: string): string;
  gate?: StageOptions["gate"];
  /** Interrupts the task when the gate is asked. */
  interrupts?: true;
}

const never = () => new Promise<never>(() => {});
const deny = () => ({ allow: false as const, reason: "not before lunch" });
const onClaude = { adapter: claude, launch: { adapter: "claude" as const, binary: CLIS.claude } };
const onCodex = { adapter: codex, launch: { adapter: "codex" as const, binary: CLIS.codex } };
const onAcp = { adapter: acp, launch: { name: "codex-acp", adapter: "acp" as const, binary: process.execPath, args: [CLIS["codex-acp"]] } };
const bash = { tool: "Bash", input: { command: "echo hello" } };
const shell = { tool: "exec_command", input: { cmd: "echo hello" } };
const patch = (name: string) => `*** Begin Patch\n*** Add File: ${name}\n+one\n+two\n*** End Patch\n`;

const SCENARIOS: Scenario[] = [
  {
    ...onClaude,
    name: "claude-approval",
    prompt: (workspace) =>
      script([
        { thinking: "Let me look.", text: "Looking.", calls: [bash] },
        { calls: [{ tool: "Write", input: { file_path: join(workspace, "note.txt"), content: "one\ntwo\n" } }] },
        { calls: [{ tool: "Edit", input: { file_path: join(workspace, "note.txt"), old_string: "two", new_string: "three" } }] },
        { text: "All done." },
      ]),
  },
  { ...onClaude, name: "claude-denial", prompt: () => script([{ calls: [bash] }, { text: "Understood." }]), gate: deny },
  { ...onClaude, name: "claude-interrupt", prompt: () => script([{ text: "Asking.", calls: [bash] }]), gate: never, interrupts: true },
  { ...onClaude, name: "claude-retry", prompt: () => script([{ fail: [{ status: 529, retry_after: 1 }], text: "After all." }]) },
  { ...onCodex, name: "codex-approval", prompt: () => script([{ thinking: "Let me look.", text: "Looking.", calls: [shell] }, { calls: [{ tool: "apply_patch", input: patch("note.txt") }] }, { text: "All done." }]) },
  { ...onCodex, name: "codex-denial", prompt: () => script([{ calls: [shell] }, { text: "Understood." }]), gate: deny },
  { ...onCodex, name: "codex-interrupt", prompt: () => script([{ text: "Asking.", calls: [shell] }]), gate: never, interrupts: true },
  { ...onAcp, name: "acp-approval", prompt: () => script([{ text: "Writing.", calls: [{ tool: "apply_patch", input: patch("note.txt") }] }, { text: "All done." }]) },
];

async function record(scenario: Scenario, model: ModelServer): Promise<void> {
  using dirs = directories();
  mkdirSync(join(dirs.home, ".codex"));
  writeFileSync(join(dirs.home, ".codex/config.toml"), `model_provider = "test"\n[model_providers.test]\nname = "test"\nbase_url = "${model.openai}"\nwire_api = "responses"\n`);
  const entries: Entry[] = [];
  const env = { ANTHROPIC_BASE_URL: model.anthropic, OPENAI_BASE_URL: model.openai, CODEX_PATH: CLIS.codex, INITIAL_AGENT_MODE: "read-only", NO_BROWSER: "1" };
  const task: Stage = stage({
    ...dirs,
    env,
    launch: scenario.launch,
    prompt: scenario.prompt(dirs.workspace),
    gate: (call) => {
      if (scenario.interrupts) queueMicrotask(() => task.interrupt());
      return scenario.gate?.(call) ?? { allow: true };
    },
    onWire: (from, line) => void entries.push({ from, line: JSON.parse(line) as unknown }),
  });
  const { exit_code } = await scenario.adapter.run(task.context);
  entries.push({ from: "agent", exit: exit_code ?? 1 });
  writeFileSync(join(TRANSCRIPTS, `${scenario.name}.jsonl`), formatTranscript(entries, { WORKSPACE: dirs.workspace, HOME: dirs.home }));
}

mkdirSync(TRANSCRIPTS, { recursive: true });
const model = await startModelServer();
for (const scenario of SCENARIOS) await record(scenario, model);
await model.close();
