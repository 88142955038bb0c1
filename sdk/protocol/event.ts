/** Owns the events of a session's log: their types, their data, and the block in which they travel and are stored. */

import * as z from "zod";
import { grantKeys } from "./approval.ts";
import { attachment } from "./attachment.ts";
import { budgetNotice } from "./budget.ts";
import { capsuleWhy, leftOut, receipt, treeSummary } from "./capsule.ts";
import { idOf } from "./ids.ts";
import { MAX_FRAME_ITEMS, MAX_TEXT_CHARS } from "./limits.ts";
import { toolCall } from "./permission.ts";
import { scope } from "./policy.ts";
import { scheduleNotice } from "./schedule.ts";
import { sessionStatus, usage } from "./session.ts";
import { runError, runStatus, taskStatus } from "./task.ts";
import { json, timestamp } from "./values.ts";

const text = z.string().max(MAX_TEXT_CHARS);
/** How many characters were cut from the text beside it; absent where nothing was. */
const truncated = z.number().int().min(1).optional();

/** Data of each event type. `by runner` types may arrive over a runner's link; the others are the object's own. */
export const eventData = {
  // by runner
  "log": z.object({ stream: z.enum(["stdout", "stderr", "system"]), text, truncated, encoding: z.literal("base64").optional() }),
  "message": z.object({ text, truncated }),
  "message.delta": z.object({ text }),
  "thinking": z.object({ text, truncated }),
  "tool.call": z.object({ call_id: z.string().max(200), tool: z.string().max(200), input: json, summary: z.string().max(8_192).optional(), truncated }),
  "tool.result": z.object({ call_id: z.string().max(200), output: text, is_error: z.boolean(), duration_ms: z.number().min(0).optional(), truncated }),
  "file.changed": z.object({ path: z.string().max(4_096), change: z.enum(["created", "modified", "deleted"]), diff: text.optional(), truncated }),
  /** `gateway`: the edge's own count of one model call; what an agent reports beside it is not counted again. */
  "usage": usage.extend({ model: z.string().max(200).nullable(), source: z.enum(["agent", "gateway"]).optional(), request_id: idOf("model_request").optional(), estimated: z.boolean().optional() }),
  "plan": z.object({ items: z.array(z.object({ text: z.string().max(4_096), status: z.enum(["pending", "in_progress", "completed"]) })).max(200) }),
  "progress": z.object({ text: z.string().max(4_096), fraction: z.number().min(0).max(1).optional() }),
  "error": z.object({ message: z.string().max(8_192), hint: z.string().max(1_024).optional(), fatal: z.boolean().optional() }),
  "run.status": z.object({
    status: runStatus,
    exit_code: z.number().int().nullable().optional(),
    result: text.nullable().optional(),
    error: runError.optional(),
    /** The agent's own conversation id, to resume from. */
    conversation: z.string().max(500).nullable().optional(),
    pid: z.number().int().optional(),
  }),
  "permission.requested": toolCall.extend({ permission_id: idOf("permission"), call_id: z.string().max(200).optional(), keys: grantKeys.nullable().optional() }),
  /** The agent took its question back (the turn was interrupted). */
  "permission.withdrawn": z.object({ permission_id: idOf("permission") }),
  /** The files are read from here on for a capsule that was asked for, perhaps once more: it has what was written by now, and nothing is known of the rest. */
  "workspace.sync_started": z.object({ capsule_id: idOf("capsule"), why: capsuleWhy }),
  /** A capsule was taken. `task_id` and `run_id` of the event are those that had ended when its files were read. */
  "workspace.synced": z.object({
    capsule_id: idOf("capsule"),
    why: capsuleWhy,
    workspace: treeSummary,
    state: treeSummary.nullable(),
    torn: z.boolean(),
    left_out: z.array(leftOut).max(100),
    duration_ms: z.number().min(0),
  }),
  "workspace.sync_failed": z.object({ capsule_id: idOf("capsule"), why: capsuleWhy, error: runError }),
  /** `kept`: the host had these files already. */
  "workspace.restored": z.object({ capsule_id: idOf("capsule").nullable(), workspace: treeSummary, state: treeSummary.nullable(), kept: z.boolean(), duration_ms: z.number().min(0) }),
  /** The old tree is whole; tasks fail with this error until the session is resumed in another way. */
  "workspace.restore_failed": z.object({ capsule_id: idOf("capsule").nullable(), error: runError }),
  // by the object
  "session.receipt": receipt,
  /** Four fifths of a cap are spent. */
  "budget.warning": budgetNotice,
  /** A call was refused, because its largest cost is more than what is left. */
  "budget.exceeded": budgetNotice,
  "schedule.run": scheduleNotice,
  "session.status": z.object({ status: sessionStatus, reason: z.string().nullable() }),
  "task.created": z.object({ task_id: idOf("task"), prompt_preview: z.string(), labels: z.record(z.string(), z.string()), attachments: z.array(attachment).optional() }),
  "task.status": z.object({ status: taskStatus, attempt: z.number().int(), error: runError.nullable(), reason: z.string().nullable() }),
  "permission.answered": z.object({ permission_id: idOf("permission"), status: z.enum(["approved", "denied", "canceled"]), by: z.string().nullable(), reason: z.string().nullable(), scope }),
  "runner.attached": z.object({ runner_id: idOf("runner"), host_id: idOf("host"), epoch: z.number().int(), provider: z.string(), sandbox: z.string().nullable(), isolation: z.string().nullable() }),
  "runner.lost": z.object({ runner_id: idOf("runner"), epoch: z.number().int(), reason: z.string() }),
} as const;

