/** Owns conversations in files: for each a directory with `state.json`, replaced whole, and `archive.jsonl`, which only grows; safe against a death in mid-write. */

import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import * as z from "zod";
import { Lines } from "./lines.ts";
import { appendedSince, batchTexts, checkedId, checkedPage, jsonText, PersistenceError, savedSince, type Json, type LiveState, type PersistenceAdapter } from "./adapter.ts";

export interface JsonlOptions {
  directory: string;
  now?: (() => Date) | undefined;
}

const stored = z.object({ revision: z.number().int().min(1), updated_at: z.iso.datetime(), state: z.json() });
const archived = z.object({ at: z.iso.datetime(), message: z.json() });
const LOCK_EVERY_MS = 5;
const LOCK_PATIENCE_MS = 10_000;
const NAMELESS_MS = 5_000;

export function createJsonlPersistence({ directory, now = () => new Date() }: JsonlOptions): PersistenceAdapter {
  /** Readable, and unique although ids may hold anything. */
  const place = (id: string) => join(directory, `${checkedId(id).replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 60)}-${createHash("sha256").update(id).digest("hex").slice(0, 16)}`);
  const change = <T>(id: string, work: (at: string) => Promise<T>): Promise<T> => told(async () => {
    const at = place(id);
    await mkdir(at, { recursive: true });
    return locked(join(at, "lock"), () => work(at));
  });
  const lines = new Lines();
  return {
    load: (id) => told(() => load(place(id))),
    save: (id, state, { revision } = {}) => {
      const text = jsonText(state, "state");
      return change(id, async (at) => {
        const current = (await load(at))?.revision ?? 0;
        if (revision !== undefined && revision !== current) throw savedSince(id, revision, current);
        const updated = now();
        await replaced(join(at, "state.json"), `{"revision":${current + 1},"updated_at":${JSON.stringify(updated.toISOString())},"state":${text}}\n`);
        return { state: JSON.parse(text) as Json, revision: current + 1, updated_at: updated };
      });
    },
    append: (id, messages, { seq } = {}) => {
      const texts = batchTexts(messages);
      return change(id, async (at) => {
        const path = join(at, "archive.jsonl");
        const { count, bytes, size } = await lines.extent(path);
        if (seq !== undefined && seq !== count) throw appendedSince(id, seq, count);
        if (texts.length === 0) return count;
        // Half a line, which a death left.
        if (bytes < size) await truncate(path, bytes);
        const stamp = JSON.stringify(now().toISOString());
        const handle = await open(path, "a");
        try {
          await handle.writeFile(texts.map((text) => `{"at":${stamp},"message":${text}}\n`).join(""));
          await handle.sync();
        } catch (error) {
          // All or none: a full disk takes a part of it.
          await truncate(path, bytes).catch(() => {});
          throw error;
        } finally {
          await handle.close();
        }
        return count;
      });
    },
    archive: async (id, options = {}) => {
      const { seq, limit } = checkedPage(options);
      const path = join(place(id), "archive.jsonl");
      return told(async () => {
        const texts = await lines.read(path, seq, limit);
        return texts.map((text, i) => {
          const parsed = archived.safeParse(parse(text, path));
          if (!parsed.success) throw new PersistenceError("corrupt", `${path}: line ${seq + i + 1} is not one of this store`);
          return { seq: seq + i, message: parsed.data.message, at: new Date(parsed.data.at) };
        });
      });
    },
    remove: (id) => told(async () => {
      const at = place(id);
      if (!(await stat(at).catch(() => null))) return false;
      await rm(at, { recursive: true, force: true });
      return true;
    }),
    async close() {},
  };
}

async function load(at: string): Promise<LiveState | null> {
  const path = join(at, "state.json");
  const text = await readFile(path, "utf8").catch(absent);
  if (text === null) return null;
  const parsed = stored.safeParse(parse(text, path));
  if (!parsed.success) throw new PersistenceError("corrupt", `${path} is not a state of this store`);
  return { state: parsed.data.state, revision: parsed.data.revision, updated_at: new Date(parsed.data.updated_at) };
}

/** Written beside and renamed, and both told to the disk: a reader and a crash see the old or the new one. */
async function replaced(path: string, text: string): Promise<void> {
  const partial = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const handle = await open(partial, "wx");
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, path);
  } catch (error) {
    await unlink(partial).catch(() => {});
    throw error;
  }
}

/** One writer at a time, of all processes of this machine; the lock of a process that died is taken over. */
async function locked<T>(path: string, work: () => Promise<T>): Promise<T> {
  const own = `${process.pid} ${randomBytes(6).toString("hex")}`;
  for (let waited = 0; ; waited += LOCK_EVERY_MS) {
    const taken = await writeFile(path, own, { flag: "wx" }).then(() => true, (error: NodeJS.ErrnoException) => (error.code === "EEXIST" ? false : Promise.reject(error)));
    if (taken) break;
    if (waited > LOCK_PATIENCE_MS) throw new PersistenceError("unavailable", `${path} has been held for ${LOCK_PATIENCE_MS / 1_000} seconds; if no process uses it, delete it`);
    const holder = Number((await readFile(path, "utf8").catch(() => "")).split(" ")[0]);
    // Empty: whoever took it died before it said who it was, unless it was just now.
    const dead = holder > 0 ? !alive(holder) : await stat(path).then(({ mtimeMs }) => Date.now() - mtimeMs > NAMELESS_MS, () => false);
    // Moved away, not deleted: of several who find it dead one succeeds, and nobody takes a living one's.
    if (dead) await rename(path, `${path}.dead`).catch(() => {});
    else await pause(LOCK_EVERY_MS);
  }
  try {
    return await work();
  } finally {
    await unlink(path).catch(() => {});
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PersistenceError("corrupt", `${path} holds something that is not JSON`, { cause: error });
  }
}

function absent(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
  throw error;
}

async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PersistenceError) throw error;
    throw new PersistenceError("unavailable", `the conversation's files: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
