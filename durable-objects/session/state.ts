/** Owns the words of the session's machine: its state, what comes in and what it asks to be done. All of it is plain JSON data. */

import type {
  BudgetCaps, Capsule, ErrorBody, EventItem, LifecycleMode, ModelRequest, Permission, PermissionStatus, RestoreOrder, Resumed, Rule, Run, Runner, RunnerItem, SandboxKind, Scope, Session,
  SessionArchive, SessionCreate, SessionPatch, SessionResume, Spawned, SuspendCause, Suspended, SuspendOffer, SuspendStrategy, Task, TaskCreate, Usage,
} from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";
import { NO_APPROVALS, type Approvals } from "./approvals.ts";
import { NO_GATEWAY, type GatewayInput, type GatewayState } from "./budget.ts";
import type { ScheduleInput, ScheduleRecord } from "./schedule.ts";

/** What a session is, without what is derived from the rest of the state. */
export type SessionRecord = Omit<Session, "runner" | "task_id" | "queued_tasks" | "pending_permissions" | "usage" | "last_seq" | "rules" | "suspension" | "interrupted"> & {
  /** The agent's conversation at the end of the last task that had one. */
  conversation: string | null;
  /** The last run that ended by its own word: what it wrote is lost where no capsule has it and its host is gone. */
  last_run_id: string | null;
};

/** How a task was interrupted in the middle of its turn. */
export interface Interrupted {
  run_id: string;
  conversation: string | null;
  /** The only host that has the turn so far; null: the capsule has it. */
  host_id: string | null;
  /** Questions that wait, and answers that the agent has not had. */
  permissions: string[];
}

/** A task without its prompt, which stays in the store. */
export type TaskRecord = Omit<Task, "prompt"> & {
  /** Place in the queue; smaller is earlier. */
  order: number;
  /** The conversation that `continue_from` names; null: the session's latest at dispatch. */
  resume: { conversation: string | null } | null;
  interrupted: Interrupted | null;
  /** Attempts that were interrupted and used up no retry; and how many of those by a lost runner. */
  interruptions: number;
  losses: number;
};

export interface Running {
  task: TaskRecord;
  run: Run;
  /** When the task's time is up; null while the clock stands still because a permission waits, and then `left_ms` is left. */
  deadline: number | null;
  left_ms: number;
  /** Asked to end: why, and when patience ends. */
  ending: { why: "canceled" | "timeout"; deadline: number } | null;
  /** Since when a question waits without any answer; null where none does. */
  asked_at: number | null;
  /** As soon as the runner knows it. */
  conversation: string | null;
}

export interface Reading {
  capsule_id: string;
  seq: number;
  /** The last run that had ended by its own word. */
  covers: string | null;
}

/** The latest capsule, as far as restoring needs it. */
export interface LatestCapsule {
  id: string;
  /** The last ended run whose files it has. */
  covers: string | null;
  workspace_manifest_id: string;
  state_manifest_id: string | null;
  files: number;
  bytes: number;
  /** What it left out, in words. */
  left_out: string[];
}

/**
 * A suspension from its request until the session is active again. `capsule`: the runner is asked for one; `freezing`: the host is asked to
 * hold the runner; `ending`: the runner is asked to stop; `over`: suspended; `thawing`: the host is asked to let it go on.
 */
export interface Suspending {
  phase: "capsule" | "freezing" | "ending" | "over" | "thawing";
  /** The one asked for, later the one carried out. */
  strategy: SuspendStrategy;
  fallback: SuspendStrategy | null;
  cause: SuspendCause;
  reason: string | null;
  since: string;
  /** The capsule that was asked for, and what became of it; null where none was. */
  capsule: { id: string; outcome: "waiting" | "synced" | "failed"; message: string | null } | null;
  /** When the phase has lasted too long; while held, when it is demoted. */
  deadline: number | null;
  /** Something came that wants the session active: resume as soon as it is suspended. */
  wake: boolean;
  /** Why the strategy that was asked for was not carried out, in words. */
  trouble: string | null;
  from_host_id: string | null;
}

