/** Owns reading a workspace's files from outside its sandbox: no path leaves the workspace, whatever links the agent has made. */

import type { Stats } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import { posix } from "node:path";
import type { FileAnswer, FileContent, FileEntry } from "../../sdk/protocol/index.ts";
import { showPath } from "../../sdk/protocol/tree-path.ts";
import { openInside, refuse, type InsideOptions, type Opened, type Refusal } from "./inside.ts";

/** Most bytes of one read. */
export const MAX_READ_BYTES = 1_048_576;
/** Most entries of one listing. */
export const MAX_ENTRIES = 10_000;

/** A directory's entries, sorted by name, directories first; `path` is relative to the workspace at `root`. */
export async function listFiles(root: string, path: string, options?: InsideOptions): Promise<FileAnswer<FileEntry[]>> {
  const opened = await openInside(root, path, options);
  if (!opened.ok) return opened;
  const { handle, stats, relative, place } = opened;
  try {
    if (!stats.isDirectory()) return refuse("bad_request", `${shown(relative)} is not a directory`);
    const entries: FileEntry[] = [];
    // Names as they are on the disk: they need not be UTF-8. The types of Node know of no such encoding here.
    for await (const entry of await opendir(place, { encoding: "buffer" as BufferEncoding })) {
      if (entries.length >= MAX_ENTRIES) return refuse("payload_too_large", `${shown(relative)} has more than ${MAX_ENTRIES} entries`);
      const bytes = entry.name as unknown as Buffer;
      const own = await lstat(Buffer.concat([Buffer.from(`${place}/`), bytes])).catch(() => null);
      const name = showPath(bytes.toString("latin1"));
      if (own) entries.push({ name, path: posix.join(relative, name), kind: kindOf(own), size: own.size, modified_at: own.mtime.toISOString() });
    }
    const rank = (entry: FileEntry) => (entry.kind === "directory" ? 0 : 1);
    return { ok: true, value: entries.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1)) };
  } finally {
    await handle.close();
  }
}

/** At most `length` bytes of a file from `offset`. */
export async function readFile(root: string, path: string, offset: number, length: number, options?: InsideOptions): Promise<FileAnswer<FileContent>> {
  return readOpened(() => openInside(root, path, options), offset, length);
}

/** At most `length` bytes from `offset` of the file that `from` opens. */
export async function readOpened(from: () => Promise<Refusal | Opened>, offset: number, length: number): Promise<FileAnswer<FileContent>> {
  if (!Number.isSafeInteger(offset) || offset < 0) return refuse("bad_request", "offset: expected a whole number of at least 0");
  if (!Number.isSafeInteger(length) || length < 0) return refuse("bad_request", "length: expected a whole number of at least 0");
  if (length > MAX_READ_BYTES) return refuse("payload_too_large", `length: at most ${MAX_READ_BYTES} bytes at a time`);
  const opened = await from();
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

const shown = (relative: string) => relative || "the workspace";

export function kindOf(stats: Stats): FileEntry["kind"] {
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isDirectory()) return "directory";
  return stats.isFile() ? "file" : "other";
}
