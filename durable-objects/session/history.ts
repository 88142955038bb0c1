/** Owns the chain of blocks that a log is exported and archived as: how a block is made of stored events, and what is remembered of it. */

import { HISTORY_BLOCK_CHARS, HISTORY_BLOCK_EVENTS, HISTORY_FORMAT, historyHash, NO_HASH, type HistoryHead, type HistoryHeader } from "../../sdk/protocol/index.ts";
import type { Sql } from "../base/sql.ts";
import { bitOf, filterOf } from "./log-filter.ts";
import { expandSeen, type Log } from "./log.ts";

/** `kept`: bytes in the archive, null while it is not there. `tasks`: ids as a JSON array, null for more than are worth telling. */
export const HISTORY_TABLES: readonly string[] = [
  "create table history (block integer primary key, first_seq integer not null, count integer not null, hash text not null, kinds integer not null, tasks text, kept integer)",
];

/** What is remembered of a block. It never changes, but for being kept. */
export interface HistoryRow {
  block: number;
  first_seq: number;
  count: number;
  hash: string;
  kinds: number;
  tasks: string | null;
  kept: number | null;
}

/** A block as text. `complete`: no later event will ever be in it. */
export interface HistoryBlock {
  row: HistoryRow;
  bytes: Uint8Array<ArrayBuffer>;
  complete: boolean;
}

const EVERYTHING = filterOf({ raw: true });
const MAX_TASKS = 500;
const encoder = new TextEncoder();
const endOf = ({ first_seq, count }: HistoryRow) => first_seq + count - 1;

export class History {
  readonly #sql: Sql;
  readonly #log: Log;

  constructor(sql: Sql, log: Log) {
    this.#sql = sql;
    this.#log = log;
  }

  row(block: number): HistoryRow | null {
    return this.#rows("where block = ?", block)[0] ?? null;
  }
  /** The last block that is remembered. */
  get last(): HistoryRow | null {
    return this.#rows("order by block desc limit 1")[0] ?? null;
  }
  /** The first block that is remembered and not kept. */
  get unkept(): HistoryRow | null {
    return this.#rows("where kept is null order by block limit 1")[0] ?? null;
  }
  /** Up to the last block that is remembered; null where there is none. */
  get head(): HistoryHead | null {
    const row = this.last;
    return row && { events: endOf(row), blocks: row.block, head: row.hash };
  }
  /** Bytes of all blocks in the archive. */
  get bytes(): number {
    return this.#sql.exec<{ bytes: number }>("select coalesce(sum(kept), 0) as bytes from history").one().bytes;
  }
  /** Blocks from the one that holds `seq` on, or (`backwards`) up to it, that may hold what is asked for. */
  holding(seq: number, kinds: number, taskId: string | null, backwards = false): HistoryRow | null {
    const task = taskId === null ? "" : "and (tasks is null or instr(tasks, ?) > 0)";
    const place = backwards ? "first_seq <= ?" : "first_seq + count > ?";
    return this.#rows(`where ${place} and (kinds & ?) != 0 ${task} order by block ${backwards ? "desc" : ""} limit 1`, seq, kinds, ...(taskId === null ? [] : [taskId]))[0] ?? null;
  }
  kept(block: number, bytes: number): void {
    this.#sql.exec("update history set kept = ? where block = ?", bytes, block);
  }

  /**
   * Makes a block of what the object has stored; null where there are no events for it, or they are in the object no longer. Blocks are
   * cut by what is stored alone, so that a block that is made again is the same. A complete one is remembered, and so is the last of a
   * log that has ended (`ended`).
   */
  async make(block: number, sessionId: string, ended: boolean): Promise<HistoryBlock | null> {
    const before = block === 1 ? null : this.row(block - 1);
    if (block > 1 && !before) return null;
    const known = this.row(block);
    const after = before ? endOf(before) : 0;
    const limit = known ? known.count : HISTORY_BLOCK_EVENTS;
    const { seen, through } = this.#log.read(after, EVERYTHING, known ? Number.POSITIVE_INFINITY : HISTORY_BLOCK_CHARS, limit);
    if (seen.length === 0) return null;
    const complete = known !== null || ended || through < this.#log.last;
    const header: HistoryHeader = { format: HISTORY_FORMAT, session_id: sessionId, block, from: after + 1, count: through - after, previous: before?.hash ?? NO_HASH };
    const lines = [JSON.stringify(header)];
    let kinds = 0;
    const tasks = new Set<string>();
    for (const view of seen) {
      if (view.task_id !== null) tasks.add(view.task_id);
      for (const event of expandSeen(sessionId, view)) {
        kinds |= bitOf(event);
        lines.push(JSON.stringify(event));
      }
    }
    const bytes = new Uint8Array(encoder.encode(`${lines.join("\n")}\n`));
    const row: HistoryRow = {
      block, first_seq: header.from, count: header.count, hash: await historyHash(bytes), kinds, tasks: tasks.size > MAX_TASKS ? null : JSON.stringify([...tasks]), kept: known?.kept ?? null,
    };
    if (complete && !known) this.#remember(row);
    return { row, bytes, complete };
  }

  /** Another may have remembered it meanwhile: it is the same. */
  #remember({ block, first_seq, count, hash, kinds, tasks }: HistoryRow): void {
    this.#sql.exec("insert or ignore into history values (?, ?, ?, ?, ?, ?, null)", block, first_seq, count, hash, kinds, tasks);
  }
  #rows(where: string, ...values: (string | number)[]): HistoryRow[] {
    return this.#sql.exec<{ [K in keyof HistoryRow]: HistoryRow[K] }>(`select block, first_seq, count, hash, kinds, tasks, kept from history ${where}`, ...values).toArray();
  }
}