/** What the next runner's receipt tells of: how the one before it ended. */
export interface Before {
  how: "suspended" | "lost" | "given_back" | "forked";
  strategy: SuspendStrategy | null;
  host_id: string | null;
  trouble: string | null;
  /** Processes were running as part of a turn. */
  interrupted: boolean;
}

export interface PendingPermission {
  id: string;
  run_id: string;
  task_id: string;
}

/** Hash of the gateway's token, and the session's own model key, sealed with the token. */
export interface GatewayAccess {
  hash: string;
  sealed_key: string | null;
}

/** `held`: frozen or saved by a suspension; its link may be down. */
export type AttachmentState = "leasing" | "queued" | "spawning" | "connected" | "disconnected" | "stopping" | "held";

/** One runner's service for the session, from the request of its lease to its release. */
export interface Attachment {
  epoch: number;
  state: AttachmentState;
  /** Why the lease waits, in words. */
  reason: string | null;
  host_id: string | null;
  runner_id: string | null;
  token_hash: string | null;
  /** What the agent opens the model gateway with, and the model key that only it opens. */
  gateway: GatewayAccess | null;
  spawned: { provider: string; sandbox: SandboxKind | null; isolation: string } | null;
  /** What its provider can do when the session is suspended. */
  offer: SuspendOffer;
  /** Version of the runner's link; 0 before its hello. */
  version: number;
  /** Its agent's adapter can go on with an interrupted turn. */
  continues: boolean;
  /** The runner's socket is there. */
  linked: boolean;
  /** When it came up or was resumed. */
  up_at: number | null;
  /** Since when it has had nothing to do. */
  idle_since: number | null;
  /** What it was told to restore; `exact` holds back tasks until it has. */
  restore: RestoreOrder | null;
  /** Words for the agent, given with the next task. */
  notice: string | null;
  /** The capsule that somebody has asked for, until it is there or cannot be. */
  capsule: string | null;
  /** The runner has said hello at least once. */
  met: boolean;
  /** `runner.attached` has been logged. */
  announced: boolean;
  /** Give the runner back as soon as nothing runs: it serves one task only, or must be started anew. */
  retire: string | null;
  /** What the pool was last told. */
  idle: boolean;
  next_command: number;
  /** When the state that it is in has lasted too long. */
  deadline: number | null;
  runner: Runner | null;
}

/** A command as it is kept: what is large (prompt, rules) is joined when it is sent. */
export type CommandRecord = {
  id: number;
  epoch: number;
  body:
    | {
        kind: "task.start"; task_id: string; run_id: string; attempt: number; timeout_seconds: number; conversation: string | null;
        notice?: string; interrupted?: boolean; carried?: string[];
      }
    | { kind: "capsule"; capsule_id: string; why: Capsule["why"]; stop_agent: boolean }
    | { kind: "task.cancel"; run_id: string; why: "canceled" | "timeout"; grace_seconds: number }
    | { kind: "permission.answer"; permission_id: string; run_id: string; decision: "approved" | "denied"; reason: string | null; scope: Scope }
    | { kind: "settings" }
    | { kind: "stop"; reason: string };
};

/** A call to another object that is repeated until it is answered; receivers are idempotent. */
export type Call =
  | { kind: "lease.request"; epoch: number }
  | { kind: "lease.release"; epoch: number }
  | { kind: "lease.idle"; epoch: number; idle: boolean }
  | { kind: "host.spawn"; epoch: number; host_id: string; runner_id: string }
  | { kind: "host.destroy"; host_id: string; runner_id: string; reason: string }
  | { kind: "host.forget"; host_id: string }
  | { kind: "host.suspend"; host_id: string; runner_id: string; strategy: SuspendStrategy; fallback: SuspendStrategy | null }
  | { kind: "host.resume"; host_id: string; runner_id: string }
  | { kind: "host.discard"; host_id: string }
  | { kind: "budget.raise"; budget_id: string; permission_id: string; caps: BudgetCaps | null };
