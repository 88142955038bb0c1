/** Owns the journal's file: appended to line by line, cut behind its last whole line when opened, replaced in one step. */

import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface JournalStore {
  /** The whole lines that are there, without their ends; called once, first. */
  load(): string[];
  /** Adds text that ends in a line's end; all of it or nothing. Throws what the system says (ENOSPC …). */
  append(text: string): void;
  /** Replaces everything by `text`; all of it or nothing. */
  replace(text: string): void;
  /** Forgets everything from line `count` on. */
  truncate(count: number): void;
  readonly size: number;
  close(): void;
}

/**
 * A journal on disk. What `append` returned from survives the death of the process at any point; it is not synced,
 * because with the machine everything dies that the journal is about.
 */
export class FileStore implements JournalStore {
  readonly #path: string;
  #fd: number;
  #size = 0;
  #ends: number[] = [];

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#fd = openSync(path, "a+", 0o600);
  }

  get size(): number {
    return this.#size;
  }

  load(): string[] {
    const bytes = Buffer.alloc(fstatSync(this.#fd).size);
    let read = 0;
    for (let got = -1; got !== 0 && read < bytes.length; read += got) got = readSync(this.#fd, bytes, read, bytes.length - read, read);
    const lines: string[] = [];
    let from = 0;
    for (let end = bytes.indexOf(10); end !== -1 && end < read; end = bytes.indexOf(10, from)) {
      lines.push(bytes.toString("utf8", from, end));
      from = end + 1;
      this.#ends.push(from);
    }
    this.#cutAt(from);
    return lines;
  }

  truncate(count: number): void {
    this.#cutAt(count === 0 ? 0 : (this.#ends[count - 1] ?? this.#size));
    this.#ends.length = Math.min(this.#ends.length, count);
  }

  append(text: string): void {
    const bytes = Buffer.from(text);
    try {
      writeAll(this.#fd, bytes);
    } catch (error) {
      this.#cutAt(this.#size);
      throw error;
    }
    this.#size += bytes.length;
  }

  replace(text: string): void {
    const next = `${this.#path}.new`;
    const bytes = Buffer.from(text);
    const fd = openSync(next, "w", 0o600);
    try {
      writeAll(fd, bytes);
    } catch (error) {
      // Half of it would only take the room that is missing.
      rmSync(next, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    renameSync(next, this.#path);
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, "a+", 0o600);
    this.#size = bytes.length;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #cutAt(size: number): void {
    ftruncateSync(this.#fd, size);
    this.#size = size;
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

/** A journal that dies with its process: for many runners in one process, whose death nobody survives. */
export class MemoryStore implements JournalStore {
  readonly size = 0;
  load(): string[] {
    return [];
  }
  append(): void {}
  replace(): void {}
  truncate(): void {}
  close(): void {}
}
