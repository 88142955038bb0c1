/** Owns ending what an earlier start has left behind (it was killed, the machine was not restarted), and nothing else. */

import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Running } from "./data.ts";

const run = promisify(execFile);

/** When a process began, in the system's own words; null where none has that pid. With the pid it names one process for ever. */
export async function startOf(pid: number): Promise<string | null> {
  try {
    const { stdout } = await run("ps", ["-o", "lstart=", "-p", String(pid)], { env: { ...process.env, LC_ALL: "C" } });
    return stdout.trim() || null;
  } catch {
    return null;
  }
}

/** The note of a process for `running.json`. */
export async function noteOf(what: string, pid: number | null): Promise<Running["processes"]> {
  const started = pid === null ? null : await startOf(pid);
  return pid === null || started === null ? [] : [{ what, pid, started }];
}

const isAlive = async ({ pid, started }: { pid: number; started: string }) => (await startOf(pid)) === started;

/** The process of that name, where it still runs. */
export async function living(running: Running, what: string): Promise<number | null> {
  const found = running.processes.find((process) => process.what === what);
  return found && (await isAlive(found)) ? found.pid : null;
}

/**
 * Ends the processes of a note that still are the ones noted: asked first, so that a daemon ends its sandboxes, then killed.
 * Answers what it ended.
 */
export async function endLeftovers(running: Running, graceMs = 10_000): Promise<string[]> {
  const ended: string[] = [];
  for (const noted of running.processes) {
    if (!(await isAlive(noted))) continue;
    ended.push(noted.what);
    process.kill(noted.pid, "SIGTERM");
    const end = Date.now() + graceMs;
    while ((await isAlive(noted)) && Date.now() < end) await delay(50);
    if (await isAlive(noted)) process.kill(noted.pid, "SIGKILL");
  }
  return ended;
}
