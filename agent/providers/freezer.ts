/** Owns freezing a runner's processes where no engine does it: every process of it is stopped, until a look at all of them finds none that runs. */

import { readlink } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { children, lives, marked, signal, states, type ProcessIdentity, type ProcessState } from "./proc.ts";

/** A process that forks while it is stopped leaves one more to find; in the kernel's hands a process stops late. */
const ROUNDS = 200;
const LOOK_MS = 5;

/** Whose processes: the one that the daemon started, whether a namespace of its own is below it, and the mark that all inherit. */
export interface Tree {
  identity: ProcessIdentity;
  namespaced: boolean;
  mark: string;
}

const stopped = ({ state }: ProcessState) => state === "T" || state === "t";
const over = ({ state }: ProcessState) => state === "Z" || state === "X";

/** Every process of the tree, oldest first. Below a namespace nothing can hide; else what dropped the mark is found as a descendant. */
export async function members({ identity, namespaced, mark }: Tree): Promise<ProcessState[]> {
  const all = await states();
  const by = new Map(all.map((each) => [each.pid, each]));
  const mine = new Set<number>();
  if (by.has(identity.pid)) mine.add(identity.pid);
  const [first] = namespaced ? await children(identity.pid) : [];
  if (first !== undefined) {
    const own = await namespaceOf(first);
    const [daemon, namespaces] = await Promise.all([namespaceOf(process.pid), Promise.all(all.map(({ pid }) => namespaceOf(pid)))]);
    // Bubblewrap has not unshared yet: then there are only its descendants.
    if (own !== null && own !== daemon) all.forEach(({ pid }, index) => namespaces[index] === own && mine.add(pid));
  }
  for (const pid of await marked(mark)) mine.add(pid);
  for (const each of all) if (descends(each, mine, by)) mine.add(each.pid);
  mine.delete(process.pid);
  return all.filter((each) => mine.has(each.pid) && !over(each)).sort((a, b) => Number(a.start - b.start));
}

function descends(process: ProcessState, mine: ReadonlySet<number>, by: ReadonlyMap<number, ProcessState>): boolean {
  for (let at: ProcessState | undefined = process, depth = 0; at && depth < 1_000; at = by.get(at.parent), depth++) if (mine.has(at.pid)) return true;
  return false;
}

function namespaceOf(pid: number): Promise<string | null> {
  return readlink(`/proc/${pid}/ns/pid`).catch(() => null);
}

/** Stops all of it; gives the pids that had been stopped before by themselves. Throws where it does not come to rest, and then all of it goes on. */
export async function freezeTree(tree: Tree): Promise<number[]> {
  const before = new Set<number>();
  const told = new Set<number>();
  for (let round = 0; round < ROUNDS; round++) {
    const all = await members(tree);
    if (all.length === 0 || !(await lives(tree.identity))) throw new Error("there is no process to stop");
    if (round === 0) for (const each of all) if (stopped(each)) before.add(each.pid);
    const running = all.filter((each) => !stopped(each) && !waitsForChild(each, all));
    if (running.length === 0) return [...before];
    for (const { pid } of running) {
      signal(pid, "SIGSTOP");
      told.add(pid);
    }
    await pause(round < 3 ? 0 : LOOK_MS);
  }
  await thawTree(tree, [...before]);
  throw new Error(`its processes do not come to rest: ${[...told].slice(0, 5).join(", ")}`);
}

/** In the kernel until a child that is stopped has started its program: it cannot run, and stops as soon as it could. */
function waitsForChild({ pid, state }: ProcessState, all: readonly ProcessState[]): boolean {
  return state === "D" && all.some((child) => child.parent === pid && stopped(child));
}

/** Lets all of it go on, but for what had stopped by itself; the youngest first, so that no parent sees a stopped child. */
export async function thawTree(tree: Tree, stay: readonly number[]): Promise<void> {
  for (const { pid } of (await members(tree)).reverse()) if (!stay.includes(pid)) signal(pid, "SIGCONT");
}
