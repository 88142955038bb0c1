/** Owns the object store over a directory, as workerd's disk service shows it: the one of a whole Marionette on one machine. */

import { calling, emptyOf, MAX_KEYS, unreachable, type ObjectInfo, type ObjectStore } from "./object-store.ts";

/** Requests of one listing or deletion that go at once. */
const AT_ONCE = 16;
/** The service's word for a file; a directory is told as JSON. */
const FILE_TYPE = "application/octet-stream";

type Service = Pick<Fetcher, "fetch">;
interface Child {
  name: string;
  type: string;
}

const addressOf = (key: string) => `http://disk/${key.split("/").map(encodeURIComponent).join("/")}`;

function infoOf(key: string, { headers }: Response): ObjectInfo {
  const total = /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? headers.get("content-length");
  return { key, size: Number(total ?? 0), uploaded: Date.parse(headers.get("last-modified") ?? "") || 0 };
}

async function inTurns<T, R>(all: readonly T[], one: (each: T) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  for (let at = 0; at < all.length; at += AT_ONCE) done.push(...(await Promise.all(all.slice(at, at + AT_ONCE).map(one))));
  return done;
}

/** A store below a writable disk service. A put goes to a file beside and is moved into its place: workerd's own doing, as are ranges. */
export function diskStore(service: Service): ObjectStore {
  async function ask(key: string, init: RequestInit & { duplex?: "half" }, fine: (status: number) => boolean): Promise<Response> {
    const response = await calling(() => service.fetch(addressOf(key), init));
    if (fine(response.status)) return response;
    await response.body?.cancel();
    throw unreachable(`${init.method ?? "GET"}: ${response.status} ${response.statusText}`);
  }
  const missing = (response: Response) => response.status === 404 || response.headers.get("content-type") !== FILE_TYPE;
  const readable = (status: number) => status === 200 || status === 206 || status === 404 || status === 416;

  async function head(key: string): Promise<ObjectInfo | null> {
    const response = await ask(key, { method: "HEAD" }, readable);
    return missing(response) ? null : infoOf(key, response);
  }

  /** Files and directories of one directory, in the order of the keys below them. */
  async function children(directory: string): Promise<Child[]> {
    const response = await ask(directory, {}, readable);
    if (response.status === 404) {
      await response.body?.cancel();
      return [];
    }
    const found: Child[] = await response.json();
    const place = ({ name, type }: Child) => (type === "directory" ? `${name}/` : name);
    return found.sort((a, b) => (place(a) < place(b) ? -1 : 1));
  }

  /** Keys below `directory`, which ends with a slash or is empty, that begin with `prefix` and come behind `after`, in order. */
  async function* keysBelow(directory: string, prefix: string, after: string): AsyncGenerator<string> {
    for (const { name, type } of await children(directory)) {
      const key = `${directory}${name}${type === "directory" ? "/" : ""}`;
      if (type === "directory") {
        const inside = key.startsWith(prefix) || prefix.startsWith(key);
        const ahead = key > after || after.startsWith(key);
        if (inside && ahead) yield* keysBelow(key, prefix, after);
      } else if (key.startsWith(prefix) && key > after) yield key;
    }
  }

  return {
    kind: "disk",
    async put(key, body, { onlyIfAbsent = false, size } = {}) {
      if (onlyIfAbsent && (await head(key))) return { stored: false };
      const given = body instanceof Uint8Array || size === undefined ? body : body.pipeThrough(new FixedLengthStream(size));
      await ask(key, { method: "PUT", body: given as BodyInit, duplex: "half" }, (status) => status >= 200 && status < 300);
      return { stored: true };
    },
    async get(key, range) {
      const nothing = range && range.length <= 0;
      const response = nothing ? null : await ask(key, range ? { headers: { range: `bytes=${range.offset}-${range.offset + range.length - 1}` } } : {}, readable);
      if (!response || response.status === 416) {
        await response?.body?.cancel();
        const info = await head(key);
        return info && emptyOf(info);
      }
      if (missing(response)) {
        await response.body?.cancel();
        return null;
      }
      return { ...infoOf(key, response), body: response.body ?? new Blob([]).stream(), bytes: () => calling(async () => new Uint8Array(await response.arrayBuffer())) };
    },
    head,
    async list(prefix, { cursor = "", limit = MAX_KEYS } = {}) {
      const most = Math.min(limit, MAX_KEYS);
      const keys: string[] = [];
      for await (const key of keysBelow(prefix.slice(0, prefix.lastIndexOf("/") + 1), prefix, cursor)) {
        keys.push(key);
        if (keys.length > most) break;
      }
      const items = (await inTurns(keys.slice(0, most), head)).filter((info) => info !== null);
      return { items, cursor: keys.length > most ? (keys[most - 1] ?? null) : null };
    },
    async delete(keys) {
      await inTurns(keys, async (key) => {
        const response = await ask(key, { method: "DELETE" }, (status) => status === 404 || (status >= 200 && status < 300));
        await response.body?.cancel();
      });
    },
  };
}
