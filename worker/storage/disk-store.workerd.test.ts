import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { objectStoreSuite } from "../../test/conformance/object-store.ts";
import { diskStore } from "./disk-store.ts";

const service = (env as unknown as { DISK: Fetcher }).DISK;
const bytes = (text: string) => new TextEncoder().encode(text);

describe("the object store over a directory", () => {
  objectStoreSuite(() => diskStore(service));

  it("lists through directories in the order of keys, from any of them on", async () => {
    const store = diskStore(service);
    const root = `conformance/${crypto.randomUUID()}`;
    // In the order of their bytes: "-" comes before "/", which comes before "0".
    const keys = ["a-b", "a/b/1", "a/b/2", "a/c", "a0", "b/x"].map((name) => `${root}/${name}`);
    await Promise.all(keys.map((key) => store.put(key, bytes(key))));
    const names = async (prefix: string, cursor?: string) => (await store.list(`${root}/${prefix}`, { cursor: cursor && `${root}/${cursor}` })).items.map(({ key }) => key.slice(root.length + 1));
    expect([await names(""), await names("a"), await names("a/"), await names("a/b"), await names("none/")]).toEqual([
      ["a-b", "a/b/1", "a/b/2", "a/c", "a0", "b/x"], ["a-b", "a/b/1", "a/b/2", "a/c", "a0"], ["a/b/1", "a/b/2", "a/c"], ["a/b/1", "a/b/2"], [],
    ]);
    expect([await names("", "a-b"), await names("", "a/b/1"), await names("", "a/b/9"), await names("", "a0"), await names("", "b/x")]).toEqual([
      ["a/b/1", "a/b/2", "a/c", "a0", "b/x"], ["a/b/2", "a/c", "a0", "b/x"], ["a/c", "a0", "b/x"], ["b/x"], [],
    ]);
    expect([await store.get(`${root}/a`), await store.head(`${root}/a/b`)]).toEqual([null, null]);
    await store.delete(keys);
  });

  it("keeps nothing of a body that ends early, and leaves what was there", async () => {
    const store = diskStore(service);
    const key = `conformance/${crypto.randomUUID()}/cut`;
    await store.put(key, bytes("whole"));
    const cut = () => new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(bytes("part"));
        controller.error(new Error("cut"));
      },
    });
    await expect(store.put(key, cut(), { size: 100 })).rejects.toMatchObject({ code: "unavailable" });
    expect(new TextDecoder().decode(await (await store.get(key))?.bytes())).toBe("whole");
    await store.delete([key]);
  });

  it("says that the store is away where the service refuses or is gone", async () => {
    const refusing = diskStore({ fetch: async () => new Response("no", { status: 500 }) });
    const gone = diskStore({ fetch: async () => Promise.reject(new Error("gone")) });
    for (const store of [refusing, gone]) {
      for (const attempt of [store.get("a"), store.head("a"), store.list(""), store.put("a", bytes("b")), store.delete(["a"])]) await expect(attempt).rejects.toMatchObject({ code: "unavailable" });
    }
  });
});
