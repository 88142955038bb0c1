/** Owns the frames of the tenant-wide bus: events of all sessions down, acknowledgements up where flow control is asked for. */

import * as z from "zod";
import { errorBody } from "./errors.ts";
import { event, type Event } from "./event.ts";
import { logQuery } from "./viewer-link.ts";

/** Events that the object sends at most to a viewer that asked for flow control and has not acknowledged them. */
export const BUS_WINDOW = 2_000;

const cursor = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * What of the bus to follow. With `after` everything later comes first, then what is live; without it only what is live.
 * `labels` are `k:v` pairs that the session's labels must all have.
 */
export const busViewQuery = z.strictObject({
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  types: logQuery.shape.types,
  labels: z
    .union([z.array(z.string()), z.string()])
    .transform((value) => [value].flat())
    .pipe(z.array(z.string().regex(/^[^:]{1,63}:/, "expected key:value")).max(64).refine((pairs) => pairs.join("").length <= 1_000, "at most 1,000 characters in all"))
    .optional(),
  flow: z.enum(["1", "0"]).transform((value) => value === "1").optional(),
});
export type BusViewQuery = z.infer<typeof busViewQuery>;

/** Down: events in the order of their cursors; every one carries its own. */
export const busEvents = z.object({ type: z.literal("events"), events: z.array(event.required({ cursor: true })) });
/** Down, in place of what is too old to be kept: events with cursors in (`after`, `first`) are gone. It comes before any event. */
export const busGap = z.object({ type: z.literal("gap"), after: cursor, first: cursor });
/** Down: everything up to `cursor` was considered; what follows is live. */
export const busCaughtUp = z.object({ type: z.literal("caught_up"), cursor });
export const busError = z.object({ type: z.literal("error"), error: errorBody });
export const busFrame = z.discriminatedUnion("type", [busEvents, busGap, busCaughtUp, busError]);
export type BusFrame = { type: "events"; events: Event[] } | z.infer<typeof busGap> | z.infer<typeof busCaughtUp> | z.infer<typeof busError>;

/** Up, with `flow=1` only: everything up to `cursor` has been handled. */
export const busAck = z.strictObject({ type: z.literal("ack"), cursor });
