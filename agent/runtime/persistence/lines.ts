/** Owns finding lines in files that only grow: each part of a file is searched for line ends once, however often it is asked for. */

import { open, type FileHandle } from "node:fs/promises";

const PIECE_BYTES = 256 * 1024;
/** Lines between two places that are remembered. */
const EVERY = 500;
const NEWLINE = 10;

interface Known {
  /** Another file of the same name is searched anew. */
  ino: string;
  count: number;
  bytes: number;
  /** Where each `EVERY`th line begins. */
  starts: number[];
}

export class Lines {
  readonly #known = new Map<string, Known>();

  /** Whole lines, their bytes, and the file's; what is behind the last line end is half a line. */
  async extent(path: string): Promise<{ count: number; bytes: number; size: number }> {
    const handle = await opened(path);
    if (handle === null) return { count: 0, bytes: 0, size: 0 };
    try {
      const { size } = await handle.stat();
      const { count, bytes } = await this.#search(path, handle);
      return { count, bytes, size };
    } finally {
      await handle.close();
    }
  }

  /** At most `limit` whole lines from the `first` on, without their ends. */
  async read(path: string, first: number, limit: number): Promise<string[]> {
    const handle = await opened(path);
    if (handle === null) return [];
    try {
      const { count, bytes, starts } = await this.#search(path, handle);
      const last = Math.min(count, first + limit);
      if (first >= last) return [];
      const mark = Math.floor(first / EVERY);
      const from = starts[mark] ?? 0;
      const to = starts[Math.ceil(last / EVERY)] ?? bytes;
      const buffer = Buffer.alloc(to - from);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, from);
      const texts = buffer.toString("utf8", 0, bytesRead).split("\n");
      return texts.slice(first - mark * EVERY, last - mark * EVERY);
    } finally {
      await handle.close();
    }
  }

  async #search(path: string, handle: FileHandle): Promise<Known> {
    const { ino: inode, birthtimeMs, size } = await handle.stat();
    const ino = `${inode}-${birthtimeMs}`;
    const before = this.#known.get(path);
    const known = before?.ino === ino && before.bytes <= size ? { ...before, starts: [...before.starts] } : { ino, count: 0, bytes: 0, starts: [0] };
    const buffer = Buffer.alloc(Math.min(PIECE_BYTES, Math.max(1, size - known.bytes)));
    for (let at = known.bytes; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) break;
      for (let end = buffer.indexOf(NEWLINE); end >= 0 && end < bytesRead; end = buffer.indexOf(NEWLINE, end + 1)) {
        known.bytes = at + end + 1;
        if (++known.count % EVERY === 0) known.starts.push(known.bytes);
      }
      at += bytesRead;
    }
    this.#known.set(path, known);
    return known;
  }
}

async function opened(path: string): Promise<FileHandle | null> {
  return open(path, "r").catch((error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? null : Promise.reject(error)));
}