export type EventType = keyof typeof eventData;
export type EventData<T extends EventType> = z.infer<(typeof eventData)[T]>;
export const EVENT_TYPES = Object.keys(eventData) as [EventType, ...EventType[]];
export const eventType = z.enum(EVENT_TYPES);

/** Types that a runner may send; anything else from a runner is refused. */
export const RUNNER_EVENT_TYPES = [
  "log", "message", "message.delta", "thinking", "tool.call", "tool.result", "file.changed", "usage", "plan", "progress", "error",
  "run.status", "permission.requested", "permission.withdrawn",
  "workspace.sync_started", "workspace.synced", "workspace.sync_failed", "workspace.restored", "workspace.restore_failed",
] as const satisfies readonly EventType[];
export type RunnerEventType = (typeof RUNNER_EVENT_TYPES)[number];

function itemOf<T extends EventType>(type: T) {
  return z.strictObject({ at: timestamp, type: z.literal(type), data: eventData[type], raw: json.optional() });
}
type ItemOf<T extends EventType> = { at: string; type: T; data: EventData<T>; raw?: z.infer<typeof json> | undefined };
/** An event without its number and its session: as a block holds it. */
export type EventItem = { [T in EventType]: ItemOf<T> }[EventType];
export type RunnerItem = { [T in RunnerEventType]: ItemOf<T> }[RunnerEventType];

/** Schema of one item that a runner may send; strict about the envelope and about sizes. */
export const runnerItem = z.discriminatedUnion("type", RUNNER_EVENT_TYPES.map(itemOf) as never) as unknown as z.ZodType<RunnerItem>;

/** A run of consecutive events of one task's run (or of none): the unit of wire and storage. Event `i` has `seq = from + i`. */
export const eventBlock = z.object({
  from: z.number().int().min(1),
  task_id: idOf("task").nullable(),
  run_id: idOf("run").nullable(),
  items: z.array(z.object({ at: timestamp, type: eventType, data: z.record(z.string(), json), raw: json.optional() })).max(MAX_FRAME_ITEMS),
});
export interface EventBlock {
  from: number;
  task_id: string | null;
  run_id: string | null;
  items: EventItem[];
}

/** One event as clients see it (REST, SSE, SDK). `cursor` is set on the tenant-wide bus only, where it is what `after=` takes. */
export const event = z.object({
  seq: z.number().int().min(1),
  session_id: idOf("session"),
  task_id: idOf("task").nullable(),
  run_id: idOf("run").nullable(),
  at: timestamp,
  type: eventType,
  data: z.record(z.string(), json),
  raw: json.optional(),
  cursor: z.number().int().optional(),
});
export type Event = { [T in EventType]: ItemOf<T> & { seq: number; session_id: string; task_id: string | null; run_id: string | null; cursor?: number | undefined } }[EventType];

/** The events of a block, numbered. */
export function expand(sessionId: string, block: EventBlock): Event[] {
  return block.items.map((item, i) => ({ seq: block.from + i, session_id: sessionId, task_id: block.task_id, run_id: block.run_id, ...item }));
}
