/** Owns the words of the session's machine: its state, what comes in and what it asks to be done. All of it is plain JSON data. */

import type {
  EditMode, ErrorBody, EventItem, Permission, PermissionStatus, Rule, RunnerItem, Run, Runner, SandboxKind, Scope, Session, SessionArchive, SessionCreate, Spawned, Task, TaskCreate, Usage,
} from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";

/** What a session is, without what is derived from the rest of the state. */
export type SessionRecord = Omit<Session, "runner" | "task_id" | "queued_tasks" | "pending_permissions" | "usage" | "last_seq" | "rules"> & {
  /** The agent's conversation at the end of the last task that had one. */
  conversation: string | null;
};

/** A task without its prompt, which stays in the store. */
export type TaskRecord = Omit<Task, "prompt"> & {
  /** Place in the queue; smaller is earlier. */
  order: number;
  /** The conversation that `continue_from` names; null: the session's latest at dispatch. */
  resume: { conversation: string | null } | null;
};

export interface Running {
  task: TaskRecord;
  run: Run;
  /** When the task's time is up; null while the clock stands still because a permission waits, and then `left_ms` is left. */
  deadline: number | null;
  left_ms: number;
  /** Asked to end: why, and when patience ends. */
  ending: { why: "canceled" | "timeout"; deadline: number } | null;
}

export interface PendingPermission {
  id: string;
  run_id: string;
  task_id: string;
}

export type AttachmentState = "leasing" | "queued" | "spawning" | "connected" | "disconnected" | "stopping";

/** One runner's service for the session, from the request of its lease to its release. */
export interface Attachment {
  epoch: number;
  state: AttachmentState;
  /** Why the lease waits, in words. */
  reason: string | null;
  host_id: string | null;
  runner_id: string | null;
  token_hash: string | null;
  spawned: { provider: string; sandbox: SandboxKind | null; isolation: string } | null;
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
    | { kind: "task.start"; task_id: string; run_id: string; attempt: number; timeout_seconds: number; conversation: string | null }
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
  | { kind: "host.forget"; host_id: string };
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
}

export interface State {
  session: SessionRecord | null;
  rules: readonly Rule[];
  usage: Usage;
  /** Pending tasks, in order. Only the first may have a `next_attempt_at` that matters: tasks never overtake. */
  queue: readonly TaskRecord[];
  running: Running | null;
  permissions: readonly PendingPermission[];
  attachment: Attachment | null;
  /** Last number of the runner's journal that is in the log. */
  position: number;
  /** Not yet in the runner's journal. */
  commands: readonly CommandRecord[];
  chores: readonly Chore[];
  counters: Counters;
}

export const NO_USAGE: Usage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null };

export const EMPTY: State = {
  session: null, rules: [], usage: NO_USAGE, queue: [], running: null, permissions: [], attachment: null, position: 0, commands: [], chores: [],
  counters: { epoch: 0, order: 0, failures: 0, retry_at: null, trouble: null },
};

/** Items of a runner's journal that change more than the log. */
export type NotableItem = Extract<RunnerItem, { type: "run.status" | "permission.requested" | "permission.withdrawn" | "usage" }>;

/** What comes in. `known` is the stored record of something that may have ended: ended things are not in the state. */
export type Input =
  | { type: "session.create"; actor: Actor; id: string; workspace_id: string; input: Omit<SessionCreate, "api_key" | "env">; env_names: string[]; has_api_key: boolean }
  | { type: "session.update"; patch: { name?: string | null | undefined; labels?: Record<string, string> | undefined; edit_mode?: EditMode | undefined; rules?: Rule[] | undefined; has_api_key?: true | undefined } }
  | { type: "session.terminate"; by: string }
  /** Its events are in the archive, under this head. */
  | { type: "session.archived"; archive: SessionArchive }
  | { type: "task.create"; id: string; input: Omit<TaskCreate, "prompt">; preview: string; known: TaskRecord | null; continued: TaskRecord | null }
  | { type: "task.cancel"; id: string; by: string; known: TaskRecord | null }
  | { type: "task.retry"; id: string; known: TaskRecord | null }
  | { type: "task.execute"; id: string; known: TaskRecord | null }
  | { type: "permission.answer"; id: string; decision: "approved" | "denied"; actor: Actor; reason: string | null; scope: Scope; known: Permission | null }
  | { type: "lease.granted"; epoch: number; host_id: string; runner_id: string; token_hash: string }
  | { type: "lease.queued"; epoch: number; reason: string }
  | { type: "lease.refused"; epoch: number; message: string }
  | { type: "lease.wanted"; epoch: number }
  | { type: "spawn.answered"; runner_id: string; answer: Spawned }
  /** The token of a spawn that is to be repeated is gone with the memory that held it. */
  | { type: "spawn.renewed"; runner_id: string; new_runner_id: string; token_hash: string }
  | { type: "runner.gone"; epoch: number; runner_id: string; reason: string }
  | { type: "call.done"; key: string }
  | { type: "call.failed"; key: string; message: string }
  | { type: "link.up"; epoch: number; last_command: number }
  /** `stopped`: closed by the runner with the code of an orderly stop. */
  | { type: "link.down"; epoch: number; stopped: boolean }
  /** The runner's journal does not go on where the log ends. */
  | { type: "link.broken"; epoch: number; reason: string }
  | { type: "journal"; epoch: number; to: number; task_id: string | null; run_id: string | null; items: readonly NotableItem[] }
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
  | { kind: "command"; command: CommandRecord }
  | { kind: "commands.drop"; up_to: number }
  | { kind: "call"; chore: Chore }
  | { kind: "close"; epoch: number; code: number; reason: string }
  | { kind: "refuse"; error: ErrorBody };
