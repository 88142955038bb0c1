/** Owns what every object store must do: a suite that each store's test calls with a store of its own. */

import { expect, it } from "vitest";
import type { ObjectStore } from "../../worker/storage/object-store.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = async (store: ObjectStore, key: string, range?: { offset: number; length: number }) => {
  const found = await store.get(key, range);
  return found && new TextDecoder().decode(await found.bytes());
};

/** `make` opens the store under test; keys are put below a prefix of the run's own. `noStreams` says why a stream cannot be put here. */
export function objectStoreSuite(make: () => ObjectStore, noStreams: string | null = null): void {
  const at = (name: string) => `conformance/${crypto.randomUUID()}/${name}`;

  it("gives back what was put, whole or in part, with its size and time", async () => {
    const store = make();
    const key = at("a b/ü+%.bin");
    expect(await store.put(key, bytes("hello, world"))).toEqual({ stored: true });
    expect([await text(store, key), await text(store, key, { offset: 7, length: 3 }), await text(store, key, { offset: 7, length: 300 }), await text(store, key, { offset: 300, length: 1 }), await text(store, key, { offset: 0, length: 0 })]).toEqual(["hello, world", "wor", "world", "", ""]);
    const info = await store.head(key);
    expect(info).toMatchObject({ key, size: 12 });
    expect(Math.abs((info?.uploaded ?? 0) - Date.now())).toBeLessThan(86_400_000);
    expect((await store.get(key, { offset: 1, length: 1 }))?.size).toBe(12);
    expect(await new Response((await store.get(key))?.body).text()).toBe("hello, world");
    await store.delete([key]);
  });

  it("says so where there is nothing", async () => {
    const store = make();
    expect([await store.get(at("none")), await store.get(at("none"), { offset: 3, length: 1 }), await store.head(at("none"))]).toEqual([null, null, null]);
    await store.delete([at("none"), at("none either")]);
    await store.delete([]);
  });

  it.skipIf(noStreams !== null)(`takes streams of a known size${noStreams === null ? "" : ` (${noStreams})`}`, async () => {
    const store = make();
    const key = at("stream");
    await store.put(key, new Blob(["streamed"]).stream() as ReadableStream<Uint8Array>, { size: 8 });
    expect(await text(store, key)).toBe("streamed");
    await store.delete([key]);
  });

  it("takes empty objects, and megabytes", async () => {
    const store = make();
    const [empty, large] = [at("empty"), at("large")];
    await store.put(empty, new Uint8Array());
    expect((await store.get(empty))?.size).toBe(0);
    const big = new Uint8Array(3 * 1024 * 1024).map((_, i) => (i * 7) % 251);
    await store.put(large, big);
    expect(await (await store.get(large))?.bytes()).toEqual(big);
    await store.delete([empty, large]);
  });

  it("writes over, unless it is to leave what is there", async () => {
    const store = make();
    const key = at("over");
    await store.put(key, bytes("one"));
    expect(await store.put(key, bytes("two"), { onlyIfAbsent: true })).toEqual({ stored: false });
    expect(await text(store, key)).toBe("one");
    expect(await store.put(key, bytes("three"))).toEqual({ stored: true });
    expect(await text(store, key)).toBe("three");
    await store.delete([key]);
    expect(await store.put(key, bytes("four"), { onlyIfAbsent: true })).toEqual({ stored: true });
    await store.delete([key]);
  });

  it("lists by prefix, page by page, and deletes many at once", async () => {
    const store = make();
    const root = at("list");
    const keys = Array.from({ length: 23 }, (_, i) => `${root}/${String(i).padStart(2, "0")}`);
    await Promise.all([...keys, `${root}-beside`].map((key) => store.put(key, bytes(key))));
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await store.list(`${root}/`, { limit: 10, ...(cursor && { cursor }) });
      expect(page.items.length).toBeLessThanOrEqual(10);
      seen.push(...page.items.map(({ key }) => key));
      cursor = page.cursor;
    } while (cursor !== null);
    expect(seen).toEqual(keys);
    await store.delete(keys);
    expect(await store.list(`${root}/`)).toEqual({ items: [], cursor: null });
    expect(await store.head(`${root}-beside`)).not.toBeNull();
    await store.delete([`${root}-beside`]);
  });
}
