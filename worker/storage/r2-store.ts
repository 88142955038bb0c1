/** Owns the object store over an R2 binding. */

import { calling, emptyOf, MAX_KEYS, type ObjectInfo, type ObjectStore } from "./object-store.ts";

const infoOf = (object: R2Object): ObjectInfo => ({ key: object.key, size: object.size, uploaded: object.uploaded.getTime() });

export function r2Store(bucket: R2Bucket): ObjectStore {
  return {
    kind: "r2",
    async put(key, body, { onlyIfAbsent = false, size } = {}) {
      const given = body instanceof Uint8Array || size === undefined ? body : body.pipeThrough(new FixedLengthStream(size));
      const put = await calling(() => bucket.put(key, given, onlyIfAbsent ? { onlyIf: new Headers({ "if-none-match": "*" }) } : {}));
      return { stored: (put as R2Object | null) !== null };
    },
    async get(key, range) {
      // A range that begins past the end is an error of the store's, not an empty answer.
      if (range) {
        const info = await this.head(key);
        if (!info) return null;
        if (range.length <= 0 || range.offset >= info.size) return emptyOf(info);
      }
      const found = await calling(() => bucket.get(key, range ? { range } : {}));
      return found && { ...infoOf(found), body: found.body, bytes: () => calling(async () => new Uint8Array(await found.arrayBuffer())) };
    },
    async head(key) {
      const found = await calling(() => bucket.head(key));
      return found && infoOf(found);
    },
    async list(prefix, { cursor, limit = MAX_KEYS } = {}) {
      const page = await calling(() => bucket.list({ prefix, limit: Math.min(limit, MAX_KEYS), ...(cursor !== undefined && { cursor }) }));
      return { items: page.objects.map(infoOf), cursor: page.truncated ? page.cursor : null };
    },
    async delete(keys) {
      for (let at = 0; at < keys.length; at += MAX_KEYS) await calling(() => bucket.delete(keys.slice(at, at + MAX_KEYS)));
    },
  };
}
