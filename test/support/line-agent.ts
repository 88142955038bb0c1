/** Owns an agent for tests that writes numbered lines, asks once in the middle, and keeps in the workspace a trace of all that it did. */

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** Its prompt, as JSON. */
export interface LinePrompt {
  lines: number;
  /** Between two lines. */
  ms: number;
  ask: boolean;
}
/** One line of `trace.jsonl`: a line about to be written, or an answer that came. */
export type Trace = { run_id: string; n: number } | { run_id: string; decision: string; reason: string | null };

interface Task {
  type: "task";
  run_id: string;
  prompt: string;
  workspace: string;
}
interface Answer {
  type: "permission_response";
  decision: string;
  reason: string | null;
}

let task: Task | null = null;
let answered: () => void = () => {};

const say = (line: string) => new Promise<void>((resolve) => process.stdout.write(`${line}\n`, () => resolve()));

function trace(what: object): void {
  if (task) appendFileSync(join(task.workspace, "trace.jsonl"), `${JSON.stringify({ run_id: task.run_id, ...what })}\n`);
}

async function work({ run_id, prompt }: Task): Promise<void> {
  const { lines, ms, ask } = JSON.parse(prompt) as LinePrompt;
  for (let n = 1; n <= lines; n++) {
    trace({ n });
    await say(`line ${n} of ${run_id}`);
    if (ask && n === lines >> 1) {
      const answer = new Promise<void>((resolve) => (answered = resolve));
      await say(JSON.stringify({ type: "permission_request", id: "ask", tool: "Bash", input: { command: "rm -rf build" } }));
      await answer;
    }
    await sleep(ms);
  }
  await say(JSON.stringify({ type: "result", text: `wrote ${lines} lines` }));
  process.exit(0);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const record = JSON.parse(line) as Task | Answer | { type: "interrupt" };
  if (record.type === "task") {
    task = record;
    void work(record);
  } else if (record.type === "permission_response") {
    trace({ decision: record.decision, reason: record.reason });
    answered();
  } else process.exit(130);
});
