/** Owns what a fresh workspace is given on its first boot, and what it is never given again: nothing that a person changed or deleted. */

import { createHash } from "node:crypto";
import * as z from "zod";
import { WorkspaceError, type AgentWorkspace } from "./sandbox/contracts.ts";
import { readText } from "./workspace-text.ts";

/** What was seeded, by path, as the hash of its contents: how a file that nobody touched is told from one that somebody did. */
export const SEED_RECORD = "/workspace/.marco-seed.json";
const record = z.object({ files: z.record(z.string(), z.string()) });

export interface Seeded {
  /** Paths that were written now. */
  written: string[];
  warnings: string[];
}

/**
 * Writes those of `files` (path in the workspace → contents) that were never seeded before and that nothing stands in the way of, and brings those up to date
 * that are still as they were seeded. Idempotent, also when two do it at once. Throws only where the workspace does not answer.
 */
export async function seedWorkspace(workspace: AgentWorkspace, files: Readonly<Record<string, string>>): Promise<Seeded> {
  const wanted = Object.entries(files);
  const warnings: string[] = [];
  const known = await readRecord(workspace, warnings);
  const open = wanted.filter(([path, text]) => known.get(path) !== hashOf(text));
  if (open.length === 0) return { written: [], warnings };
  const written: string[] = [];
  for (const [path, text] of open) {
    try {
      if (await seedOne(workspace, path, text, known.get(path))) written.push(path);
    } catch (error) {
      warnings.push(wordsOf(error, `${path} cannot be seeded`));
      continue;
    }
    known.set(path, hashOf(text));
  }
  try {
    await workspace.write(SEED_RECORD, `${JSON.stringify({ files: Object.fromEntries([...known].sort(([a], [b]) => (a < b ? -1 : 1))) }, null, 2)}\n`);
  } catch (error) {
    warnings.push(wordsOf(error, `${SEED_RECORD} cannot be written`));
  }
  return { written, warnings };
}

async function seedOne(workspace: AgentWorkspace, path: string, text: string, seeded: string | undefined): Promise<boolean> {
  if (seeded === undefined) return changedUnless(() => workspace.write(path, text, { version: null }));
  const stat = await workspace.stat(path);
  // It was seeded once and is gone: somebody did not want it.
  if (stat?.kind !== "file") return false;
  const { bytes, version } = await workspace.read(path);
  if (hashOf(bytes) !== seeded) return false;
  return changedUnless(() => workspace.write(path, text, { version }));
}

/** False where somebody else was there first. */
async function changedUnless(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if (error instanceof WorkspaceError && error.code === "changed") return false;
    throw error;
  }
}

async function readRecord(workspace: AgentWorkspace, warnings: string[]): Promise<Map<string, string>> {
  try {
    const read = await readText(workspace, SEED_RECORD);
    if (read === null) return new Map();
    return new Map(Object.entries(record.parse(JSON.parse(read.text)).files));
  } catch (error) {
    // What it held is not known, so whatever exists counts as changed; nothing is overwritten either way.
    warnings.push(wordsOf(error, `${SEED_RECORD} is not readable and is written anew`));
    return new Map();
  }
}

/** A warning for what is wrong in the workspace. Throws where it does not answer at all. */
function wordsOf(error: unknown, what: string): string {
  if (error instanceof WorkspaceError && error.code === "unavailable") throw error;
  return `${what}: ${error instanceof Error ? error.message : String(error)}`;
}

function hashOf(contents: string | Uint8Array): string {
  return createHash("sha256").update(contents).digest("hex");
}
