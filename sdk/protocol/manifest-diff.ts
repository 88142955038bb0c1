/** Owns what differs between two manifests, by name and in their order. */

import { entryPath, entryTarget, type ManifestChunk, type ManifestEntry } from "./manifest.ts";
import { byteOrder, showPath } from "./tree-path.ts";

export interface TreeChange {
  /** As people read it; bytes that are no UTF-8 as `\xff`. */
  path: string;
  change: "added" | "removed" | "changed";
  /** What of it changed; empty where it was added or removed. */
  what: ("type" | "content" | "mode" | "target")[];
  before: ManifestEntry | null;
  after: ManifestEntry | null;
}

type Tree = { chunks: readonly ManifestChunk[]; entries: readonly ManifestEntry[] };

/** From `a` to `b`. Times alone are no change: a file that was touched has the same content. */
export function diffManifests(a: Tree, b: Tree): TreeChange[] {
  const changes: TreeChange[] = [];
  let i = 0;
  let j = 0;
  while (i < a.entries.length || j < b.entries.length) {
    const before = a.entries[i];
    const after = b.entries[j];
    const left = before && byteOrder(entryPath(before));
    const right = after && byteOrder(entryPath(after));
    if (before && (right === undefined || (left !== undefined && left < right))) {
      changes.push({ path: showPath(entryPath(before)), change: "removed", what: [], before, after: null });
      i += 1;
    } else if (after && (left === undefined || (right !== undefined && right < left))) {
      changes.push({ path: showPath(entryPath(after)), change: "added", what: [], before: null, after });
      j += 1;
    } else if (before && after) {
      const what = changed(before, after);
      if (what.length > 0) changes.push({ path: showPath(entryPath(after)), change: "changed", what, before, after });
      i += 1;
      j += 1;
    }
  }
  return changes;
}

function changed(before: ManifestEntry, after: ManifestEntry): TreeChange["what"] {
  if (before.type !== after.type) return ["type"];
  const what: TreeChange["what"] = [];
  if (before.type === "file" && after.type === "file" && (before.hash !== after.hash || before.size !== after.size)) what.push("content");
  if (before.type === "symlink" && after.type === "symlink") return entryTarget(before) === entryTarget(after) ? [] : ["target"];
  if ("mode" in before && "mode" in after && before.mode !== after.mode) what.push("mode");
  return what;
}
