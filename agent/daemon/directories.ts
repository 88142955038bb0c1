/** Owns the host's own directories that sessions work in: whether one may be, as whom the session works there, and which session's workspace stands for which. */

import { constants } from "node:fs";
import { access, readdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import * as z from "zod";
import { SANDBOX_OWNER } from "../providers/owner.ts";
import type { Owner, Provider } from "../providers/provider.ts";
import { NO_ROOTS, openBrowsed, type BrowseRoots } from "./browsing.ts";
import { within, type InsideOptions } from "./inside.ts";
import type { Layout } from "./layout.ts";

interface Claimed {
  ok: true;
  /** Without links. */
  path: string;
  /** What the sandbox must find where its workspace is: device and inode. */
  identity: string;
  /** Who works there; null: the daemon's own user. */
  owner: Owner | null;
  /** What a person should know of it, in words; empty where there is nothing. */
  notice: string;
}
type Refused = { ok: false; message: string };
const no = (message: string): Refused => ({ ok: false, message });

/** Device and inode, by which a directory is known wherever it is shown. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
}

const note = z.object({ session_id: z.string(), path: z.string() });

export class Directories {
  readonly #roots: () => BrowseRoots;
  readonly #layout: Layout;

  constructor(layout: Layout, roots: () => BrowseRoots) {
    this.#layout = layout;
    this.#roots = roots;
  }

  /**
   * Whether a session may work in the directory, and as whom: as the directory's owner where the daemon is root and the provider can become another user,
   * so that what it writes belongs to whom the rest belongs to. Nothing of the directory is changed.
   */
  async claim(path: string, provider: Pick<Provider, "name" | "owner">): Promise<Claimed | Refused> {
    const roots = this.#roots();
    if (roots.roots.length === 0) return no(`${path}: ${NO_ROOTS}`);
    const real = await realpath(path).catch(() => null);
    if (real === null) return no(`${path} does not exist on this host`);
    const reals = await Promise.all(roots.roots.map(async (root) => ({ root, real: await realpath(root).catch(() => null) })));
    const under = reals.find((each) => each.real !== null && within(each.real, real));
    if (!under?.real) return no(`${path} lies in none of the directories that this host opens: ${roots.roots.join(", ")}`);
    const opened = await openBrowsed(roots, under.root, relative(under.real, real));
    if (!opened.ok) return no(`${path}: ${opened.message}`);
    const { handle, stats, place, real: found } = opened;
    try {
      if (!stats.isDirectory()) return no(`${path} is not a directory`);
      if (roots.hidden.some((other) => within(found, other))) return no(`${path} holds the daemon's own data, which no session may see; choose a directory below it`);
      const who = workerOf(stats, provider);
      if (typeof who === "string") return no(`${path}: ${who}`);
      const may = await permitted(stats, place, who);
      if (!may.enter) return no(`${path}: ${named(who)} may not look into it (mode ${(stats.mode & 0o7777).toString(8)}, owner ${stats.uid}:${stats.gid})`);
      const notice = may.write ? "" : `${named(who)} may read ${found} but not write there, because it belongs to ${stats.uid === 0 ? "root, and agents never run as root" : `user ${stats.uid}`}`;
      return { ok: true, path: found, identity: await identityOf(place), owner: who, notice };
    } finally {
      await handle.close();
    }
  }

  /** From now on the session's workspace is this directory; null: an ordinary one again. */
  async settle(workspaceId: string, sessionId: string, path: string | null): Promise<void> {
    const file = this.#layout.directoryNote(workspaceId);
    if (path === null) return rm(file, { force: true });
    await writeFile(file, JSON.stringify({ session_id: sessionId, path } satisfies z.infer<typeof note>), { mode: 0o600 });
  }

  /** Where the files of a workspace lie: the host's own directory while a session that works there lives and the configuration still opens it, else the daemon's. */
  async filesOf(workspaceId: string): Promise<{ root: string; options: InsideOptions }> {
    const noted = await this.#read(this.#layout.directoryNote(workspaceId));
    const own = { root: this.#layout.workspace(workspaceId), options: {} };
    if (!noted) return own;
    const { roots, hidden } = this.#roots();
    const reals = await Promise.all(roots.map((root) => realpath(root).catch(() => null)));
    return reals.some((real) => real !== null && within(real, noted.path)) ? { root: noted.path, options: { hidden, pinned: true } } : own;
  }

  /** The session has ended: its directory is its owner's alone again. */
  async ended(sessionId: string): Promise<void> {
    const names = await readdir(this.#layout.workspaces).catch(() => []);
    for (const name of names.filter((each) => each.endsWith(".json"))) {
      const file = join(this.#layout.workspaces, name);
      if ((await this.#read(file))?.session_id === sessionId) await rm(file, { force: true });
    }
  }

  async #read(file: string): Promise<z.infer<typeof note> | null> {
    const text = await readFile(file, "utf8").catch(() => null);
    return text === null ? null : note.parse(JSON.parse(text));
  }
}

interface Standing {
  uid: number;
  gid: number;
  mode: number;
}
const named = (owner: Owner | null) => `user ${owner?.uid ?? process.getuid?.() ?? "of the daemon"}`;

/** As whom a session works in a directory of that owner; a text where it cannot. */
export function workerOf({ uid, gid }: Standing, { name, owner }: Pick<Provider, "name" | "owner">, self = process.getuid?.()): Owner | null | string {
  // Root's directories are for agents to read at most: no agent ever runs as root behind a sandbox.
  if (owner) return uid === 0 ? owner : { uid, gid: gid === 0 ? SANDBOX_OWNER.gid : gid };
  if (self === 0 && uid !== 0) return `it belongs to user ${uid}, and the ${name} provider runs agents as root here, without isolation; what they wrote would be root's. Use docker or bubblewrap`;
  return null;
}

/** What a user may do in a directory, by its mode; the daemon's own user is asked of the system. */
async function permitted({ uid, gid, mode }: Standing, place: string, owner: Owner | null): Promise<{ enter: boolean; write: boolean }> {
  const can = (bits: number) => access(place, bits).then(() => true, () => false);
  if (!owner) return { enter: await can(constants.R_OK | constants.X_OK), write: await can(constants.W_OK) };
  const bits = (owner.uid === uid ? mode >> 6 : owner.gid === gid ? mode >> 3 : mode) & 7;
  return { enter: (bits & 5) === 5, write: (bits & 2) === 2 };
}
