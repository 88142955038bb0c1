/** Owns the reading of a log whose events are in the archive: the same pieces as the log gives, a block of the history at a time. */

import { Failure, historyHash, historyHeader, type Event, type EventItem } from "../../sdk/protocol/index.ts";
import type { Archive } from "../ports.ts";
import { passes, passesWhole, bitOf, type LogFilter } from "./log-filter.ts";
import type { History, HistoryRow } from "./history.ts";
import { look, type Block, type Seen } from "./log.ts";

/** Blocks of the history that are held in memory, each of some megabytes. */
const HELD = 2;
/** Blocks that one read looks through at most. */
const MAX_OPENED = 32;
/** What one piece for a reader holds at most. */
const PIECE_ITEMS = 1_000;
const PIECE_CHARS = 500_000;

/** The session whose events they are. */
export interface Owner {
  tenant_id: string;
  session_id: string;
}

export class Shelf {
  readonly #history: History;
  readonly #archive: () => Archive | null;
  readonly #owner: () => Owner | null;
  readonly #held = new Map<number, Promise<Block[]>>();

  constructor(history: History, archive: () => Archive | null, owner: () => Owner | null) {
    this.#history = history;
    this.#archive = archive;
    this.#owner = owner;
  }

  /** As `Log.read`. */
  async read(after: number, filter: LogFilter, chars: number, events = Number.POSITIVE_INFINITY): Promise<{ seen: Seen[]; through: number }> {
    const last = this.#history.head?.events ?? 0;
    const seen: Seen[] = [];
    let at = after;
    let left = events;
    let room = chars;
    for (let opened = 0; at < last; opened++) {
      const row = this.#history.holding(at + 1, filter.kinds, filter.task_id);
      if (!row) break;
      if (opened >= MAX_OPENED) return { seen, through: at };
      for (const block of await this.#blocks(row)) {
        const view = look(block, filter, after, left);
        at = Math.max(at, block.from + block.count - 1);
        if (!view) continue;
        seen.push(view);
        left -= view.seqs?.length ?? view.count;
        room -= view.json.length;
        if (left <= 0) at = view.seqs?.at(-1) ?? view.from + view.count - 1;
        if (left <= 0 || room <= 0) return { seen, through: Math.max(at, after) };
      }
    }
    return { seen, through: Math.max(last, after) };
  }

  /** As `Log.tail`. */
  async tail(count: number, filter: LogFilter): Promise<number> {
    let before = this.#history.head?.events ?? 0;
    if (count === 0) return before;
    let left = count;
    for (;;) {
      const row = before > 0 ? this.#history.holding(before, filter.kinds, filter.task_id, true) : null;
      if (!row) return 0;
      for (const block of (await this.#blocks(row)).toReversed()) {
        if (filter.task_id !== null && block.task_id !== filter.task_id) continue;
        if (passesWhole(block.kinds, filter)) {
          if (block.count >= left) return block.from + block.count - 1 - left;
          left -= block.count;
          continue;
        }
        const items = JSON.parse(block.body) as EventItem[];
        for (let i = items.length - 1; i >= 0; i--) if (passes(items[i] as EventItem, filter) && --left === 0) return block.from + i - 1;
      }
      before = row.first_seq - 1;
    }
  }

  /** A block's text as it was archived, checked against the hash that the session remembers. */
  async text(row: HistoryRow): Promise<Uint8Array<ArrayBuffer>> {
    const owner = this.#owner();
    const archive = this.#archive();
    if (!archive || !owner) throw new Failure("unavailable", "This deployment has no archive to read ended sessions from", { hint: "Bind the bucket again" });
    const bytes = await archive.get({ ...owner, block: row.block });
    if ((await historyHash(bytes)) === row.hash) return bytes;
    throw new Failure("conflict", `Block ${row.block} of the session's history (events ${row.first_seq} to ${row.first_seq + row.count - 1}) is not what was archived`, { details: { block: row.block, from: row.first_seq, count: row.count, why: "changed" } });
  }

  #blocks(row: HistoryRow): Promise<Block[]> {
    const held = this.#held.get(row.block);
    if (held) {
      this.#held.delete(row.block);
      this.#held.set(row.block, held);
      return held;
    }
    const loading = this.text(row).then(blocksOf);
    this.#held.set(row.block, loading);
    for (const oldest of this.#held.keys()) if (this.#held.size > HELD) this.#held.delete(oldest);
    // What could not be read is asked for again.
    loading.catch(() => {
      if (this.#held.get(row.block) === loading) this.#held.delete(row.block);
    });
    return loading;
  }
}

/** The pieces of a block's text: neighbours of one run in one piece, as the log stores them. */
function blocksOf(bytes: Uint8Array<ArrayBuffer>): Block[] {
  const lines = new TextDecoder().decode(bytes).split("\n");
  historyHeader.parse(JSON.parse(lines[0] ?? ""));
  const blocks: Block[] = [];
  let open: { block: Block; bodies: string[]; chars: number } | null = null;
  const close = () => {
    if (open) blocks.push({ ...open.block, body: `[${open.bodies.join(",")}]` });
    open = null;
  };
  for (const line of lines.slice(1)) {
    if (line === "") continue;
    const { seq, session_id: _, task_id, run_id, ...item } = JSON.parse(line) as Event;
    const body = JSON.stringify(item);
    if (open && (open.block.task_id !== task_id || open.block.run_id !== run_id || open.block.count >= PIECE_ITEMS || open.chars + body.length > PIECE_CHARS)) close();
    open ??= { block: { from: seq, count: 0, task_id, run_id, has_raw: false, kinds: 0, body: "" }, bodies: [], chars: 0 };
    open.block.count++;
    open.block.kinds |= bitOf(item);
    if (item.raw !== undefined) open.block.has_raw = true;
    open.bodies.push(body);
    open.chars += body.length;
  }
  close();
  return blocks;
}
