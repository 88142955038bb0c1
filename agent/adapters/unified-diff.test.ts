import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { diffTexts, workspacePath } from "./unified-diff.ts";

describe("a unified diff of two texts", () => {
  const many = Array.from({ length: 20 }, (_, i) => `line ${i}`).join("\n") + "\n";
  it.each([
    ["one\ntwo\n", "one\nthree\n"],
    ["one\n", "one\ntwo\nthree\n"],
    ["one\ntwo\nthree\n", "two\nthree\n"],
    [many, many.replace("line 10", "other").replace("line 12\n", "")],
    ["a\na\na\n", "a\na\n"],
  ])("is one that git applies: case %#", (before, after) => {
    const dir = mkdtempSync(join(tmpdir(), "diff-"));
    writeFileSync(join(dir, "file"), before);
    execFileSync("git", ["apply", "--unidiff-zero", "-"], { cwd: dir, input: diffTexts("file", before, after) });
    expect(readFileSync(join(dir, "file"), "utf8")).toBe(after);
    rmSync(dir, { recursive: true });
  });

  it("names the missing side of a file that is new or gone", () => {
    expect(diffTexts("f", null, "a\n")).toBe("--- /dev/null\n+++ b/f\n@@ -0,0 +1,1 @@\n+a\n");
    expect(diffTexts("f", "a\n", null)).toBe("--- a/f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
    expect(diffTexts("f", "a\n", "a\n")).toBe("--- a/f\n+++ b/f\n");
  });
});

describe("a path in the log", () => {
  it.each([
    ["/w/a/b.txt", "a/b.txt"],
    ["/w", "/w"],
    ["/etc/passwd", "/etc/passwd"],
    ["/w2/a", "/w2/a"],
    ["a/b", "a/b"],
  ])("%s is %s", (path, shown) => {
    expect(workspacePath("/w", path)).toBe(shown);
  });
});
