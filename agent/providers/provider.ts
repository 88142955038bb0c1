/** Owns the interface of a sandbox provider: one machine's way to run a runner, with capability flags instead of pretence. */

import type { ProviderCapabilities, RunError, SandboxKind } from "../../sdk/protocol/index.ts";

/** Directories on the host that belong to one runner; the provider shows them to it at the paths that it chooses. */
export interface SandboxDirectories {
  workspace: string;
  home: string;
  /** Journal and runner.json. */
  state: string;
}

/** Paths and server address as the runner inside the sandbox sees them. */
export interface SandboxView {
  workspace: string;
  home: string;
  state: string;
  /** Unix socket to the daemon's relay, where the sandbox reaches the control plane through it. */
  socket?: string;
}

export interface StartRequest {
  runner_id: string;
  session_id: string;
  tenant_id: string;
  epoch: number;
  directories: SandboxDirectories;
  /** One JSON line for the runner's stdin. */
  secrets: string;
}

export interface RunningSandbox {
  runner_id: string;
  session_id: string;
  epoch: number;
  /** Resolves with the exit code once the runner's process has ended. Never rejects. */
  exited: Promise<{ code: number | null; signal: string | null; reason: string | null }>;
}

export interface Availability {
  available: boolean;
  /** What it runs in, or why not and what to do. */
  detail: string;
  sandbox: SandboxKind | null;
}

export class ProviderError extends Error {
  readonly run: RunError;
  readonly retryable: boolean;
  constructor(run: RunError, retryable: boolean) {
    super(run.message);
    this.name = "ProviderError";
    this.run = run;
    this.retryable = retryable;
  }
}

export interface Provider {
  readonly name: string;
  readonly capabilities: ProviderCapabilities;
  /** Looks, without changing anything, whether it can work here. */
  probe(): Promise<Availability>;
  /** In words, what holds an agent that this provider runs. */
  readonly isolation: string;
  view(directories: SandboxDirectories): SandboxView;
  /** Starts the sandbox with a runner in it. `runner.json` is already in `directories.state`. Throws `ProviderError`. */
  start(request: StartRequest): Promise<RunningSandbox>;
  /** Sandboxes of this daemon that run now, also ones from before the daemon's own restart. */
  adopt(): Promise<RunningSandbox[]>;
  /** Ends it and removes it; true where it existed. Directories stay. */
  destroy(runnerId: string): Promise<boolean>;
  /** Releases what the provider holds itself (clients, watchers); sandboxes live on. */
  close(): Promise<void>;
}
