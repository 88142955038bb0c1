/** Owns browsing the roots that a host's configuration opens: which they are, pages of their directories, and parts of their files. */

import { lstat, opendir, realpath, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import type { Browsed, FileAnswer, FileContent, FileEntry } from "../../sdk/protocol/index.ts";
import { kindOf, readOpened } from "./files.ts";
import { openInside, refuse, within, type Opened, type Refusal } from "./inside.ts";

/** Names that are read of one directory; one that has more is refused in words. */
const MAX_NAMES = 100_000;
/** Most entries of one page. */
export const MAX_PAGE = 1_000;

/** Why a directory cannot be a browse root; null where it can. */
export async function rootFault(path: string): Promise<string | null> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => error);
  if (real instanceof Error) return real.code === "ENOENT" ? "there is no such directory" : `cannot be read: ${real.message}`;
  if (!(await stat(real)).isDirectory()) return "not a directory";
  if (real === "/") return "the whole file system cannot be one; name the directories that matter";
  return ["/proc", "/sys", "/dev"].some((kernel) => within(kernel, real)) ? `${real} belongs to the kernel` : null;
}

export interface BrowseRoots {
  /** As the configuration writes them. */
  roots: readonly string[];
  /** What is never shown, wherever it lies: the daemon's own data, with the tokens in it. Without links. */
  hidden: readonly string[];
}

/** Opens what lies at `path` below one of the roots. */
export async function openBrowsed({ roots, hidden }: BrowseRoots, root: string, path: string): Promise<Refusal | Opened> {
  if (!roots.includes(root)) return refuse("bad_request", roots.length === 0 ? `root: ${NO_ROOTS}` : `root: expected one of ${roots.join(", ")}`);
  const fault = await rootFault(root);
  if (fault !== null) return refuse("not_found", `root ${root}: ${fault}`);
  return openInside(root, path, { name: root, hidden });
}
export const NO_ROOTS = "this host's configuration opens no directories; its owner names them in marionette.yaml under browse_roots";

/** Entries of a directory from `offset` on, at most `limit`: directories first, then by name. Hidden ones are shown; the daemon's own files are not. */
export async function browse(from: BrowseRoots, root: string, path: string, offset: number, limit: number): Promise<FileAnswer<Browsed>> {
  if (!Number.isSafeInteger(offset) || offset < 0) return refuse("bad_request", "offset: expected a whole number of at least 0");
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_PAGE) return refuse("bad_request", `limit: expected a whole number from 1 to ${MAX_PAGE}`);
  const opened = await openBrowsed(from, root, path);
  if (!opened.ok) return opened;
  const { handle, stats, relative, place, real } = opened;
  try {
    if (!stats.isDirectory()) return refuse("bad_request", `${relative || root} is not a directory`);
    const names: { name: string; directory: boolean }[] = [];
    for await (const entry of await opendir(place)) {
      if (names.length >= MAX_NAMES) return refuse("payload_too_large", `${relative || root} has more than ${MAX_NAMES} entries`);
      if (!from.hidden.includes(join(real, entry.name))) names.push({ name: entry.name, directory: entry.isDirectory() });
    }
    names.sort((a, b) => Number(b.directory) - Number(a.directory) || (a.name < b.name ? -1 : 1));
    const items = await Promise.all(
      names.slice(offset, offset + limit).map(async ({ name }): Promise<FileEntry | null> => {
        const own = await lstat(join(place, name)).catch(() => null);
        return own && { name, path: posix.join(relative, name), kind: kindOf(own), size: own.size, modified_at: own.mtime.toISOString() };
      }),
    );
    return { ok: true, value: { items: items.filter((entry) => entry !== null), total: names.length } };
  } finally {
    await handle.close();
  }
}

/** At most `length` bytes of a file below a root, from `offset`. */
export async function readBrowsed(from: BrowseRoots, root: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
  return readOpened(() => openBrowsed(from, root, path), offset, length);
}
