/** Owns opening what lies below a directory: no path leaves it, whatever links others make and swap there meanwhile. */

import { constants } from "node:fs";
import { open, readlink, realpath, stat, statfs, type FileHandle } from "node:fs/promises";
import { posix, join, sep } from "node:path";
import type { Stats } from "node:fs";

const MAX_PATH = 4_096;
/** File systems in which files are questions to the kernel: /proc, /sys, and what belongs to them. */
const KERNEL = new Set([0x9fa0, 0x62656572, 0x64626720, 0x27e0eb, 0x63677270]);

export type Refusal = { ok: false; code: "not_found" | "bad_request" | "payload_too_large"; message: string };
export const refuse = (code: Refusal["code"], message: string): Refusal => ({ ok: false, code, message });

/** `place` names what was opened, whatever its path leads to by now; `real` is where it lay when it was opened. */
export interface Opened {
  ok: true;
  handle: FileHandle;
  stats: Stats;
  /** Below the root; empty for the root itself. */
  relative: string;
  place: string;
  real: string;
}

/** True for the directory itself and all below it; both without links. */
export function within(directory: string, path: string): boolean {
  return path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep);
}

export interface InsideOptions {
  /** What the root is called in refusals. */
  name?: string;
  /** Directories that lie below the root and are not there for the caller. */
  hidden?: readonly string[];
  /** The root was found without links before: where it is one now, others have put it there. */
  pinned?: boolean;
}

/** Opens `path` below `root`. */
export async function openInside(root: string, path: string, { name = "the workspace", hidden = [], pinned = false }: InsideOptions = {}): Promise<Refusal | Opened> {
  if (path.length > MAX_PATH || path.includes("\0")) return refuse("bad_request", "path: too long, or holds NUL");
  const relative = posix.normalize(path.replace(/^\/+/, "") || ".").replace(/\/$/, "");
  if (relative === ".." || relative.startsWith("../")) return refuse("bad_request", `path: leaves ${name}`);
  const real = await realpath(root).catch(() => null);
  if (real === null) return refuse("not_found", `this host has no files of ${name}`);
  if (pinned && real !== root) return refuse("not_found", `${root} has become a link`);
  const shown = relative === "." ? name : relative;
  const target = await realpath(join(real, relative)).catch(() => null);
  if (target === null) return refuse("not_found", `${shown} does not exist`);
  const why = (at: string) => (!within(real, at) ? `path: a link leaves ${name}` : hidden.some((other) => within(other, at)) ? `${shown} holds the daemon's own files, which are not shown` : null);
  const early = why(target);
  if (early !== null) return refuse("bad_request", early);
  const kind = await stat(target).catch(() => null);
  // To open a device may do something; a pipe would block a read, and must not.
  if (kind && (kind.isCharacterDevice() || kind.isBlockDevice() || kind.isSocket())) return refuse("bad_request", `${shown} is not a file`);
  const handle = await open(target, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW).catch(() => null);
  if (!handle) return refuse("not_found", `${shown} cannot be opened`);
  // Somebody may have swapped a directory for a link since we looked: what counts is what was opened.
  const place = process.platform === "linux" ? `/proc/self/fd/${handle.fd}` : target;
  const now = process.platform === "linux" ? await readlink(place) : await realpath(target).catch(() => "");
  const late = why(now) ?? (KERNEL.has((await statfs(place)).type) ? `${shown} belongs to the kernel, and is not shown` : null);
  if (late === null) return { ok: true, handle, stats: await handle.stat(), relative: relative === "." ? "" : relative, place, real: now };
  await handle.close();
  return refuse("bad_request", late);
}
