/** Owns where the pieces of a file lie in it: between its holes, in order. */

import type { FileEntry } from "../protocol/manifest.ts";

export interface Segment {
  /** Place of the chunk in the manifest's table. */
  chunk: number;
  offset: number;
  length: number;
  /** Place in the file. */
  at: number;
}

/** The pieces, cut where a hole lies between: each segment is one write. */
export function layout(entry: FileEntry): Segment[] {
  const segments: Segment[] = [];
  const holes = entry.holes ?? [];
  let hole = 0;
  let at = 0;
  const skip = () => {
    for (let next = holes[hole]; next?.[0] === at; next = holes[hole]) {
      at += next[1];
      hole += 1;
    }
  };
  for (const [chunk, offset, length] of entry.pieces) {
    for (let done = 0; done < length; ) {
      skip();
      const part = Math.min(length - done, (holes[hole]?.[0] ?? Number.MAX_SAFE_INTEGER) - at);
      segments.push({ chunk, offset: offset + done, length: part, at });
      done += part;
      at += part;
    }
  }
  return segments;
}
