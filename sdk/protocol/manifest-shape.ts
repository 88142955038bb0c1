/** Owns a quick look at a manifest's entries: tens of thousands are checked at every task's end, also where schemas cannot be compiled. */

import type { ManifestEntry } from "./manifest.ts";

const HASH = /^[0-9a-f]{64}$/;
/** What `MAX_CHUNK_BYTES` says; a test holds them together. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/**
 * Whether this is a file or a directory in its plainest shape (a UTF-8 name, no holes, not torn), so that `manifestEntry` would take it as it is.
 * False says nothing: then the schema decides, and finds the words.
 */
export function isPlainEntry(value: unknown): value is ManifestEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  const { path } = entry;
  if (typeof path !== "string" || path.length === 0 || path.length > 4_096 || !Number.isSafeInteger(entry["mtime"])) return false;
  if (entry["type"] === "directory") return upTo(entry["mode"], 0o3777) && Object.keys(entry).length === 4;
  if (entry["type"] !== "file" || !upTo(entry["mode"], 0o777) || !upTo(entry["size"], Number.MAX_SAFE_INTEGER)) return false;
  const { hash, pieces } = entry;
  return typeof hash === "string" && HASH.test(hash) && Array.isArray(pieces) && pieces.every(isPiece) && Object.keys(entry).length === 7;
}

function isPiece(piece: unknown): boolean {
  return Array.isArray(piece) && piece.length === 3 && upTo(piece[0], Number.MAX_SAFE_INTEGER) && upTo(piece[1], CHUNK_BYTES) && upTo(piece[2], CHUNK_BYTES) && piece[2] !== 0;
}

function upTo(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
