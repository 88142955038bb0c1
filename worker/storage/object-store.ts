/** Owns the words of the object store: what every store of sealed bytes can do, whoever keeps them. */

import { Failure } from "../../sdk/protocol/index.ts";

/** What is known of an object without reading it. */
export interface ObjectInfo {
  key: string;
  size: number;
  /** When it was last put, epoch milliseconds by the store's clock. */
  uploaded: number;
}

export interface StoredObject extends ObjectInfo {
  /** The bytes asked for, as they come; may be read once, by this or by `bytes`. */
  body: ReadableStream<Uint8Array>;
  bytes(): Promise<Uint8Array>;
}

export interface PutOptions {
  /** Leave what is there: the answer says `stored: false`. Where the store cannot do both in one step, two that put at once may both store. */
  onlyIfAbsent?: boolean;
  /** Bytes of a stream; a stream of unknown length is not taken. */
  size?: number;
}

/** At most `length` bytes from `offset`. */
export interface ByteRange {
  offset: number;
  length: number;
}

/** A page of a listing, in the order of keys; `cursor` is null on the last one. */
export interface Listing {
  items: ObjectInfo[];
  cursor: string | null;
}

/**
 * A store of named bytes. Puts are whole or not at all, and read back at once by everyone. Throws `unavailable` where the store
 * cannot be reached or is busy; all of it may be tried again.
 */
export interface ObjectStore {
  readonly kind: "r2" | "s3" | "disk";
  put(key: string, body: Uint8Array | ReadableStream<Uint8Array>, options?: PutOptions): Promise<{ stored: boolean }>;
  /** Null where there is nothing of that key. A range that reaches past the end is cut; one that begins past it is empty. */
  get(key: string, range?: ByteRange): Promise<StoredObject | null>;
  head(key: string): Promise<ObjectInfo | null>;
  list(prefix: string, options?: { cursor?: string | undefined; limit?: number | undefined }): Promise<Listing>;
  /** Missing keys are fine; any number. */
  delete(keys: readonly string[]): Promise<void>;
}

/** Most keys of one page or of one deletion, in every store. */
export const MAX_KEYS = 1_000;

/** What a range gets that has nothing of the object in it. */
export function emptyOf(info: ObjectInfo): StoredObject {
  return { ...info, body: new Blob([]).stream() as ReadableStream<Uint8Array>, bytes: async () => new Uint8Array() };
}

/** The store is not there now; `reason` is its own word. */
export function unreachable(reason: unknown): Failure {
  return new Failure("unavailable", "The object store cannot be reached", { details: { retry_after_seconds: 2, reason: reason instanceof Error ? reason.message.slice(0, 200) : typeof reason === "string" ? reason.slice(0, 200) : "unknown" } });
}

/** Calls a store of which every error means "not now": keys and bodies are ours and always valid. */
export async function calling<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    throw unreachable(error);
  }
}
