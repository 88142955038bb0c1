/** Owns where conversations are kept: a live-state row that is replaced, and an archive that only grows. What is in them is the caller's. */

import * as z from "zod";

/** Bytes of a state or message as JSON, at most. */
export const MAX_JSON_BYTES = 16 * 1024 * 1024;
/** Messages of one append, at most. */
export const MAX_BATCH = 1_000;
/** Messages of one page, at most and by default. */
export const MAX_PAGE = 1_000;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface LiveState {
  state: Json;
  /** 1 for the first, one more for each `save`. */
  revision: number;
  updated_at: Date;
}

export interface Archived {
  /** 0 for a conversation's first, without gaps. */
  seq: number;
  message: Json;
  at: Date;
}

export type PersistenceErrorCode =
  /** Someone else has saved or appended since. Load, and decide anew. */
  | "conflict"
  | "invalid"
  | "too_large"
  /** The store cannot be reached or written now. */
  | "unavailable"
  /** What is stored is not what was written. */
  | "corrupt";

export class PersistenceError extends Error {
  readonly code: PersistenceErrorCode;
  constructor(code: PersistenceErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "PersistenceError";
    this.code = code;
  }
}

/** All methods throw `PersistenceError`. What was answered is kept: `save` and `append` resolve when it is safe against the death of this process. */
export interface PersistenceAdapter {
  /** Null where nothing was saved. */
  load(conversationId: string): Promise<LiveState | null>;
  /** Replaces the state by whatever JSON can say, such as an agent's `history`; throws `invalid` for what it cannot. With `revision`, only where that is still the one there (0: where there is none); throws `conflict` otherwise. */
  save(conversationId: string, state: unknown, options?: { revision?: number | undefined }): Promise<LiveState>;
  /** Adds all messages or none, and answers the seq of the first. With `seq`, only where that comes next: an append that is tried again does not double. */
  append(conversationId: string, messages: readonly unknown[], options?: { seq?: number | undefined }): Promise<number>;
  /** Messages from `seq` on (the first where absent), in order. */
  archive(conversationId: string, options?: { seq?: number | undefined; limit?: number | undefined }): Promise<Archived[]>;
  /** Forgets a conversation whole; false where there was nothing. */
  remove(conversationId: string): Promise<boolean>;
  close(): Promise<void>;
}

const conversationId = z.string().min(1).max(200).refine((value) => value.isWellFormed() && !value.includes("\0"), "holds NUL or broken Unicode");

export function checkedId(id: string): string {
  const parsed = conversationId.safeParse(id);
  if (!parsed.success) throw new PersistenceError("invalid", `conversation id: ${parsed.error.issues[0]?.message ?? "not valid"}`);
  return id;
}

/** A value as JSON text. Values that JSON has no words for are refused, not dropped. */
export function jsonText(value: unknown, what: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, (_, each: unknown) => {
      if (each === undefined || typeof each === "function" || typeof each === "symbol" || (typeof each === "number" && !Number.isFinite(each))) throw new PersistenceError("invalid", `${what}: holds ${String(each)}, which JSON cannot say`);
      return each;
    });
  } catch (error) {
    if (error instanceof PersistenceError) throw error;
    throw new PersistenceError("invalid", `${what}: ${error instanceof Error ? error.message : "cannot be written as JSON"}`, { cause: error });
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_JSON_BYTES) throw new PersistenceError("too_large", `${what}: ${bytes} bytes as JSON, more than ${MAX_JSON_BYTES}`);
  return text;
}

/** The texts of a batch, none too many and none too long. */
export function batchTexts(messages: readonly unknown[]): string[] {
  if (messages.length > MAX_BATCH) throw new PersistenceError("too_large", `messages: ${messages.length} at once, more than ${MAX_BATCH}`);
  return messages.map((message, i) => jsonText(message, `messages.${i}`));
}

export function checkedPage({ seq = 0, limit = MAX_PAGE }: { seq?: number | undefined; limit?: number | undefined }): { seq: number; limit: number } {
  for (const [name, value] of Object.entries({ seq, limit })) if (!Number.isSafeInteger(value) || value < 0) throw new PersistenceError("invalid", `${name}: expected a whole number of at least 0`);
  return { seq, limit: Math.min(limit, MAX_PAGE) };
}

export const savedSince = (id: string, expected: number, actual: number) => new PersistenceError("conflict", `conversation ${id} is at revision ${actual}, not ${expected}: someone else has saved it`);
export const appendedSince = (id: string, expected: number, next: number | null) => new PersistenceError("conflict", `conversation ${id}: ${next === null ? "another seq" : `seq ${next}`} comes next in its archive, not ${expected}`);
