/** Owns the interface between the runner and one kind of agent: an adapter turns an agent's own protocol into events and gated tool calls. */

import type { Readable, Writable } from "node:stream";
import type { Json, RunError, RunnerEventType, EventData, Secret } from "../../sdk/protocol/index.ts";
import type { AgentLaunch } from "../runner/spec.ts";

/** An event as an adapter emits it; the runner adds the time and the run, cuts what is too long and marks it. */
export type Emitted = { [T in Exclude<RunnerEventType, "run.status" | "permission.requested" | "permission.withdrawn">]: { type: T; data: EventData<T>; raw?: Json | undefined } }[Exclude<
  RunnerEventType,
  "run.status" | "permission.requested" | "permission.withdrawn"
>];

export interface GateCall {
  tool: string;
  input: Json;
  /** The agent's own id of the call, to tie request and result together. */
  call_id?: string;
  /** Given up when it aborts: the agent took the question back. */
  signal?: AbortSignal;
}
export type GateAnswer = { allow: true } | { allow: false; reason: string };

/** A child process in a process group of its own; `signal` reaches the whole group. */
export interface AgentProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the process has ended; never rejects. */
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  kill(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): void;
}

export interface AdapterTask {
  readonly task_id: string;
  readonly run_id: string;
  readonly attempt: number;
  readonly prompt: string;
  readonly conversation: string | null;
  /** What a resume kept and lost, for the agent to read before the prompt. */
  readonly notice: string | null;
  /** The agent was ended in the middle of this task: it goes on with its turn where it can. */
  readonly interrupted: boolean;
  /** Images that came with the prompt, where the agent can read them. */
  readonly attachments: readonly AttachedImage[];
}

export interface AttachedImage {
  /** Absolute. */
  readonly path: string;
  /** Relative to the workspace. */
  readonly shown: string;
  readonly name: string;
  readonly media_type: string;
  /** Bytes. */
  readonly size: number;
}

/** The model gateway as the agent reaches it. `key` is the gateway's token, never a provider's key. */
export interface GatewayAccess {
  /** http(s)://host[:port], before `/gateway`. */
  readonly url: string;
  readonly key: Secret;
}

export interface AdapterContext {
  readonly task: AdapterTask;
  readonly launch: AgentLaunch;
  readonly model: string | null;
  readonly workspace: string;
  readonly home: string;
  /** What `start` gives to the agent beside its own: the session's environment under the launch's. */
  readonly env: Readonly<Record<string, string>>;
  /** The session's way to a model; null where it has none but what its environment brings. */
  readonly gateway: GatewayAccess | null;
  /** Aborts when the task is to be interrupted; the adapter asks its agent to stop and returns. After the grace the runner kills the group. */
  readonly interrupt: AbortSignal;
  /** Journals an event. Await it: it is the back-pressure. */
  emit(event: Emitted): Promise<void>;
  /** Asks the gate about a tool call; waits as long as it takes. Never throws: a broken gate denies. */
  gate(call: GateCall): Promise<GateAnswer>;
  /**
   * Starts `launch.binary` with these arguments (the adapter places `launch.args` among them) in the workspace, in a process group of its own, with the session's environment, `launch.env` and `env`.
   * Throws a `LaunchError` where the binary is missing.
   */
  start(args: readonly string[], env?: Readonly<Record<string, string>>): AgentProcess;
  /** Remembers the agent's conversation id at once, so that a crash later in the task does not lose it. */
  setConversation(id: string): void;
}

export interface AdapterOutcome {
  status: "completed" | "failed";
  /** The agent's last words. */
  result: string | null;
  exit_code: number | null;
  /** The agent's conversation id, to resume from in the next task. */
  conversation: string | null;
  error?: RunError;
}

export interface Adapter {
  readonly name: AgentLaunch["adapter"];
  /** Environment variable(s) in which this agent takes the provider's key. */
  readonly keyVariables: readonly string[];
  /** Whether an agent that was killed in mid-turn goes on with that turn; what it was asking it asks again. */
  continues(launch: AgentLaunch): boolean;
  /** Files and directories below HOME, relative to it, that hold its conversations and state: they travel with the session. */
  stateFiles(launch: AgentLaunch): readonly string[];
  /** Runs one task to its end. Interrupted, it returns (any outcome: the runner knows why). Throws only on a defect. */
  run(context: AdapterContext): Promise<AdapterOutcome>;
}
