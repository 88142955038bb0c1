/** Owns the reading of files: small ones packed together, large ones cut where their content says, holes left out, changes in between noticed. */

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { createHash } from "node:crypto";
import { MAX_CHUNK_BYTES, MAX_HOLES } from "../protocol/manifest.ts";
import { sha256 } from "./codec.ts";
import { cut, MIN_BYTES } from "./fastcdc.ts";
import type { Breath } from "./flow.ts";
import { sameStamp, stampOf, type Found, type Stamp } from "./scan.ts";
import { systemPath } from "./system-path.ts";

/** A chunk that is or will be: its id is known when it is compressed. */
export interface Slot {
  id: string | null;
  size: number;
  stored: number;
}
export interface SlotPiece {
  slot: Slot;
  offset: number;
  length: number;
}
export interface Content {
  size: number;
  hash: string;
  pieces: SlotPiece[];
  holes: [number, number][];
}
export type Reading = { is: "read"; content: Content; stamp: Stamp; torn: boolean } | { is: "gone" } | { is: "refused"; why: string };
type FoundFile = Extract<Found, { type: "file" }>;

/** Files up to so many bytes share chunks. */
const SMALL = MIN_BYTES;
/** How often a file that changes while it is read is read in all. */
const ATTEMPTS = 3;
const ATTEMPTS_OF_HUGE = 2;
const HUGE = 64 * 1024 * 1024;
const READ_BYTES = 2 * 1024 * 1024;
/** A hole is looked for in blocks of so many bytes. */
const HOLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_BYTES);
// Non-blocking: what was a file when the tree was scanned may be a pipe by now.
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class FileReader {
  private readonly root: string;
  private readonly breath: Breath;
  /** Takes a chunk's bytes (its own copy); waits while too many are on their way. */
  private readonly emit: (raw: Buffer, slot: Slot) => Promise<void>;
  /** Content that needs no sending again, by its hash. */
  private readonly known: Map<string, Content>;
  private readonly shared = Buffer.allocUnsafe(MAX_CHUNK_BYTES + 1);
  private used = 0;
  private slot: Slot = { id: null, size: 0, stored: 0 };
  private window: Buffer | null = null;

  constructor(options: { root: string; breath: Breath; emit: (raw: Buffer, slot: Slot) => Promise<void>; known: Map<string, Content> }) {
    this.root = options.root;
    this.breath = options.breath;
    this.emit = options.emit;
    this.known = options.known;
  }

  async read(file: FoundFile): Promise<Reading> {
    let fd: number;
    try {
      fd = openSync(systemPath(this.root, file.path), FLAGS);
    } catch (error) {
      return refusal(error);
    }
    try {
      return (file.stamp.size <= SMALL ? await this.small(fd, file) : null) ?? (await this.large(fd, file));
    } catch (error) {
      if (error instanceof Error && "syscall" in error) return refusal(error);
      throw error;
    } finally {
      closeSync(fd);
    }
  }

  /** Sends what small files were gathered. */
  async flush(): Promise<void> {
    if (this.used === 0) return;
    const slot = this.slot;
    slot.size = this.used;
    const raw = Buffer.from(this.shared.subarray(0, this.used));
    this.used = 0;
    this.slot = { id: null, size: 0, stored: 0 };
    await this.emit(raw, slot);
  }

  /** Null where the file grew too large meanwhile. */
  private async small(fd: number, file: FoundFile): Promise<Reading | null> {
    if (this.used + file.stamp.size >= MAX_CHUNK_BYTES || this.used + SMALL >= MAX_CHUNK_BYTES) await this.flush();
    let before = file.stamp;
    for (let attempt = 1; ; attempt++) {
      const length = readFully(fd, this.shared, this.used, before.size + 1);
      const stat = fstatSync(fd, { bigint: true });
      if (!stat.isFile()) return { is: "refused", why: "it became something else while it was read" };
      const after = stampOf(stat);
      const whole = sameStamp(before, after) && length === after.size;
      if (!whole && after.size > SMALL) return null;
      if (whole || attempt === ATTEMPTS) return { is: "read", content: await this.keep(Math.min(length, SMALL)), stamp: after, torn: !whole };
      before = after;
    }
  }

  private async keep(length: number): Promise<Content> {
    const hash = sha256(this.shared.subarray(this.used, this.used + length));
    const known = this.known.get(hash);
    if (known) return known;
    const content: Content = { size: length, hash, pieces: length === 0 ? [] : [{ slot: this.slot, offset: this.used, length }], holes: [] };
    this.known.set(hash, content);
    this.used += length;
    // Which files share a chunk is said by their content too: one file more or less leaves the other chunks as they are.
    if (this.used >= MIN_BYTES && Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < length / MIN_BYTES) await this.flush();
    return content;
  }

  private async large(fd: number, file: FoundFile): Promise<Reading> {
    let before = file.stamp;
    for (let attempt = 1; ; attempt++) {
      const content = await this.stream(fd, before.size, file.allocated < file.stamp.size);
      const stat = fstatSync(fd, { bigint: true });
      if (!stat.isFile()) return { is: "refused", why: "it became something else while it was read" };
      const after = stampOf(stat);
      const whole = sameStamp(before, after) && content.size === after.size;
      if (!whole && attempt < (after.size > HUGE ? ATTEMPTS_OF_HUGE : ATTEMPTS)) {
        before = after;
        continue;
      }
      const known = this.known.get(content.hash) ?? content;
      this.known.set(content.hash, known);
      return { is: "read", content: known, stamp: after, torn: !whole };
    }
  }

  /** The first `size` bytes (fewer where the file has fewer), cut and sent as they are read. */
  private async stream(fd: number, size: number, sparse: boolean): Promise<Content> {
    const buffer = (this.window ??= Buffer.allocUnsafe(2 * MAX_CHUNK_BYTES));
    const whole = createHash("sha256");
    const content: Content = { size: 0, hash: "", pieces: [], holes: [] };
    let start = 0;
    let end = 0;
    for (let ended = false; !ended; ) {
      const want = Math.min(sparse ? HOLE_BYTES : READ_BYTES, size - content.size, buffer.length - end);
      const length = want === 0 ? 0 : readFully(fd, buffer, end, want, content.size);
      const fresh = buffer.subarray(end, end + length);
      whole.update(fresh);
      if (sparse && length === HOLE_BYTES && fresh.equals(ZEROS) && addHole(content.holes, content.size)) {
        /* A hole takes no place in a chunk. */
      } else end += length;
      content.size += length;
      ended = length < want || content.size >= size;
      const enough = ended ? 1 : MAX_CHUNK_BYTES;
      while (end - start >= enough) {
        const at = cut(buffer, start, end);
        const slot: Slot = { id: null, size: at - start, stored: 0 };
        content.pieces.push({ slot, offset: 0, length: at - start });
        await this.emit(Buffer.from(buffer.subarray(start, at)), slot);
        start = at;
      }
      if (start > 0 && end + READ_BYTES > buffer.length) {
        buffer.copyWithin(0, start, end);
        end -= start;
        start = 0;
      }
      if (this.breath.due()) await this.breath.take();
    }
    content.hash = whole.digest("hex");
    return content;
  }
}

function addHole(holes: [number, number][], at: number): boolean {
  const last = holes.at(-1);
  if (last && last[0] + last[1] === at) last[1] += HOLE_BYTES;
  else if (holes.length < MAX_HOLES) holes.push([at, HOLE_BYTES]);
  else return false;
  return true;
}

/** Reads until `length` bytes are there or the file ends. */
function readFully(fd: number, into: Buffer, at: number, length: number, from = 0): number {
  let read = 0;
  while (read < length) {
    const got = readSync(fd, into, at + read, length - read, from + read);
    if (got === 0) break;
    read += got;
  }
  return read;
}

function refusal(error: unknown): Reading {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "ENOENT") return { is: "gone" };
  if (code === "ELOOP" || code === "ENXIO" || code === "EISDIR" || code === "EAGAIN") return { is: "refused", why: "it became something else while it was read" };
  return { is: "refused", why: `cannot be read: ${error instanceof Error ? error.message : String(error)}` };
}

