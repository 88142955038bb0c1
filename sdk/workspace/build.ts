/** Owns the building of a tree in an empty place: directories, links to what is there already, files from chunks, times and modes last. */

import { chmodSync, closeSync, linkSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { entryPath, entryTarget, type FileEntry, type Manifest, type ManifestChunk, type ManifestEntry } from "../protocol/manifest.ts";
import { showPath, type ByteString } from "../protocol/tree-path.ts";
import { sha256 } from "./codec.ts";
import { Breath } from "./flow.ts";
import { throwIfAborted, treeFailure } from "./failure.ts";
import { fetchChunks, type FetchOptions } from "./fetch.ts";
import { sameStamp, stampOf } from "./scan.ts";
import { setTimes } from "./stage.ts";
import { systemPath } from "./system-path.ts";
import type { TreeIndex } from "./tree-index.ts";
import { FileWriter, hashOf, writeWhole } from "./write.ts";

/** Largest file that is taken over by reading it, when its content is in the old tree under another name. */
const COPY_BYTES = 8 * 1024 * 1024;

export interface Built {
  /** Files that were in the old tree and needed no bytes. */
  reused: number;
  written_bytes: number;
  fetched_bytes: number;
}
interface Todo {
  entry: FileEntry;
  path: ByteString;
  writer: FileWriter | null;
}

export class TreeBuilder {
  readonly built: Built = { reused: 0, written_bytes: 0, fetched_bytes: 0 };
  private readonly root: string;
  private readonly place: string;
  private readonly manifest: Manifest;
  private readonly index: TreeIndex | null;
  private readonly breath = new Breath();
  private readonly umask = process.umask();
  private readonly signal: AbortSignal;
  private readonly tell: (built: Built) => void;
  private todo: Todo[] = [];

  /** `root`: the old tree, `place`: where the new one is made. */
  constructor(options: { root: string; place: string; manifest: Manifest; index: TreeIndex | null; signal: AbortSignal; tell: (built: Built) => void }) {
    this.root = options.root;
    this.place = options.place;
    this.manifest = options.manifest;
    this.index = options.index;
    this.signal = options.signal;
    this.tell = options.tell;
  }

  /** Everything but the files that need bytes; answers how many bytes these take on the disk. */
  async frame(): Promise<number> {
    const byHash = this.oldByHash();
    let bytes = 0;
    for (const entry of this.manifest.entries) {
      if (this.breath.due()) await this.pause();
      const path = entryPath(entry);
      const at = systemPath(this.place, path);
      // Without the writing bit nothing could be put in: modes come last.
      if (entry.type === "directory") mkdirSync(at, { mode: 0o700 });
      else if (entry.type === "symlink") {
        symlinkSync(Buffer.from(entryTarget(entry), "latin1"), at);
        setTimes(at, entry.mtime);
      } else if (this.reuse(entry, path, byHash)) this.built.reused += 1;
      else {
        this.todo.push({ entry, path, writer: null });
        bytes += entry.pieces.reduce((sum, [, , length]) => sum + length, 0);
      }
    }
    return bytes;
  }

  /** The files' bytes, each chunk fetched once and checked, each file's hash checked. */
  async files(fetching: Omit<FetchOptions, "signal">): Promise<void> {
    const users = new Map<number, Todo[]>();
    for (const todo of this.todo) {
      if (todo.entry.pieces.length === 0) this.empty(todo);
      for (const chunk of new Set(todo.entry.pieces.map(([place]) => place))) {
        const list = users.get(chunk);
        if (list) list.push(todo);
        else users.set(chunk, [todo]);
      }
    }
    const order = [...users.keys()];
    const chunks = order.map((place) => this.manifest.chunks[place] as ManifestChunk);
    for await (const { at, raw } of fetchChunks(chunks, { ...fetching, signal: this.signal })) {
      this.built.fetched_bytes += chunks[at]?.stored ?? 0;
      for (const todo of users.get(order[at] as number) ?? []) {
        if (this.breath.due()) await this.pause();
        this.write(todo, order[at] as number, raw);
      }
    }
  }

  /** Modes and times of directories, the deepest first; what lies at the top is settled after the swap. */
  settle(): void {
    for (const entry of this.manifest.entries.toReversed()) {
      if (entry.type !== "directory") continue;
      const at = systemPath(this.place, entryPath(entry));
      setTimes(at, entry.mtime);
      chmodSync(at, entryPath(entry).includes("/") ? entry.mode : entry.mode | 0o700);
    }
  }

  /** Reads every written file back and compares its hash. */
  async readBack(): Promise<void> {
    for (const { entry, path } of this.todo) {
      if (this.breath.due()) await this.pause();
      const fd = openSync(systemPath(this.place, path), "r");
      try {
        if (hashOf(fd) !== entry.hash) throw treeFailure("unreadable", `${JSON.stringify(showPath(path))} was written whole but is read back otherwise: the disk is not to be trusted`, { path: showPath(path) });
      } finally {
        closeSync(fd);
      }
    }
  }

  /** Links what the old tree has and the manifest does not, in directories that both have. */
  async keepExtras(): Promise<void> {
    const mine = new Map<ByteString, ManifestEntry["type"]>(this.manifest.entries.map((entry) => [entryPath(entry), entry.type]));
    const directory = async (path: ByteString, known: boolean): Promise<void> => {
      for (const name of readdirSync(systemPath(this.root, path), { encoding: "latin1" })) {
        if (this.breath.due()) await this.pause();
        const below = `${path}/${name}`;
        const type = known ? mine.get(below) : undefined;
        const old = lstatSync(systemPath(this.root, below), { bigint: true, throwIfNoEntry: false });
        if (!old || (type && !(type === "directory" && old.isDirectory()))) continue;
        if (!old.isDirectory()) linkSync(systemPath(this.root, below), systemPath(this.place, below));
        else {
          if (!type) mkdirSync(systemPath(this.place, below), { mode: 0o700 });
          await directory(below, type !== undefined);
          if (type) continue;
          setTimes(systemPath(this.place, below), stampOf(old).mtime);
          chmodSync(systemPath(this.place, below), stampOf(old).mode);
        }
      }
    };
    for (const [path, type] of mine) if (type === "directory" && !path.includes("/") && lstatSync(systemPath(this.root, path), { throwIfNoEntry: false })?.isDirectory()) await directory(path, true);
  }

  private write(todo: Todo, chunk: number, raw: Buffer): void {
    const { entry, path } = todo;
    const at = systemPath(this.place, path);
    const [piece] = entry.pieces;
    if (piece && entry.pieces.length === 1 && !entry.holes) writeWhole(at, entry, raw.subarray(piece[1], piece[1] + piece[2]), showPath(path), this.umask);
    else (todo.writer ??= new FileWriter(at, entry, showPath(path))).take(chunk, raw);
    for (const [place, , length] of entry.pieces) if (place === chunk) this.built.written_bytes += length;
  }

  private empty(todo: Todo): void {
    const { entry, path } = todo;
    const at = systemPath(this.place, path);
    if (entry.size === 0) writeWhole(at, entry, new Uint8Array(0), showPath(path), this.umask);
    else todo.writer = new FileWriter(at, entry, showPath(path));
  }

  private reuse(entry: FileEntry, path: ByteString, byHash: ReadonlyMap<string, ByteString>): boolean {
    const row = this.index?.rows.get(path);
    if (row?.entry.type === "file" && row.entry.hash === entry.hash && row.entry.mode === entry.mode && row.entry.mtime === entry.mtime && this.asIndexed(path)) {
      try {
        linkSync(systemPath(this.root, path), systemPath(this.place, path));
        return true;
      } catch {
        /* A file system without hard links: it is copied or fetched. */
      }
    }
    const elsewhere = byHash.get(entry.hash);
    if (elsewhere === undefined || entry.size > COPY_BYTES || entry.holes || !this.asIndexed(elsewhere)) return false;
    const bytes = readFileSync(systemPath(this.root, elsewhere));
    if (sha256(bytes) !== entry.hash) return false;
    writeWhole(systemPath(this.place, path), entry, bytes, showPath(path), this.umask);
    return true;
  }

  private asIndexed(path: ByteString): boolean {
    const row = this.index?.rows.get(path);
    const stat = lstatSync(systemPath(this.root, path), { bigint: true, throwIfNoEntry: false });
    if (!row || !stat?.isFile() || row.entry.type !== "file") return false;
    return sameStamp({ ino: row.ino, ctime: row.ctime, mtime: row.entry.mtime, size: row.entry.size, mode: 0 }, stampOf(stat));
  }

  private oldByHash(): Map<string, ByteString> {
    const byHash = new Map<string, ByteString>();
    for (const [path, { entry, ino }] of this.index?.rows ?? []) if (entry.type === "file" && ino !== "") byHash.set(entry.hash, path);
    return byHash;
  }

  private async pause(): Promise<void> {
    await this.breath.take();
    throwIfAborted(this.signal);
    this.tell(this.built);
  }
}

