/** Owns reading lines from an agent: bounded, with back-pressure, and honest about what is not text. */

import { isUtf8 } from "node:buffer";
import type { Readable } from "node:stream";

/** Longest line of an agent's protocol; a longer one is a fault of the agent, not something to hold in memory. */
export const MAX_PROTOCOL_LINE_BYTES = 16 * 1024 * 1024;

/** One line without its end. `binary` text is base64; `overlong` holds the beginning, the rest was dropped. */
export interface Line {
  text: string;
  binary?: true;
  /** How many bytes were dropped. */
  overlong?: number;
}

/**
 * The lines of a stream, in the batches in which they arrive; the next batch is read when the last was worked off.
 * Ends with the stream; a stream that is destroyed under it ends it too. A last line without an end counts.
 */
export async function* lineBatches(stream: Readable, maxBytes = MAX_PROTOCOL_LINE_BYTES): AsyncGenerator<Line[]> {
  let held: Buffer[] = [];
  let size = 0;
  let dropped = 0;
  const hold = (bytes: Buffer) => {
    const room = Math.max(0, maxBytes - size);
    if (room > 0) held.push(bytes.length > room ? bytes.subarray(0, room) : bytes);
    size += Math.min(bytes.length, room);
    dropped += Math.max(0, bytes.length - room);
  };
  const take = (): Line => {
    const line = toLine(held.length === 1 ? (held[0] as Buffer) : Buffer.concat(held));
    if (dropped > 0) line.overlong = dropped;
    held = [];
    size = 0;
    dropped = 0;
    return line;
  };
  try {
    for await (const chunk of stream) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : (chunk as Buffer);
      const batch: Line[] = [];
      let from = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
        hold(bytes.subarray(from, end));
        batch.push(take());
        from = end + 1;
      }
      if (from < bytes.length) hold(bytes.subarray(from));
      if (batch.length > 0) yield batch;
    }
  } catch (error) {
    if (!isTorn(error)) throw error;
  }
  if (size > 0) yield [take()];
}

/** The lines one by one; see `lineBatches`. */
export async function* lines(stream: Readable, maxBytes = MAX_PROTOCOL_LINE_BYTES): AsyncGenerator<Line> {
  for await (const batch of lineBatches(stream, maxBytes)) yield* batch;
}

function toLine(bytes: Buffer): Line {
  const whole = bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes;
  return isUtf8(whole) && !whole.includes(0) ? { text: whole.toString("utf8") } : { text: whole.toString("base64"), binary: true };
}

function isTorn(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ERR_STREAM_PREMATURE_CLOSE" || code === "ECONNRESET" || code === "EPIPE" || (error instanceof Error && error.name === "AbortError");
}

/** The JSON object on a line; undefined where the line is anything else. */
export function jsonObject(line: Line): Record<string, unknown> | undefined {
  if (line.binary || line.overlong !== undefined || !/^\s*\{/.test(line.text)) return undefined;
  try {
    const value: unknown = JSON.parse(line.text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
