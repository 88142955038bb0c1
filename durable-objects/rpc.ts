/** Owns the calls that objects offer the worker and one another; failures travel as data (`Result`), never as thrown classes. */

import type {
  Browsed, Capsule, CapsuleAsked, Event, EventType, FileContent, FileEntry, Host, HostInfo, Limits, LogQuery, Page, Permission, PermissionApprove, PermissionDeny, Result,
  Resumed, Run, RunError, RunnerReport, Session, SessionCreate, SessionFork, SessionHistory, SessionPatch, SessionResume, SessionSuspend, Spawned,
  SpawnSpec, Suspended, SuspendStrategy, Task, TaskCreate,
} from "../sdk/protocol/index.ts";
import type { SessionAttachmentRpc } from "./attachment-rpc.ts";
import type { SessionGatewayRpc, TenantGatewayRpc } from "./model-rpc.ts";
import type { SessionScheduleRpc } from "./schedule-rpc.ts";
import type { HostVoiceRpc } from "./voice-rpc.ts";

/** Who calls. An object answers `not_found` where `tenant_id` is not its own. */
export interface Actor {
  tenant_id: string;
  /** The API key's id, or `system`. */
  key_id: string;
  key_name: string | null;
}

/** A page of a session's log. `next` is the `after` to go on with; `more` says whether there is more right now. */
export interface LogPage {
  events: Event[];
  last_seq: number;
  next: number;
  more: boolean;
  /** No event will ever follow: the task (with `task_id`) or the session has ended. */
  ended: boolean;
}

/** What a run token opens: one session's own things, for as long as its attachment lasts. */
export interface RunClaim {
  tenant_id: string;
  session_id: string;
  workspace_id: string;
  epoch: number;
}

/** The point of another session that a new one begins with. `needs_key`: that session was given a model key, which does not travel. */
export interface ForkOrigin {
  capsule: Capsule;
  needs_key: boolean;
}
/** What a session's first runner restores: a fork's capsule, or the files of a workspace that was there before. */
export type SessionOrigin = ForkOrigin | { manifest_id: string };
export interface ForkSource extends ForkOrigin {
  input: SessionCreate;
}

export interface SessionRpc extends SessionAttachmentRpc, SessionGatewayRpc, SessionScheduleRpc {
  /** Idempotent by id: a second create of the same id answers the session as it is. */
  create(actor: Actor, id: string, workspaceId: string, input: SessionCreate, origin?: SessionOrigin): Promise<Result<Session>>;
  read(actor: Actor): Promise<Result<Session>>;
  update(actor: Actor, patch: SessionPatch): Promise<Result<Session>>;
  terminate(actor: Actor): Promise<Result<Session>>;
  /** `conflict` with `details.instead` (what would work) where it cannot be, and with `details.strategies` where the provider lacks the strategy. */
  suspend(actor: Actor, input: SessionSuspend): Promise<Result<Session>>;
  /** A session that is active, or on its way, is answered as it is. */
  resume(actor: Actor, input: SessionResume): Promise<Result<Session>>;
  /** Suspends the session by pausing this runner. Of a runner, all three are done only while it serves the session: else `conflict` with `details.runner_id`, the one that does. */
  pauseRunner(actor: Actor, runnerId: string): Promise<Result<Session>>;
  resumeRunner(actor: Actor, runnerId: string): Promise<Result<Session>>;
  /** It takes no new task, and is given back when it has none. */
  drainRunner(actor: Actor, runnerId: string): Promise<Result<Session>>;
  /** Its workspace was set back to an earlier manifest: the next runner restores it. `conflict` while it has a runner. */
  workspaceRestored(actor: Actor, manifestId: string): Promise<Result<Session>>;
  /** Asks the runner for a capsule of this id, and answers at once; idempotent by it. The newest that was asked for wins. `conflict` where no runner can take one. */
  takeCapsule(actor: Actor, capsuleId: string): Promise<Result<CapsuleAsked>>;
  /** Newest first. */
  listCapsules(actor: Actor, query: { limit: number; offset: number }): Promise<Result<Page<Capsule>>>;
  readCapsule(actor: Actor, capsuleId: string): Promise<Result<Capsule>>;
  /** What a new session is made of that goes on from a point of this one; its capsule is kept from now on. `conflict` with `details.points` where the point is gone. */
  forkSource(actor: Actor, at: Pick<SessionFork, "seq" | "task_id" | "capsule_id">): Promise<Result<ForkSource>>;

