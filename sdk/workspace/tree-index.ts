/** Owns the index of a tree: what each file was when it was last equal to a manifest, so that an unchanged tree costs only a scan. */

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { threadId } from "node:worker_threads";
import { entryPath, type ManifestChunk, type ManifestEntry } from "../protocol/manifest.ts";
import type { ByteString } from "../protocol/tree-path.ts";
import { fromSystem } from "./failure.ts";
import type { Stamp } from "./scan.ts";

const FORMAT = "marionette-index/1";

/** Longer than the clock of a file system with nanoseconds stands still. */
export const TICK_MS = 50;

/** `ino` is empty where the file was so new that a later change might leave no trace: it is read again. */
export interface IndexRow {
  entry: ManifestEntry;
  ino: string;
  ctime: string;
}

export interface TreeIndex {
  manifest_id: string;
  chunks: ManifestChunk[];
  rows: Map<ByteString, IndexRow>;
}

/** The index of a file; null where there is none or it is not whole: then every file is read. It is trusted as far as its tree is. */
export function loadIndex(path: string): TreeIndex | null {
  try {
    const read = JSON.parse(readFileSync(path, "utf8")) as { format?: unknown; manifest_id: string; chunks: ManifestChunk[]; rows: [ManifestEntry, string, string][] };
    if (read.format !== FORMAT) return null;
    return { manifest_id: read.manifest_id, chunks: read.chunks, rows: new Map(read.rows.map(([entry, ino, ctime]) => [entryPath(entry), { entry, ino, ctime }])) };
  } catch {
    return null;
  }
}

/** Replaces it at once, so that a reader finds the old or the new one. */
export function saveIndex(path: string, index: TreeIndex): void {
  // Two syncs of one tree may end at once, each in a thread of its own.
  const next = `${path}.${process.pid}.${threadId}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(next, JSON.stringify({ format: FORMAT, manifest_id: index.manifest_id, chunks: index.chunks, rows: Array.from(index.rows.values(), ({ entry, ino, ctime }) => [entry, ino, ctime]) }), { mode: 0o600 });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw fromSystem(error, "the index of the tree cannot be written");
  }
}

export function rowFits(row: IndexRow, stamp: Stamp): boolean {
  const { entry } = row;
  return row.ino === stamp.ino && row.ctime === stamp.ctime && entry.mtime === stamp.mtime && entry.type === "file" && entry.size === stamp.size;
}

/**
 * The row of a file as it is now. Clocks of file systems tick: a file that changed within the last tick could change again without a trace
 * (Linux: some ms; with times in whole seconds, up to two of them).
 */
export function rowOf(entry: ManifestEntry, stamp: Stamp, now: number): IndexRow {
  const tick = stamp.ctime.endsWith("000000000") ? 2_000 : TICK_MS;
  const settled = now - Number(BigInt(stamp.ctime) / 1_000_000n) >= tick;
  return { entry, ino: settled ? stamp.ino : "", ctime: stamp.ctime };
}
