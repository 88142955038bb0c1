/** Owns what of a log a reader wants: types as bits, streams, task, and the test of one item. */

import { EVENT_TYPES, type EventItem, type EventType, type LogQuery } from "../../sdk/protocol/index.ts";
import { BUS_TYPES } from "../rpc.ts";

/** Bit of each type in a block's `kinds`. Stored: a new type goes to the end of the list, none moves. */
const ORDER = [
  "log", "message", "message.delta", "thinking", "tool.call", "tool.result", "file.changed", "usage", "plan", "progress", "error", "run.status", "permission.requested",
  "permission.withdrawn", "session.status", "task.created", "task.status", "permission.answered", "runner.attached", "runner.lost",
] as const satisfies readonly EventType[];
type Unlisted = Exclude<EventType, (typeof ORDER)[number]>;
const BITS = Object.fromEntries(ORDER.map((type, i) => [type, 2 ** i])) as Record<EventType, [Unlisted] extends [never] ? number : never>;

export function bitOf(type: EventType): number {
  return BITS[type];
}
export function bitsOf(types: Iterable<EventType>): number {
  let bits = 0;
  for (const type of types) bits |= BITS[type];
  return bits;
}

/** Types that come in masses. A block that holds any other is found by an index. */
export const MASS_KINDS = bitsOf(["log", "message.delta"]);
export const BUS_KINDS = bitsOf(BUS_TYPES);
export const ALL_KINDS = bitsOf(EVENT_TYPES);

const STREAM_BITS = { stdout: 1, stderr: 2, system: 4 } as const;
const ALL_STREAMS = 7;

/** Small enough for a socket's attachment. */
export interface LogFilter {
  task_id: string | null;
  kinds: number;
  streams: number;
  raw: boolean;
}

export function filterOf({ task_id, types, stream, raw }: Pick<LogQuery, "task_id" | "types" | "stream" | "raw">): LogFilter {
  let streams = 0;
  for (const name of stream ?? []) streams |= STREAM_BITS[name];
  return { task_id: task_id ?? null, kinds: types?.length ? bitsOf(types) : ALL_KINDS, streams: streams || ALL_STREAMS, raw: raw ?? false };
}

/** True where every item of a block with these kinds passes, but for its task. */
export function passesWhole(kinds: number, filter: LogFilter): boolean {
  return (kinds & ~filter.kinds) === 0 && (filter.streams === ALL_STREAMS || (kinds & BITS.log) === 0);
}

export function passes(item: EventItem, filter: LogFilter): boolean {
  if ((BITS[item.type] & filter.kinds) === 0) return false;
  return item.type !== "log" || (STREAM_BITS[item.data.stream] & filter.streams) !== 0;
}

export function withoutRaw(item: EventItem): EventItem {
  if (item.raw === undefined) return item;
  const { raw: _, ...rest } = item;
  return rest;
}
