import { beforeEach, describe, expect, it } from "vitest";
import type { Env } from "../env.ts";
import { Keyring } from "../storage/keyring.ts";
import { memoryStorage } from "../testing/memory-storage.ts";
import { keySafeOf } from "./key-safe.ts";

const OLD = "ab".repeat(32);
const NEW = "cd".repeat(32);
const KEY = "sk-ant-the-owners-own-key";
const [ONE, TWO, SESSION, OTHER] = ["ten_one", "ten_two", "sess_1", "sess_2"] as const;

let records: ReturnType<typeof memoryStorage>["dataKeys"];
beforeEach(() => {
  records = memoryStorage(() => {}, () => [], () => []).dataKeys;
});
function safe(key = OLD, previous?: string) {
  const keyring = new Keyring({ MARIONETTE_ENCRYPTION_KEY: key, ...(previous && { MARIONETTE_ENCRYPTION_KEY_PREVIOUS: previous }) } as Env, records);
  return { keyring, ...keySafeOf(() => ({ dataKey: (tenantId) => keyring.of(tenantId) })) };
}

describe("a session's own key that waits for its runner", () => {
  it("opens for its session and tenant, and for nobody else's", async () => {
    const keys = safe();
    const sealed = await keys.seal(ONE, SESSION, KEY);
    expect(await keys.open(ONE, SESSION, sealed)).toBe(KEY);
    await expect(keys.open(ONE, OTHER, sealed)).rejects.toMatchObject({ code: "conflict" });
    await expect(keys.open(TWO, SESSION, sealed)).rejects.toMatchObject({ code: "conflict" });
    await expect(keys.open(ONE, SESSION, sealed.slice(0, -8))).rejects.toMatchObject({ code: "conflict" });
  });
  it("is text that shows nothing of it, another each time", async () => {
    const keys = safe();
    const sealed = await Promise.all([keys.seal(ONE, SESSION, KEY), keys.seal(ONE, SESSION, KEY)]);
    expect(new Set(sealed).size).toBe(2);
    for (const text of sealed) expect([/^[A-Za-z0-9+/]+=*$/.test(text), atob(text).includes("owner")]).toEqual([true, false]);
  });
  it("holds whatever a key may be", async () => {
    const keys = safe();
    for (const key of ["x", "é☃😀", "k".repeat(4_096)]) expect(await keys.open(ONE, SESSION, await keys.seal(ONE, SESSION, key))).toBe(key);
  });
  it("opens after the tenant's key was rotated and the deployment's was changed, and not once the tenant's is deleted", async () => {
    const first = safe();
    const sealed = await first.seal(ONE, SESSION, KEY);
    await first.keyring.rotate(ONE);
    expect(await safe(NEW, OLD).open(ONE, SESSION, sealed)).toBe(KEY);
    await expect(safe(NEW).open(ONE, SESSION, sealed)).rejects.toMatchObject({ code: "unavailable" });
    await first.keyring.remove(ONE);
    await expect(safe(NEW, OLD).open(ONE, SESSION, sealed)).rejects.toMatchObject({ code: "conflict" });
  });
});
