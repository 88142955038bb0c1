/** Owns ending what a runner started: its namespace or group, and whatever escaped from either. */

import { children, descendants, lives, marked, signal, type ProcessIdentity } from "./proc.ts";

const ROUNDS = 50;

/** The variable that every process of a runner inherits. */
export function markOf(runnerId: string): { name: string; value: string; mark: string } {
  const name = "MARIONETTE_RUNNER_ID";
  return { name, value: runnerId, mark: `${name}=${runnerId}` };
}

/** Kills the process, its group, what descends from it, a namespace below it and all processes that carry the runner's mark; resolves when none is left. */
export async function killTree(identity: ProcessIdentity | null, namespaced: boolean, mark: string): Promise<void> {
  if (identity && (await lives(identity))) {
    // Stopped, it starts no child between our look and our kill. Bubblewrap's is the namespace's first process and takes all others along.
    signal(identity.pid, "SIGSTOP");
    for (const pid of namespaced ? await children(identity.pid) : await descendants(identity.pid)) signal(pid, "SIGKILL");
    signal(-identity.pid, "SIGKILL");
    signal(identity.pid, "SIGKILL");
  }
  for (let round = 0; round < ROUNDS; round++) {
    const left = await marked(mark);
    if (left.length === 0 && !(identity && (await lives(identity)))) return;
    for (const pid of left) signal(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 2 * (round + 1)));
  }
  throw new Error(`processes of ${mark} do not end`);
}

/** The runner's own process, and before it those that hold its sandbox: bubblewrap and its reaper. */
export async function ownPids(identity: ProcessIdentity, namespaced: boolean): Promise<number[]> {
  if (!(await lives(identity))) return [];
  if (!namespaced) return [identity.pid];
  const [first] = await children(identity.pid);
  if (first === undefined) return [identity.pid];
  // The reaper's later children are orphans of agents.
  const [runner] = await children(first);
  return [identity.pid, first, ...(runner === undefined ? [] : [runner])];
}

/** The runner's own process: below bubblewrap and its reaper, or the process itself; null before it has come so far. */
export async function runnerPid(identity: ProcessIdentity, namespaced: boolean): Promise<number | null> {
  const own = await ownPids(identity, namespaced);
  return own[namespaced ? 2 : 0] ?? null;
}
