/** Owns the runner's journal: events until they are acknowledged, received commands, and what must be known after the runner's death. */

import type { Command } from "../../sdk/protocol/runner-link.ts";
import type { JournalStore } from "./journal-store.ts";
import { blockText, lineText, type Block, type CapsuleOrdered, type RunIds, type RunState, type TaskStart } from "./journal-line.ts";
import type { JournalLine } from "./journal-read.ts";

/** Most characters of unacknowledged events; beyond it those who emit wait, and their agents with them. */
export const MAX_UNACKNOWLEDGED = 32 * 1024 * 1024;
/** Room is given again when so much is left. */
const ROOM_AGAIN = 24 * 1024 * 1024;
/** So much may be emitted within one turn before who emits must let the turn end. */
const MAX_TURN_CHARS = 128 * 1024;
export const FRAME_ITEMS = 500;
export const FRAME_CHARS = 256 * 1024;
/** A file is written anew when it is larger than this and mostly acknowledged. */
const COMPACT_BYTES = 8 * 1024 * 1024;
/** A file that could not be written is tried again so often. */
const RETRY_MS = 1_000;

export interface JournalOwner {
  session_id: string;
  runner_id: string;
  epoch: number;
}
export interface Frame {
  from: number;
  to: number;
  /** The whole `events` frame as JSON. */
  text: string;
  /** It could not hold much more. */
  full: boolean;
}

const NOTHING = Promise.resolve();

export class Journal {
  readonly #store: JournalStore;
  readonly #owner: JournalOwner;
  /** Not yet acknowledged and in the file, in order. */
  #blocks: Block[] = [];
  #chars = 0;
  #last = 0;
  /** Emitted in this turn. */
  #open: { ids: RunIds | null; from: number; texts: string[]; chars: number }[] = [];
  #turnChars = 0;
  #change: JournalLine = {};
  #dirty = false;
  #scheduled: NodeJS.Immediate | undefined;
  #turn: { promise: Promise<void>; resolve: () => void } | null = null;
  #room: { promise: Promise<void>; resolve: () => void } | null = null;
  #closed = false;
  #retry: NodeJS.Timeout | undefined;
  /** Last number that an earlier life left in the file, until the session has said how much of that life it saw. */
  #unmet: number | null = null;

  /** What was received and has not ended, the running one first. */
  readonly starts: TaskStart[] = [];
  run: RunState | null = null;
  stop: string | null = null;
  /** The capsule that was asked for and not yet taken. */
  capsule: CapsuleOrdered | null = null;
  lastCommand = 0;
  /** Highest command that is in the file. */
  writtenCommand = 0;
  /** Why the file cannot be written; null while it can. */
  fault: Error | null = null;
  /** Called after every turn that wrote something. */
  onWritten: () => void = () => {};
  /** `again`: it could not be written before, either. */
  onFault: (error: Error, again: boolean) => void = () => {};

  private constructor(store: JournalStore, owner: JournalOwner) {
    this.#store = store;
    this.#owner = owner;
  }

  /** Reads what an earlier life of this runner left; anyone else's journal is put away. */
  static async open(store: JournalStore, owner: JournalOwner): Promise<Journal> {
    const journal = new Journal(store, owner);
    const lines = store.load();
    const { parseLine } = lines.length === 0 ? { parseLine: () => null } : await import("./journal-read.ts");
    journal.#recall(lines, parseLine);
    return journal;
  }

