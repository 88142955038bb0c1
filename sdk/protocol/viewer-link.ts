/** Owns the frames between a log's viewer and the object: blocks of events down, acknowledgements up where flow control is asked for. */

import * as z from "zod";
import { errorBody } from "./errors.ts";
import { event, eventBlock, eventType, type Event, type EventBlock } from "./event.ts";
import { idOf } from "./ids.ts";
import { MAX_PAGE } from "./limits.ts";

/** A list as a query gives it: repeated, or one value with commas. */
function csv<T extends string>(item: z.ZodType<T, string>) {
  return z
    .union([z.array(z.string()), z.string()])
    .transform((value) => [value].flat().flatMap((part) => part.split(",")).filter(Boolean))
    .pipe(z.array(item).max(64));
}

/** What of a session's log to show. */
export const logQuery = z.object({
  /** Events with a greater `seq`. */
  after: z.coerce.number().int().min(0).optional(),
  /** Only the last N that match; not with `after`. */
  tail: z.coerce.number().int().min(0).max(MAX_PAGE).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).optional(),
  task_id: idOf("task").optional(),
  types: csv(eventType).optional(),
  /** Of `log` events, only these streams; every other type passes. */
  stream: csv(z.enum(["stdout", "stderr", "system"])).optional(),
  /** Include the agent's own records. */
  raw: z.enum(["true", "false", "1", "0"]).transform((v) => v === "true" || v === "1").optional(),
});
export type LogQuery = z.infer<typeof logQuery>;

/** A page of a log as REST answers it when it is not followed. `next` is the `after` to go on with; `more` says whether there is more right now. */
export const eventPage = z.object({
  events: z.array(event),
  next: z.number().int(),
  last_seq: z.number().int(),
  more: z.boolean(),
  /** No event will ever follow: the task (of a task's log) or the session has ended. */
  ended: z.boolean(),
});
export interface EventPage {
  events: Event[];
  next: number;
  last_seq: number;
  more: boolean;
  ended: boolean;
}

/** Unacknowledged characters that the object sends at most to a viewer that asked for flow control (`flow=1`). */
export const VIEWER_WINDOW_CHARS = 4 * 1024 * 1024;
/** What a viewer without flow control is sent at most on one connection; then it is closed with `again`, and goes on with `after=`. */
export const VIEWER_UNCHECKED_CHARS = 64 * 1024 * 1024;

/** Down. A block's items may be a filtered part of what was stored: then `seqs` numbers them one by one. */
export const viewerEvents = eventBlock.extend({ type: z.literal("events"), seqs: z.array(z.number().int()).optional() });
/** Down: everything up to `seq` was considered; what follows is live. */
export const caughtUp = z.object({ type: z.literal("caught_up"), seq: z.number().int() });
/** Down: no more will come (the task or the session has ended). */
export const viewerEnd = z.object({ type: z.literal("end"), seq: z.number().int(), reason: z.string() });
export const viewerError = z.object({ type: z.literal("error"), error: errorBody });
export const viewerFrame = z.discriminatedUnion("type", [viewerEvents, caughtUp, viewerEnd, viewerError]);
export type ViewerFrame = (EventBlock & { type: "events"; seqs?: number[] | undefined }) | z.infer<typeof caughtUp> | z.infer<typeof viewerEnd> | z.infer<typeof viewerError>;

/** Up, with `flow=1` only: everything up to `seq` has been handled. */
export const viewerAck = z.strictObject({ type: z.literal("ack"), seq: z.number().int().min(0) });
