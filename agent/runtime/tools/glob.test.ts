import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { globMatcher } from "./glob.ts";

describe("a glob", () => {
  it.each([
    ["*.ts", ["a.ts", ".ts"], ["a/b.ts", "a.tsx"]],
    ["**/*.ts", ["a.ts", "a/b/c.ts"], ["a.js"]],
    ["src/**", ["src/a", "src/a/b"], ["lib/a"]],
    ["a/**/b", ["a/b", "a/x/y/b"], ["a/xb", "b"]],
    ["**/a/**/b", ["a/b", "x/a/y/z/b"], ["a", "x/b"]],
    ["[a-c]?[!0-9]", ["axy", "cz-"], ["dxy", "ax1", "ax"]],
    ["{a,b{c,d}}.x", ["a.x", "bc.x", "bd.x"], ["b.x", "c.x"]],
    ["./a", ["a"], ["b"]],
    ["a\\*", ["a*"], ["ab"]],
    ["\\{a,b\\}", ["{a,b}"], ["a", "b"]],
    ["{a\\,b,\\},{}}", ["a,b", "}", "{}"], ["a", "b"]],
    ["{a}{", ["{a}{"], ["a"]],
    ["?[😀-😂]", ["é😁", "🎉😂"], ["😁", "é😎"]],
    ["[]x]", ["]", "x"], ["y"]],
    ["[\\]x]", ["]", "x"], ["\\", "x]"]],
    ["[a\\-c]", ["a", "-", "c"], ["b", "\\"]],
    ["[\\\\]", ["\\"], ["x"]],
    ["[!\\]]", ["x"], ["]"]],
    ["[\\", ["[\\"], ["x"]],
    ["[", ["["], ["x"]],
  ])("%s matches what it should", (pattern, yes, no) => {
    const matches = globMatcher(pattern);
    expect(yes.filter((path) => !matches(path))).toEqual([]);
    expect(no.filter((path) => matches(path))).toEqual([]);
  });
  it("matches every path by itself, escaped, and by **", () => {
    const character = fc.oneof(fc.constantFrom(...String.raw`\*?[]{},!^-.`.split("")), fc.string({ unit: "binary", minLength: 1, maxLength: 1 }));
    const name = fc.string({ unit: character, minLength: 1, maxLength: 8 }).filter((part) => !part.includes("/") && part !== ".");
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), (parts) => {
        const path = parts.join("/");
        expect(globMatcher("**")(path)).toBe(true);
        expect(globMatcher(path.replaceAll(/[\\*?[\]{},]/g, "\\$&"))(path)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
  it("takes no time without end for a pattern made to do so", () => {
    expect(globMatcher("*a".repeat(200))("a".repeat(4_000).slice(0, 3_999) + "b")).toBe(false);
    expect(globMatcher("**/a/".repeat(80) + "x")("a/".repeat(2_000) + "b")).toBe(false);
    expect(() => globMatcher("{a,b}".repeat(10))).toThrow("alternatives");
    expect(() => globMatcher("x".repeat(501))).toThrow("longer");
  });
});
