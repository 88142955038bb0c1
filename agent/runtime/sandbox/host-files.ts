/** Owns files below one directory of this machine: no path leaves it, whatever links there are and whoever swaps them while we look. */

import { randomBytes } from "node:crypto";
import { constants, type BigIntStats } from "node:fs";
import { lstat, mkdir, open, opendir, readlink, realpath, rename, rm, rmdir, unlink, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, posix, sep } from "node:path";
import { MAX_ENTRIES, MAX_READ_BYTES, MAX_WRITE_BYTES, WorkspaceError, type FileBytes, type FileStat, type ReadOptions, type WriteOptions } from "./contracts.ts";
import type { Place } from "./paths.ts";
import { Turns } from "./turns.ts";

const LINUX = process.platform === "linux";
const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Times that a path is looked up anew where it changed below us. */
const TRIES = 3;

/**
 * Every operation opens the directory or file first, asks the kernel where what was opened lies, and then works on the opened thing
 * (`/proc/self/fd`), so a directory swapped for a link in between changes nothing. Where there is no `/proc` (macOS), the name is looked up again instead.
 */
export class HostFiles {
  readonly #root: string;
  readonly #mode: number;
  /** Between the look at a file's version and its new contents nobody else of this process writes it. */
  readonly #turns = new Turns();

  constructor(root: string, mode = 0o666) {
    this.#root = root;
    this.#mode = mode;
  }

  async read(place: Place, options: ReadOptions = {}): Promise<FileBytes> {
    const { offset = 0, length } = options;
    checkRange(offset, length);
    await using opened = await this.#open(place);
    const { handle, stats } = opened;
    if (!stats.isFile()) throw new WorkspaceError("not_a_file", `${place.shown} is ${stats.isDirectory() ? "a directory" : "not a file"}`);
    const size = Number(stats.size);
    if (length === undefined && size - offset > MAX_READ_BYTES) throw tooLarge(place, size);
    const buffer = Buffer.alloc(Math.max(0, Math.min(length ?? size, size - offset)));
    let filled = 0;
    while (filled < buffer.length) {
      options.signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, filled, Math.min(buffer.length - filled, 1 << 20), offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return { path: place.shown, size, offset, bytes: buffer.subarray(0, filled), version: versionOf(stats) };
  }

  async write(place: Place, contents: Uint8Array, options: WriteOptions = {}): Promise<{ created: boolean; version: string }> {
    return this.#turns.run(place.relative, () => this.#write(place, contents, options));
  }

  async #write(place: Place, contents: Uint8Array, { version }: WriteOptions): Promise<{ created: boolean; version: string }> {
    if (contents.byteLength > MAX_WRITE_BYTES) throw new WorkspaceError("too_large", `${place.shown}: ${contents.byteLength} bytes are more than the ${MAX_WRITE_BYTES} of one write`);
    const target = await this.#target(place);
    await using parent = await this.#parent(target, place, true);
    const there = await lstat(parent.at(target.name), { bigint: true }).catch(missing);
    if (there !== null && !there.isFile()) throw new WorkspaceError("not_a_file", `${place.shown} is ${there.isDirectory() ? "a directory" : "not a file"}`);
    if (version !== undefined && version !== (there === null ? null : versionOf(there))) {
      throw new WorkspaceError("changed", there === null ? `${place.shown} is gone` : version === null ? `${place.shown} is there already` : `${place.shown} was changed by someone else since it was read`);
    }
    // Shorter than the name may be: the name itself may have the longest length.
    const partial = parent.at(`.marco-${randomBytes(9).toString("hex")}`);
    const handle = await open(partial, CREATE, there === null ? this.#mode : Number(there.mode) & 0o777);
    try {
      await handle.writeFile(contents);
      // The umask has narrowed it; a file that is rewritten keeps its rights.
      if (there !== null) await handle.chmod(Number(there.mode) & 0o777);
      const stats = await handle.stat({ bigint: true });
      await rename(partial, parent.at(target.name));
      return { created: there === null, version: versionOf(stats) };
    } catch (error) {
      await unlink(partial).catch(() => {});
      throw failureOf(error, place);
    } finally {
      await handle.close();
    }
  }

  async list(place: Place): Promise<FileStat[]> {
    await using opened = await this.#open(place);
    if (!opened.stats.isDirectory()) throw new WorkspaceError("not_a_directory", `${place.shown} is not a directory`);
    const entries: FileStat[] = [];
    for await (const { name } of await opendir(opened.path)) {
      if (entries.length >= MAX_ENTRIES) throw new WorkspaceError("too_large", `${place.shown} has more than ${MAX_ENTRIES} entries; list its parts with exec`);
      const stats = await lstat(join(opened.path, name), { bigint: true }).catch(missing);
      if (stats) entries.push(statOf(stats, posix.join(place.shown, name)));
    }
    return sorted(entries);
  }

  async stat(place: Place): Promise<FileStat | null> {
    try {
      await using opened = await this.#open(place);
      return statOf(opened.stats, place.shown);
    } catch (error) {
      if (error instanceof WorkspaceError && (error.code === "not_found" || error.code === "not_a_directory")) return null;
      throw error;
    }
  }

  async delete(place: Place, recursive = false): Promise<void> {
    const target = { directory: dirname(place.relative) === "." ? "" : dirname(place.relative), name: basename(place.relative) };
    await using parent = await this.#parent({ ...target, directory: await this.#resolved(target.directory, place) }, place, false);
    const path = parent.at(target.name);
    const there = await lstat(path).catch(missing);
    if (there === null) throw notFound(place);
    try {
      // `rm` follows no link below the directory, and names nothing outside of it.
      if (!there.isDirectory()) await unlink(path);
      else if (recursive) await rm(path, { recursive: true });
      else await rmdir(path);
    } catch (error) {
      throw failureOf(error, place);
    }
  }

  /** Opens what a place names, links followed as long as they stay inside. */
  async #open(place: Place): Promise<{ handle: FileHandle; stats: BigIntStats; path: string } & AsyncDisposable> {
    const root = await this.#real(place);
    for (let attempt = 1; ; attempt++) {
      const target = await realpath(join(root, place.relative)).catch(async (error: unknown) => Promise.reject((await existing(root, place)) ? failureOf(error, place) : leaves(place)));
      if (!within(root, target)) throw leaves(place);
      const handle = await open(target, READ).catch((error: unknown) => error as NodeJS.ErrnoException);
      if (!("fd" in handle)) {
        // ELOOP: it became a link since.
        if (handle.code === "ELOOP" && attempt < TRIES) continue;
        throw handle.code === "ENXIO" ? new WorkspaceError("not_a_file", `${place.shown} is not a file`) : failureOf(handle, place);
      }
      const path = LINUX ? `/proc/self/fd/${handle.fd}` : target;
      const now = LINUX ? await readlink(path) : await realpath(target).catch(() => "");
      if (within(root, now)) return { handle, stats: await handle.stat({ bigint: true }), path, [Symbol.asyncDispose]: () => handle.close() };
      await handle.close();
      throw leaves(place);
    }
  }