export interface Chore {
  key: string;
  call: Call;
  /** Failures in a row. */
  tries: number;
  /** On its way; else it waits for `at`. */
  calling: boolean;
  /** When to call again. */
  at: number;
}

export interface Counters {
  epoch: number;
  order: number;
  /** Attachments in a row that ended before their runner said hello. */
  failures: number;
  /** No lease is asked for before this. */
  retry_at: number | null;
  /** Why the last attachment failed, in words. */
  trouble: string | null;
  /** Since when there has been nothing to do and no runner. */
  idle_since: number | null;
}

export interface State {
  session: SessionRecord | null;
  rules: readonly Rule[];
  usage: Usage;
  /** Pending tasks, in order. Only the first may have a `next_attempt_at` that matters: tasks never overtake. */
  queue: readonly TaskRecord[];
  running: Running | null;
  permissions: readonly PendingPermission[];
  /** What people approved beyond a single call. */
  approvals: Approvals;
  attachment: Attachment | null;
  /** Last number of the runner's journal that is in the log. */
  position: number;
  /** Not yet in the runner's journal. */
  commands: readonly CommandRecord[];
  chores: readonly Chore[];
  counters: Counters;
  suspending: Suspending | null;
  /** The latest capsule. */
  capsule: LatestCapsule | null;
  /** A capsule that was asked for, from where its files are read: what held then is what it stands for. */
  reading: Reading | null;
  /** What the next runner restores whatever its host has: the session was forked, or resumed from an older capsule. */
  restore: RestoreOrder | null;
  before: Before | null;
  /** Model calls, and what they may spend. */
  gateway: GatewayState;
  schedule: ScheduleRecord | null;
}

export const NO_USAGE: Usage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null };

export const EMPTY: State = {
  session: null, rules: [], usage: NO_USAGE, queue: [], running: null, permissions: [], approvals: NO_APPROVALS, attachment: null, position: 0, commands: [], chores: [],
  counters: { epoch: 0, order: 0, failures: 0, retry_at: null, trouble: null, idle_since: null },
  suspending: null, capsule: null, reading: null, restore: null, before: null, gateway: NO_GATEWAY, schedule: null,
};

/** Items of a runner's journal that change more than the log. */
export type NotableItem = Extract<RunnerItem, {
  type: "run.status" | "permission.requested" | "permission.withdrawn" | "usage" | "workspace.sync_started" | "workspace.synced" | "workspace.sync_failed" | "workspace.restored" | "workspace.restore_failed";
}>;

/** What the session's first runner restores: the capsule of another session, or a manifest of its workspace. */
export type Origin = { capsule: Capsule } | { manifest_id: string };

