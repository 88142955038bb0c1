/** Owns reading a workspace's files from outside its sandbox: no path leaves the workspace, whatever links the agent has made. */

import { constants } from "node:fs";
import { lstat, open, opendir, readlink, realpath, type FileHandle } from "node:fs/promises";
import { join, posix, sep } from "node:path";
import type { Stats } from "node:fs";
import type { FileAnswer, FileContent, FileEntry } from "../../sdk/protocol/index.ts";

/** Most bytes of one read. */
export const MAX_READ_BYTES = 1_048_576;
/** Most entries of one listing. */
export const MAX_ENTRIES = 10_000;
const MAX_PATH = 4_096;

type Refusal = { ok: false; code: "not_found" | "bad_request" | "payload_too_large"; message: string };
const refuse = (code: Refusal["code"], message: string): Refusal => ({ ok: false, code, message });

/** A directory's entries, sorted by name, directories first; `path` is relative to the workspace at `root`. */
export async function listFiles(root: string, path: string): Promise<FileAnswer<FileEntry[]>> {
  const opened = await openInside(root, path);
  if (!opened.ok) return opened;
  const { handle, stats, relative, place } = opened;
  try {
    if (!stats.isDirectory()) return refuse("bad_request", `${shown(relative)} is not a directory`);
    const entries: FileEntry[] = [];
    for await (const entry of await opendir(place)) {
      if (entries.length >= MAX_ENTRIES) return refuse("payload_too_large", `${shown(relative)} has more than ${MAX_ENTRIES} entries`);
      const own = await lstat(join(place, entry.name)).catch(() => null);
      if (own) entries.push({ name: entry.name, path: posix.join(relative, entry.name), kind: kindOf(own), size: own.size, modified_at: own.mtime.toISOString() });
    }
    const rank = (entry: FileEntry) => (entry.kind === "directory" ? 0 : 1);
    return { ok: true, value: entries.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1)) };
  } finally {
    await handle.close();
  }
}

/** At most `length` bytes of a file from `offset`. */
export async function readFile(root: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
  if (!Number.isSafeInteger(offset) || offset < 0) return refuse("bad_request", "offset: expected a whole number of at least 0");
  if (!Number.isSafeInteger(length) || length < 0) return refuse("bad_request", "length: expected a whole number of at least 0");
  if (length > MAX_READ_BYTES) return refuse("payload_too_large", `length: at most ${MAX_READ_BYTES} bytes at a time`);
  const opened = await openInside(root, path);
  if (!opened.ok) return opened;
  const { handle, stats, relative } = opened;
  try {
    if (!stats.isFile()) return refuse("bad_request", `${shown(relative)} is not a file`);
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, stats.size - offset)));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
    return { ok: true, value: { path: relative, size: stats.size, offset, base64: buffer.toString("base64", 0, bytesRead), modified_at: stats.mtime.toISOString() } };
  } finally {
    await handle.close();
  }
}

async function openInside(root: string, path: string): Promise<Refusal | { ok: true; handle: FileHandle; stats: Stats; relative: string; place: string }> {
  if (path.length > MAX_PATH || path.includes("\0")) return refuse("bad_request", "path: too long, or holds NUL");
  const relative = posix.normalize(path.replace(/^\/+/, "") || ".");
  if (relative === ".." || relative.startsWith("../")) return refuse("bad_request", "path: leaves the workspace");
  const real = await realpath(root).catch(() => null);
  if (real === null) return refuse("not_found", "this host has no files of the workspace");
  const target = await realpath(join(real, relative)).catch(() => null);
  if (target === null) return refuse("not_found", `${shown(relative)} does not exist`);
  if (!inside(real, target)) return refuse("bad_request", "path: a link leaves the workspace");
  // A pipe would block a read, and must not.
  const handle = await open(target, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW).catch(() => null);
  if (!handle) return refuse("not_found", `${shown(relative)} cannot be opened`);
  // The agent may have swapped a directory for a link since we looked: what counts is what was opened.
  const place = process.platform === "linux" ? `/proc/self/fd/${handle.fd}` : target;
  const now = process.platform === "linux" ? await readlink(place) : await realpath(target).catch(() => "");
  if (inside(real, now)) return { ok: true, handle, stats: await handle.stat(), relative: relative === "." ? "" : relative.replace(/\/$/, ""), place };
  await handle.close();
  return refuse("bad_request", "path: leaves the workspace");
}

const inside = (root: string, path: string) => path === root || path.startsWith(root + sep);
const shown = (relative: string) => (relative === "" || relative === "." ? "the workspace" : relative);

function kindOf(stats: Stats): FileEntry["kind"] {
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isDirectory()) return "directory";
  return stats.isFile() ? "file" : "other";
}