  #recall(lines: readonly string[], parseLine: (text: string) => JournalLine | null): void {
    const owner = this.#owner;
    const first = lines[0] === undefined ? null : parseLine(lines[0]);
    const mine = first?.head?.session_id === owner.session_id && first.head.runner_id === owner.runner_id && first.head.epoch === owner.epoch;
    if (!mine) {
      this.#unmet = 0;
      this.#store.truncate(0);
      this.#write(() => this.#store.append(lineText({ head: this.#head() }, [])));
      return;
    }
    for (const [index, text] of lines.entries()) {
      const line = parseLine(text);
      if (line === null) {
        this.#store.truncate(index);
        break;
      }
      this.#replay(line);
    }
    this.#unmet ??= this.#last;
    this.#change.unmet = this.#unmet;
  }

  get last(): number {
    return this.#last;
  }
  /** First unacknowledged number; one past the last where there is none. */
  get first(): number {
    return this.#blocks[0]?.from ?? this.#open[0]?.from ?? this.#last + 1;
  }
  /** Whether everything was acknowledged. */
  get drained(): boolean {
    return this.first > this.#last;
  }
  get unacknowledgedChars(): number {
    return this.#chars + this.#turnChars;
  }

  /** Journals one item (as JSON) of a run or of none. Resolves when there is room for the next. */
  append(ids: RunIds | null, item: string): Promise<void> {
    if (this.#closed) return NOTHING;
    const open = this.#open.at(-1);
    this.#last++;
    if (open && open.ids?.run_id === ids?.run_id && open.texts.length < FRAME_ITEMS && open.chars + item.length < FRAME_CHARS) {
      open.texts.push(item);
      open.chars += item.length + 1;
    } else {
      this.#open.push({ ids, from: this.#last, texts: [item], chars: item.length });
    }
    this.#turnChars += item.length + 1;
    this.#touch();
    if (this.unacknowledgedChars > MAX_UNACKNOWLEDGED) return (this.#room ??= deferred()).promise;
    if (this.#turnChars > MAX_TURN_CHARS) return (this.#turn ??= deferred()).promise;
    return NOTHING;
  }

  /** Takes a command in: `seen` before, `new` and in the journal with this turn, or `gap` where one before it is missing. */
  receive(command: Command): "new" | "seen" | "gap" {
    if (command.id <= this.lastCommand) return "seen";
    if (command.id !== this.lastCommand + 1) return "gap";
    this.lastCommand = command.id;
    this.#change.command = command.id;
    if (command.body.kind === "task.start") {
      this.starts.push(command.body);
      (this.#change.starts ??= []).push(command.body);
    } else if (command.body.kind === "capsule") this.setCapsule(command.body);
    else if (command.body.kind === "stop") {
      this.stop = command.body.reason;
      this.#change.stop = command.body.reason;
    }
    this.#touch();
    return "new";
  }

  setRun(run: RunState | null): void {
    this.run = run;
    this.#change.run = run;
    this.#touch();
  }
  /** A capsule is to be taken; or, with null, the one of this id has been, or cannot be. */
  setCapsule(capsule: CapsuleOrdered | null, over?: string): void {
    if (capsule === null && this.capsule?.capsule_id !== over) return;
    this.capsule = capsule;
    this.#change.capsule = capsule;
    this.#touch();
  }
  /** The task of this run needs no more; in the same line as its last event. */
  end(runId: string): void {
    const at = this.starts.findIndex(({ run_id }) => run_id === runId);
    if (at !== -1) this.starts.splice(at, 1);
    (this.#change.ended ??= []).push(runId);
    if (this.run?.run_id === runId) this.setRun(null);
    this.#touch();
  }

  /** Writes this turn's changes now; true where the file has them all. Runs by itself at the end of the turn. */
  flush(): boolean {
    if (this.#scheduled) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    if (!this.#dirty || this.#closed) return this.fault === null;
    const fresh = this.#open.map(({ ids, from, texts }): Block => ({ from, count: texts.length, inner: texts.join(","), ...ids }));
    const text = lineText(this.#change, fresh);
    // Before the write: who is told that it failed may have more to say, which is the next turn's.
    for (const block of fresh) this.#blocks.push(block);
    this.#chars += this.#turnChars;
    this.#open = [];
    this.#turnChars = 0;
    this.#change = {};
    this.#dirty = false;
    const command = this.lastCommand;
    // Where an earlier line is missing, only the whole tells the truth.
    const written = this.#write(() => (this.fault ? this.#store.replace(this.#whole()) : this.#store.append(text)));
    if (written) this.writtenCommand = command;
    this.#turn?.resolve();
    this.#turn = null;
    this.#giveRoom();
    this.onWritten();
    return written;
  }

  /** The frame that begins after number `after`: neighbouring blocks of one run as far as they fit. Null where nothing is there. */
  frame(after: number): Frame | null {
    const at = this.#find(after + 1);
    const first = this.#blocks[at];
    if (!first) return null;
    let { count } = first;
    let chars = first.inner.length;
    const inners = [first.inner];
    for (let next = at + 1; next < this.#blocks.length; next++) {
      const block = this.#blocks[next] as Block;
      if (block.run_id !== first.run_id || count + block.count > FRAME_ITEMS || chars + block.inner.length > FRAME_CHARS) break;
      inners.push(block.inner);
      count += block.count;
      chars += block.inner.length;
    }
    const whole: Block = { ...first, count, inner: inners.join(",") };
    return { from: first.from, to: first.from + count - 1, text: blockText(whole, '"type":"events",'), full: count >= FRAME_ITEMS / 2 || chars >= FRAME_CHARS / 2 };
  }

  /** Everything up to and including `upTo` is the session's; it is forgotten here. */
  acknowledge(upTo: number): void {
    const gone = this.#find(upTo + 1);
    for (const block of this.#blocks.splice(0, gone)) this.#chars -= block.inner.length + 1;
    // Not worth a write of its own: after a crash the session says what it has.
    this.#change.acked = upTo;
    this.#giveRoom();
    if (this.#store.size > COMPACT_BYTES && this.#store.size > 4 * this.#chars) this.#compact();
  }

  /**
   * The session has everything up to `last`. That may be more than an earlier life left in the file, as what is told while a disk is full is
   * told from memory: what this life has told since goes behind it, as it would else be taken for what was heard before.
   */
  meet(last: number): void {
    this.flush();
    const unmet = this.#unmet;
    this.#unmet = null;
    if (unmet !== null && last > unmet) {
      this.acknowledge(unmet);
      for (const block of this.#blocks) block.from += last - unmet;
      this.#last += last - unmet;
      return this.#compact();
    }
    this.acknowledge(last);
    if (last > this.#last) this.#last = last;
    if (unmet === null || unmet === 0) return;
    this.#change.unmet = null;
    this.#touch();
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.abandon();
  }

  /** Lets go of the file without writing what this turn has changed. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearImmediate(this.#scheduled);
    this.#turn?.resolve();
    this.#room?.resolve();
    this.#store.close();
  }

  #touch(): void {
    if (this.#closed) return;
    this.#dirty = true;
    this.#scheduled ??= setImmediate(() => this.flush());
  }

  #giveRoom(): void {
    if (this.#room && this.unacknowledgedChars < ROOM_AGAIN) {
      this.#room.resolve();
      this.#room = null;
    }
  }

  #find(number: number): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const block = this.#blocks[middle] as Block;
      if (block.from + block.count <= number) low = middle + 1;
      else high = middle;
    }
    const block = this.#blocks[low];
    if (block && block.from < number) this.#split(block, number - 1);
    return block && block.from < number ? low + 1 : low;
  }

  /** Parts a block behind a number in its middle: only where a session acknowledged another cut than we sent. */
  #split(block: Block, upTo: number): void {
    const at = this.#blocks.indexOf(block);
    const items = (JSON.parse(`[${block.inner}]`) as unknown[]).map((item) => JSON.stringify(item));
    const head = items.splice(0, upTo + 1 - block.from);
    const rest: Block = { ...block, from: upTo + 1, count: items.length, inner: items.join(",") };
    const kept: Block = { ...block, count: head.length, inner: head.join(",") };
    this.#blocks.splice(at, 1, kept, rest);
    this.#chars += kept.inner.length + rest.inner.length + 1 - block.inner.length;
  }

  #head(): NonNullable<JournalLine["head"]> {
    return { version: 1, ...this.#owner, last: this.#blocks[0] ? this.#blocks[0].from - 1 : this.#last };
  }

  #whole(): string {
    const state = {
      command: this.lastCommand, starts: this.starts, run: this.run, ...(this.capsule && { capsule: this.capsule }), ...(this.stop !== null && { stop: this.stop }),
      ...(this.#unmet !== null && { unmet: this.#unmet }),
    };
    return lineText({ head: this.#head(), ...state }, this.#blocks);
  }

  #compact(): void {
    this.flush();
    this.#write(() => this.#store.replace(this.#whole()));
  }

  #write(write: () => void): boolean {
    try {
      write();
      this.fault = null;
      return true;
    } catch (error) {
      const again = this.fault !== null;
      this.fault = error instanceof Error ? error : new Error(String(error));
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        this.#touch();
      }, RETRY_MS).unref();
      this.onFault(this.fault, again);
      return false;
    }
  }

  #replay(line: JournalLine): void {
    if (line.head) this.#last = line.head.last;
    for (const { from, task_id, run_id, items } of line.events ?? []) {
      const inner = items.map((item) => JSON.stringify(item)).join(",");
      this.#blocks.push({ from, count: items.length, inner, ...(run_id !== null && task_id !== null && { task_id, run_id }) });
      this.#chars += inner.length + 1;
      this.#last = from + items.length - 1;
    }
    if (line.command !== undefined) this.lastCommand = this.writtenCommand = line.command;
    for (const start of line.starts ?? []) if (start.kind === "task.start") this.starts.push(start);
    for (const ended of line.ended ?? []) {
      const at = this.starts.findIndex(({ run_id }) => run_id === ended);
      if (at !== -1) this.starts.splice(at, 1);
    }
    if (line.run !== undefined) this.run = line.run;
    if (line.capsule !== undefined) this.capsule = line.capsule?.kind === "capsule" ? line.capsule : null;
    if (line.stop !== undefined) this.stop = line.stop;
    if (line.unmet !== undefined) this.#unmet = line.unmet;
    if (line.acked !== undefined) this.acknowledge(line.acked);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  return Promise.withResolvers<void>();
}
