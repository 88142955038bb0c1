/** Owns the walk over a tree: every directory, file and symlink in the manifest's order, what is left out, and why. */

import { lstatSync, readdirSync, readFileSync, readlinkSync, type BigIntStats } from "node:fs";
import { MAX_EXCLUDED } from "../protocol/manifest.ts";
import { pathFault, leadsOutside, showPath, type ByteString } from "../protocol/tree-path.ts";
import { fromSystem, throwIfAborted, treeFailure } from "./failure.ts";
import type { Breath } from "./flow.ts";
import { IGNORE_FILE, IgnoreRules, type Include } from "./selection.ts";
import { STAGE } from "./stage.ts";
import { systemPath } from "./system-path.ts";

/** A longer path, bytes, is left out: where the tree is brought back, its place comes before it, and all together has to fit into PATH_MAX of 4,096. */
const MAX_KEPT_PATH_BYTES = 3_072;

/** What tells that a file is still the one that was read: a rename, a write and a chmod each change one of these. */
export interface Stamp {
  ino: string;
  /** Nanoseconds. */
  ctime: string;
  /** Microseconds, rounded down. */
  mtime: number;
  size: number;
  mode: number;
}

export function stampOf(stat: BigIntStats): Stamp {
  return { ino: String(stat.ino), ctime: String(stat.ctimeNs), mtime: microseconds(stat.mtimeNs), size: Number(stat.size), mode: Number(stat.mode & 0o7777n) };
}
export function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.ctime === b.ctime && a.mtime === b.mtime && a.size === b.size && a.ino === b.ino;
}
function microseconds(ns: bigint): number {
  const us = ns / 1000n;
  return Number(ns < 0n && us * 1000n !== ns ? us - 1n : us);
}

export type Found =
  | { type: "file"; path: ByteString; stamp: Stamp; /** Bytes that lie on the disk: fewer than its size where it has holes. */ allocated: number; device: bigint }
  | { type: "directory"; path: ByteString; stamp: Stamp }
  | { type: "symlink"; path: ByteString; stamp: Stamp; target: ByteString };

export interface Scan {
  /** The tree's own directory, right before its names were read. */
  root: Stamp;
  found: Found[];
  files: number;
  bytes: number;
  excluded: LeftOut;
}

/** What was left out: the first by name, all by number. */
export class LeftOut {
  readonly named: { path: string; why: string }[] = [];
  total = 0;
  /** Answers false: "not kept". */
  add(path: ByteString, why: string): false {
    this.total += 1;
    if (this.named.length < MAX_EXCLUDED) this.named.push({ path: showPath(path).slice(0, 4_096), why: why.slice(0, 300) });
    return false;
  }
}

export interface ScanOptions {
  root: string;
  include: Include | null;
  /** Whether `.marionetteignore` files count. */
  ignore: boolean;
  outsideLinks: "leave_out" | "keep";
  maxEntries: number;
  breath: Breath;
  signal?: AbortSignal | undefined;
  onFile?: (files: number, bytes: number) => void;
}

/** Walks the tree. What disappears in the meantime is not in it; what cannot be read is named. */
export async function scanTree(options: ScanOptions): Promise<Scan> {
  const { root, include, breath, signal } = options;
  const scan: Scan = { root: stampOf(lstatSync(root, { bigint: true })), found: [], files: 0, bytes: 0, excluded: new LeftOut() };
  const leaveOut = (path: ByteString, why: string) => scan.excluded.add(path, why);

  /** Answers whether something in it was kept. */
  async function directory(at: ByteString, above: IgnoreRules | null, whole: boolean): Promise<boolean> {
    if (breath.due()) {
      await breath.take();
      throwIfAborted(signal);
      options.onFile?.(scan.files, scan.bytes);
    }
    let names: string[];
    try {
      names = readdirSync(systemPath(root, at), { encoding: "latin1" }).sort();
    } catch (error) {
      if (at === "") throw fromSystem(error, "the tree cannot be read");
      if (!gone(error)) leaveOut(at, `cannot be read: ${(error as Error).message.slice(0, 200)}`);
      return false;
    }
    const rules = options.ignore && names.includes(IGNORE_FILE) ? (rulesOf(at, above) ?? above) : above;
    let kept = false;
    for (const name of names) {
      const path = at === "" ? name : `${at}/${name}`;
      if (path === STAGE) continue;
      const wanted = whole || !include || include.fits(path);
      if (!wanted && !include?.reaches(path)) continue;
      let stat: BigIntStats;
      try {
        stat = lstatSync(systemPath(root, path), { bigint: true });
      } catch (error) {
        if (!gone(error)) leaveOut(path, `cannot be read: ${(error as Error).message.slice(0, 200)}`);
        continue;
      }
      const fault = pathFault(path, MAX_KEPT_PATH_BYTES);
      if (fault) leaveOut(path, fault);
      else if (rules?.ignores(path, stat.isDirectory())) leaveOut(path, IGNORE_FILE);
      else if (stat.isDirectory()) {
        const place = scan.found.push({ type: "directory", path, stamp: stampOf(stat) });
        // A directory on the way to what is included is kept for what is in it.
        if ((await directory(path, rules, wanted)) || wanted) kept = true;
        else scan.found.length = place - 1;
      } else if (wanted) kept = take(path, stat) || kept;
      if (scan.found.length > options.maxEntries) throw treeFailure("quota_exceeded", `the tree has more than ${options.maxEntries} entries. Leave out what can be made anew with ${IGNORE_FILE}`, { limit: options.maxEntries });
    }
    return kept;
  }

  function take(path: ByteString, stat: BigIntStats): boolean {
    if (stat.isFile()) {
      const stamp = stampOf(stat);
      scan.found.push({ type: "file", path, stamp, allocated: Math.min(stamp.size, Number(stat.blocks) * 512), device: stat.dev });
      scan.files += 1;
      scan.bytes += stamp.size;
      return true;
    }
    if (!stat.isSymbolicLink()) return leaveOut(path, stat.isSocket() ? "a socket" : stat.isFIFO() ? "a pipe" : "a device");
    let target: ByteString;
    try {
      target = readlinkSync(systemPath(root, path), { encoding: "latin1" });
    } catch {
      return false;
    }
    if (options.outsideLinks === "leave_out" && leadsOutside(path, target)) return leaveOut(path, `a symlink that leads outside: ${showPath(target).slice(0, 200)}`);
    scan.found.push({ type: "symlink", path, stamp: stampOf(stat), target });
    return true;
  }

  function rulesOf(at: ByteString, above: IgnoreRules | null): IgnoreRules | null {
    const path = systemPath(root, at === "" ? IGNORE_FILE : `${at}/${IGNORE_FILE}`);
    try {
      const stat = lstatSync(path);
      if (!stat.isFile() || stat.size > 1024 * 1024) return null;
      return new IgnoreRules(above, at, readFileSync(path, "utf8"));
    } catch {
      return null;
    }
  }

  await directory("", null, false);
  return scan;
}

function gone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