  /** Directory (real, below the root) and name that a write goes to: a link to a file inside is written through. */
  async #target(place: Place): Promise<{ directory: string; name: string }> {
    const root = await this.#real(place);
    const real = await realpath(join(root, place.relative)).catch(missing);
    if (real !== null) {
      if (!within(root, real) || real === root) throw leaves(place);
      return { directory: dirname(real), name: basename(real) };
    }
    // A link that hangs would be made a file wherever it points to.
    const own = await lstat(join(root, place.relative)).catch(missing);
    if (own !== null) throw new WorkspaceError("outside", `${place.shown} is a link to nothing; delete it first`);
    const directory = dirname(place.relative);
    return { directory: await this.#resolved(directory === "." ? "" : directory, place), name: basename(place.relative) };
  }

  /** The real path of a directory below the root, of which the last parts may not be there yet. */
  async #resolved(relative: string, place: Place): Promise<string> {
    const root = await this.#real(place);
    const absent: string[] = [];
    for (let at = join(root, relative); ; at = dirname(at)) {
      const real = await realpath(at).catch(missing);
      if (real !== null) {
        if (!within(root, real)) throw leaves(place);
        return join(real, ...absent.reverse());
      }
      if ((await lstat(at).catch(missing)) !== null) throw new WorkspaceError("outside", `${place.shown}: a link on its way leads to nothing`);
      absent.push(basename(at));
    }
  }

  /** Opens the directory, making it where `make` says so; `at` gives the path of a name in the opened one. */
  async #parent({ directory }: { directory: string }, place: Place, make: boolean): Promise<{ at(name: string): string } & AsyncDisposable> {
    const root = await this.#real(place);
    if (make) await this.#mkdir(root, directory, place);
    const handle = await open(directory, READ | constants.O_DIRECTORY).catch((error: unknown) => Promise.reject(failureOf(error, place)));
    const path = LINUX ? `/proc/self/fd/${handle.fd}` : directory;
    const now = LINUX ? await readlink(path) : await realpath(directory).catch(() => "");
    if (within(root, now)) return { at: (name) => join(path, name), [Symbol.asyncDispose]: () => handle.close() };
    await handle.close();
    throw leaves(place);
  }

  /** Makes the missing directories one by one, each in its opened parent. */
  async #mkdir(root: string, directory: string, place: Place): Promise<void> {
    let handle = await open(root, READ | constants.O_DIRECTORY);
    let path = root;
    try {
      for (const name of directory.slice(root.length).split(sep).filter(Boolean)) {
        path = LINUX ? `/proc/self/fd/${handle.fd}/${name}` : join(path, name);
        await mkdir(path).catch((error: NodeJS.ErrnoException) => (error.code === "EEXIST" ? undefined : Promise.reject(error)));
        const next = await open(path, READ | constants.O_DIRECTORY);
        await handle.close();
        handle = next;
      }
    } catch (error) {
      throw failureOf(error, place);
    } finally {
      await handle.close();
    }
  }

  async #real(place: Place): Promise<string> {
    return realpath(this.#root).catch(() => {
      throw new WorkspaceError("not_found", `${place.shown} does not exist: there is nothing at ${place.area === "identity" ? "/.marco" : "/workspace"} yet`);
    });
  }
}

