/** Owns the files that an ACP agent may read and write through us: those of the workspace, and no link leads out of it. */

import { mkdir, readFile, readlink, realpath, stat, writeFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";

/** Largest file that is read for an agent, in bytes. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

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
  const { size } = await stat(real);
  if (size > MAX_FILE_BYTES) throw new Error(`${path} has ${size} bytes; at most ${MAX_FILE_BYTES} are read`);
  const text = await readFile(real, "utf8");
  if (line == null && limit == null) return text;
  const from = Math.max(0, (line ?? 1) - 1);
  return text.split("\n").slice(from, limit == null ? undefined : from + limit).join("\n");
}

/** Writes a file, with the directories above it; gives back what was there before, null where nothing was. */
export async function writeText(workspace: string, path: string, content: string): Promise<string | null> {
  const real = await insideWorkspace(workspace, path);
  const before = await readFile(real, "utf8").catch(() => null);
  await mkdir(dirname(real), { recursive: true });
  await writeFile(real, content);
  return before;
}
