/** Owns what is known of a file while a tree is synced: where its bytes are, and as of which moment. */

import type { ManifestChunk } from "../protocol/manifest.ts";
import type { ByteString } from "../protocol/tree-path.ts";
import type { Content, Slot } from "./read.ts";
import type { Found, Stamp } from "./scan.ts";
import { rowFits, type IndexRow, type TreeIndex } from "./tree-index.ts";

export interface FileRecord {
  content: Content;
  stamp: Stamp;
  torn: boolean;
  /** Epoch ms. */
  readAt: number;
  /** Where it comes from the index and was not read. */
  row?: IndexRow;
}

/** What the index tells of a tree that was scanned. */
export interface Known {
  /** Of the files that are as the index knows them. */
  records: Map<ByteString, FileRecord>;
  /** All that it holds, by hash: also what is under another name now, or has to be read again to be sure. */
  contents: Map<string, Content>;
  /** What of it the tree still has, as far as can be told without reading. */
  alive: Set<Content>;
}

export function knownOf(index: TreeIndex | null, found: readonly Found[]): Known {
  const known: Known = { records: new Map(), contents: new Map(), alive: new Set() };
  if (!index) return known;
  const { records, contents, alive } = known;
  const slots: Slot[] = index.chunks.map((chunk) => ({ ...chunk }));
  for (const { entry } of index.rows.values()) {
    if (entry.type !== "file" || contents.has(entry.hash)) continue;
    const pieces = entry.pieces.flatMap(([at, offset, length]) => (slots[at] ? [{ slot: slots[at], offset, length }] : []));
    // An index that does not fit itself is as good as none.
    if (pieces.length === entry.pieces.length) contents.set(entry.hash, { size: entry.size, hash: entry.hash, holes: entry.holes ?? [], pieces });
  }
  for (const file of found) {
    const row = file.type === "file" ? index.rows.get(file.path) : undefined;
    const content = row?.entry.type === "file" ? contents.get(row.entry.hash) : undefined;
    if (!row || !content) continue;
    if (content.size === file.stamp.size) alive.add(content);
    if (rowFits(row, file.stamp)) records.set(file.path, { content, stamp: file.stamp, torn: false, readAt: 0, row });
  }
  return known;
}

/** The chunks that a manifest needs, in the order of their first use, each once. */
export class ChunkTable {
  readonly chunks: ManifestChunk[] = [];
  private readonly places = new Map<string, number>();
  private readonly ofSlot = new Map<Slot, number>();

  place(slot: Slot): number {
    const known = this.ofSlot.get(slot);
    if (known !== undefined) return known;
    const id = slot.id ?? "";
    let place = this.places.get(id);
    if (place === undefined) {
      place = this.chunks.push({ id, size: slot.size, stored: slot.stored }) - 1;
      this.places.set(id, place);
    }
    this.ofSlot.set(slot, place);
    return place;
  }
}
