import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { displayOf, equalConstantTime, hashToken, newToken, Secret, tokenKind, understands } from "./index.ts";

describe("tokens", () => {
  it("say their kind by their prefix, and nothing else passes", () => {
    for (const kind of ["api_key", "runner", "run"] as const) expect(tokenKind(newToken(kind))).toBe(kind);
    for (const bad of ["", "mk_", "mk_short", `xk_${"a".repeat(43)}`, `mk_${"!".repeat(43)}`, `mk_${"a".repeat(44)}`]) expect(tokenKind(bad)).toBeNull();
  });
  it("are stored as SHA-256 and shown by their first eight characters", async () => {
    expect(await hashToken("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(displayOf("mk_abcdefghij")).toBe("mk_abcde");
  });
  it("are compared whole", () => {
    expect(equalConstantTime("abc", "abc")).toBe(true);
    expect(equalConstantTime("abc", "abd")).toBe(false);
    expect(equalConstantTime("abc", "abcd")).toBe(false);
  });
});

describe("a secret", () => {
  it("prints as [secret] wherever it may slip out", () => {
    const secret = new Secret("hunter2");
    for (const shown of [String(secret), `${secret.toString()}`, JSON.stringify({ secret }), inspect({ secret }), JSON.stringify(Object.entries(secret))]) expect(shown).not.toContain("hunter2");
    expect(secret.reveal()).toBe("hunter2");
    expect(() => structuredClone(secret)).not.toThrow();
    expect(JSON.stringify(structuredClone(secret))).not.toContain("hunter2");
  });
});

describe("link versions", () => {
  it("are understood one back, not two, and not ahead", () => {
    expect([0, 1, 2, 3, 4, 1.5].map((offered) => understands(3, offered))).toEqual([false, false, true, true, false, false]);
  });
});
