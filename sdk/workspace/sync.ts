/** Owns syncing: from a tree on a disk to a manifest and the chunks that the store lacked. */

import { lstatSync, realpathSync } from "node:fs";
import { Failure } from "../protocol/errors.ts";
import { MANIFEST_FORMAT, MANIFEST_LIMITS, type Manifest, type ManifestEntry, type ManifestHeader, type ManifestKind } from "../protocol/manifest.ts";
import { writeName, type ByteString } from "../protocol/tree-path.ts";
import { packManifest, requireZstd } from "./codec.ts";
import type { Door } from "./door.ts";
import { fromSystem, throwIfAborted, treeFailure } from "./failure.ts";
import { Breath } from "./flow.ts";
import { bytesOf, largestOf } from "./measure.ts";
import { FileReader, type Content, type Slot } from "./read.ts";
import { scanTree, stampOf, type Found, type Scan, type Stamp } from "./scan.ts";
import { Include, IGNORE_FILE } from "./selection.ts";
import { ChunkSender } from "./send.ts";
import { recoverTree } from "./stage.ts";
import { systemPath } from "./system-path.ts";
import { ChunkTable, knownOf, type FileRecord } from "./tree-record.ts";
import { loadIndex, rowOf, saveIndex, type IndexRow, type TreeIndex } from "./tree-index.ts";

export interface SyncProgress {
  phase: "scan" | "read" | "send";
  files: number;
  bytes: number;
  total_files: number;
  total_bytes: number;
  sent_bytes: number;
}

export interface SyncOptions {
  root: string;
  kind: ManifestKind;
  ids: { manifest_id: string; workspace_id: string };
  door: Door;
  /** File of the index, outside the tree. */
  index: string;
  /** Whether `.marionetteignore` files count. Default: in a workspace. */
  ignore?: boolean;
  /** Bytes on the disk (holes not counted) and entries. */
  quota?: { bytes?: number; entries?: number };
  /** Only what fits one of these globs. */
  include?: readonly string[];
  /** "keep": symlinks that lead out of the tree are kept too; restore then needs to be told the same. Default: left out and named. */
  outsideLinks?: "leave_out" | "keep";
  /** Raw bytes that may be on their way at once. */
  memory?: number;
  /** Most chunks sent at once. */
  parallel?: number;
  now?: () => number;
  onProgress?: (progress: SyncProgress) => void;
  signal?: AbortSignal;
}

export interface SyncResult {
  /** The new manifest; the last one where nothing has changed since. */
  manifest_id: string;
  unchanged: boolean;
  files: number;
  bytes: number;
  /** Compressed, chunks and manifest. */
  sent_bytes: number;
  sent_chunks: number;
  torn: boolean;
  excluded: ManifestHeader["excluded"];
  excluded_total: number;
}

export interface TreeSync {
  /** Resolves when every file has been read: from then on the tree may change. */
  read: Promise<void>;
  done: Promise<SyncResult>;
}

/**
 * Reads the tree, sends what the store lacks, and puts the manifest last: before that, nothing refers to what was sent. Rejects with a `Failure`
 * (see `treeReason`): quota_exceeded before anything is sent, unreachable, unreadable, aborted; the tree is only read.
 */
export function syncTree(options: SyncOptions): TreeSync {
  let done: Promise<SyncResult> | undefined;
  const read = new Promise<void>((resolve, reject) => {
    done = new Sync(options, resolve).run();
    done.catch(reject);
  });
  // A caller that waits for `done` alone need not hear of it twice.
  read.catch(() => undefined);
  return { read, done: done as Promise<SyncResult> };
}

const MEMORY = 32 * 1024 * 1024;
const PARALLEL = 16;
/** A chunk of which less than this is still used is made anew with what is left of it. */
const WORTH_KEEPING = 0.25;
/** How often the store may say that chunks have gone again. */
const ROUNDS = 3;

class Sync {
  private readonly options: SyncOptions;
  private readonly allRead: () => void;
  private readonly breath = new Breath();
  private readonly cancel = new AbortController();
  private readonly signal: AbortSignal;
  private readonly sender: ChunkSender;
  private readonly now: () => number;
  private progress: SyncProgress = { phase: "scan", files: 0, bytes: 0, total_files: 0, total_bytes: 0, sent_bytes: 0 };
  private told = 0;

  constructor(options: SyncOptions, allRead: () => void) {
    this.options = options;
    this.allRead = allRead;
    this.now = options.now ?? Date.now;
    this.signal = options.signal ? AbortSignal.any([options.signal, this.cancel.signal]) : this.cancel.signal;
    this.sender = new ChunkSender({ door: options.door, signal: this.signal, memory: options.memory ?? MEMORY, parallel: options.parallel ?? PARALLEL });
  }

