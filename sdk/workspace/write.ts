/** Owns the writing of one file of a restore: pieces as they come, holes left holes, its hash checked before it counts. */

import { createHash, type Hash } from "node:crypto";
import { closeSync, constants, fchmodSync, ftruncateSync, futimesSync, openSync, readSync, writeSync } from "node:fs";
import type { FileEntry } from "../protocol/manifest.ts";
import { sha256 } from "./codec.ts";
import { treeFailure } from "./failure.ts";
import { layout, type Segment } from "./layout.ts";
import { seconds } from "./stage.ts";
import type { SystemPath } from "./system-path.ts";

const ZEROS = Buffer.alloc(1024 * 1024);
const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW;
const REOPEN = constants.O_RDWR | constants.O_NOFOLLOW;

export function wrongHash(shown: string): Error {
  return treeFailure("refused", `${JSON.stringify(shown)} does not have the hash that the manifest says: a chunk was swapped, or the manifest is wrong`, { path: shown });
}

/** A file that is whole in memory. `umask`: bits that creating takes away. */
export function writeWhole(path: SystemPath, entry: FileEntry, bytes: Uint8Array, shown: string, umask: number): void {
  if (sha256(bytes) !== entry.hash) throw wrongHash(shown);
  const fd = openSync(path, CREATE, entry.mode);
  try {
    writeFully(fd, bytes, 0);
    if ((entry.mode & umask) !== 0) fchmodSync(fd, entry.mode);
    futimesSync(fd, seconds(entry.mtime), seconds(entry.mtime));
  } finally {
    closeSync(fd);
  }
}

/** A file of several pieces. */
export class FileWriter {
  private readonly path: SystemPath;
  private readonly entry: FileEntry;
  private readonly shown: string;
  private readonly segments: Segment[];
  private hash: Hash | null = createHash("sha256");
  private hashed = 0;
  private next = 0;
  private left: number;

  constructor(path: SystemPath, entry: FileEntry, shown: string) {
    this.path = path;
    this.entry = entry;
    this.shown = shown;
    this.segments = layout(entry);
    this.left = this.segments.length;
    const fd = openSync(path, CREATE, 0o600);
    try {
      ftruncateSync(fd, entry.size);
      if (this.left === 0) this.finish(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Writes all that this file has of a chunk. */
  take(chunk: number, raw: Buffer): void {
    const fd = openSync(this.path, REOPEN);
    try {
      this.segments.forEach((segment, place) => {
        if (segment.chunk !== chunk) return;
        const bytes = raw.subarray(segment.offset, segment.offset + segment.length);
        writeFully(fd, bytes, segment.at);
        this.left -= 1;
        // Pieces come in the order of the file, but for those of a chunk that another file had already brought.
        if (place !== this.next) this.hash = null;
        this.next = place + 1;
        if (!this.hash) return;
        this.zeros(this.hash, segment.at);
        this.hash.update(bytes);
        this.hashed = segment.at + segment.length;
      });
      if (this.left === 0) this.finish(fd);
    } finally {
      closeSync(fd);
    }
  }

  private finish(fd: number): void {
    if (this.hash) this.zeros(this.hash, this.entry.size);
    if ((this.hash ? this.hash.digest("hex") : hashOf(fd)) !== this.entry.hash) throw wrongHash(this.shown);
    fchmodSync(fd, this.entry.mode);
    futimesSync(fd, seconds(this.entry.mtime), seconds(this.entry.mtime));
  }

  private zeros(hash: Hash, to: number): void {
    for (; this.hashed < to; this.hashed += Math.min(ZEROS.length, to - this.hashed)) hash.update(ZEROS.subarray(0, to - this.hashed));
  }
}

/** Hash of what the file system gives back. */
export function hashOf(fd: number): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  for (let at = 0; ; ) {
    const length = readSync(fd, buffer, 0, buffer.length, at);
    if (length === 0) return hash.digest("hex");
    hash.update(buffer.subarray(0, length));
    at += length;
  }
}

function writeFully(fd: number, bytes: Uint8Array, from: number): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written, bytes.length - written, from + written);
}