  /** Idempotent by task id. */
  createTask(actor: Actor, taskId: string, input: TaskCreate): Promise<Result<Task>>;
  readTask(actor: Actor, taskId: string): Promise<Result<Task>>;
  /** Runs of a task, first to last. */
  readRuns(actor: Actor, taskId: string): Promise<Result<Run[]>>;
  cancelTask(actor: Actor, taskId: string): Promise<Result<Task>>;
  /** A new attempt of a task that ended badly: back to `pending`, at the end of the queue. */
  retryTask(actor: Actor, taskId: string): Promise<Result<Task>>;
  /** Starts a pending task without waiting for its backoff. */
  executeTask(actor: Actor, taskId: string): Promise<Result<Task>>;

  readPermission(actor: Actor, permissionId: string): Promise<Result<Permission>>;
  /** A second answer is `conflict` with `details: { status, decision }`. */
  approvePermission(actor: Actor, permissionId: string, input: PermissionApprove): Promise<Result<Permission>>;
  denyPermission(actor: Actor, permissionId: string, input: PermissionDeny): Promise<Result<Permission>>;

  readLog(actor: Actor, query: LogQuery): Promise<Result<LogPage>>;
  /** What this object knows of the session's history, to check an export against. */
  readHistory(actor: Actor): Promise<Result<Omit<SessionHistory, "recorded">>>;
  /** A block of the history as text, wherever it is; null behind the last one. `last`: none follows it now. */
  readBlock(actor: Actor, block: number): Promise<Result<{ text: Uint8Array<ArrayBuffer>; last: boolean } | null>>;
  /** Whose run token this is: `unauthorized` unless it is that of the current attachment. Every door that takes a run token asks here. */
  checkRun(tokenHash: string): Promise<Result<RunClaim>>;

  // from the pool
  /** The host to spawn on; stale epochs are ignored. */
  leaseGranted(epoch: number, hostId: string): Promise<void>;
  /** Why the request waits, whenever that changes. */
  leaseQueued(epoch: number, reason: string): Promise<void>;
  /** Others wait: give the runner back if nothing runs or is queued. */
  leaseWanted(epoch: number): Promise<void>;
  // from the host
  /** The runner is gone for good (its daemon will not bring it back). */
  runnerGone(epoch: number, runnerId: string, reason: string): Promise<void>;

  // fetch():
  //   GET /runner   WebSocket upgrade, `Authorization: Bearer gtok_…`
  //   GET /viewer   WebSocket upgrade; query as LogQuery plus `flow=1`; headers `x-marionette-actor: <Actor as JSON>`, `x-marionette-stream: <counted stream>` set by the worker
}

export interface LeaseRequest {
  tenant_id: string;
  session_id: string;
  epoch: number;
  agent: string;
  provider: string | null;
  selector: string | null;
  /** The host that has the workspace's files. `must`: no other will do, because they are nowhere else. */
  host: { host_id: string; must: boolean } | null;
}
export type LeaseAnswer = { granted: true; host_id: string } | { granted: false; reason: string };

export interface PoolRpc {
  /** Idempotent by (session, epoch). A request that can never be served (bad selector) fails; one that cannot be served now is queued. */
  request(request: LeaseRequest): Promise<Result<LeaseAnswer>>;
  /** Gives a lease back or leaves the queue; wakes the queue. Unknown leases are fine. */
  release(sessionId: string, epoch: number): Promise<void>;
  /** The lease's session has nothing to do (or has again): idle leases are asked back, longest idle first, when others wait. */
  setIdle(sessionId: string, epoch: number, idle: boolean): Promise<void>;
  // from the host
  memberUp(tenantId: string, hostId: string, info: HostInfo, draining: boolean): Promise<void>;
  memberDown(hostId: string): Promise<void>;
}

