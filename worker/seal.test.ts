import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Env } from "./env.ts";
import { open, seal } from "./seal.ts";

const OLD = "ab".repeat(32);
const NEW = "cd".repeat(32);
const env = (key: string, previous?: string) => ({ MARIONETTE_ENCRYPTION_KEY: key, ...(previous && { MARIONETTE_ENCRYPTION_KEY_PREVIOUS: previous }) }) as Env;

describe("what the deployment seals", () => {
  it("opens again, whatever it says, and is never the same twice", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme", maxLength: 200 }), async (text) => {
        const [one, two] = [await seal(env(OLD), text), await seal(env(OLD), text)];
        expect(one).not.toBe(two);
        expect([await open(env(OLD), one), await open(env(OLD), two)]).toEqual([text, text]);
      }),
      { numRuns: 50 },
    );
  });
  it("opens with the key before as long as that is set, and is sealed with the new one", async () => {
    const before = await seal(env(OLD), "a cookie");
    expect(await open(env(NEW, OLD), before)).toBe("a cookie");
    await expect(open(env(NEW), before)).rejects.toMatchObject({ code: "conflict", hint: expect.stringContaining("MARIONETTE_ENCRYPTION_KEY_PREVIOUS") as string });
    const after = await seal(env(NEW, OLD), "another");
    expect(await open(env(NEW), after)).toBe("another");
    await expect(open(env(OLD), after)).rejects.toMatchObject({ code: "conflict" });
  });
  it("does not open altered, cut or made up", async () => {
    const sealed = Uint8Array.from(atob(await seal(env(OLD), "secret")), (char) => char.charCodeAt(0));
    const text = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));
    for (let at = 0; at < sealed.length; at++) {
      const bad = Uint8Array.from(sealed);
      bad[at] = (bad[at] ?? 0) ^ 1;
      await expect(open(env(OLD, NEW), text(bad)), `byte ${at}`).rejects.toMatchObject({ code: "conflict" });
    }
    for (const bad of ["", "x", "not base64 ☃", text(sealed.subarray(0, 12)), text(sealed.subarray(0, -1))]) await expect(open(env(OLD), bad), `${bad}`).rejects.toMatchObject({ code: "conflict" });
  });
  it("needs a key that is one", async () => {
    await expect(seal(env("short"), "x")).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("MARIONETTE_ENCRYPTION_KEY") as string });
  });
});