/** What comes in. `known` is the stored record of something that may have ended: ended things are not in the state. */
export type Input =
  | { type: "session.create"; actor: Actor; id: string; workspace_id: string; input: Omit<SessionCreate, "api_key" | "env" | "lifecycle_mode"> & { lifecycle_mode: LifecycleMode }; env_names: string[]; has_api_key: boolean; origin?: Origin | undefined }
  | { type: "session.update"; patch: Omit<SessionPatch, "api_key"> & { has_api_key?: true | undefined } }
  | { type: "session.suspend"; strategy: SuspendStrategy | null; cause: SuspendCause; reason: string | null }
  /** `from`: the capsule to go on from instead of the latest state. */
  | { type: "session.resume"; by: string; options: Partial<Pick<SessionResume, "provider" | "selector">>; from: Capsule | null; has_api_key: boolean }
  | { type: "workspace.chosen"; manifest_id: string }
  | { type: "capsule.take"; id: string }
  | { type: "session.terminate"; by: string }
  /** Its events are in the archive, under this head. */
  | { type: "session.archived"; archive: SessionArchive }
  | { type: "task.create"; id: string; input: Omit<TaskCreate, "prompt">; preview: string; known: TaskRecord | null; continued: TaskRecord | null; /** Begins a fresh conversation. */ fresh?: boolean; images?: Task["attachments"] }
  | { type: "task.cancel"; id: string; by: string; known: TaskRecord | null }
  | { type: "task.retry"; id: string; known: TaskRecord | null }
  | { type: "task.execute"; id: string; known: TaskRecord | null }
  | { type: "permission.answer"; id: string; decision: "approved" | "denied"; actor: Actor; reason: string | null; scope: Scope; known: Permission | null; caps?: BudgetCaps | null }
  | { type: "lease.granted"; epoch: number; host_id: string; runner_id: string; token_hash: string; gateway?: GatewayAccess }
  | { type: "lease.queued"; epoch: number; reason: string }
  | { type: "lease.refused"; epoch: number; message: string }
  | { type: "lease.wanted"; epoch: number }
  | { type: "spawn.answered"; runner_id: string; answer: Spawned }
  /** The token of a spawn that is to be repeated is gone with the memory that held it. */
  | { type: "spawn.renewed"; runner_id: string; new_runner_id: string; token_hash: string; gateway?: GatewayAccess }
  | { type: "runner.drain"; by: string }
  | { type: "runner.gone"; epoch: number; runner_id: string; reason: string }
  | { type: "host.suspended"; runner_id: string; answer: Suspended }
  | { type: "host.resumed"; runner_id: string; answer: Resumed }
  | { type: "call.done"; key: string }
  | { type: "call.failed"; key: string; message: string }
  | { type: "link.up"; epoch: number; last_command: number; version?: number; continues?: boolean }
  /** `stopped`: closed by the runner with the code of an orderly stop. */
  | { type: "link.down"; epoch: number; stopped: boolean }
  /** The runner's journal does not go on where the log ends. */
  | { type: "link.broken"; epoch: number; reason: string }
  /** `seq`: the last event of the log, which is the last of `items` where they are logged. */
  | { type: "journal"; epoch: number; to: number; task_id: string | null; run_id: string | null; items: readonly NotableItem[]; seq: number }
  | GatewayInput
  | ScheduleInput
  | { type: "command.ack"; epoch: number; up_to: number }
  /** The object was started anew: calls that were under way are not any more. `linked`: the runner's socket is still there. */
  | { type: "woken"; linked: boolean }
  | { type: "tick" };

/** What must be done, in order, in the transaction that stores the state; `call`, `command` and `close` reach out after it. */
export type Effect =
  | { kind: "append"; task_id: string | null; run_id: string | null; item: EventItem }
  | { kind: "put.task"; value: TaskRecord }
  | { kind: "put.run"; value: Run }
  | { kind: "put.runner"; value: Runner }
  | { kind: "put.permission"; value: Permission }
  | { kind: "end.permission"; id: string; status: Exclude<PermissionStatus, "pending">; decision: Permission["decision"]; at: string }
  | { kind: "put.session" }
  | { kind: "put.schedule" }
  /** A task gets the prompt of the schedule `of`. */
  | { kind: "put.prompt"; task_id: string; of: string }
  /** A model call that has ended, for the database. */
  | { kind: "put.request"; value: ModelRequest }
  /** A question goes on waiting in another run of its task. */
  | { kind: "move.permission"; id: string; run_id: string }
  /** Its `seq` and conversation are filled in by the store. */
  /** `seq`: the log up to which it stands for; null: to be seen from the log. */
  | { kind: "put.capsule"; value: Omit<Capsule, "seq" | "conversation">; conversation: string | null; seq: number | null }
  | { kind: "command"; command: CommandRecord }
  | { kind: "commands.drop"; up_to: number }
  | { kind: "call"; chore: Chore }
  | { kind: "close"; epoch: number; code: number; reason: string }
  | { kind: "refuse"; error: ErrorBody };
