/** Owns the three contracts of a persistent computer: Sandbox (its life), AgentImage (what the agent brings), AgentWorkspace (files and commands). */

import * as z from "zod";

/** Where every workspace is, as the agent writes it; programs find it at `AgentWorkspace.root`. */
export const WORKSPACE = "/workspace";
/** Where the agent's identity files are, which only `AgentImage.hydrate` writes. */
export const IDENTITY = "/.marco";
/** Bytes of one read, at most; larger files are read in pieces. */
export const MAX_READ_BYTES = 16 * 1024 * 1024;
/** Bytes of one write, at most. */
export const MAX_WRITE_BYTES = 64 * 1024 * 1024;
/** Entries of one listing, at most. */
export const MAX_ENTRIES = 10_000;
/** Bytes of a command, at most: the kernel takes no longer argument. */
export const MAX_COMMAND_BYTES = 100_000;
/** Bytes kept of a background job's beginning (a little more where it comes fast), and of its end; what lies between is dropped with a note in its place. */
export const JOB_HEAD_BYTES = 8 * 1024 * 1024;
export const JOB_TAIL_BYTES = 1024 * 1024;

/** Names a workspace: one computer, kept across turns and conversations. */
export const workspaceKey = z.string().min(1).max(200).regex(/^[A-Za-z0-9][A-Za-z0-9._:@-]*$/, "expected letters, digits and . _ : @ -");

export type WorkspaceErrorCode =
  /** Nothing of that path, job or workspace. */
  | "not_found"
  /** The path leaves `/workspace` and `/.marco`, by `..`, by being absolute, or by a symbolic link. */
  | "outside"
  /** A write to `/.marco`. */
  | "read_only"
  | "not_a_file"
  | "not_a_directory"
  | "not_empty"
  | "too_large"
  /** The file was changed since the version that the caller named. */
  | "changed"
  | "invalid"
  /** This provider cannot do it at all. */
  | "unsupported"
  /** The sandbox, its engine or its server does not answer now. */
  | "unavailable";

/** An expected failure of a sandbox, in words that a model or a person can act on. */
export class WorkspaceError extends Error {
  readonly code: WorkspaceErrorCode;
  constructor(code: WorkspaceErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "WorkspaceError";
    this.code = code;
  }
}

/** A value that is shown nowhere; what prints it gets `[secret]` from whoever implements this. */
export interface SecretValue {
  reveal(): string;
}

export type SandboxStatus = "absent" | "stopped" | "running";

/** What a provider can do; callers ask before they offer a tool. */
export interface SandboxCapabilities {
  /** Commands can be run. */
  exec: boolean;
  /** Files can be written and deleted. */
  write: boolean;
  /** Background jobs outlive the call that began them. */
  jobs: boolean;
  /** What is installed outside `/workspace` survives `stop`. */
  installs: boolean;
  /** What a command can do to the machine around it. */
  isolation: "none" | "container" | "session";
}

export interface MaterializeOptions {
  signal?: AbortSignal | undefined;
}

/** One computer that is there now: two roles of one workspace. */
export interface OpenSandbox {
  readonly key: string;
  /** This call made it: there is nothing in it yet. */
  readonly fresh: boolean;
  readonly image: AgentImage;
  readonly workspace: AgentWorkspace;
}

/** The life of computers, by workspace key. Every method may be called at any time, and again; concurrent calls for one key make one computer. */
export interface Sandbox {
  /** `local`, `docker`, `session`, … */
  readonly name: string;
  readonly capabilities: SandboxCapabilities;
  /** Makes the computer, or starts the one that is there with all that it holds. */
  materialize(key: string, options?: MaterializeOptions): Promise<OpenSandbox>;
  status(key: string): Promise<SandboxStatus>;
  /** Ends its processes; files and installations stay. */
  stop(key: string): Promise<void>;
  /** Removes all that it holds; false where there was nothing. */
  destroy(key: string): Promise<boolean>;
  /** Lets go of connections; computers stay as they are. */
  close(): Promise<void>;
}

/** What an agent brings into its computer. */
export interface ImageContents {
  /** Any string that changes when the files do; the same version is not written again. */
  version: string;
  /** Paths relative to `/.marco`, and contents. Files of an earlier version that are not among them are removed. */
  files: Readonly<Record<string, string | Uint8Array>>;
  /** Environment of every command from now on. Held in memory only: given anew by every process that opens the sandbox. */
  secrets?: Readonly<Record<string, SecretValue>>;
}

