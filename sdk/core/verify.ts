/** Owns the checking of a session's history: that its blocks follow one another without a gap, and end where the session says that they do. */

import { historyHash, historyHeader, NO_HASH, type HistoryHead, type HistoryHeader, type SessionHistory } from "../protocol/history.ts";
import { errorFrom, ProtocolError } from "./errors.ts";

/** What is wrong, and where. `cut`: something is missing; `changed`: it is not what was hashed; `foreign`: of another session; `unreadable`: the server could not open it. */
export interface HistoryProblem {
  kind: "cut" | "changed" | "foreign" | "malformed" | "unreadable";
  /** The block that it was found in. */
  block: number | null;
  message: string;
}
/** `against`: whose word the end of the chain was compared with. Nothing but the chain itself where it is empty. */
export interface HistoryReport extends HistoryHead {
  session_id: string;
  whole: boolean;
  against: ("session" | "database")[];
  /** Events behind the last block that the session's object remembers: they are chained, but nobody has noted their hash yet. */
  unpinned: number;
  problems: HistoryProblem[];
}

const NEWLINE = 10;
/** A header of our own is far shorter; so is a line that is an error. */
const PREFIX = '{"format":"marionette-log/';
const FAILURE = '{"error":';
const decoder = new TextDecoder();

/** Cuts an export into its blocks; a partial one at a broken end is not given. Throws the failure that the export's last line tells. */
export async function* splitBlocks(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let lines: Uint8Array[] = [];
  let rest: Uint8Array[] = [];
  const line = (piece: Uint8Array) => {
    const whole = rest.length === 0 ? piece : joined([...rest, piece]);
    rest = [];
    return whole;
  };
  for await (const piece of bytes) {
    for (let from = 0; from < piece.length; ) {
      const end = piece.indexOf(NEWLINE, from);
      if (end < 0) {
        rest.push(piece.slice(from));
        break;
      }
      const next = line(piece.subarray(from, end + 1));
      from = end + 1;
      if (beginsWith(next, PREFIX) && lines.length > 0) {
        yield joined(lines);
        lines = [];
      } else if (beginsWith(next, FAILURE)) throw errorFrom((JSON.parse(decoder.decode(next)) as { error?: unknown }).error);
      lines.push(next.slice());
    }
  }
  if (rest.length > 0) throw new ProtocolError("The export ends in the middle of a line");
  if (lines.length > 0) yield joined(lines);
}

/** Checks blocks as they come, first to last; keeps none of them. */
export class HistoryCheck {
  readonly #sessionId: string;
  readonly problems: HistoryProblem[] = [];
  #last: HistoryHead = { events: 0, blocks: 0, head: NO_HASH };
  readonly #pinned: HistoryHead | null;
  #metPin = false;
  #stopped = false;

  /** `known`: what was known of the history before it was read; its pin is met on the way. */
  constructor(sessionId: string, known: SessionHistory | null) {
    this.#sessionId = sessionId;
    this.#pinned = known?.pinned ?? null;
  }

  get head(): HistoryHead {
    return this.#last;
  }

  async push(block: Uint8Array<ArrayBuffer>): Promise<void> {
    const lines = decoder.decode(block).split("\n");
    const header = this.#header(lines[0] ?? "");
    const { events, blocks, head } = this.#last;
    const hash = await historyHash(block);
    if (!header) {
      this.#last = { events, blocks: blocks + 1, head: hash };
      return;
    }
    const { block: number, from, count, previous } = header;
    if (number !== blocks + 1 || from !== events + 1) this.#say("cut", number, `block ${blocks + 1} with event ${events + 1} should follow, but it is block ${number} with event ${from}: what lies between is missing`);
    else if (previous !== head) this.#say("changed", blocks === 0 ? 1 : blocks, `block ${blocks === 0 ? 1 : blocks} is not the one that block ${number} was written after: one of the two was changed`);
    this.#events(header, lines.slice(1, -1));
    this.#last = { events: from + count - 1, blocks: number, head: hash };
    if (this.#pinned?.blocks !== number) return;
    this.#metPin = true;
    if (this.#pinned.head !== hash) this.#say("changed", number, `block ${number} is not the one that the session's object remembers`);
  }

  /** The server could not give this block: nothing behind it is checked. */
  unreadable(block: number, message: string): void {
    this.#say("unreadable", block, message);
    this.#stopped = true;
  }

  /** The end. `known`: what is known now, read after the last block. */
  end(known: SessionHistory | null): HistoryReport {
    const { events, blocks, head } = this.#last;
    const against: HistoryReport["against"] = [];
    if (this.#pinned && !this.#metPin && !this.#stopped) this.#say("cut", this.#pinned.blocks, `block ${this.#pinned.blocks} with event ${this.#pinned.events} is missing at the end`);
    if (this.#pinned) against.push("session");
    const ends = [["session", known?.archive], ["database", known?.recorded]] as const;
    for (const [who, end] of ends) {
      if (!end || this.#stopped) continue;
      if (!against.includes(who)) against.push(who);
      const whose = who === "session" ? "the session's object" : "the database";
      if (end.events > events || end.blocks > blocks) this.#say("cut", blocks + 1, `the history goes on to event ${end.events} in block ${end.blocks} by ${whose}; it was given to event ${events} in block ${blocks}`);
      else if (end.head !== head) this.#say("changed", blocks, `the last block is not the one that ${whose} remembers`);
    }
    const pinned = known?.archive?.events ?? known?.pinned?.events ?? 0;
    return { session_id: this.#sessionId, events, blocks, head, whole: this.problems.length === 0, against, unpinned: Math.max(0, events - pinned), problems: this.problems };
  }

  #header(line: string): HistoryHeader | null {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      value = null;
    }
    const parsed = historyHeader.safeParse(value);
    if (!parsed.success) this.#say("malformed", this.#last.blocks + 1, `block ${this.#last.blocks + 1} does not begin with a header`);
    else if (parsed.data.session_id !== this.#sessionId) this.#say("foreign", parsed.data.block, `block ${parsed.data.block} is of ${parsed.data.session_id}`);
    return parsed.success ? parsed.data : null;
  }
  #events({ block, from, count }: HistoryHeader, lines: string[]): void {
    if (lines.length !== count) this.#say("cut", block, `block ${block} says ${count} events and holds ${lines.length}`);
    const wrong = lines.findIndex((line, i) => !line.startsWith(`{"seq":${from + i},"session_id":"${this.#sessionId}",`));
    if (wrong >= 0) this.#say("changed", block, `line ${wrong + 2} of block ${block} is not event ${from + wrong} of this session`);
  }
  #say(kind: HistoryProblem["kind"], block: number, message: string): void {
    this.problems.push({ kind, block, message });
  }
}

function beginsWith(line: Uint8Array, prefix: string): boolean {
  if (line.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (line[i] !== prefix.charCodeAt(i)) return false;
  return true;
}
function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
