/** Owns the interface of a sandbox provider: one machine's way to run a runner, with capability flags instead of pretence. */

import type { ProviderCapabilities, RunError, SandboxKind, SuspendOffer } from "../../sdk/protocol/index.ts";
import type { AgentLaunch } from "../runner/spec.ts";

/** Directories on the host that belong to one runner; the provider shows them to it at the paths that it chooses. */
export interface SandboxDirectories {
  workspace: string;
  /** The workspace is a directory of the host's own: it is shown and never made, given away, moved or removed. */
  foreign?: boolean;
  home: string;
  /** Journal and runner.json. */
  state: string;
  /** What the daemon and the provider remember of the runner; never shown to it. */
  record: string;
}

/** Who owns what the sandbox may write, where that is not the daemon's own user. */
export interface Owner {
  uid: number;
  gid: number;
}

/** A part of the host's disk that an agent's program needs, shown read-only. */
export interface HostMount {
  source: string;
  target: string;
}

/** A file on the host that an agent's command names: its binary, or a script among its arguments. */
export interface FoundFile {
  /** As the command names it, made absolute. */
  path: string;
  /** Without links. */
  real: string;
  /** What must be shown so that `path`, and so that `real` works: a directory, or the file alone. */
  shown: string;
  realShown: string;
}

/** An agent's command as it was found on the host. */
export interface FoundAgent {
  launch: AgentLaunch;
  /** Null where this host does not have it. */
  binary: FoundFile | null;
  /** Scripts and other files among the arguments. */
  files: readonly FoundFile[];
}

/** Paths and server address as the runner inside the sandbox sees them. */
export interface SandboxView {
  workspace: string;
  home: string;
  state: string;
  /** Unix socket to the daemon's relay, where the sandbox reaches the control plane through it. */
  socket?: string;
  /** Node's binary, and the directory of runner.js and example.js. */
  node: string;
  bundle: string;
}

export interface StartRequest {
  runner_id: string;
  session_id: string;
  tenant_id: string;
  epoch: number;
  directories: SandboxDirectories;
  mounts: readonly HostMount[];
  /** Workspace and home were made for this start: nobody else uses them, nothing is in them. */
  fresh: boolean;
  /** It was saved, and starts with what was. */
  saved?: boolean;
  /** Who runs inside, instead of the provider's own choice. */
  owner?: Owner | null;
}

export interface RunningSandbox {
  runner_id: string;
  session_id: string;
  epoch: number;
  /** All of it is there and nothing of it runs. */
  frozen?: boolean;
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
  /** How it can suspend, and how it is configured to. */
  readonly suspend: SuspendOffer;
  /** Looks, without changing anything, whether it can work here. */
  probe(): Promise<Availability>;
  /** In words, what holds an agent that this provider runs. */
  readonly isolation: string;
  /** What holds the runners that it starts now; null before the first `probe`. */
  readonly sandbox: SandboxKind | null;
  /** The user that runs inside; null where it is the daemon's own. */
  readonly owner: Owner | null;
  view(directories: SandboxDirectories): SandboxView;
  /** Where an agent that the host has is found inside the sandbox, and what must be shown there for it. */
  place(agent: FoundAgent): { launch: AgentLaunch; mounts: HostMount[] };
  /** Starts the sandbox with a runner in it. `runner.json` is already in `directories.state`. Throws `ProviderError`. */
  start(request: StartRequest): Promise<RunningSandbox>;
  /** Sandboxes of this daemon that run now, also ones from before the daemon's own restart. */
  adopt(): Promise<RunningSandbox[]>;
  /** Makes ready what later starts will want. */
  prepare?(): void;
  /** Asks the runner to stop in order and waits at most `graceSeconds`; false where it still runs. Of a frozen one only the runner itself runs again for that. */
  stop(runnerId: string, graceSeconds: number): Promise<boolean>;
  /** Freezes the sandbox whole: nothing of it runs when this resolves. Idempotent. Throws `ProviderError`, and then nothing is frozen. */
  freeze(runnerId: string): Promise<void>;
  /** Lets a frozen sandbox go on and tells its runner, whose link may be dead; idempotent. False where there is no such sandbox. */
  thaw(runnerId: string): Promise<boolean>;
  /**
   * Saves what the sandbox has beside its directories, stops its runner in order and removes it; a `start` with `saved` begins with what was saved.
   * Gives in words what was kept. Throws `ProviderError`, and then the sandbox is as it was.
   */
  save(runnerId: string, graceSeconds: number): Promise<string>;
  /** Ends it with all that it started and removes it and what was saved of it, frozen or not; true where it existed. Directories stay. */
  destroy(runnerId: string): Promise<boolean>;
  /** The last characters that the runner's own process wrote to stdout and stderr. */
  output(runnerId: string, characters: number): Promise<string>;
  /** Releases what the provider holds itself (clients, watchers); sandboxes live on. */
  close(): Promise<void>;
}