export interface AgentImage {
  /** The version whose files lie at `/.marco`; null before the first. */
  version(): Promise<string | null>;
  /** Puts the files there whole or not at all; true where they were written. */
  hydrate(contents: ImageContents): Promise<boolean>;
}

export interface FileStat {
  /** As the agent writes it: begins with `/workspace` or `/.marco`. */
  path: string;
  name: string;
  /** Links are told as links in listings, and followed by `stat` of the file itself. */
  kind: "file" | "directory" | "symlink" | "other";
  /** Bytes. */
  size: number;
  modified_at: Date;
}

export interface FileBytes {
  path: string;
  /** Bytes of the whole file. */
  size: number;
  /** Where `bytes` begin. */
  offset: number;
  bytes: Uint8Array;
  /** Changes whenever the file does: for `WriteOptions.version`. */
  version: string;
}

export interface ReadOptions {
  /** First byte; 0 where absent. */
  offset?: number | undefined;
  /** Bytes, at most `MAX_READ_BYTES`. Without it, a file larger than that is refused as `too_large`. */
  length?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface WriteOptions {
  /** Only where the file still has this version; null: only where there is none. Throws `changed`. */
  version?: string | null | undefined;
  signal?: AbortSignal | undefined;
}

export interface ExecOptions {
  /** A directory as the agent writes it; `/workspace` where absent. */
  cwd?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  /** Written to the command's stdin, which is then closed; without it stdin is empty. */
  stdin?: Uint8Array | undefined;
  /** Milliseconds, at most 2 ** 31 - 1; then the command and all that it started is killed. */
  timeout_ms?: number | undefined;
  /** Kills the command and all that it started. */
  signal?: AbortSignal | undefined;
}

export type ExecEnd = "exit" | "timeout" | "aborted";

export type ExecEvent =
  | { type: "output"; stream: "stdout" | "stderr"; bytes: Uint8Array }
  /** Always the last, once. `code` is 128 + n where signal n ended the command, as shells tell it; null where nobody knows: it was killed with its shell. */
  | { type: "exit"; code: number | null; end: ExecEnd; duration_ms: number };

export interface JobStatus {
  id: string;
  command: string;
  state: "running" | "exited" | "lost";
  /** Null while it runs, and where it is not known. */
  exit_code: number | null;
  /** Bytes that can be read now. */
  size: number;
}

export interface JobOutput extends JobStatus {
  offset: number;
  bytes: Uint8Array;
  /** Where to read on. */
  next_offset: number;
}

/**
 * Files and commands of one computer. Paths are absolute (`/workspace/a`, `/.marco/b`), relative to `/workspace`, or absolute below `root`; all others
 * throw `outside`. `/.marco` throws `read_only` where it would be written.
 */
export interface AgentWorkspace {
  readonly key: string;
  readonly capabilities: SandboxCapabilities;
  /** Where programs find the workspace: `/workspace`, or a directory of this machine where it is not confined. */
  readonly root: string;
  /** Where programs find the identity files. */
  readonly identity: string;
  read(path: string, options?: ReadOptions): Promise<FileBytes>;
  /** Writes the whole file at once: readers see the old or the new one. Missing directories are made. */
  write(path: string, contents: string | Uint8Array, options?: WriteOptions): Promise<{ created: boolean; version: string }>;
  /** Sorted by name, directories first. */
  list(path: string, options?: { signal?: AbortSignal | undefined }): Promise<FileStat[]>;
  /** A link is deleted, not what it names. A directory that is not empty needs `recursive`, else `not_empty`. */
  delete(path: string, options?: { recursive?: boolean | undefined; signal?: AbortSignal | undefined }): Promise<void>;
  /** Null where nothing is there. */
  stat(path: string, options?: { signal?: AbortSignal | undefined }): Promise<FileStat | null>;
  /** Runs a line of shell. Breaking off the iteration kills it with all that it started. A slow reader slows the command: nothing is buffered without end. */
  exec(command: string, options?: ExecOptions): AsyncIterable<ExecEvent>;
  /** Begins a line of shell that goes on by itself; its output, both streams in one, is kept in the sandbox. */
  startJob(command: string, options?: Pick<ExecOptions, "cwd" | "env">): Promise<JobStatus>;
  jobs(): Promise<JobStatus[]>;
  readJob(id: string, options?: { offset?: number | undefined; length?: number | undefined }): Promise<JobOutput>;
  /** Kills the job and all that it started; resolves when nothing of it is left. */
  killJob(id: string): Promise<JobStatus>;
}
