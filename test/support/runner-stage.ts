/** Owns a runner for tests: its directories, its spec, and an in-process or scripted agent. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { tmpdir } from "node:os";
import type { Adapter, AdapterContext, AdapterOutcome } from "../../agent/adapters/adapter.ts";
import type { RunnerSpec } from "../../agent/runner/spec.ts";
import type { SessionServer } from "./session-server.ts";

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
