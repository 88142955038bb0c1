/** Owns the frames between a runner and its session's object: one WebSocket, JSON, both directions journalled. */

import * as z from "zod";
import { grant, MAX_GRANTS } from "./approval.ts";
import { attachment, MAX_TASK_ATTACHMENTS } from "./attachment.ts";
import { errorBody } from "./errors.ts";
import { runnerItem, type RunnerItem } from "./event.ts";
import { idOf } from "./ids.ts";
import { MAX_FRAME_ITEMS, MAX_PROMPT_CHARS, MAX_RULES } from "./limits.ts";
import { carriedPermission, capsuleWhy } from "./capsule.ts";
import { editMode, rule, scope } from "./policy.ts";

/*
 * The upgrade is GET /links/runner/{session_id} with `Authorization: Bearer gtok_…`; a bad token is 401 before any frame.
 * Up: hello first, then events and command.ack. Down: welcome, then events.ack and command.
 * Liveness: the runner sends the text `ping`, the runtime answers `pong` without waking the object.
 */
export { CLOSE, PING, PONG } from "./link-words.ts";

const position = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const hello = z.strictObject({
  type: z.literal("hello"),
  version: z.number().int(),
  session_id: idOf("session"),
  runner_id: idOf("runner"),
  epoch: z.number().int().min(1),
  /** First and last journal numbers that the runner still has unacknowledged; `last` 0 where the journal never held any. */
  journal: z.strictObject({ first: position, last: position }),
  /** Highest command id that is in the runner's journal. */
  last_command: position,
  /** What runs right now. */
  run_id: idOf("run").nullable(),
  /** Its agent's adapter can go on with a turn that was interrupted. */
  continues: z.boolean().optional(),
});

/** Items `from`, `from + 1`, … of the runner's journal, all of one run (or of none). Journal numbers start at 1 with every attachment. */
export const events = z.strictObject({
  type: z.literal("events"),
  from: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  task_id: idOf("task").nullable(),
  run_id: idOf("run").nullable(),
  items: z.array(runnerItem).min(1).max(MAX_FRAME_ITEMS),
});

/** Every command up to and including `up_to` is in the runner's journal. */
export const commandAck = z.strictObject({ type: z.literal("command.ack"), up_to: position });

export const runnerFrame = z.discriminatedUnion("type", [hello, events, commandAck]);
export type Hello = z.infer<typeof hello>;
export type EventsFrame = { type: "events"; from: number; task_id: string | null; run_id: string | null; items: RunnerItem[] };
export type RunnerFrame = Hello | EventsFrame | z.infer<typeof commandAck>;

/** What the runner must know of its session; sent whole in `welcome` and again whenever it changes. */
export const runnerSettings = z.strictObject({
  edit_mode: editMode,
  rules: z.array(rule).max(MAX_RULES),
  /** What people approved for the session. */
  grants: z.array(grant).max(MAX_GRANTS).optional(),
});
export type RunnerSettings = z.infer<typeof runnerSettings>;

export const commandBody = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("task.start"),
    task_id: idOf("task"),
    run_id: idOf("run"),
    attempt: z.number().int().min(1),
    prompt: z.string().max(MAX_PROMPT_CHARS),
    timeout_seconds: z.number().int().min(1),
    /** The agent's conversation to continue, or null for a new one. */
    conversation: z.string().nullable(),
    /** Words for the agent before the prompt: what a resume kept and lost. */
    notice: z.string().max(8_192).nullable().optional(),
    /** The run continues this task's interrupted turn: where the adapter can, the agent goes on without the prompt. */
    interrupted: z.boolean().optional(),
    /** Questions and answers of the interrupted turn, matched by tool and identical input when the agent asks again. */
    carried: z.array(carriedPermission).max(100).optional(),
    /** What people approved for the interrupted turn. */
    grants: z.array(grant).max(MAX_GRANTS).optional(),
    /** Images that come with the prompt; their bytes are behind `/links/attachments/{session_id}/{id}`. */
    attachments: z.array(attachment).max(MAX_TASK_ATTACHMENTS).optional(),
  }),
  /**
   * Take a capsule: read the trees, send what is missing, report `workspace.synced` or `workspace.sync_failed` with this id.
   * `stop_agent`: the session is suspended without its memory: end the agent first, so that the capsule holds its conversation up to then,
   * and report its run `canceled` with the error code `suspended`.
   */
  z.strictObject({ kind: z.literal("capsule"), capsule_id: idOf("capsule"), why: capsuleWhy, stop_agent: z.boolean() }),
  /** Interrupt the agent, then kill its process group after the grace. */
  z.strictObject({ kind: z.literal("task.cancel"), run_id: idOf("run"), why: z.enum(["canceled", "timeout"]), grace_seconds: z.number().min(0).max(600) }),
  z.strictObject({
    kind: z.literal("permission.answer"),
    permission_id: idOf("permission"),
    run_id: idOf("run"),
    decision: z.enum(["approved", "denied"]),
    reason: z.string().nullable(),
    scope,
  }),
  z.strictObject({ kind: z.literal("settings"), settings: runnerSettings }),
  /** Finish sending, close with `stopped`, exit. */
  z.strictObject({ kind: z.literal("stop"), reason: z.string() }),
]);
export type CommandBody = z.infer<typeof commandBody>;

/** Ids count 1, 2, 3 … within an attachment; resent after every welcome until acknowledged; a runner drops what it has seen. */
export const command = z.strictObject({ type: z.literal("command"), id: z.number().int().min(1), epoch: z.number().int().min(1), body: commandBody });
export type Command = z.infer<typeof command>;

export const welcome = z.strictObject({
  type: z.literal("welcome"),
  version: z.number().int(),
  epoch: z.number().int().min(1),
  /** Last journal number that the session has; the runner resends from the one after. */
  last: position,
  settings: runnerSettings,
});
export const eventsAck = z.strictObject({ type: z.literal("events.ack"), up_to: position });
/** Sent right before the object closes the link. */
export const linkError = z.strictObject({ type: z.literal("error"), error: errorBody });

export const objectFrame = z.discriminatedUnion("type", [welcome, eventsAck, command, linkError]);
export type ObjectFrame = z.infer<typeof objectFrame>;
export type Welcome = z.infer<typeof welcome>;
