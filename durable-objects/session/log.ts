/** Owns the session's event log: numbered blocks in SQLite, appended and read in bounded pieces, always by an index. */

import type { Event, EventItem } from "../../sdk/protocol/index.ts";
import { MAX_COLUMN_CHARS, type Sql } from "../base/sql.ts";
import { BUS_KINDS, bitOf, MASS_KINDS, passes, passesWhole, withoutRaw, type LogFilter } from "./log-filter.ts";

export const LOG_TABLES: readonly string[] = [
  `create table blocks (first_seq integer primary key, count integer not null, task_id text, run_id text, has_raw integer not null, kinds integer not null,
    rare integer not null, body text not null)`,
  "create index blocks_of_task on blocks (task_id, first_seq) where task_id is not null",
  "create index rare_blocks on blocks (first_seq, kinds) where rare = 1",
];

/** A stored block: `body` is the JSON array of its items. */
export interface Block {
  from: number;
  count: number;
  task_id: string | null;
  run_id: string | null;
  has_raw: boolean;
  kinds: number;
  body: string;
}

/** A block as one reader sees it: the JSON of what passed, and their numbers where some did not. */
export interface Seen {
  from: number;
  count: number;
  task_id: string | null;
  run_id: string | null;
  seqs: number[] | null;
  json: string;
}

type Row = { first_seq: number; count: number; task_id: string | null; run_id: string | null; has_raw: number; kinds: number; body: string };

/** Blocks that pass nothing are looked through so many at a time before a reader is given a turn. */
const MAX_BLOCKS = 2_000;

