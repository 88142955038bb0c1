/** Owns the tenant-wide bus: what sessions published, in one order with one cursor, kept for a while. */

import type { Event } from "../../sdk/protocol/index.ts";
import { MAX_COLUMN_CHARS, migrate } from "../base/sql.ts";
import type { BusEvent, BusPage } from "../rpc.ts";

/** What is kept at least while a reader is away: so many events, and no longer than so long. */
export const KEEP_EVENTS = 100_000;
export const KEEP_MS = 7 * 86_400_000;
/** Events that a page looks at at most, whatever its filter lets through. */
const MAX_SCAN = 20_000;
const ROWS_AT_ONCE = 200;

export interface BusFilter {
  types: readonly string[] | null;
  /** `k:v` pairs that must all be there. */
  labels: readonly string[] | null;
}
/** An event with its place on the bus. */
export interface Placed {
  cursor: number;
  event: Event;
  labels: Record<string, string>;
}
/** A page; `gap` where events that the reader has not seen are gone: those with cursors in (`after`, `first`). */
export type Page = BusPage & { gap: { after: number; first: number } | null };

type Item = Omit<Placed, "cursor">;

export function passes({ types, labels }: BusFilter, placed: Placed): boolean {
  if (types && !types.includes(placed.event.type)) return false;
  return !labels || labels.every((pair) => {
    const colon = pair.indexOf(":");
    return Object.hasOwn(placed.labels, pair.slice(0, colon)) && placed.labels[pair.slice(0, colon)] === pair.slice(colon + 1);
  });
}

export class Bus {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    // A row holds the events of one publish: `count` of them, the last with cursor `last`.
    migrate(storage, "bus", [[
      "create table bus (last integer primary key, count integer not null, at integer not null, body text not null)",
      "create table published (session_id text primary key, seq integer not null, at integer not null) without rowid",
    ]]);
  }

  /** Cursor of the newest event; 0 where there was none. The newest row is never removed, so that cursors are never given out again. */
  last(): number {
    return this.#sql.exec<{ last: number | null }>("select max(last) as last from bus").one().last ?? 0;
  }
  /** Cursor of the oldest event that is kept, or the one that the next will get. */
  first(): number {
    const row = this.#sql.exec<{ last: number; count: number }>("select last, count from bus order by last limit 1").toArray()[0];
    return row ? row.last - row.count + 1 : 1;
  }

  /** Appends what is new of a session's events and answers it; what was published before is dropped. Call it in a transaction. */
  append(sessionId: string, events: readonly BusEvent[], now: number): Placed[] {
    const known = this.#sql.exec<{ seq: number }>("select seq from published where session_id = ?", sessionId).toArray()[0]?.seq ?? 0;
    const fresh: Item[] = [];
    let seq = known;
    for (const { labels, ...event } of events) {
      if (event.seq <= seq) continue;
      seq = event.seq;
      const { raw: _, ...small } = event;
      fresh.push({ event: { ...small, session_id: sessionId }, labels });
    }
    if (fresh.length === 0) return [];
    this.#sql.exec("insert or replace into published values (?, ?, ?)", sessionId, seq, now);
    let cursor = this.last();
    const placed = fresh.map((item) => ({ cursor: ++cursor, ...item }));
    for (const row of rowsOf(placed)) this.#sql.exec("insert into bus values (?, ?, ?, ?)", row.last, row.count, now, row.body);
    return placed;
  }

  /** Events after a cursor, oldest first; from the oldest kept where `after` is null. A cursor from the future is taken for the newest. */
  page(after: number | null, limit: number, filter: BusFilter): Page {
    const last_cursor = this.last();
    const first = this.first();
    const gap = after !== null && after < first - 1 ? { after, first } : null;
    let next = Math.min(last_cursor, Math.max(after ?? 0, first - 1));
    const from = next;
    const events: Event[] = [];
    scan: while (next < last_cursor && next - from < MAX_SCAN) {
      const rows = this.#sql.exec<{ last: number; count: number; body: string }>("select last, count, body from bus where last > ? order by last limit ?", next, ROWS_AT_ONCE).toArray();
      if (rows.length === 0) break;
      for (const row of rows) {
        for (const [i, item] of (JSON.parse(row.body) as Item[]).entries()) {
          const placed = { cursor: row.last - row.count + 1 + i, ...item };
          if (placed.cursor <= next) continue;
          next = placed.cursor;
          if (passes(filter, placed)) events.push(numbered(placed));
          if (events.length >= limit) break scan;
        }
        if (next - from >= MAX_SCAN) break scan;
      }
    }
    return { events, last_cursor, next, more: next < last_cursor, gap };
  }

  /** Removes what is too much or too old. */
  purge(now: number): void {
    this.#sql.exec("delete from bus where (last <= (select max(last) from bus) - ? or at <= ?) and last < (select max(last) from bus)", KEEP_EVENTS, now - KEEP_MS);
    // A session publishes its last event soon after it ends: what comes after four times as long is no repetition.
    this.#sql.exec("delete from published where at <= ?", now - 4 * KEEP_MS);
  }

  /** When something will be too old; null where nothing will. */
  deadline(): number | null {
    const [oldest, next] = this.#sql.exec<{ at: number }>("select at from bus order by last limit 2").toArray();
    return oldest && next ? oldest.at + KEEP_MS : null;
  }
}

export function numbered({ cursor, event }: Placed): Event {
  return { ...event, cursor };
}

/** As many rows as it takes to stay below what one may hold. */
function rowsOf(placed: readonly Placed[]): { last: number; count: number; body: string }[] {
  const rows: { last: number; count: number; body: string }[] = [];
  let parts: string[] = [];
  let chars = 0;
  let last = 0;
  const flush = () => {
    if (parts.length > 0) rows.push({ last, count: parts.length, body: `[${parts.join(",")}]` });
    parts = [];
    chars = 0;
  };
  for (const { cursor, event, labels } of placed) {
    const part = JSON.stringify({ event, labels } satisfies Item);
    if (chars + part.length > MAX_COLUMN_CHARS) flush();
    parts.push(part);
    chars += part.length + 1;
    last = cursor;
  }
  flush();
  return rows;
}
