/** Owns the files that an ACP agent may read and write through us: those of the workspace, and no link leads out of it. */

import { constants } from "node:fs";
import { mkdir, open, readlink, realpath, writeFile, type FileHandle } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";

/** Largest file that is read for an agent, in bytes. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** A path that is refused, in words for the agent. */
export class OutsideWorkspace extends Error {
  constructor(path: string) {
    super(`${path} is outside the workspace`);
    this.name = "OutsideWorkspace";
  }
}

/** The real place of a path inside the workspace, also of one that does not exist yet. Throws `OutsideWorkspace`. */
export async function insideWorkspace(workspace: string, path: string): Promise<string> {
  const root = await realpath(workspace);
  const wanted = isAbsolute(path) ? resolve(path) : resolve(root, path);
  const real = await realOrFuture(wanted);
  const within = relative(root, real);
  if (within === "" || within === ".." || within.startsWith(`..${sep}`) || isAbsolute(within)) throw new OutsideWorkspace(path);
  return real;
}

/** Links are followed as far as the path exists; a dangling link leads to where it points. */
async function realOrFuture(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const parent = dirname(path);
    if (parent === path || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const link = await readlink(path).catch(() => null);
    return link === null ? join(await realOrFuture(parent), basename(path)) : realOrFuture(resolve(await realOrFuture(parent), link));
  }
}

/** The text of a file, or `limit` lines of it from `line` (1-based). */
export async function readText(workspace: string, path: string, line?: number | null, limit?: number | null): Promise<string> {
  const real = await insideWorkspace(workspace, path);
  await using file = await open(real, READ);
  const { size } = await regular(file, path);
  if (size > MAX_FILE_BYTES) throw new Error(`${path} has ${size} bytes; at most ${MAX_FILE_BYTES} are read`);
  const text = await file.readFile("utf8");
  if (line == null && limit == null) return text;
  const from = Math.max(0, (line ?? 1) - 1);
  return text.split("\n").slice(from, limit == null ? undefined : from + limit).join("\n");
}

/** Writes a file, with the directories above it; gives back what was there before, null where nothing was, nothing of what is too large to be shown. */
export async function writeText(workspace: string, path: string, content: string): Promise<string | null> {
  const real = await insideWorkspace(workspace, path);
  const before = await contentsOf(real, path);
  await mkdir(dirname(real), { recursive: true });
  await writeFile(real, content, { flag: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NONBLOCK });
  return before;
}

async function contentsOf(real: string, path: string): Promise<string | null> {
  const opened = await open(real, READ).catch((error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? null : Promise.reject(error)));
  if (opened === null) return null;
  await using file = opened;
  const { size } = await regular(file, path);
  return size > MAX_FILE_BYTES ? "" : file.readFile("utf8");
}

/** A pipe or a device would hold a thread of the runner for ever. */
async function regular(file: FileHandle, path: string): Promise<{ size: number }> {
  const stats = await file.stat();
  if (!stats.isFile()) throw new Error(`${path} is not a file`);
  return stats;
}
