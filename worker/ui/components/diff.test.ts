import { createTwoFilesPatch } from "diff";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffLines } from "./diff.tsx";

describe("a unified diff", () => {
  it("is lines with their numbers before and after", () => {
    expect(diffLines("--- a/x\n+++ b/x\n@@ -3,2 +3,3 @@ f()\n one\n-two\n+2\n+3\n\\ No newline at end of file\n")).toEqual([
      { sign: "@", text: "@@ -3,2 +3,3 @@ f()", old: null, new: null },
      { sign: " ", text: "one", old: 3, new: 3 }, { sign: "-", text: "two", old: 4, new: null }, { sign: "+", text: "2", old: null, new: 4 }, { sign: "+", text: "3", old: null, new: 5 },
    ]);
  });
  it("shows lines that look like headers where they are content", () => {
    expect(diffLines("@@ -1 +1 @@\n--- old\n+++ new").map(({ sign, text }) => sign + text)).toEqual(["@@@ -1 +1 @@", "--- old", "+++ new"]);
  });
  it("holds all of both texts, whatever they are", () => {
    const text = fc.array(fc.constantFrom("a", "b", "-c", "+d", "@@ -1 +1 @@", "--- e", " f"), { maxLength: 12 }).map((lines) => lines.map((line) => `${line}\n`).join(""));
    fc.assert(fc.property(text, text, (before, after) => {
      const lines = diffLines(createTwoFilesPatch("x", "x", before, after, "", "", { context: 100 }));
      if (before === after) return;
      const side = (number: "old" | "new") => lines.filter((line) => line[number] !== null).map((line) => `${line.text}\n`).join("");
      expect(side("old")).toBe(before);
      expect(side("new")).toBe(after);
    }));
  });
});
