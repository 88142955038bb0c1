/** Owns restoring: from a manifest to exactly its tree, verified before anything of the old one is touched. */

import { lstatSync, mkdirSync, readFileSync, readdirSync, realpathSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { entryPath, type Manifest, type ManifestHeader, type ManifestKind } from "../protocol/manifest.ts";
import type { ByteString } from "../protocol/tree-path.ts";
import { TreeBuilder, type Built } from "./build.ts";
import { requireZstd, unpackManifest } from "./codec.ts";
import type { Door } from "./door.ts";
import { fromSystem, throwIfAborted, treeFailure } from "./failure.ts";
import { stampOf } from "./scan.ts";
import { commit, openStage, recoverTree, removeTree, STAGE } from "./stage.ts";
import { systemPath } from "./system-path.ts";
import { loadIndex, rowOf, TICK_MS, saveIndex, type IndexRow } from "./tree-index.ts";

export interface RestoreProgress {
  phase: "prepare" | "files" | "swap";
  files: number;
  total_files: number;
  bytes: number;
  total_bytes: number;
  fetched_bytes: number;
}

export interface RestoreOptions {
  root: string;
  /** Its id (it is fetched), or its bytes. */
  manifest: string | Uint8Array;
  door: Door;
  /** File of the index, outside the tree: read to write only what differs, written to make the next sync cheap. */
  index?: string;
  /** What the manifest must say of itself. */
  expect?: { workspace_id?: string; kind?: ManifestKind };
  /** Reads every file back from the disk before the swap. Hashes are checked as files are written in any case. */
  verify?: boolean;
  /** What the tree has and the manifest does not. Default: delete. "keep": where only a part of a home was kept. */
  extra?: "delete" | "keep";
  /** Default: a manifest with a symlink that leads outside is refused. "keep": it is made as it was; nothing here follows it. */
  outsideLinks?: "refuse" | "keep";
  /** Bytes of all files. */
  quota?: { bytes?: number };
  memory?: number;
  parallel?: number;
  onProgress?: (progress: RestoreProgress) => void;
  signal?: AbortSignal;
}

export interface RestoreResult extends Built {
  manifest_id: string;
  header: ManifestHeader;
}

const MEMORY = 32 * 1024 * 1024;
const PARALLEL = 16;

/**
 * Makes `root` the manifest's tree. The new tree is built and verified beside the old one, which is not touched until then; at a failure before it
 * is as it was, and a `Failure` says why (see `treeReason`): refused, missing, disk_full, unreachable, unreadable, aborted. A process killed behind
 * that point leaves what `recoverTree` finishes. No other process may work in the tree meanwhile.
 */
export async function restoreTree(options: RestoreOptions): Promise<RestoreResult> {
  const cancel = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, cancel.signal]) : cancel.signal;
  try {
    requireZstd();
    throwIfAborted(signal);
    mkdirSync(options.root, { recursive: true });
    return await restore(realpathSync(options.root), options, signal);
  } catch (error) {
    cancel.abort(error);
    throwIfAborted(options.signal);
    throw fromSystem(error, `the tree at ${options.root} cannot be restored`);
  }
}

async function restore(root: string, options: RestoreOptions, signal: AbortSignal): Promise<RestoreResult> {
  recoverTree(root);
  const manifest = await readManifest(options, signal);
  const { header } = manifest;
  refuseMounts(root);
  const extra = options.extra ?? "delete";
  const progress = { files: 0, total_files: header.files, total_bytes: header.bytes };
  const tell = (phase: RestoreProgress["phase"], built: Built) => options.onProgress?.({ phase, ...progress, bytes: built.written_bytes, fetched_bytes: built.fetched_bytes });
  const builder = new TreeBuilder({ root, place: openStage(root), manifest, index: options.index ? loadIndex(options.index) : null, signal, tell: throttled((built) => tell("files", built)) });
  try {
    tell("prepare", builder.built);
    const needed = await builder.frame();
    refuseFullDisk(root, needed);
    await builder.files({ door: options.door, parallel: options.parallel ?? PARALLEL, memory: options.memory ?? MEMORY });
    if (extra === "keep") await builder.keepExtras();
    builder.settle();
    if (options.verify) await builder.readBack();
    throwIfAborted(signal);
  } catch (error) {
    removeTree(join(root, STAGE));
    throw error;
  }
  tell("swap", builder.built);
  commit(root, { out: namesAtTop(root, manifest, extra), settle: manifest.entries.flatMap((entry) => (entry.type === "directory" && !entryPath(entry).includes("/") ? [[entryPath(entry), entry.mode, entry.mtime] as [string, number, number]] : [])) });
  // The swap has touched what lies at the top: a moment later it counts as settled (see `rowOf`), and the next sync need not read it.
  if (options.index) await sleep(TICK_MS + 10);
  if (options.index) saveIndex(options.index, { manifest_id: header.manifest_id, chunks: manifest.chunks, rows: rowsNow(root, manifest) });
  return { manifest_id: header.manifest_id, header, ...builder.built };
}