export interface HostRpc extends HostVoiceRpc {
  read(actor: Actor): Promise<Result<Host>>;
  /** Starts the runner; idempotent by runner id. `unavailable` where the daemon is not connected. */
  spawn(spec: SpawnSpec): Promise<Result<Spawned>>;
  /** Makes sure that the runner is gone, now or when the daemon is back. */
  destroy(runnerId: string, reason: string): Promise<void>;
  /** Forget what is held in memory for a session. */
  forget(sessionId: string): Promise<void>;
  /** Holds a runner whose session has its capsule, or ends it, as the answer says. `unavailable` where the daemon is not connected. */
  suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Result<Suspended>>;
  /** Lets a held runner go on. */
  resume(runnerId: string): Promise<Result<Resumed>>;
  /** Makes sure that the host's copy of a session's files goes, when no runner uses it any more; a later spawn of the session takes it back. */
  discardFiles(sessionId: string, workspaceId: string): Promise<void>;
  drain(actor: Actor, draining: boolean): Promise<Result<Host>>;
  listFiles(actor: Actor, workspaceId: string, path: string): Promise<Result<FileEntry[]>>;
  readFile(actor: Actor, workspaceId: string, path: string, offset: number, length: number): Promise<Result<FileContent>>;
  /** See `Daemon.browse`. */
  browse(actor: Actor, root: string, path: string, offset: number, limit: number): Promise<Result<Browsed>>;
  readBrowsed(actor: Actor, root: string, path: string, offset: number, length: number): Promise<Result<FileContent>>;
  /** What the daemon says runs now. */
  runners(actor: Actor): Promise<Result<RunnerReport[]>>;

  // fetch():
  //   GET /daemon   WebSocket upgrade (Cap'n Web); headers set by the worker: x-marionette-host (HostJoin as JSON)
}
/** What the worker knows of a daemon that joins, from its runner token. */
export interface HostJoin {
  tenant_id: string;
  host_id: string;
  pool: string;
  labels: Record<string, string>;
}

/** An event on its way to the tenant's bus: small, without raw. */
export type BusEvent = Event & { labels: Record<string, string> };
/** Types that reach the tenant-wide bus. */
export const BUS_TYPES: ReadonlySet<EventType> = new Set<EventType>([
  "session.status", "task.created", "task.status", "run.status", "permission.requested", "permission.answered", "permission.withdrawn",
  "usage", "runner.attached", "runner.lost", "error", "budget.warning", "budget.exceeded", "schedule.run",
]);

export interface BusPage {
  events: Event[];
  last_cursor: number;
  next: number;
  more: boolean;
}
export interface BusQuery {
  after?: number | undefined;
  limit?: number | undefined;
  types?: string[] | undefined;
  /** `k:v` pairs that the session's labels must have. */
  labels?: string[] | undefined;
}

export type Admission = { admitted: true; limit: number; remaining: number; reset_seconds: number } | { admitted: false; limit: number; retry_after_seconds: number };
export type IdempotencyAnswer =
  | { state: "new"; /** Ids to use, the same on every try. */ seed: string }
  | { state: "done"; status: number; body: string }
  | { state: "other_body" };

export interface TenantRpc extends TenantGatewayRpc {
  /** Appends a session's events to the bus; idempotent: events at or below the session's last known seq are dropped. */
  publish(sessionId: string, events: BusEvent[]): Promise<void>;
  readBus(query: BusQuery): Promise<BusPage>;
  /** Takes one token of a key's minute. */
  admit(keyId: string, what: "sessions" | "tasks"): Promise<Admission>;
  setLimits(limits: Limits): Promise<void>;
  openStream(streamId: string): Promise<boolean>;
  closeStream(streamId: string): Promise<void>;
  /** First step of an idempotent create: the same key and body answers the same for 24 h. */
  begin(scope: string, key: string, bodyHash: string): Promise<IdempotencyAnswer>;
  finish(scope: string, key: string, status: number, body: string): Promise<void>;

  // fetch():
  //   GET /bus   WebSocket upgrade; query after, types, labels
}

export type { Result, RunError };