  async run(): Promise<SyncResult> {
    try {
      requireZstd();
      throwIfAborted(this.signal);
      return await this.sync(realpathSync(this.options.root));
    } catch (error) {
      this.cancel.abort(error);
      throwIfAborted(this.options.signal);
      throw fromSystem(error, "the tree cannot be read");
    }
  }

  private async sync(root: string): Promise<SyncResult> {
    recoverTree(root);
    const index = loadIndex(this.options.index);
    const scan = await this.scan(root);
    const { records, contents, alive } = knownOf(index, scan.found);
    let forced = await this.sender.gone((index?.chunks ?? []).map(({ id }) => id));
    for (const id of wasteful(alive)) forced.add(id);
    let torn = false;
    let read = 0;
    for (let round = 1; ; round++) {
      const outcome = await this.read(root, scan, records, contents, forced);
      torn ||= outcome.torn;
      read += outcome.read;
      if (round === 1) torn = changedMeanwhile(root, scan, this.options.include !== undefined) || torn;
      this.allRead();
      await this.sender.settled();
      const { manifest, rows } = this.build(scan, records, index, torn);
      const result = { files: manifest.header.files, bytes: manifest.header.bytes, torn, excluded: manifest.header.excluded, excluded_total: manifest.header.excluded_total };
      const last = index && sameEntries(index, rows) ? index.manifest_id : null;
      if (last && (await this.options.door.hasManifest(last, this.signal))) {
        if (read > 0) saveIndex(this.options.index, { manifest_id: last, chunks: manifest.chunks, rows });
        return { manifest_id: last, unchanged: true, sent_bytes: this.sender.sentBytes, sent_chunks: this.sender.sentChunks, ...result };
      }
      const bytes = await packManifest(manifest);
      throwIfAborted(this.signal);
      try {
        await this.options.door.putManifest(manifest.header.manifest_id, manifest.header.kind, bytes, this.signal);
      } catch (error) {
        forced = missingOf(error);
        if (forced.size === 0 || round === ROUNDS) throw error;
        this.sender.forget(forced);
        continue;
      }
      saveIndex(this.options.index, { manifest_id: manifest.header.manifest_id, chunks: manifest.chunks, rows });
      this.tell({ phase: "send" }, true);
      return { manifest_id: manifest.header.manifest_id, unchanged: false, sent_bytes: this.sender.sentBytes + bytes.length, sent_chunks: this.sender.sentChunks, ...result };
    }
  }

  private async scan(root: string): Promise<Scan> {
    const { options } = this;
    const scan = await scanTree({
      root,
      include: options.include ? new Include(options.include) : null,
      ignore: options.ignore ?? options.kind === "workspace",
      outsideLinks: options.outsideLinks ?? "leave_out",
      maxEntries: Math.min(options.quota?.entries ?? MANIFEST_LIMITS.entries, MANIFEST_LIMITS.entries),
      breath: this.breath,
      signal: this.signal,
      onFile: (files, bytes) => this.tell({ files, bytes }),
    });
    this.tell({ phase: "read", files: 0, bytes: 0, total_files: scan.files, total_bytes: scan.bytes }, true);
    const limit = options.quota?.bytes;
    const bytes = bytesOf(scan.found);
    if (limit !== undefined && bytes > limit) {
      const largest = largestOf(scan.found);
      throw treeFailure("quota_exceeded", `the tree has ${bytes} bytes, ${limit} are allowed; nothing was sent and nothing was lost. Most of it: ${largest.map(([name, size]) => `${name} (${size})`).join(", ")}. Delete it, or leave it out with ${IGNORE_FILE}`, { bytes, limit, largest: Object.fromEntries(largest) });
    }
    return scan;
  }

  /** Reads the files that have no record, or whose record stands on chunks of `forced`; what is read is among `contents` then. */
  private async read(root: string, scan: Scan, records: Map<ByteString, FileRecord>, contents: Map<string, Content>, forced: ReadonlySet<string>): Promise<{ torn: boolean; read: number }> {
    const usable = (content: Content) => forced.size === 0 || content.pieces.every(({ slot }) => slot.id !== null && !forced.has(slot.id));
    const known = new Map<string, Content>();
    for (const content of contents.values()) if (usable(content)) known.set(content.hash, content);
    const reader = new FileReader({ root, breath: this.breath, known, emit: (raw, slot) => this.sender.emit(raw, slot) });
    let torn = false;
    let read = 0;
    for (const found of scan.found) {
      if (this.breath.due()) {
        await this.breath.take();
        throwIfAborted(this.signal);
        this.tell({ sent_bytes: this.sender.sentBytes });
      }
      if (found.type !== "file") continue;
      this.progress.files += 1;
      this.progress.bytes += found.stamp.size;
      const record = records.get(found.path);
      if (record && usable(record.content)) continue;
      const reading = await reader.read(found);
      read += 1;
      records.delete(found.path);
      if (reading.is === "gone") torn = true;
      else if (reading.is === "refused") scan.excluded.add(found.path, reading.why);
      else {
        torn ||= reading.torn;
        contents.set(reading.content.hash, reading.content);
        records.set(found.path, { content: reading.content, stamp: reading.stamp, torn: reading.torn, readAt: this.now() });
      }
    }
    await reader.flush();
    return { torn, read };
  }