async function readManifest(options: RestoreOptions, signal: AbortSignal): Promise<Manifest> {
  const asked = typeof options.manifest === "string" ? options.manifest : null;
  const bytes = typeof options.manifest === "string" ? await options.door.getManifest(options.manifest, signal) : options.manifest;
  const manifest = await unpackManifest(bytes, { ...(options.quota?.bytes !== undefined && { bytes: options.quota.bytes }), outsideLinks: options.outsideLinks ?? "refuse" });
  const { header } = manifest;
  for (const [what, is, should] of [["manifest", header.manifest_id, asked], ["workspace", header.workspace_id, options.expect?.workspace_id], ["kind", header.kind, options.expect?.kind]] as const)
    if (should && is !== should) throw treeFailure("refused", `the manifest says that its ${what} is ${is}, but ${should} was asked for`, { [what]: is });
  if (manifest.entries.some((entry) => entryPath(entry).split("/")[0] === STAGE)) throw treeFailure("refused", `the manifest is refused: ${STAGE} is the name of the place where trees are restored`, { path: STAGE });
  return manifest;
}

/** Names that make way: all that is at the top, or only what the new tree brings. */
function namesAtTop(root: string, manifest: Manifest, extra: "delete" | "keep"): ByteString[] {
  const there = readdirSync(root, { encoding: "latin1" }).filter((name) => name !== STAGE);
  if (extra === "delete") return there;
  const mine = new Set(manifest.entries.map((entry) => entryPath(entry)));
  return there.filter((name) => mine.has(name));
}

/** What is mounted below would be in the way of the swap, and its content deleted. */
function refuseMounts(root: string): void {
  let table = "";
  try {
    table = readFileSync("/proc/self/mountinfo", "latin1");
  } catch {
    return;
  }
  const below = Buffer.from(`${root}/`).toString("latin1");
  const mounts = table.split("\n").map((line) => (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
  const inside = mounts.find((mount) => mount.startsWith(below));
  if (inside) throw treeFailure("unreadable", `${inside} is a mount inside the tree: unmount it before the tree is restored`, { path: inside });
}

/** Refuses early what could only fail later. */
function refuseFullDisk(root: string, needed: number): void {
  const { bavail, bsize } = statfsSync(root);
  if (needed > bavail * bsize) throw treeFailure("disk_full", `the disk is full: ${needed} bytes are to be written beside the old tree, ${bavail * bsize} are free; nothing was changed`, { needed, free: bavail * bsize });
}

function rowsNow(root: string, manifest: Manifest): Map<ByteString, IndexRow> {
  const now = Date.now();
  const rows = new Map<ByteString, IndexRow>();
  for (const entry of manifest.entries) {
    const path = entryPath(entry);
    const stat = entry.type === "file" ? lstatSync(systemPath(root, path), { bigint: true, throwIfNoEntry: false }) : undefined;
    rows.set(path, stat ? rowOf(entry, stampOf(stat), now) : { entry, ino: "", ctime: "0" });
  }
  return rows;
}

function throttled(tell: (built: Built) => void): (built: Built) => void {
  let last = 0;
  return (built) => {
    if (performance.now() - last < 100) return;
    last = performance.now();
    tell(built);
  };
}
