/** Owns the search of a process's memory for a text: every readable page that `/proc` shows, as UTF-8 and as UTF-16. */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const PIECE = 8 * 1024 * 1024;

/** True where the process holds the text anywhere in its memory. Throws where its memory may not be read. */
export function memoryHolds(pid: number, text: string): boolean {
  const needles = [Buffer.from(text, "utf8"), Buffer.from(text, "utf16le")];
  const overlap = Math.max(...needles.map(({ length }) => length));
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const buffer = Buffer.alloc(PIECE + overlap);
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
      const range = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)$/.exec(line);
      // Files that are mapped as they lie on the disk hold nothing of this run; the kernel's own pages cannot be read.
      if (!range || /^\[v|\.so|\/bin\//.test(range[3] ?? "")) continue;
      const end = BigInt(`0x${range[2]}`);
      for (let at = BigInt(`0x${range[1]}`); at < end; at += BigInt(PIECE)) {
        const length = Number(end - at < BigInt(PIECE + overlap) ? end - at : BigInt(PIECE + overlap));
        let read = 0;
        try {
          read = readSync(memory, buffer, 0, length, at as unknown as number);
        } catch {
          // A page that was never touched.
          continue;
        }
        const piece = buffer.subarray(0, read);
        if (needles.some((needle) => piece.includes(needle))) return true;
      }
    }
    return false;
  } finally {
    closeSync(memory);
  }
}
