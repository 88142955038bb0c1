/** Owns a host daemon as a child process of this one: its start, its lines, its orderly and its hard end. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface HostProcessOptions {
  /** The daemon's bundle. */
  program: string;
  server: string;
  token: string;
  /** The daemon's data. */
  dir: string;
  /** Further arguments: `--labels`, `--config` … */
  args?: string[];
  env?: Record<string, string | undefined>;
  log: (line: string) => void;
}

export interface HostProcess {
  pid: number;
  exited: Promise<{ code: number | null; signal: string | null }>;
  /** Asks the daemon to end its runners and itself; kills it where it has not within `graceMs`. */
  stop(graceMs?: number): Promise<void>;
  /** SIGKILL for the daemon alone, as if it crashed: runners stay. */
  kill(): Promise<void>;
}

const GRACE_MS = 15_000;

/** Starts the daemon in a process group of its own, so that a terminal's Ctrl-C reaches it only through `stop`. */
export async function startHostProcess(options: HostProcessOptions): Promise<HostProcess> {
  const child = spawn(process.execPath, [options.program, "--server", options.server, "--data", options.dir, ...(options.args ?? [])], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    // The token in the environment, since arguments can be read by every user of the machine.
    env: { ...process.env, ...options.env, MARIONETTE_RUNNER_TOKEN: options.token },
  });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", options.log);
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: null, signal: null }));
  });
  await new Promise((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("the daemon has no pid");
  return {
    pid,
    exited,
    stop: async (graceMs = GRACE_MS) => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(timer);
    },
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
