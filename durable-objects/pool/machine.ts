/** Owns the pool's machine: members, leases and the queue. Pure: `step(state, event, now)` decides, the object stores and tells. */

import type { HostInfo } from "../../sdk/protocol/index.ts";
import type { LeaseRequest } from "../rpc.ts";
import { choose, eligible, fullReason, type Eligible, type Member } from "./placement.ts";
import type { Condition } from "./selector.ts";

/** How long an idle session may think about giving its runner back before another is asked. */
export const ASK_MS = 5_000;
/** How long an epoch that was given back is remembered, so that a request that comes late does not take capacity that nobody returns. */
export const CLOSED_MS = 3_600_000;

/** A session's request: with a host it is a lease, without one it waits. */
export interface Entry {
  request: LeaseRequest;
  conditions: readonly Condition[];
  /** Place in the queue; smaller is earlier. */
  order: number;
  host_id: string | null;
  /** Why it waits. */
  reason: string | null;
  idle_since: number | null;
  /** When it was last asked to give its runner back. */
  asked_at: number | null;
}

/** An epoch that is over: requests up to it are refused. */
export interface Closed {
  epoch: number;
  at: number;
}

export interface State {
  pool: string;
  members: ReadonlyMap<string, Member>;
  /** By session, in the order of the queue. */
  entries: ReadonlyMap<string, Entry>;
  closed: ReadonlyMap<string, Closed>;
  next_order: number;
}

export type PoolEvent =
  | { type: "request"; request: LeaseRequest; conditions: readonly Condition[] }
  | { type: "release"; session_id: string; epoch: number }
  | { type: "idle"; session_id: string; epoch: number; idle: boolean }
  | { type: "member.up"; host_id: string; info: HostInfo; draining: boolean }
  | { type: "member.down"; host_id: string }
  | { type: "tick" };

/** What to tell sessions. Grants and reasons must arrive; a `wanted` that is lost is repeated after `ASK_MS`. */
export type Effect =
  | { kind: "granted"; session_id: string; epoch: number; host_id: string }
  | { kind: "queued"; session_id: string; epoch: number; reason: string }
  | { kind: "wanted"; session_id: string; epoch: number };

export interface Step {
  state: State;
  effects: Effect[];
  /** Keys whose rows changed or went. */
  touched: { members: ReadonlySet<string>; entries: ReadonlySet<string>; closed: ReadonlySet<string> };
}

export function emptyPool(pool: string): State {
  return { pool, members: new Map(), entries: new Map(), closed: new Map(), next_order: 1 };
}

/** A map that is copied when it is first written, and knows which keys were. */
class Draft<V> {
  readonly touched = new Set<string>();
  map: ReadonlyMap<string, V>;
  #own: Map<string, V> | null = null;
  constructor(map: ReadonlyMap<string, V>) {
    this.map = map;
  }
  set(key: string, value: V): void {
    this.#write(key).set(key, value);
  }
  delete(key: string): void {
    if (this.map.has(key)) this.#write(key).delete(key);
  }
  #write(key: string): Map<string, V> {
    this.touched.add(key);
    this.#own ??= new Map(this.map);
    this.map = this.#own;
    return this.#own;
  }
}

/** The next state and what to tell whom. A request's own outcome is read from the state: it is the answer, and not told again. */
export function step(state: State, event: PoolEvent, now: number): Step {
  const members = new Draft(state.members);
  const entries = new Draft(state.entries);
  const closed = new Draft(state.closed);
  let next_order = state.next_order;
  let asking: string | null = null;
  let changed = true;

  switch (event.type) {
    case "request": {
      const { session_id, epoch } = event.request;
      const known = entries.map.get(session_id);
      changed = !(known && known.request.epoch >= epoch) && !((closed.map.get(session_id)?.epoch ?? 0) >= epoch);
      if (!changed) break;
      // Deleted first: a newer epoch queues at the end.
      entries.delete(session_id);
      closed.delete(session_id);
      entries.set(session_id, { request: event.request, conditions: event.conditions, order: next_order++, host_id: null, reason: null, idle_since: null, asked_at: null });
      asking = session_id;
      break;
    }
    case "release": {
      const known = entries.map.get(event.session_id);
      if (known && known.request.epoch <= event.epoch) entries.delete(event.session_id);
      else changed = false;
      if ((closed.map.get(event.session_id)?.epoch ?? 0) < event.epoch) closed.set(event.session_id, { epoch: event.epoch, at: now });
      break;
    }
    case "idle": {
      const known = entries.map.get(event.session_id);
      changed = known !== undefined && known.request.epoch === event.epoch && known.host_id !== null && (known.idle_since !== null) !== event.idle;
      if (known && changed) entries.set(event.session_id, { ...known, idle_since: event.idle ? now : null, asked_at: null });
      break;
    }
    case "member.up":
      members.set(event.host_id, { host_id: event.host_id, info: event.info, online: true, draining: event.draining });
      break;
    case "member.down": {
      const member = members.map.get(event.host_id);
      changed = member?.online === true;
      if (member && changed) members.set(event.host_id, { ...member, online: false });
      break;
    }
    case "tick":
      for (const [session, { at }] of closed.map) if (at + CLOSED_MS <= now) closed.delete(session);
      break;
  }
  const effects = changed ? serve(state.pool, members.map, entries, asking, now) : [];
  return {
    state: { pool: state.pool, members: members.map, entries: entries.map, closed: closed.map, next_order },
    effects,
    touched: { members: members.touched, entries: entries.touched, closed: closed.touched },
  };
}