export class Log {
  readonly #sql: Sql;
  #last = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.reload();
  }

  /** Number of the last event. */
  get last(): number {
    return this.#last;
  }

  /** Reads the last number again: after a transaction that was rolled back. */
  reload(): void {
    const row = this.#sql.exec<{ last: number }>("select first_seq + count - 1 as last from blocks order by first_seq desc limit 1").toArray()[0];
    // An archived log's events are not here any more; what is remembered of them is.
    this.#last = row?.last ?? this.#sql.exec<{ last: number }>("select first_seq + count - 1 as last from history order by block desc limit 1").toArray()[0]?.last ?? 0;
  }

  /** Whether any event is stored here. */
  get stored(): boolean {
    return this.#sql.exec("select 1 from blocks limit 1").toArray().length > 0;
  }
  /** Drops so many of the first blocks: they are in the archive. */
  drop(blocks: number): void {
    this.#sql.exec("delete from blocks where first_seq in (select first_seq from blocks order by first_seq limit ?)", blocks);
  }

  /** Numbers and stores items of one run; more than one block where they do not fit a row. */
  append(task_id: string | null, run_id: string | null, items: readonly EventItem[]): Block[] {
    const body = JSON.stringify(items);
    if (body.length > MAX_COLUMN_CHARS && items.length > 1) {
      const half = items.length >> 1;
      return [...this.append(task_id, run_id, items.slice(0, half)), ...this.append(task_id, run_id, items.slice(half))];
    }
    let kinds = 0;
    let has_raw = false;
    for (const item of items) {
      kinds |= bitOf(item);
      if (item.raw !== undefined) has_raw = true;
    }
    const block: Block = { from: this.#last + 1, count: items.length, task_id, run_id, has_raw, kinds, body };
    this.#sql.exec("insert into blocks values (?, ?, ?, ?, ?, ?, ?, ?)", block.from, block.count, task_id, run_id, has_raw ? 1 : 0, kinds, (kinds & ~MASS_KINDS) === 0 ? 0 : 1, body);
    this.#last += items.length;
    return [block];
  }

  /**
   * The next piece after `after`: what passes the filter, until `chars` of JSON or `events` are reached. Everything up to `through` was
   * considered; `through` is `last` where nothing is left.
   */
  read(after: number, filter: LogFilter, chars: number, events = Number.POSITIVE_INFINITY): { seen: Seen[]; through: number } {
    const seen: Seen[] = [];
    let through = after;
    let left = events;
    let room = chars;
    let blocks = 0;
    for (const row of this.#forward(after, filter)) {
      const block = blockOf(row);
      const end = block.from + block.count - 1;
      const view = look(block, filter, after, left);
      if (view) {
        seen.push(view);
        left -= view.seqs?.length ?? view.count;
        room -= view.json.length;
        through = left <= 0 ? (view.seqs?.at(-1) ?? view.from + view.count - 1) : end;
      } else through = end;
      if (left <= 0 || room <= 0 || ++blocks >= MAX_BLOCKS) return { seen, through: Math.max(through, after) };
    }
    return { seen, through: Math.max(this.#last, after) };
  }

  /** The `after` behind which the last `count` events that pass lie. */
  tail(count: number, filter: LogFilter): number {
    if (count === 0) return this.#last;
    let left = count;
    for (const row of this.#backward(filter)) {
      const block = blockOf(row);
      if (passesWhole(block.kinds, filter)) {
        if (block.count >= left) return block.from + block.count - 1 - left;
        left -= block.count;
        continue;
      }
      const items = parse(block.body);
      for (let i = items.length - 1; i >= 0; i--) if (passes(items[i] as EventItem, filter) && --left === 0) return block.from + i - 1;
    }
    return 0;
  }

  /** Number of a run's first event; null where it has none yet. */
  firstOf(taskId: string, runId: string): number | null {
    return this.#sql.exec<{ first_seq: number }>("select first_seq from blocks where task_id = ? and run_id = ? order by first_seq limit 1", taskId, runId).toArray()[0]?.first_seq ?? null;
  }

  /** Events for the tenant's bus after `after`, at most about `limit`, without raw; and how far was looked. */
  bus(after: number, limit: number): { items: { seq: number; task_id: string | null; run_id: string | null; item: EventItem }[]; through: number } {
    const items: { seq: number; task_id: string | null; run_id: string | null; item: EventItem }[] = [];
    const filter: LogFilter = { task_id: null, kinds: BUS_KINDS, raw: false };
    for (const row of this.#forward(after, filter)) {
      const block = blockOf(row);
      parse(block.body).forEach((item, i) => {
        if (block.from + i > after && passes(item, filter)) items.push({ seq: block.from + i, task_id: block.task_id, run_id: block.run_id, item: withoutRaw(item) });
      });
      if (items.length >= limit) return { items, through: block.from + block.count - 1 };
    }
    return { items, through: this.#last };
  }

  *#forward(after: number, { task_id, kinds }: LogFilter): Iterable<Row> {
    // The block that holds `after + 1` may begin before it.
    const start = this.#sql.exec<{ first: number }>("select first_seq as first from blocks where first_seq <= ? order by first_seq desc limit 1", after + 1).toArray()[0]?.first ?? 0;
    const rare = (kinds & MASS_KINDS) === 0;
    if (task_id !== null) yield* this.#sql.exec<Row>(`${COLUMNS} where task_id = ? and first_seq >= ? and (kinds & ?) != 0 order by first_seq`, task_id, start, kinds);
    else if (rare) yield* this.#sql.exec<Row>(`${COLUMNS} where rare = 1 and first_seq >= ? and (kinds & ?) != 0 order by first_seq`, start, kinds);
    else yield* this.#sql.exec<Row>(`${COLUMNS} where first_seq >= ? and (kinds & ?) != 0 order by first_seq`, start, kinds);
  }

  *#backward({ task_id, kinds }: LogFilter): Iterable<Row> {
    if (task_id !== null) yield* this.#sql.exec<Row>(`${COLUMNS} where task_id = ? and (kinds & ?) != 0 order by first_seq desc`, task_id, kinds);
    else if ((kinds & MASS_KINDS) === 0) yield* this.#sql.exec<Row>(`${COLUMNS} where rare = 1 and (kinds & ?) != 0 order by first_seq desc`, kinds);
    else yield* this.#sql.exec<Row>(`${COLUMNS} where (kinds & ?) != 0 order by first_seq desc`, kinds);
  }
}

const COLUMNS = "select first_seq, count, task_id, run_id, has_raw, kinds, body from blocks";

function blockOf({ first_seq, has_raw, ...row }: Row): Block {
  return { ...row, from: first_seq, has_raw: has_raw === 1 };
}
function parse(body: string): EventItem[] {
  return JSON.parse(body) as EventItem[];
}

/** The events of a view, numbered, as clients see them. */
export function expandSeen(session_id: string, { from, seqs, task_id, run_id, json }: Seen): Event[] {
  return (JSON.parse(json) as EventItem[]).map((item, i) => ({ seq: seqs?.[i] ?? from + i, session_id, task_id, run_id, ...item }));
}

/**
 * What a reader sees of a block: events after `after`, at most `limit`; null where nothing passes. `items` saves parsing where they are at
 * hand. The block's own JSON is passed on as it is wherever it can be.
 */
export function look(block: Block, filter: LogFilter, after = 0, limit = Number.POSITIVE_INFINITY, items?: readonly EventItem[]): Seen | null {
  if ((filter.task_id !== null && block.task_id !== filter.task_id) || (block.kinds & filter.kinds) === 0) return null;
  const { from, count, task_id, run_id } = block;
  const whole = passesWhole(block.kinds, filter);
  const skip = Math.max(0, after + 1 - from);
  if (skip >= count) return null;
  if (whole && skip === 0 && limit >= count && (filter.raw || !block.has_raw)) return { from, count, task_id, run_id, seqs: null, json: block.body };
  const seqs: number[] = [];
  const kept: EventItem[] = [];
  const all = items ?? parse(block.body);
  for (let i = skip; i < all.length && kept.length < limit; i++) {
    const item = all[i] as EventItem;
    if (!whole && !passes(item, filter)) continue;
    seqs.push(from + i);
    kept.push(filter.raw ? item : withoutRaw(item));
  }
  const first = seqs[0];
  if (first === undefined) return null;
  const dense = (seqs.at(-1) as number) - first + 1 === seqs.length;
  return { from: first, count: kept.length, task_id, run_id, seqs: dense ? null : seqs, json: JSON.stringify(kept) };
}
