import * as fc from "fast-check";
import { NeonDbError } from "@neondatabase/serverless";
import { beforeEach, describe, expect, it } from "vitest";
import type { Env } from "../env.ts";
import { memoryStorage } from "../testing/memory-storage.ts";
import { SEAL_BYTES } from "./data-keys.ts";
import { Keyring } from "./keyring.ts";

const ONE = "ten_one";
const OLD = "ab".repeat(32);
const NEW = "cd".repeat(32);
const bytes = (text: string) => new TextEncoder().encode(text);
const env = (key: string, previous?: string) => ({ MARIONETTE_ENCRYPTION_KEY: key, ...(previous && { MARIONETTE_ENCRYPTION_KEY_PREVIOUS: previous }) }) as Env;

let down = false;
let now = 1_000_000;
let reads = 0;
let records: ReturnType<typeof memoryStorage>["dataKeys"];
beforeEach(() => {
  down = false;
  reads = 0;
  records = memoryStorage(() => {
    reads++;
    if (down) throw new NeonDbError("away");
  }, () => [], () => []).dataKeys;
});
const ring = (key = OLD, previous?: string) => new Keyring(env(key, previous), records, () => now);

describe("a tenant's data key", () => {
  it("seals so that only the same name opens, and nothing altered", async () => {
    const key = await ring().of(ONE);
    const sealed = await key.seal("chunks/a", bytes("secret"));
    expect(sealed.byteLength).toBe(6 + SEAL_BYTES);
    expect(await key.open("chunks/a", sealed)).toEqual(bytes("secret"));
    await expect(key.open("chunks/b", sealed)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("another object's") });
    await expect(key.open("chunks/a", sealed.subarray(0, 20))).rejects.toMatchObject({ message: expect.stringContaining("cut short") });
    await expect((await ring().of("ten_two")).open("chunks/a", sealed)).rejects.toMatchObject({ code: "conflict" });
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.byteLength - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const bad = Uint8Array.from(sealed);
        bad[at] = (bad[at] ?? 0) ^ flip;
        await expect(key.open("chunks/a", bad)).rejects.toMatchObject({ code: "conflict" });
      }),
      { numRuns: 50 },
    );
  });

  it("never uses a nonce twice, and gives names that say nothing and differ between tenants", async () => {
    const key = await ring().of(ONE);
    const nonces = await Promise.all(Array.from({ length: 200 }, async () => (await key.seal("n", bytes("x"))).subarray(5, 17).toString()));
    expect(new Set(nonces).size).toBe(200);
    const id = "0".repeat(64);
    expect([key.name(id), key.name(id) === (await ring().of(ONE)).name(id), key.name(id) === (await ring().of("ten_two")).name(id)]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), true, false]);
  });

  it("is rotated: the old opens, the new seals, names stay", async () => {
    const rings = ring();
    const before = await rings.of(ONE);
    const sealed = await before.seal("n", bytes("old"));
    expect((await rings.rotate(ONE)).map(({ version, state }) => [version, state])).toEqual([[1, "retired"], [2, "active"]]);
    const after = await rings.of(ONE);
    expect([after.version, after.name("x") === before.name("x"), await after.open("n", sealed)]).toEqual([2, true, bytes("old")]);
    expect(new DataView((await after.seal("n", bytes("new"))).buffer).getUint32(1)).toBe(2);
  });

  it("is re-wrapped with the deployment's new key, and read with either until then", async () => {
    const key = await ring().of(ONE);
    await ring().of("ten_two");
    const sealed = await key.seal("n", bytes("kept"));
    await expect(ring(NEW).of(ONE)).rejects.toMatchObject({ code: "unavailable", hint: expect.stringContaining("MARIONETTE_ENCRYPTION_KEY_PREVIOUS") });
    expect(await ring(NEW).rewrap()).toEqual({ rewrapped: 0, unopened: 2 });
    expect(await (await ring(NEW, OLD).of(ONE)).open("n", sealed)).toEqual(bytes("kept"));
    expect(await ring(NEW, OLD).rewrap()).toEqual({ rewrapped: 2, unopened: 0 });
    expect(await ring(NEW, OLD).rewrap()).toEqual({ rewrapped: 0, unopened: 0 });
    expect(await (await ring(NEW).of(ONE)).open("n", sealed)).toEqual(bytes("kept"));
  });

  it("is not readable anywhere five seconds after its deletion, and may begin anew", async () => {
    const [here, elsewhere] = [ring(), ring()];
    const sealed = await (await here.of(ONE)).seal("n", bytes("gone"));
    const held = await elsewhere.of(ONE);
    expect([await here.remove(ONE), await here.remove(ONE)]).toEqual([1, 0]);
    await expect(here.of(ONE)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("deleted") });
    expect(await elsewhere.of(ONE)).toBe(held);
    now += 5_001;
    await expect(elsewhere.of(ONE)).rejects.toMatchObject({ code: "conflict" });
    const name = held.name("x");
    await here.rotate(ONE);
    const anew = await here.of(ONE);
    expect([anew.version, anew.name("x") === name]).toEqual([2, false]);
    await expect(anew.open("n", sealed)).rejects.toMatchObject({ message: expect.stringContaining("was deleted") });
  });

  it("goes on while the database is away, where it is known; else the database's absence is told", async () => {
    const rings = ring();
    const key = await rings.of(ONE);
    down = true;
    now += 10_000;
    expect(await rings.of(ONE)).toBe(key);
    await expect(rings.of("ten_two")).rejects.toThrow("away");
    now += 16 * 60_000;
    await expect(rings.of(ONE)).rejects.toThrow("away");
  });

  it("is read once for a burst, and once in five seconds", async () => {
    const rings = ring();
    await rings.of(ONE);
    const before = reads;
    await Promise.all(Array.from({ length: 50 }, () => rings.of(ONE)));
    expect(reads - before).toBe(0);
    now += 5_001;
    await Promise.all(Array.from({ length: 50 }, () => rings.of(ONE)));
    expect(reads - before).toBe(1);
  });

  it("needs a deployment's key that is one", async () => {
    await expect(ring("short").of(ONE)).rejects.toMatchObject({ code: "unavailable", message: "MARIONETTE_ENCRYPTION_KEY must be 32 bytes in hex" });
  });
});
