/** Owns a small stand-in for the runner around one adapter: real processes, remembered events, a gate that a test answers. */

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { AdapterContext, AgentProcess, Emitted, GateAnswer, GateCall } from "../../agent/adapters/adapter.ts";
import type { AgentLaunch } from "../../agent/runner/spec.ts";

export interface Stage {
  context: AdapterContext;
  events: Emitted[];
  /** Every call that came to the gate, in order. */
  asked: GateCall[];
  conversations: string[];
  /** The processes that the adapter started. */
  processes: AgentProcess[];
  /** Arguments and environment of each start. */
  starts: { args: readonly string[]; env: Readonly<Record<string, string>> }[];
  interrupt(): void;
  of<T extends Emitted["type"]>(type: T): Extract<Emitted, { type: T }>["data"][];
}

export interface StageOptions {
  launch: Partial<AgentLaunch> & Pick<AgentLaunch, "adapter" | "binary">;
  prompt: string;
  home: string;
  workspace: string;
  conversation?: string | null;
  notice?: string | null;
  interrupted?: boolean;
  attachments?: AdapterContext["task"]["attachments"];
  model?: string | null;
  /** A model key of the session's own environment; null: none. */
  apiKey?: string | null;
  /** The model gateway; by default there is none. */
  gateway?: AdapterContext["gateway"];
  /** The session's environment. */
  env?: Record<string, string>;
  /** Defaults to allowing everything. */
  gate?: (call: GateCall) => GateAnswer | Promise<GateAnswer>;
  onEvent?: (event: Emitted) => void | Promise<void>;
  /** Sees every line of the wire. */
  onWire?: (from: "adapter" | "agent", line: string) => void;
}

/** Directories of one test, not under the system's temp directory, because an agent may refuse that. */
export function directories(): { home: string; workspace: string; [Symbol.dispose](): void } {
  const root = mkdtempSync(join("/var/tmp", "adapter-"));
  const made = { home: mkdtempSync(join(root, "home-")), workspace: mkdtempSync(join(root, "workspace-")) };
  mkdirSync(join(made.home, "tmp"));
  return { ...made, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true, maxRetries: 5 }) };
}

export function stage(options: StageOptions): Stage {
  const interrupted = new AbortController();
  const events: Emitted[] = [];
  const asked: GateCall[] = [];
  const conversations: string[] = [];
  const processes: AgentProcess[] = [];
  const starts: Stage["starts"] = [];
  const launch: AgentLaunch = { name: options.launch.adapter, args: [], env: {}, ...options.launch };
  const key = options.apiKey === undefined ? "key-of-the-test" : options.apiKey;
  const session = { ...(key !== null && { ANTHROPIC_API_KEY: key, OPENAI_API_KEY: key, MODEL_API_KEY: key }), ...options.env };
  const context: AdapterContext = {
    task: { task_id: "task", run_id: "run", attempt: 1, prompt: options.prompt, conversation: options.conversation ?? null, notice: options.notice ?? null, interrupted: options.interrupted ?? false, attachments: options.attachments ?? [] },
    launch,
    model: options.model ?? null,
    workspace: options.workspace,
    home: options.home,
    env: { ...session, ...launch.env },
    gateway: options.gateway ?? null,
    interrupt: interrupted.signal,
    async emit(event) {
      events.push(event);
      await options.onEvent?.(event);
    },
    async gate(call) {
      asked.push(call);
      if (!options.gate) return { allow: true };
      const withdrawn = new Promise<GateAnswer>((resolve) => call.signal?.addEventListener("abort", () => resolve({ allow: false, reason: "withdrawn" }), { once: true }));
      return Promise.race([Promise.resolve(options.gate(call)), withdrawn]);
    },
    start(args, env = {}) {
      starts.push({ args, env });
      const agent = startProcess(launch.binary, args, options.workspace, {
        PATH: process.env["PATH"] ?? "",
        HOME: options.home,
        TMPDIR: join(options.home, "tmp"),
        LANG: "C.UTF-8",
        ...session,
        ...launch.env,
        ...env,
      });
      if (options.onWire) tap(agent, options.onWire);
      processes.push(agent);
      return agent;
    },
    setConversation: (id) => void conversations.push(id),
  };
  const of = ((type: Emitted["type"]) => events.flatMap((event) => (event.type === type ? [event.data] : []))) as unknown as Stage["of"];
  return { context, events, asked, conversations, processes, starts, interrupt: () => interrupted.abort(), of };
}

function startProcess(binary: string, args: readonly string[], cwd: string, env: Record<string, string>): AgentProcess {
  const child = spawn(binary, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const pid = child.pid;
  if (pid === undefined) throw new Error(`cannot start ${binary}`);
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  return {
    pid,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    kill(signal) {
      try {
        process.kill(-pid, signal);
      } catch {
        // The group has ended already.
      }
    },
  };
}

function tap(agent: AgentProcess, onWire: (from: "adapter" | "agent", line: string) => void): void {
  let half = "";
  agent.stdout.on("data", (chunk: Buffer) => {
    const lines = (half + chunk.toString("utf8")).split("\n");
    half = lines.pop() ?? "";
    for (const line of lines) onWire("agent", line);
  });
  agent.stdout.pause();
  const write = agent.stdin.write.bind(agent.stdin);
  agent.stdin.write = ((text: string) => {
    onWire("adapter", text.trimEnd());
    return write(text);
  }) as typeof agent.stdin.write;
}
