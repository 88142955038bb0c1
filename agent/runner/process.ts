/** Owns the processes of one run: each agent in a process group of its own, nothing of it left when the run has ended. */

import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { RunError } from "../../sdk/protocol/task.ts";
import type { AgentProcess } from "../adapters/adapter.ts";
import { identify, lives, marked, signal } from "../providers/proc.ts";
import type { AgentGroup } from "./journal-line.ts";
import type { AgentLaunch } from "./spec.ts";

/** Every process of a run inherits it, and is found by it. */
const MARK = "MARIONETTE_RUN_ID";
const REAP_ROUNDS = 50;
/** The runner's own settings, which are no business of an agent. */
const WITHHELD = /^(NODE_COMPILE_CACHE|NODE_OPTIONS|MARIONETTE_(?!RUNNER_ID$).*)$/;

/** The agent cannot be started; `run` says so in the task's words. */
export class LaunchError extends Error {
  readonly run: RunError;
  constructor(run: RunError) {
    super(run.message);
    this.name = "LaunchError";
    this.run = run;
  }
}

export interface ProcessOptions {
  run_id: string;
  launch: AgentLaunch;
  workspace: string;
  /** The agent's whole environment but for what `start` adds. */
  env: Readonly<Record<string, string>>;
  /** A group has started; what is known of it must outlive the runner. */
  onStart: (group: AgentGroup) => void;
}

export class RunProcesses {
  readonly #options: ProcessOptions;
  readonly #pids: number[] = [];

  constructor(options: ProcessOptions) {
    this.#options = options;
  }

  /** Pid of the first process; null before it. */
  get pid(): number | null {
    return this.#pids[0] ?? null;
  }

  start(args: readonly string[], more: Readonly<Record<string, string>> = {}): AgentProcess {
    const { launch, workspace, run_id, onStart } = this.#options;
    const env: Record<string, string> = { ...this.#options.env, ...launch.env, ...more, [MARK]: run_id, PWD: workspace };
    if (!existsSync(workspace)) throw new LaunchError({ code: "internal", message: `the workspace ${workspace} is not there` });
    const path = findExecutable(launch.binary, env["PATH"] ?? "");
    if (path === null) throw missing(launch);
    const child = spawn(path, args, { cwd: workspace, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const { pid } = child;
    child.on("error", () => {});
    if (pid === undefined) throw new LaunchError({ code: "agent_missing", message: `${path} is there and cannot be started`, ...(launch.how_to_get !== undefined && { hint: launch.how_to_get }) });
    this.#pids.push(pid);
    void identify(pid).then((identity) => identity && onStart(identity));
    const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => child.once("exit", (code, name) => resolve({ code, signal: name })));
    return { pid, stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exited, kill: (name) => void signal(-pid, name) };
  }

  /** Signals every group of the run. */
  signal(name: "SIGINT" | "SIGTERM" | "SIGKILL"): void {
    for (const pid of this.#pids) signal(-pid, name);
  }

  /** Kills what is left: the groups at once, and what escaped from them before this resolves. */
  async reap(): Promise<void> {
    if (this.#pids.length === 0) return;
    this.signal("SIGKILL");
    await killMarked(this.#options.run_id);
  }
}

/** After the runner's own death: kills what its last run left behind. */
export async function killLeftovers(runId: string, groups: readonly AgentGroup[]): Promise<void> {
  for (const group of groups) if (await lives(group)) signal(-group.pid, "SIGKILL");
  await killMarked(runId);
}

async function killMarked(runId: string): Promise<void> {
  for (let round = 0; round < REAP_ROUNDS; round++) {
    const left = (await marked(`${MARK}=${runId}`)).filter((pid) => pid !== process.pid);
    if (left.length === 0) return;
    for (const pid of left) signal(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 2 * (round + 1)));
  }
}

/** What an agent inherits: this process's environment without the runner's own, the agent's HOME, the session's variables over both. */
export function agentEnvironment(own: NodeJS.ProcessEnv, home: string, session: Readonly<Record<string, string>>): Record<string, string> {
  const inherited = Object.entries(own).flatMap(([name, value]) => (value === undefined || WITHHELD.test(name) ? [] : [[name, value] as const]));
  return { LANG: "C.UTF-8", ...Object.fromEntries(inherited), HOME: home, ...session };
}

function findExecutable(binary: string, path: string): string | null {
  const candidates = binary.includes("/") ? [binary] : path.split(delimiter).filter(Boolean).map((directory) => join(directory, binary));
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function missing({ name, binary, how_to_get }: AgentLaunch): LaunchError {
  const hint = how_to_get ?? `install ${binary}, or correct agents.custom.${name}.binary in the host's marionette.yaml`;
  return new LaunchError({ code: "agent_missing", message: `${binary}, the program of agent '${name}', is not where this runner can see it`, hint });
}
