/** Owns the archive of ended sessions' events: each block compressed, sealed with its tenant's data key, under a name of its own. */

import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { HISTORY_BLOCK_CHARS, Failure } from "../../sdk/protocol/index.ts";
import type { Archive, ArchivedBlock } from "../../durable-objects/index.ts";
import type { Storage } from "./storage.ts";

/** A session's events move so long after its end, so that whoever followed it has left. */
const AFTER_SECONDS = 60;
/** What a block may unpack to: twice what one is made of, at three bytes a character. */
const MAX_TEXT_BYTES = 6 * HISTORY_BLOCK_CHARS + 8 * 1024 * 1024;

/** Where a block is kept: the first one, often the only one, under the plain name. */
export function archiveName({ tenant_id, session_id, block }: ArchivedBlock): string {
  return `archives/${tenant_id}/${session_id}/events${block === 1 ? "" : `.${block}`}.jsonl.zst`;
}

/** `afterSeconds` as a setting is written; what is no number counts as none. */
export function archiveOf(storage: () => Pick<Storage, "objects" | "dataKey">, afterSeconds?: string): Archive {
  async function get(at: ArchivedBlock): Promise<Uint8Array<ArrayBuffer>> {
    const name = archiveName(at);
    const { objects, dataKey } = storage();
    const found = await objects.get(name);
    if (!found) throw broken(at, "missing", `${name} is not in the object store`);
    const sealed = await found.bytes();
    const key = await dataKey(at.tenant_id);
    let packed: Uint8Array;
    try {
      packed = await key.open(name, sealed);
    } catch (error) {
      if (error instanceof Failure && error.code === "unavailable") throw error;
      throw broken(at, "unreadable", `${name} was changed, cut or swapped, or the key that it was sealed with is not the tenant's: ${error instanceof Error ? error.message : String(error)}`);
    }
    try {
      return new Uint8Array(zstdDecompressSync(packed, { maxOutputLength: MAX_TEXT_BYTES }));
    } catch (error) {
      throw broken(at, "unreadable", `${name} does not unpack: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  return {
    after_ms: 1_000 * (/^\d{1,9}$/.test(afterSeconds ?? "") ? Number(afterSeconds) : AFTER_SECONDS),
    get,
    async put(at, text) {
      const name = archiveName(at);
      const { objects, dataKey } = storage();
      const sealed = await (await dataKey(at.tenant_id)).seal(name, zstdCompressSync(text));
      await objects.put(name, sealed);
      // What is dropped after this must be there: it is read back as every reader will.
      const back = await get(at);
      if (!equal(back, text)) throw new Failure("unavailable", `The object store gave ${name} back as something else than was put`, { details: { block: at.block } });
      return { bytes: sealed.length };
    },
  };
}

function broken({ block, session_id }: ArchivedBlock, why: "missing" | "unreadable", words: string): Failure {
  return new Failure("conflict", `Block ${block} of the history of ${session_id} cannot be read: ${words}`.slice(0, 1_000), { details: { block, why } });
}
function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