  private build(scan: Scan, records: Map<ByteString, FileRecord>, index: TreeIndex | null, torn: boolean): { manifest: Manifest; rows: Map<ByteString, IndexRow> } {
    const table = new ChunkTable();
    const entries: ManifestEntry[] = [];
    const rows = new Map<ByteString, IndexRow>();
    let files = 0;
    let bytes = 0;
    for (const found of scan.found) {
      const entry = this.entry(found, records, table);
      if (!entry) continue;
      entries.push(entry);
      const record = records.get(found.path);
      rows.set(found.path, record?.row ? { ...record.row, entry } : rowOf(entry, record?.stamp ?? found.stamp, record?.torn ? 0 : (record?.readAt ?? 0)));
      if (entry.type !== "file") continue;
      files += 1;
      bytes += entry.size;
    }
    const header: ManifestHeader = {
      format: MANIFEST_FORMAT, ...this.options.ids, kind: this.options.kind, parent: index?.manifest_id ?? null, created_at: new Date(this.now()).toISOString(),
      entries: entries.length, files, bytes, chunks: table.chunks.length, torn, excluded: scan.excluded.named, excluded_total: scan.excluded.total,
    };
    return { manifest: { header, chunks: table.chunks, entries }, rows };
  }

  private entry(found: Found, records: Map<ByteString, FileRecord>, table: ChunkTable): ManifestEntry | null {
    const name = writeName("path", found.path);
    if (found.type === "directory") return { type: "directory", ...name, mode: found.stamp.mode & 0o3777, mtime: found.stamp.mtime };
    if (found.type === "symlink") return { type: "symlink", ...name, mtime: found.stamp.mtime, ...writeName("target", found.target) };
    const record = records.get(found.path);
    if (!record) return null;
    const { content, stamp } = record;
    return {
      type: "file", ...name, mode: stamp.mode & 0o777, mtime: stamp.mtime, size: content.size, hash: content.hash,
      pieces: content.pieces.map(({ slot, offset, length }) => [table.place(slot), offset, length]),
      ...(content.holes.length > 0 && { holes: content.holes }), ...(record.torn && { torn: true as const }),
    };
  }

  private tell(change: Partial<SyncProgress>, always = false): void {
    this.progress = { ...this.progress, ...change };
    const now = performance.now();
    if (!always && now - this.told < 100) return;
    this.told = now;
    this.options.onProgress?.({ ...this.progress });
  }
}

/** Whether a directory's list of names has changed since it was scanned: the tree is then of more than one moment. Where only a `part` is kept, others come and go at its top. */
function changedMeanwhile(root: string, scan: Scan, part: boolean): boolean {
  const now = (path: ByteString): Stamp | null => {
    try {
      return stampOf(lstatSync(systemPath(root, path), { bigint: true }));
    } catch {
      return null;
    }
  };
  return (!part && now("")?.mtime !== scan.root.mtime) || scan.found.some((entry) => entry.type === "directory" && now(entry.path)?.mtime !== entry.stamp.mtime);
}

function sameEntries(index: TreeIndex, rows: ReadonlyMap<ByteString, IndexRow>): boolean {
  if (index.rows.size !== rows.size) return false;
  for (const [path, { entry }] of rows) {
    const before = index.rows.get(path)?.entry;
    if (before?.type !== entry.type || before.mtime !== entry.mtime) return false;
    if (entry.type === "file" && before.type === "file" && (entry.hash !== before.hash || entry.mode !== before.mode || entry.torn !== before.torn)) return false;
    if (entry.type === "directory" && before.type === "directory" && entry.mode !== before.mode) return false;
    if (entry.type === "symlink" && before.type === "symlink" && (entry.target !== before.target || entry.target_b64 !== before.target_b64)) return false;
  }
  return true;
}

/** Chunks that are mostly made of what nobody has any more. */
function wasteful(alive: ReadonlySet<Content>): string[] {
  const live = new Map<Slot, number>();
  for (const content of alive) for (const { slot, length } of content.pieces) live.set(slot, (live.get(slot) ?? 0) + length);
  return [...live].filter(([slot, bytes]) => bytes < slot.size * WORTH_KEEPING).map(([slot]) => slot.id ?? "");
}

function missingOf(error: unknown): Set<string> {
  const missing = error instanceof Failure && error.code === "conflict" ? error.details?.["missing"] : undefined;
  return new Set(Array.isArray(missing) ? missing.filter((id): id is string => typeof id === "string") : []);
}
