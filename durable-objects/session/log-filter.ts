/** Owns what of a log a reader wants: types and streams as bits, the task, and the test of one item. */

import type { EventItem, EventType, LogQuery } from "../../sdk/protocol/index.ts";
import { BUS_TYPES } from "../rpc.ts";

/** Bits of a block's `kinds`, a bit for each stream of `log`. They are stored: a new kind goes to the end, none moves. */
const ORDER = [
  "stdout", "stderr", "system", "message", "message.delta", "thinking", "tool.call", "tool.result", "file.changed", "usage", "plan", "progress", "error", "run.status",
  "permission.requested", "permission.withdrawn", "session.status", "task.created", "task.status", "permission.answered", "runner.attached", "runner.lost",
  "workspace.synced", "workspace.sync_failed", "workspace.restored", "workspace.restore_failed", "session.receipt",
  "budget.warning", "budget.exceeded",
  "schedule.run",
  "workspace.sync_started",
] as const satisfies readonly (Exclude<EventType, "log"> | Stream)[];
type Stream = "stdout" | "stderr" | "system";
type Kind = (typeof ORDER)[number];
const BITS = Object.fromEntries(ORDER.map((kind, i) => [kind, 2 ** i])) as Record<Kind, number>;
const STREAMS = ["stdout", "stderr", "system"] as const;
const LOG = BITS.stdout | BITS.stderr | BITS.system;
const ALL_KINDS = 2 ** ORDER.length - 1;

export function bitOf(item: EventItem): number {
  return item.type === "log" ? BITS[item.data.stream] : BITS[item.type];
}
export function bitsOf(types: Iterable<EventType>): number {
  let bits = 0;
  for (const type of types) bits |= type === "log" ? LOG : BITS[type];
  return bits;
}

/** Kinds that come in masses. A block that holds any other is found by an index. */
export const MASS_KINDS = LOG | BITS["message.delta"];
export const BUS_KINDS = bitsOf(BUS_TYPES);

/** Small enough for a socket's attachment. */
export interface LogFilter {
  task_id: string | null;
  kinds: number;
  raw: boolean;
}

export function filterOf({ task_id, types, stream, raw }: Pick<LogQuery, "task_id" | "types" | "stream" | "raw">): LogFilter {
  let kinds = types?.length ? bitsOf(types) : ALL_KINDS;
  if (stream?.length) for (const name of STREAMS) if (!stream.includes(name)) kinds &= ~BITS[name];
  return { task_id: task_id ?? null, kinds, raw: raw ?? false };
}

/** True where every item of a block with these kinds passes, but for its task. */
export function passesWhole(kinds: number, filter: LogFilter): boolean {
  return (kinds & ~filter.kinds) === 0;
}
export function passes(item: EventItem, filter: LogFilter): boolean {
  return (bitOf(item) & filter.kinds) !== 0;
}

export function withoutRaw(item: EventItem): EventItem {
  if (item.raw === undefined) return item;
  const { raw: _, ...rest } = item;
  return rest;
}
