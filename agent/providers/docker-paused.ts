/** Owns ending a paused container: the engine signals and removes none, and thawed by itself it would go on with its work. */

import { setTimeout as pause } from "node:timers/promises";
import type Docker from "dockerode";
import { BUNDLE } from "./docker-options.ts";
import { signal } from "./proc.ts";

export function isPaused(container: Docker.Container): Promise<boolean> {
  return container.inspect().then(({ State: state }) => state.Paused, () => false);
}

interface Listed {
  pid: number;
  parent: number;
  command: string;
}

/** The container's processes by the pids that they have on this machine, and which of them is its first. */
async function processesOf(container: Docker.Container): Promise<{ init: number; all: Listed[] }> {
  const [{ State: state }, top] = await Promise.all([container.inspect(), container.top({ ps_args: "-eo pid,ppid,args" }) as Promise<{ Processes?: string[][] | null }>]);
  return { init: state.Pid, all: (top.Processes ?? []).map(([pid, parent, ...command]) => ({ pid: Number(pid), parent: Number(parent), command: command.join(" ") })) };
}

/** Kills all of it: signals that wait for the thaw come before anything else. */
export async function killPaused(container: Docker.Container): Promise<void> {
  const { all } = await processesOf(container).catch(() => ({ all: [] }));
  for (const { pid } of all) signal(pid, "SIGKILL");
  await container.unpause().catch(() => {});
}

/** Its agents do not take another step; the runner wakes up to the signal, tells what it has and goes. False where it still runs after the grace. */
export async function stopPaused(container: Docker.Container, graceSeconds: number): Promise<boolean> {
  const { init, all } = await processesOf(container).catch(() => ({ init: 0, all: [] as Listed[] }));
  const runner = all.find(({ parent, command }) => parent === init && command.includes(`${BUNDLE}/runner.js`));
  for (const { pid } of all) if (pid !== init && pid !== runner?.pid) signal(pid, "SIGKILL");
  if (runner) signal(runner.pid, "SIGTERM");
  const ended = container.wait().then(() => true, () => true);
  await container.unpause().catch(() => {});
  return Promise.race([ended, pause(graceSeconds * 1_000, false, { ref: false })]);
}
