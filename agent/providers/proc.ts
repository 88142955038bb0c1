/** Owns what the kernel says of processes: identity that a reused pid cannot fake, children, and marks left in an environment. */

import { execFile } from "node:child_process";
import { readFile, readdir, readlink } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
let boot: Promise<string> | undefined;

/** A process that is known again only while it is the same one. */
export interface ProcessIdentity {
  pid: number;
  /** Boot and start time of the process. */
  started: string;
}

/** Identity of a living process; null where there is none, or only its unreaped remains. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  if (process.platform !== "linux") {
    const started = await run("ps", ["-o", "lstart=", "-p", String(pid)]).then(({ stdout }) => stdout.trim(), () => "");
    return started === "" ? null : { pid, started };
  }
  const fields = await stat(pid);
  if (!fields || fields.state === "Z" || fields.state === "X") return null;
  boot ??= readFile("/proc/sys/kernel/random/boot_id", "utf8").then((id) => id.trim(), () => "");
  return { pid, started: `${await boot}:${fields.start}` };
}

/** Whether exactly this process still lives. */
export async function lives(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.started === identity.started;
}

async function stat(pid: number): Promise<{ state: string; parent: number; start: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", parent: Number(fields[1]), start: fields[19] ?? "" };
}

/** A process as the kernel lists it. */
export interface ProcessState {
  pid: number;
  parent: number;
  /** `R` runs, `S` and `D` sleep, `T` is stopped, `t` is traced, `Z` has ended. */
  state: string;
  /** Kernel ticks since boot. */
  start: bigint;
}

/** All processes of the system. Linux only; elsewhere empty. */
export async function states(): Promise<ProcessState[]> {
  const all = await Promise.all(
    (await pids(async () => true)).map(async (pid) => {
      const told = await stat(pid);
      return told && { pid, parent: told.parent, state: told.state, start: BigInt(told.start || "0") };
    }),
  );
  return all.filter((each) => each !== null);
}

/** All that descends from a process and whose line to it is not broken. Linux only; elsewhere empty. */
export async function descendants(pid: number): Promise<number[]> {
  const all = await states();
  const found = [pid];
  // It grows while it is gone through.
  for (const parent of found) for (const each of all) if (each.parent === parent) found.push(each.pid);
  return found.slice(1);
}

/** How a process is: see `ProcessState.state`; null where there is none. */
export async function stateOf(pid: number): Promise<string | null> {
  return (await stat(pid))?.state ?? null;
}

/** Direct children of a process; empty where the system does not tell. */
export async function children(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => null);
  if (text !== null) return text.split(" ").filter(Boolean).map(Number);
  return (await pids(async (other) => (await stat(other))?.parent === pid));
}

/** Processes whose environment at start held exactly `NAME=value`. Linux only; elsewhere empty. */
export function marked(mark: string): Promise<number[]> {
  return pids(async (pid) => {
    const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
    return environment.split("\0").includes(mark);
  });
}

/** Files that a process has open, by the names that it sees. Linux only; elsewhere empty. */
export async function openFiles(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  return Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")));
}

async function pids(filter: (pid: number) => Promise<boolean>): Promise<number[]> {
  const entries = await readdir("/proc").catch(() => []);
  const all = entries.filter((name) => /^\d+$/.test(name)).map(Number);
  const kept = await Promise.all(all.map(filter));
  return all.filter((_, index) => kept[index]);
}

/** Sends a signal; false where there is no such process (or group, for a negative pid). */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
