/** Owns where a stream of bytes is cut: FastCDC with normalised chunking, so that an insertion moves only the cuts near it. */

import { MAX_CHUNK_BYTES } from "../protocol/manifest.ts";

export const MIN_BYTES = 512 * 1024;
export const AVERAGE_BYTES = 1024 * 1024;
export const MAX_BYTES = MAX_CHUNK_BYTES;

/**
 * Normalisation level 2 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", 2020): two bits more
 * than the average asks for before it, two bits fewer behind it. The mask lies on the high bits, which the last 32 bytes have a say in.
 */
const MASK_BEFORE = 0xff_ff_fc_00 | 0;
const MASK_BEHIND = 0xff_ff_c0_00 | 0;

/** One number for each byte. A part of the format: another table would cut elsewhere and find nothing again. (mulberry32 from the seed below.) */
const GEAR = gear(0x6d61_7269);

function gear(seed: number): Int32Array {
  let state = seed;
  return Int32Array.from({ length: 256 }, () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return mixed ^ (mixed >>> 14);
  });
}

/**
 * Where the chunk that begins at `from` ends. `to` is the end of what is known: unless it is the end of the stream, at least `MAX_BYTES` must lie
 * between, or the cut would depend on how the stream was read.
 */
export function cut(bytes: Uint8Array, from: number, to: number): number {
  if (to - from <= MIN_BYTES) return to;
  const normal = Math.min(from + AVERAGE_BYTES, to);
  const end = Math.min(from + MAX_BYTES, to);
  let at = from + MIN_BYTES;
  let hash = 0;
  for (; at < normal; at++) {
    hash = ((hash << 1) + (GEAR[bytes[at] as number] as number)) | 0;
    if ((hash & MASK_BEFORE) === 0) return at + 1;
  }
  for (; at < end; at++) {
    hash = ((hash << 1) + (GEAR[bytes[at] as number] as number)) | 0;
    if ((hash & MASK_BEHIND) === 0) return at + 1;
  }
  return end;
}
