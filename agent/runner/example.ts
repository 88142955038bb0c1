/** Owns the example agent: no model, no key; it shows the whole loop in the custom protocol, and is a pattern for agents of one's own. */

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

type Fields = Record<string, unknown>;
interface Task {
  prompt: string;
  conversation: string | null;
  workspace: string;
}

const FILE = "hello-marionette.md";
const WORD_MS = 25;

const lines = createInterface({ input: process.stdin });
const answers = new Map<string, (allowed: { decision: string; reason: string | null }) => void>();
let interrupted = false;

function say(type: string, fields: Fields): void {
  process.stdout.write(`${JSON.stringify({ type, ...fields })}\n`);
}

/** One message, told word by word. */
async function tell(text: string): Promise<void> {
  for (const word of text.split(/(?<= )/)) {
    say("message.delta", { text: word });
    await new Promise((resolve) => setTimeout(resolve, WORD_MS));
  }
  say("message", { text });
}

let asked = 0;
/** Asks before a tool is used, and waits as long as it takes. */
function ask(tool: string, input: Fields): Promise<{ id: string; decision: string; reason: string | null }> {
  const id = `call-${++asked}`;
  return new Promise((resolve) => {
    answers.set(id, (answer) => resolve({ id, ...answer }));
    say("permission_request", { id, tool, input });
  });
}

/** Runs a command that was allowed; what it prints is the result. */
function run(command: string, cwd: string): Promise<{ output: string; code: number | null }> {
  return new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", command], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    const parts: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => parts.push(part));
    child.once("error", (error) => resolve({ output: error.message, code: null }));
    child.once("close", (code) => resolve({ output: Buffer.concat(parts).toString(), code }));
  });
}

async function work({ prompt, conversation, workspace }: Task): Promise<void> {
  const about = prompt.length > 200 ? `${prompt.slice(0, 200)}…` : prompt;
  const steps = ["Say hello", "Ask whether I may run a command", `Note the task in ${FILE}`];
  const plan = (done: number) => say("plan", { items: steps.map((text, i) => ({ text, status: i < done ? "completed" : i === done ? "in_progress" : "pending" })) });
  plan(0);
  await tell(`${conversation === null ? "Hello" : "Hello again"}! I am Marionette's example agent. I have no model behind me, but I do what agents do. You asked: "${about}"`);

  plan(1);
  await tell(`Now I would like to run a command that notes your task in ${FILE}. You will be asked.`);
  const path = `${workspace}/${FILE}`;
  const before = read(path);
  const entry = `- ${about.replaceAll(/[^\p{L}\p{N} .,:!?-]+/gu, " ").trim()}`;
  const command = `echo '${entry}' >> ${FILE} && wc -l ${FILE}`;
  const answer = await ask("Bash", { command, description: `add a line to ${FILE}` });
  let end = "Done, without having touched anything.";
  if (answer.decision === "approved") {
    plan(2);
    const { output, code } = await run(command, workspace);
    say("tool.result", { call_id: answer.id, output, is_error: code !== 0 });
    say("file.changed", { path: FILE, change: before === null ? "created" : "modified", diff: `+${entry}\n` });
    await tell(`Thank you. It said: ${output.trim()}`);
    end = `Done: your task is noted in ${FILE}.`;
  } else {
    const why = answer.reason === null ? "" : ` (${answer.reason})`;
    say("tool.result", { call_id: answer.id, output: `not allowed${why}`, is_error: true });
    await tell(`You would rather I did not${why}. I leave everything as it is.`);
  }
  await tell(end);
  plan(steps.length);
  say("usage", { input_tokens: prompt.split(/\s+/).length, output_tokens: end.split(" ").length, model: "none" });
  say("result", { text: end, conversation: conversation ?? `example-${Date.now().toString(36)}` });
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

lines.on("line", (line) => {
  const record = JSON.parse(line) as Fields;
  if (record["type"] === "task") {
    void work(record as unknown as Task).then(() => process.exit(0), (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    });
  } else if (record["type"] === "permission_response") {
    const id = String(record["id"]);
    answers.get(id)?.({ decision: String(record["decision"]), reason: typeof record["reason"] === "string" ? record["reason"] : null });
    answers.delete(id);
  } else if (record["type"] === "interrupt" && !interrupted) {
    interrupted = true;
    say("message", { text: "Stopped, as you wish." });
    process.exit(130);
  }
});
// Nobody is there any more to ask or to tell.
lines.on("close", () => answers.size > 0 && process.exit(1));
