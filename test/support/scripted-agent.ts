/** Owns an agent for tests that speaks the custom protocol and does what its prompt says, step by step: `@@[["text","hi"],["exit",3]]@@`; or what SCRIPT in its environment says. */

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

type Step = [string, ...unknown[]];
const say = (record: object) => new Promise<void>((resolve) => process.stdout.write(`${JSON.stringify(record)}\n`, () => resolve()));
const write = (data: string | Buffer, stream: NodeJS.WriteStream = process.stdout) => new Promise<void>((resolve) => stream.write(data, () => resolve()));
const answers = new Map<string, (answer: { decision: string; reason: string | null }) => void>();
let deaf = false;
let asked = 0;
let conversation: string | null = null;
let attachments: unknown = null;

const STEPS: Record<string, (...args: never[]) => unknown> = {
  text: (text: string) => say({ type: "message", text }),
  delta: (text: string) => say({ type: "message.delta", text }),
  record: (record: object) => say(record),
  raw: (line: string) => write(`${line}\n`),
  stderr: (line: string) => write(`${line}\n`, process.stderr),
  async ask(tool: string, input: object) {
    const id = `ask-${++asked}`;
    const answer = new Promise<{ decision: string; reason: string | null }>((resolve) => answers.set(id, resolve));
    await say({ type: "permission_request", id, tool, input });
    const { decision, reason } = await answer;
    await say({ type: "message", text: `${tool}: ${decision}${reason === null ? "" : `: ${reason}`}` });
  },
  /** Many questions at once. */
  async asks(count: number, tool: string) {
    const one = async (i: number) => {
      const answer = new Promise<{ decision: string }>((resolve) => answers.set(`many-${i}`, resolve));
      await say({ type: "permission_request", id: `many-${i}`, tool, input: { command: `curl https://example.org/${i}` } });
      return (await answer).decision;
    };
    const decisions = await Promise.all(Array.from({ length: count }, (_, i) => one(i)));
    await say({ type: "message", text: `approved ${decisions.filter((decision) => decision === "approved").length} of ${count}` });
  },
  write: (path: string, content: string) => writeFileSync(path, content),
  sleep: (ms: number) => sleep(ms),
  /** Many lines of about 100 bytes. */
  async spam(bytes: number) {
    const line = `${"x".repeat(99)}\n`;
    const chunk = line.repeat(640);
    for (let sent = 0; sent < bytes; sent += chunk.length) await write(chunk);
  },
  /** One line without an end. */
  async flood(bytes: number) {
    const chunk = "y".repeat(65_536);
    for (let sent = 0; sent < bytes; sent += chunk.length) await write(chunk);
    await write("\n");
  },
  binary: () => write(Buffer.from([0xff, 0xfe, 0x00, 0x80, 0xc3, 0x28, 0x0a])),
  env: (name: string) => say({ type: "message", text: process.env[name] ?? "unset" }),
  /** A child that outlives its parent; `escape` puts it into a session of its own. */
  async fork(escape: boolean) {
    const child = spawn("sleep", ["600"], { detached: escape, stdio: "ignore" });
    child.unref();
    await say({ type: "message", text: `child ${child.pid}` });
  },
  /** Hears neither interrupt nor SIGINT nor SIGTERM. */
  async hang() {
    deaf = true;
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
    await say({ type: "message", text: "hanging" });
    await sleep(2 ** 30);
  },
  crash: () => process.kill(process.pid, "SIGSEGV"),
  exit: (code: number) => process.exit(code),
  conversation: () => say({ type: "message", text: conversation ?? "none" }),
  attachments: () => say({ type: "message", text: JSON.stringify(attachments) }),
  result: (text: string, conversation: string | null = null) => say({ type: "result", text, conversation }),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const record = JSON.parse(line) as { type: string; id?: string; decision?: string; reason?: string | null; prompt?: string; conversation?: string | null; attachments?: unknown };
  if (record.type === "permission_response") answers.get(record.id ?? "")?.({ decision: record.decision ?? "", reason: record.reason ?? null });
  else if (record.type === "interrupt" && !deaf) void say({ type: "message", text: "interrupted" }).then(() => process.exit(0));
  else if (record.type === "task") {
    conversation = record.conversation ?? null;
    attachments = record.attachments;
    void play(record.prompt ?? "").then(() => process.exit(0));
  }
});

async function play(prompt: string): Promise<void> {
  const script = process.env["SCRIPT"] ?? /@@(.*)@@/s.exec(prompt)?.[1];
  const steps = script === undefined ? [["text", prompt] as Step] : (JSON.parse(script) as Step[]);
  for (const [name, ...args] of steps) await STEPS[name]?.(...(args as never[]));
}
