/** Owns processes of this machine: begun in a group of their own with a mark in their environment, and ended by both, so that forks and daemons go too. */

import { spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { WorkspaceError } from "./contracts.ts";
import type { Launch, Started } from "./execution.ts";

const ROUNDS = 60;
const DAEMONS_EVERY_MS = 5;

/** Starts a command; `kill` ends its group and whatever carries its mark. */
export async function startProcess({ argv, env, stdin }: Launch, cwd: string, mark: string): Promise<Started> {
  const [file = "sh", ...args] = argv;
  const child = spawn(file, args, { cwd, env, detached: true, stdio: [stdin === null ? "ignore" : "pipe", "pipe", "pipe"] });
  const ended = new Promise<{ code: number | null }>((resolve) => child.once("exit", (code) => resolve({ code })));
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error: NodeJS.ErrnoException) => reject(new WorkspaceError("unavailable", `the command cannot be started: ${error.message}`, { cause: error })));
  });
  // Who does not read its stdin breaks the pipe, and may.
  child.stdin?.on("error", () => {});
  child.stdin?.end(stdin);
  const { stdout, stderr, pid } = child;
  if (!stdout || !stderr || pid === undefined) throw new WorkspaceError("unavailable", "the command has no streams");
  return { stdout, stderr, ended, kill: () => killMarked(mark, pid) };
}

/** Begins a process that nobody waits for. */
export async function startDetached(argv: readonly string[], env: Record<string, string>, cwd: string): Promise<void> {
  const [file = "sh", ...args] = argv;
  const child = spawn(file, args, { cwd, env, detached: true, stdio: "ignore" });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(new WorkspaceError("unavailable", `the job cannot be started: ${error.message}`, { cause: error })));
  });
  child.unref();
}

/** Kills the group of `leader` and, on Linux, every process with `mark` (`NAME=value`) in its environment, until none is left. */
export async function killMarked(mark: string, leader: number | null): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    if (leader !== null && round === 0) signal(-leader);
    const left = await marked(mark);
    // A group of its own may hold what has emptied its environment.
    for (const { pid, group } of left) {
      if (group === pid) signal(-pid);
      signal(pid);
    }
    if (left.length === 0) return;
    await pause(DAEMONS_EVERY_MS);
  }
  throw new WorkspaceError("unavailable", `processes of ${mark} do not end`);
}

/** Whether a process with this mark lives. */
export async function livesMarked(mark: string): Promise<boolean> {
  return (await marked(mark)).length > 0;
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone, which is what we want.
  }
}

async function marked(mark: string): Promise<{ pid: number; group: number }[]> {
  const names = await readdir("/proc").catch(() => []);
  const found = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map(async (name) => {
      const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
      if (!environment.split("\0").includes(mark)) return null;
      const stat = await readFile(`/proc/${name}/stat`, "latin1").catch(() => "");
      const [state = "", , group = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return state === "" || state === "Z" ? null : { pid: Number(name), group: Number(group) };
    }),
  );
  return found.filter((each) => each !== null);
}
