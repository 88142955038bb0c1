/** Owns the change from an old tree to a new one: the new one is made whole beside it, and what a killed process left half is finished or taken back. */

import { chmodSync, existsSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { ByteString } from "../protocol/tree-path.ts";
import { treeFailure } from "./failure.ts";
import { systemPath } from "./system-path.ts";

/**
 * A directory at the top of the tree, because the tree itself may be a mount that cannot be moved. No manifest may name it and no sync looks into it.
 * `new/` is made first; nothing of the tree is touched. `committed` says that `new/` is whole: whoever finds it finishes. What is at the top moves to
 * `old/`, `emptied` says that it has, what is in `new/` moves to the top, and all of it is removed.
 */
export const STAGE = ".marionette-restore";

const order = z.strictObject({
  /** Names at the top that make way (one character a byte). */
  out: z.array(z.string()),
  /** Directories at the top: name, mode, mtime (µs). */
  settle: z.array(z.tuple([z.string(), z.number().int(), z.number().int()])),
});
export type SwapOrder = z.infer<typeof order>;

/** Called before a tree is read or changed. "finished": a restore that was killed behind its commit is complete now; "rolled_back": one before it is gone. */
export function recoverTree(root: string): "clean" | "finished" | "rolled_back" {
  const stage = join(root, STAGE);
  const stat = lstatSync(stage, { throwIfNoEntry: false });
  if (!stat) return "clean";
  if (!stat.isDirectory()) {
    unlinkSync(stage);
    return "clean";
  }
  if (existsSync(join(stage, "committed"))) {
    finishSwap(root);
    return "finished";
  }
  removeTree(stage);
  return "rolled_back";
}

/** Makes the place where the new tree is built; answers its path. */
export function openStage(root: string): string {
  const stage = join(root, STAGE);
  mkdirSync(stage, { mode: 0o700 });
  mkdirSync(join(stage, "new"), { mode: 0o700 });
  return join(stage, "new");
}

/** From here on the new tree is the tree. */
export function commit(root: string, swap: SwapOrder): void {
  const stage = join(root, STAGE);
  writeFileSync(join(stage, "committed.tmp"), JSON.stringify(swap));
  renameSync(join(stage, "committed.tmp"), join(stage, "committed"));
  finishSwap(root);
}

/** Each step may be repeated: it does what is left of it. */
function finishSwap(root: string): void {
  const stage = join(root, STAGE);
  const parsed = order.safeParse(JSON.parse(readFileSync(join(stage, "committed"), "utf8")));
  if (!parsed.success) throw treeFailure("unreadable", `${join(stage, "committed")} is not what a restore writes there; look at the tree and remove ${stage}`);
  const { out, settle } = parsed.data;
  mkdirSync(join(stage, "old"), { recursive: true });
  if (!existsSync(join(stage, "emptied"))) {
    for (const name of out) move(root, name, `${STAGE}/old/${name}`);
    writeFileSync(join(stage, "emptied"), "");
  }
  for (const name of readdirSync(join(stage, "new"), { encoding: "latin1" })) {
    // Whoever made this meanwhile has lost: the new tree is what was asked for.
    if (lstatSync(systemPath(root, name), { throwIfNoEntry: false })) move(root, name, `${STAGE}/old/.again-${Date.now()}-${name}`.slice(0, 240));
    move(root, `${STAGE}/new/${name}`, name);
  }
  for (const [name, mode, mtime] of settle) {
    const path = systemPath(root, name);
    if (!lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) continue;
    chmodSync(path, mode);
    utimesSync(path, seconds(mtime), seconds(mtime));
  }
  unlinkSync(join(stage, "committed"));
  removeTree(stage);
}

/** A directory that may not be written cannot change its parent: it may for the time of the move. */
function move(root: string, from: ByteString, to: ByteString): void {
  const source = systemPath(root, from);
  const stat = lstatSync(source, { throwIfNoEntry: false });
  if (!stat) return;
  try {
    renameSync(source, systemPath(root, to));
  } catch (error) {
    if (!stat.isDirectory() || !(error instanceof Error && "code" in error && (error.code === "EACCES" || error.code === "EPERM"))) throw error;
    chmodSync(source, 0o700);
    renameSync(source, systemPath(root, to));
  }
}

/** Removes a tree whatever its modes are. Symlinks are removed, never followed. */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    open("");
    rmSync(path, { recursive: true, force: true });
  }
  function open(at: ByteString): void {
    const directory = systemPath(path, at);
    if (!lstatSync(directory, { throwIfNoEntry: false })?.isDirectory()) return;
    chmodSync(directory, 0o700);
    for (const entry of readdirSync(directory, { encoding: "latin1", withFileTypes: true })) if (entry.isDirectory()) open(at === "" ? entry.name : `${at}/${entry.name}`);
  }
}

/** Seconds for `utimes` from microseconds, set into the middle of the microsecond so that no rounding reaches another. */
export function seconds(us: number): number {
  return (us + 0.4) / 1e6;
}

export function setTimes(path: string | Buffer, us: number): void {
  lutimesSync(path, seconds(us), seconds(us));
}
