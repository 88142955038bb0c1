/** Owns looking at this machine's processes in tests: who runs, with what environment, in how much memory. Linux only. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Process {
  pid: number;
  command: string[];
  environment: string[];
}

function parts(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\0").filter(Boolean);
  } catch {
    // It has ended, or is another user's.
    return [];
  }
}

/** Every process that this user may look at. */
export function processes(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid: Number(pid), command: parts(`/proc/${pid}/cmdline`), environment: parts(`/proc/${pid}/environ`) }));
}

/** Processes whose environment holds `NAME=value`. */
export function processesWith(variable: string): Process[] {
  return processes().filter(({ environment }) => environment.includes(variable));
}

/** The runner itself, as the daemon on the data directory `host` wrote it down; undefined where it is not there. */
export function runnerProcess(host: string, runnerId: string): Process | undefined {
  const { mark = runnerId } = JSON.parse(readFileSync(join(host, "runners", runnerId, "process.json"), "utf8")) as { mark?: string };
  return processesWith(`MARIONETTE_RUNNER_ID=${mark}`).find(({ command: [file, program] }) => file?.endsWith("node") && program?.endsWith("runner.js"));
}