/** Places whoever can be placed, in order, says why the others wait, and asks idle sessions for what is missing. */
function serve(pool: string, members: ReadonlyMap<string, Member>, entries: Draft<Entry>, asking: string | null, now: number): Effect[] {
  const effects: Effect[] = [];
  const hosts = [...members.values()];
  const used = new Map<string, number>();
  for (const { host_id } of entries.map.values()) if (host_id !== null) used.set(host_id, (used.get(host_id) ?? 0) + 1);

  // Requests that wish the same fail the same: each kind is looked at once, however long the queue.
  const kinds = new Map<string, Eligible>();
  const full = new Map<string, string>();
  const waiting: { entry: Entry; found: Eligible; kind: string }[] = [];
  for (const [session_id, entry] of entries.map) {
    if (entry.host_id !== null) continue;
    const { request } = entry;
    const kind = JSON.stringify([request.provider, request.selector, request.host?.must ? request.host.host_id : null]);
    let found = kinds.get(kind);
    if (!found) kinds.set(kind, (found = eligible(pool, hosts, { ...request, conditions: entry.conditions })));
    let reason = found.reason ?? full.get(kind) ?? null;
    if (reason === null) {
      const host = choose(found.hosts, request, used);
      if (host) {
        used.set(host.host_id, (used.get(host.host_id) ?? 0) + 1);
        entries.set(session_id, { ...entry, host_id: host.host_id, reason: null });
        if (session_id !== asking) effects.push({ kind: "granted", session_id, epoch: request.epoch, host_id: host.host_id });
        continue;
      }
      full.set(kind, (reason = fullReason(found.hosts, { ...request, conditions: entry.conditions }, used)));
    }
    if (reason !== entry.reason) {
      entries.set(session_id, { ...entry, reason });
      if (session_id !== asking) effects.push({ kind: "queued", session_id, epoch: request.epoch, reason });
    }
    if (found.reason === null) waiting.push({ entry, found, kind });
  }
  if (waiting.length > 0) ask(waiting, entries, effects, now);
  return effects;
}

/** One idle session is asked for each that waits and could have its place; an ask stands until it is answered or `ASK_MS` have passed. */
function ask(waiting: readonly { found: Eligible; kind: string }[], entries: Draft<Entry>, effects: Effect[], now: number): void {
  const idle = [...entries.map.entries()].flatMap(([session_id, entry]) =>
    entry.host_id === null || entry.idle_since === null ? [] : [{ session_id, entry, host_id: entry.host_id, since: entry.idle_since, standing: entry.asked_at !== null && entry.asked_at + ASK_MS > now }],
  );
  // Asks that stand come first, for they already work for somebody; then whoever was not asked yet; then the longest idle.
  idle.sort((a, b) => Number(b.standing) - Number(a.standing) || (a.entry.asked_at ?? 0) - (b.entry.asked_at ?? 0) || a.since - b.since);
  const hopeless = new Set<string>();
  for (const { found, kind } of waiting) {
    if (idle.length === 0) return;
    if (hopeless.has(kind)) continue;
    const at = idle.findIndex(({ host_id }) => found.hosts.some((host) => host.host_id === host_id));
    const chosen = at === -1 ? null : idle.splice(at, 1)[0];
    if (!chosen) hopeless.add(kind);
    else if (!chosen.standing) {
      entries.set(chosen.session_id, { ...chosen.entry, asked_at: now });
      effects.push({ kind: "wanted", session_id: chosen.session_id, epoch: chosen.entry.request.epoch });
    }
  }
}

/** When the machine must look again: an ask that was not answered, a memory that may go. */
export function nextDeadline(state: State, now: number): number | null {
  let first: number | null = null;
  const consider = (at: number) => {
    if (first === null || at < first) first = at;
  };
  let waits = false;
  for (const entry of state.entries.values()) waits ||= entry.host_id === null;
  if (waits) for (const { asked_at, idle_since } of state.entries.values()) if (asked_at !== null && idle_since !== null && asked_at + ASK_MS > now) consider(asked_at + ASK_MS);
  for (const { at } of state.closed.values()) consider(at + CLOSED_MS);
  return first;
}
