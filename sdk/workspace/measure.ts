/** Owns measuring a tree as its quota counts it: bytes on the disk of what a sync would keep, and where most of them are. */

import { realpathSync } from "node:fs";
import { MANIFEST_LIMITS } from "../protocol/manifest.ts";
import { fromSystem } from "./failure.ts";
import { Breath } from "./flow.ts";
import { scanTree, type Found } from "./scan.ts";

export interface Measured {
  /** Holes are not counted, nor what `.marionetteignore` names. */
  bytes: number;
  files: number;
  /** The five largest things at the top of the tree, largest first. */
  largest: [string, number][];
}

/** Throws a `Failure` where the tree cannot be read, or has more entries than any manifest may. */
export async function measureTree({ root, signal }: { root: string; signal?: AbortSignal }): Promise<Measured> {
  try {
    const scan = await scanTree({ root: realpathSync(root), include: null, ignore: true, outsideLinks: "leave_out", maxEntries: MANIFEST_LIMITS.entries, breath: new Breath(), signal });
    return { bytes: bytesOf(scan.found), files: scan.files, largest: largestOf(scan.found) };
  } catch (error) {
    throw fromSystem(error, "the tree cannot be read");
  }
}

export function bytesOf(found: readonly Found[]): number {
  return found.reduce((sum, entry) => sum + (entry.type === "file" ? entry.allocated : 0), 0);
}

export function largestOf(found: readonly Found[]): [string, number][] {
  const sizes = new Map<string, number>();
  for (const entry of found) {
    if (entry.type !== "file") continue;
    const top = entry.path.split("/")[0] ?? "";
    sizes.set(top, (sizes.get(top) ?? 0) + entry.allocated);
  }
  return [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 5);
}
