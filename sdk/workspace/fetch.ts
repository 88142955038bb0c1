/** Owns the fetching of chunks: several at once, in the order in which they are wanted, no more in memory than allowed. */

import type { ManifestChunk } from "../protocol/manifest.ts";
import { unpack } from "./codec.ts";
import type { Door } from "./door.ts";

export interface FetchOptions {
  door: Door;
  /** Most requests at once. */
  parallel: number;
  /** Bytes before compression that may be fetched and not yet used. */
  memory: number;
  signal: AbortSignal;
}

/** Each chunk of `wanted` with its raw bytes, checked, in order. Ending the loop early leaves what is under way to the signal. */
export async function* fetchChunks(wanted: readonly ManifestChunk[], { door, parallel, memory, signal }: FetchOptions): AsyncGenerator<{ at: number; raw: Buffer }> {
  const ahead: Promise<Buffer>[] = [];
  let bytes = 0;
  let next = 0;
  for (let at = 0; at < wanted.length; at++) {
    for (let chunk = wanted[next]; chunk && ahead.length < parallel && (ahead.length === 0 || bytes + chunk.size <= memory); chunk = wanted[next]) {
      const fetched = fetchChunk(door, chunk, signal);
      // It is awaited in its turn; until then its failure is nobody's.
      fetched.catch(() => undefined);
      ahead.push(fetched);
      bytes += chunk.size;
      next += 1;
    }
    const raw = await (ahead.shift() as Promise<Buffer>);
    bytes -= raw.length;
    yield { at, raw };
  }
}

async function fetchChunk(door: Door, chunk: ManifestChunk, signal: AbortSignal): Promise<Buffer> {
  return unpack(chunk, await door.getChunk(chunk.id, signal));
}
