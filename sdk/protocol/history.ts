/** Owns the words of a session's history as it is kept and exported: blocks of JSON lines, each with the hash of the one before. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { timestamp } from "./values.ts";

/**
 * A history is a list of blocks, and a block is text: one header line, then `count` lines with an event each (as clients see them, with
 * `raw`), each ended by a newline. Its hash is the SHA-256 of exactly these bytes, so that `sha256sum` can check it too.
 */
export const HISTORY_FORMAT = "marionette-log/1";
/** A block ends behind the first stored piece with which it has so many events … */
export const HISTORY_BLOCK_EVENTS = 10_000;
/** … or so many characters. */
export const HISTORY_BLOCK_CHARS = 2 * 1024 * 1024;

const hash = z.string().regex(/^[0-9a-f]{64}$/, "not a SHA-256 in hex");
/** What stands before the first block. */
export const NO_HASH = "0".repeat(64);

/** The first line of every block. */
export const historyHeader = z.strictObject({
  format: z.literal(HISTORY_FORMAT),
  session_id: idOf("session"),
  /** 1, 2, 3 … */
  block: z.number().int().min(1),
  /** Number of the first event in it. */
  from: z.number().int().min(1),
  count: z.number().int().min(1),
  /** Hash of the block before. */
  previous: hash,
});
export type HistoryHeader = z.infer<typeof historyHeader>;

/** The end of a chain: whoever knows it can tell whether a history is whole and unchanged. */
export const historyHead = z.object({
  events: z.number().int().min(0),
  blocks: z.number().int().min(0),
  /** Hash of the last block. */
  head: hash,
});
export type HistoryHead = z.infer<typeof historyHead>;

/** Where an ended session's events are: in the object store, under this head. */
export const sessionArchive = historyHead.extend({
  /** As they are kept: compressed and sealed. */
  bytes: z.number().int().min(0),
  archived_at: timestamp,
});
export type SessionArchive = z.infer<typeof sessionArchive>;

/** What is known of a session's history in places that whoever can write the object store cannot change. */
export const sessionHistory = z.object({
  session_id: idOf("session"),
  last_seq: z.number().int().min(0),
  /** The last block that will not change any more, as the session's object remembers it; null where there is none yet. */
  pinned: historyHead.nullable(),
  /** Null while the events are in the session's object. */
  archive: sessionArchive.nullable(),
  /** The head as the database's copy of the session has it; null where it has none, or does not answer. */
  recorded: historyHead.nullable(),
});
export type SessionHistory = z.infer<typeof sessionHistory>;

/** Hash of a block, hex. */
export async function historyHash(block: Uint8Array<ArrayBuffer>): Promise<string> {
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", block)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
