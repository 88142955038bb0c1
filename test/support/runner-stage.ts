/** Owns a runner for tests: its directories, its spec, and an in-process or scripted agent. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { tmpdir } from "node:os";
import type { Adapter, AdapterContext, AdapterOutcome } from "../../agent/adapters/adapter.ts";
import type { RunnerSpec } from "../../agent/runner/spec.ts";
import { createRunner, type Runner, type RunnerOptions } from "../../agent/runner/runner.ts";
import { SessionServer } from "./session-server.ts";

export const SCRIPTED_AGENT = resolve(import.meta.dirname, "scripted-agent.ts");

/** Directories of one runner, gone when disposed of. */
export function runnerDirectories(): { root: string; workspace: string; home: string; state: string; [Symbol.dispose](): void } {
  const root = mkdtempSync(join(tmpdir(), "runner-"));
  const [workspace, home, state] = ["workspace", "home", "state"].map((name) => join(root, name)) as [string, string, string];
  for (const path of [workspace, home, state]) mkdirSync(path);
  return { root, workspace, home, state, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true, maxRetries: 10 }) };
}

export function specFor(server: SessionServer, directories: { workspace: string; home: string; state: string }, more: Partial<RunnerSpec> = {}): RunnerSpec {
  return {
    runner_id: server.runner_id, session_id: server.session_id, epoch: server.epoch, run_token: server.run_token, server: server.url,
    agent: { name: "scripted", adapter: "custom", binary: process.execPath, args: [SCRIPTED_AGENT], env: {} },
    agent_name: "scripted", model: null, env: {}, keep_raw: true, needs_key: false,
    workspace: directories.workspace, home: directories.home, state: directories.state, ...more,
  };
}

/** A session's server, and the runners that one test starts for it. */
export class RunnerStage {
  readonly runners: Runner[] = [];
  readonly directories = runnerDirectories();
  server: SessionServer;

  private constructor(server: SessionServer) {
    this.server = server;
  }
  static async start(): Promise<RunnerStage> {
    return new RunnerStage(await SessionServer.start());
  }
  /** A runner that connects anew without long pauses. */
  async runner(options: Partial<RunnerOptions> = {}, spec: Partial<RunnerSpec> = {}): Promise<Runner> {
    const made = await createRunner({ spec: specFor(this.server, this.directories, spec), timings: { backoff_min_ms: 5, backoff_max_ms: 50 }, ...options });
    this.runners.push(made);
    return made;
  }
  /** Ends it all; what the server has found wrong with the runners' frames. */
  async close(): Promise<SessionServer["faults"]> {
    for (const made of this.runners) made.stop("the test is over");
    await this.server.stop();
    this.directories[Symbol.dispose]();
    return this.server.faults;
  }
}

/** An agent that is a function. */
export function inProcess(run: (context: AdapterContext) => Promise<Partial<AdapterOutcome> | void>): Adapter {
  return {
    name: "custom",
    keyVariables: [],
    continues: () => false,
    stateFiles: () => [],
    run: async (context) => ({ status: "completed", result: null, exit_code: null, conversation: null, ...(await run(context)) }),
  };
}

/** The steps of a scripted agent as a prompt. */
export function steps(...all: [string, ...unknown[]][]): string {
  return `@@${JSON.stringify(all)}@@`;
}
