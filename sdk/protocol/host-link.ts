/** Owns the link between a host daemon and its HostObject: the two Cap'n Web interfaces and the schemas of what crosses them. */

import * as z from "zod";
import { runError } from "./task.ts";
import { hostInfo } from "./host.ts";
import { idOf } from "./ids.ts";
import { hostPath, sandboxKind } from "./session.ts";
import { restoreOrder } from "./capsule.ts";
import { suspendOffer, suspendStrategy, type SuspendStrategy } from "./suspend.ts";
import { env, slug, timestamp } from "./values.ts";
import type { AudioPiece, TranscribeAnswer } from "./voice.ts";

/*
 * The upgrade is GET /links/host with `Authorization: Bearer rtok_…`; `host_id` (query) names a host that joined before, else one is made.
 * The daemon calls `hello` first; the object calls the daemon's `Daemon` stub that came with it.
 */

/** One runner that the daemon has, as it reports it. */
export const runnerReport = z.object({
  runner_id: idOf("runner"),
  session_id: idOf("session"),
  epoch: z.number().int().min(1),
  provider: slug,
  sandbox: sandboxKind.nullable(),
  isolation: z.string().max(500).nullable(),
  state: z.enum(["running", "exited", "suspended"]),
  exit_code: z.number().int().nullable(),
  reason: z.string().max(1_000).nullable(),
});
export type RunnerReport = z.infer<typeof runnerReport>;

export const hostHello = z.object({
  version: z.number().int(),
  info: hostInfo,
  runners: z.array(runnerReport).max(100_000),
  /** What time it is on the machine. */
  clock: timestamp.optional(),
});
export type HostHello = z.infer<typeof hostHello>;

/** Answer to hello: who the host is, and which of the reported runners must go. All others are adopted. */
export const hostWelcome = z.object({ version: z.number().int(), host_id: idOf("host"), destroy: z.array(idOf("runner")) });
export type HostWelcome = z.infer<typeof hostWelcome>;

/** All that a runner needs to start. `run_token` is held in a file of the sandbox's own. No model key is among it: keys stay at the edge. */
export const spawnSpec = z.object({
  runner_id: idOf("runner"),
  session_id: idOf("session"),
  tenant_id: idOf("tenant"),
  workspace_id: idOf("workspace"),
  epoch: z.number().int().min(1),
  run_token: z.string().max(200),
  agent: slug,
  model: z.string().max(200).nullable(),
  provider: slug.nullable(),
  env,
  keep_raw: z.boolean(),
  /** The session was given a model key of its own that is gone: every task fails with `key_missing`. */
  needs_key: z.boolean(),
  /** The session's model calls go through the gateway, which has a key for them; absent: it has none. */
  gateway: z.boolean().optional(),
  /** Trees to restore before the first task. */
  restore: restoreOrder.nullable().optional(),
  /** Largest size of the workspace in MiB; null: the host's disk is the limit. */
  workspace_quota_mb: z.number().int().min(1).nullable().optional(),
  /** Work in this directory of the host, below one of its browse roots, instead of a workspace. */
  directory: hostPath.optional(),
});
export type SpawnSpec = z.infer<typeof spawnSpec>;

export const spawned = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), provider: slug, sandbox: sandboxKind.nullable(), isolation: z.string(), suspend: suspendOffer.optional() }),
  z.object({ ok: z.literal(false), error: runError, retryable: z.boolean() }),
]);
export type Spawned = z.infer<typeof spawned>;

export const fileEntry = z.object({
  name: z.string(),
  path: z.string(),
  kind: z.enum(["file", "directory", "symlink", "other"]),
  size: z.number().int(),
  modified_at: z.string(),
});
export type FileEntry = z.infer<typeof fileEntry>;

/** A part of a file, base64; `size` is the whole file's. */
export const fileContent = z.object({ path: z.string(), size: z.number().int(), offset: z.number().int(), base64: z.string(), modified_at: z.string() });
export type FileContent = z.infer<typeof fileContent>;

/** Entries of a directory from one on, directories first, then by name; `total` counts all. */
export const browsed = z.object({ items: z.array(fileEntry).max(1_000), total: z.number().int() });
export type Browsed = z.infer<typeof browsed>;

/** Answer of a file call: `not_found`, `bad_request` (a path that leaves the workspace, not a file) or the value. */
export type FileAnswer<T> = { ok: true; value: T } | { ok: false; code: "not_found" | "bad_request" | "payload_too_large"; message: string };

/** `strategy` is the one that was carried out: the asked one, or the fallback. */
export const suspended = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), strategy: suspendStrategy, detail: z.string().max(1_000) }),
  z.object({ ok: z.literal(false), error: runError }),
]);
export type Suspended = z.infer<typeof suspended>;
/** `gone`: there is nothing of this runner here any more; a new one must go on from the capsule. */
export const resumed = z.discriminatedUnion("ok", [z.object({ ok: z.literal(true) }), z.object({ ok: z.literal(false), gone: z.boolean(), error: runError })]);
export type Resumed = z.infer<typeof resumed>;

/** What a daemon offers its HostObject. Every method is idempotent by `runner_id`. */
export interface Daemon {
  /** Starts a runner, or answers for the one that already runs with this id. */
  spawn(spec: SpawnSpec): Promise<Spawned>;
  /** Ends a runner and its sandbox; unknown ids are fine. The workspace's files stay. */
  destroy(runnerId: string, reason: string): Promise<void>;
  /** Forgets secrets that are held for a session that has ended. */
  forget(sessionId: string): Promise<void>;
  /**
   * Suspends a runner whose session has taken its capsule. `pause` freezes it; `snapshot` saves and ends it; the others end it.
   * Tries `fallback` when the strategy fails. Idempotent: suspending a suspended runner with a cheaper strategy demotes it.
   */
  suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Suspended>;
  /** Thaws or starts again a runner that was paused or saved; idempotent. */
  resume(runnerId: string): Promise<Resumed>;
  /** Removes the host's copy of a session's workspace and home; refused while a runner uses them. */
  discardFiles(sessionId: string, workspaceId: string): Promise<void>;
  listFiles(workspaceId: string, path: string): Promise<FileAnswer<FileEntry[]>>;
  /** At most 1 MiB at a time. */
  readFile(workspaceId: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>>;
  /** A part of a directory below one of the host's browse roots, hidden entries too; `root` as the host's configuration writes it, `path` relative to it. */
  browse(root: string, path: string, offset: number, limit: number): Promise<FileAnswer<Browsed>>;
  /** A part of a file below a browse root, as `readFile`. */
  readBrowsed(root: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>>;
  /** A piece of a recording, or without bytes the question what became of it. Only of hosts that say `voice`. */
  transcribe?(piece: AudioPiece): Promise<TranscribeAnswer>;
}

/** What a HostObject offers its daemon. */
export interface HostDoor {
  /** First call of a connection. `daemon` is a stub of `Daemon`; the object keeps a duplicate of it. */
  hello(hello: HostHello, daemon: Daemon): Promise<HostWelcome>;
  /** A runner ended or changed. */
  report(report: RunnerReport): Promise<void>;
  /** Capacity, labels, agents or providers changed. */
  update(info: HostHello["info"]): Promise<void>;
  /** The daemon is there, and says so again within `everyMs`. One that has said it and is silent for four times that is taken to be gone: a connection may die without a word. */
  alive(everyMs: number): Promise<void>;
}
