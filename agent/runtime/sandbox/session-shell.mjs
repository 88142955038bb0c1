/**
 * Owns being the agent of a session that another agent uses as its computer: each task's prompt is one program to run, as JSON. A host declares it in
 * `marionette.yaml`: `agents: { custom: { shell: { binary: node, args: [/path/to/session-shell.mjs] } } }`. Its lines of output begin with a mark and carry
 * bytes in base64, so that nothing of them is taken for a record.
 */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Raw bytes of one line: their base64 stays below what an event holds. */
const PIECE_BYTES = 24_000;

const say = (record) => process.stdout.write(`${JSON.stringify(record)}\n`);
const lines = createInterface({ input: process.stdin });
let child = null;
let workspace = "";

function kill() {
  try {
    if (child?.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended; what escaped from its group the runner kills.
  }
}

function finish(result) {
  say({ type: "result", text: JSON.stringify({ ...result, workspace }) });
  process.exitCode = 0;
  lines.close();
}

function run({ argv, cwd, env, stdin }) {
  const [file, ...args] = argv;
  child = spawn(file, args, { cwd: cwd === "" ? workspace : cwd, env: { ...process.env, ...env }, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const pass = (stream, mark) =>
    new Promise((done) => {
      stream.on("data", (bytes) => {
        let room = true;
        for (let at = 0; at < bytes.length; at += PIECE_BYTES) room = process.stdout.write(`\x1e${mark} ${bytes.toString("base64", at, Math.min(bytes.length, at + PIECE_BYTES))}\n`);
        if (room) return;
        stream.pause();
        process.stdout.once("drain", () => stream.resume());
      });
      stream.once("close", done);
    });
  const streams = [pass(child.stdout, 1), pass(child.stderr, 2)];
  child.stdin.on("error", () => {});
  child.stdin.end(stdin === null ? undefined : Buffer.from(stdin, "base64"));
  child.once("error", (error) => finish({ code: 127, error: error.message }));
  child.once("exit", (code) => {
    // What it left behind may hold its streams; their last bytes are there already.
    const late = setTimeout(() => (child.stdout.destroy(), child.stderr.destroy()), 200);
    void Promise.all(streams).then(() => {
      clearTimeout(late);
      kill();
      finish({ code });
    });
  });
}

lines.on("line", (line) => {
  const record = JSON.parse(line);
  if (record.type === "interrupt") kill();
  if (record.type !== "task") return;
  workspace = record.workspace;
  try {
    run(JSON.parse(record.prompt));
  } catch (error) {
    finish({ code: 126, error: error instanceof Error ? error.message : String(error) });
  }
});
lines.on("close", () => process.stdin.destroy());