/** Whether the part of the way that is there lies inside: what is outside is not even said to be missing. */
async function existing(root: string, place: Place): Promise<boolean> {
  for (let at = join(root, place.relative); at !== root; at = dirname(at)) {
    const real = await realpath(at).catch(() => null);
    if (real !== null) return within(root, real);
  }
  return true;
}

export function checkRange(offset: number, length: number | undefined): void {
  if (!Number.isSafeInteger(offset) || offset < 0) throw new WorkspaceError("invalid", "offset: expected a whole number of at least 0");
  if (length !== undefined && (!Number.isSafeInteger(length) || length < 0)) throw new WorkspaceError("invalid", "length: expected a whole number of at least 0");
  if (length !== undefined && length > MAX_READ_BYTES) throw new WorkspaceError("too_large", `length: at most ${MAX_READ_BYTES} bytes at a time`);
}

export function tooLarge(place: Place, size: number): WorkspaceError {
  return new WorkspaceError("too_large", `${place.shown} has ${size} bytes, more than the ${MAX_READ_BYTES} that are read at a time; read a part of it`);
}

/** Directories first, then by name. */
export function sorted(entries: FileStat[]): FileStat[] {
  const rank = (entry: FileStat) => (entry.kind === "directory" ? 0 : 1);
  return entries.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

const within = (root: string, path: string) => path === root || path.startsWith(root === sep ? sep : root + sep);
export const leaves = (place: Place) => new WorkspaceError("outside", `${place.shown}: a link on its way leaves the workspace`);
export const notFound = (place: Place) => new WorkspaceError("not_found", `${place.shown} does not exist`);
const versionOf = (stats: BigIntStats) => `${stats.ino.toString(36)}-${stats.size.toString(36)}-${stats.mtimeNs.toString(36)}`;

function statOf(stats: BigIntStats, path: string): FileStat {
  const kind = stats.isSymbolicLink() ? "symlink" : stats.isDirectory() ? "directory" : stats.isFile() ? "file" : "other";
  return { path, name: posix.basename(path), kind, size: Number(stats.size), modified_at: stats.mtime };
}

function missing(error: unknown): null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return null;
  throw error;
}

/** The system's error in our words. */
function failureOf(error: unknown, place: Place): Error {
  if (error instanceof WorkspaceError) return error;
  const cause = { cause: error };
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
    case "ELOOP":
      return new WorkspaceError("not_found", `${place.shown} does not exist`, cause);
    case "ENOTDIR":
      return new WorkspaceError("not_a_directory", `${place.shown}: something on its way is not a directory`, cause);
    case "ENOTEMPTY":
    case "EEXIST":
      return new WorkspaceError("not_empty", `${place.shown} is a directory that is not empty`, cause);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new WorkspaceError("read_only", `${place.shown}: the sandbox's user may not do that`, cause);
    case "ENOSPC":
    case "EDQUOT":
      return new WorkspaceError("unavailable", `${place.shown}: no space left in the sandbox`, cause);
    default:
      return new WorkspaceError("unavailable", `${place.shown}: ${error instanceof Error ? error.message : String(error)}`, cause);
  }
}
