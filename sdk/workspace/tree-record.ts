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

/** Records of the files that are as the index knows them. */
export function recordsOf(index: TreeIndex | null, found: readonly Found[]): Map<ByteString, FileRecord> {
  const records = new Map<ByteString, FileRecord>();
  if (!index) return records;
  const slots: Slot[] = index.chunks.map((chunk) => ({ ...chunk }));
  const contents = new Map<string, Content>();
  for (const file of found) {
    const row = file.type === "file" ? index.rows.get(file.path) : undefined;
    if (!row || row.entry.type !== "file" || !rowFits(row, file.stamp)) continue;
    const { hash, size, holes } = row.entry;
    let content = contents.get(hash);
    if (!content) {
      content = { size, hash, holes: holes ?? [], pieces: row.entry.pieces.flatMap(([at, offset, length]) => (slots[at] ? [{ slot: slots[at], offset, length }] : [])) };
      // An index that does not fit itself is as good as none.
      if (content.pieces.length !== row.entry.pieces.length) continue;
      contents.set(hash, content);
    }
    records.set(file.path, { content, stamp: file.stamp, torn: false, readAt: 0, row });
  }
  return records;
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
