import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERRORS, Failure } from "./errors.ts";
import { newId } from "./ids.ts";
import { checkManifest, entryPath, manifestEntry, MANIFEST_FORMAT, manifestLines, MAX_CHUNK_BYTES, parseManifest, type Manifest, type ManifestEntry } from "./manifest.ts";
import { diffManifests } from "./manifest-diff.ts";
import { isPlainEntry } from "./manifest-shape.ts";
import { byteOrder, bytesToUtf8, leadsOutside, pathFault, utf8ToBytes, writeName, type ByteString } from "./tree-path.ts";

const T0 = 1_700_000_000_000;
const hash = (n: number) => n.toString(16).padStart(64, "0");
const directory = (path: string): ManifestEntry => ({ type: "directory", path, mode: 0o755, mtime: 1 });
const file = (path: string, more: Partial<Extract<ManifestEntry, { type: "file" }>> = {}): ManifestEntry => ({ type: "file", path, mode: 0o644, mtime: 1, size: 10, hash: hash(1), pieces: [[0, 0, 10]], ...more });
const link = (path: string, target: string): ManifestEntry => ({ type: "symlink", path, mtime: 1, target });

function tree(entries: ManifestEntry[], more: Partial<Manifest["header"]> = {}): Manifest {
  const files = entries.filter((entry) => entry.type === "file");
  return {
    header: {
      format: MANIFEST_FORMAT, manifest_id: newId("manifest", T0), workspace_id: newId("workspace", T0), kind: "workspace", parent: null, created_at: new Date(T0).toISOString(),
      entries: entries.length, files: files.length, bytes: files.reduce((sum, entry) => sum + entry.size, 0), chunks: 1, torn: false, excluded: [], excluded_total: 0, ...more,
    },
    chunks: [{ id: hash(7), size: 100, stored: 50 }],
    entries,
  };
}
const text = (manifest: Manifest) => [...manifestLines(manifest)].join("");
const why = (manifest: Manifest | string, limits = {}) => {
  try {
    parseManifest(typeof manifest === "string" ? manifest : text(manifest), limits);
    return "taken";
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    expect(ERRORS[(error as Failure).code].status).toBe(400);
    return (error as Failure).message;
  }
};

describe("a manifest", () => {
  const good = tree([directory("a"), file("a/b"), file("a/c", { size: 30, pieces: [[0, 0, 10]], holes: [[10, 20]] }), link("a/l", "../z"), file("z")]);
  it("is read as it was written", () => expect(parseManifest(text(good))).toEqual(good));
  it("is refused where it is cut at any place", () => {
    const whole = text(good);
    for (let at = 0; at < whole.length; at++) expect(why(whole.slice(0, at))).toMatch(/refused/);
  });
  it("keeps every name, in one spelling, in one order", () => {
    const name = fc.array(fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 47), { minLength: 1, maxLength: 8 }).map((bytes) => String.fromCharCode(...bytes)).filter((bytes) => pathFault(bytes) === null);
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 20 }), (names) => {
        const entries = names.sort((x, y) => (byteOrder(x) < byteOrder(y) ? -1 : 1)).map((path): ManifestEntry => ({ type: "directory", ...writeName("path", path), mode: 0o700, mtime: 0 }));
        expect(checkManifest([...manifestLines(tree(entries))].map((line) => line.trimEnd())).entries.map(entryPath)).toEqual(names);
      }),
    );
  });
  it("may hold text in any script", () => fc.assert(fc.property(fc.string({ unit: "grapheme" }), (value) => {
    expect(bytesToUtf8(utf8ToBytes(value))).toBe(value);
  })));
});

describe("a hostile manifest is refused, and the reason named", () => {
  const cases: [string, Manifest, RegExp][] = [
    ["..", tree([file("../x")]), /"\.\.\/x" has "\.\." in it/],
    [".. inside", tree([directory("a"), file("a/../../x")]), /has "\.\." in it/],
    [".", tree([file("./x")]), /has "\."/],
    ["absolute", tree([file("/etc/passwd")]), /is absolute/],
    ["a device's path", tree([file("\\\\.\\PhysicalDrive0")]), /device's/],
    ["a drive", tree([file("C:\\x")]), /drive's/],
    ["an empty name", tree([directory("a"), file("a//b")]), /empty name/],
    ["NUL", tree([file("a\0b")]), /NUL/],
    ["a lone surrogate", tree([file("a\ud800")]), /name once/],
    ["both spellings", tree([{ ...file("a"), path_b64: btoa("\xff") }]), /name once/],
    ["UTF-8 in base64", tree([{ ...directory("a"), path: undefined, path_b64: btoa("a") }]), /name once/],
    ["a path twice", tree([file("a"), file("a")]), /is there twice/],
    ["out of order", tree([file("b"), file("a")]), /out of order/],
    ["a child of a file", tree([file("a"), file("a/b")]), /not a directory/],
    ["a child of a symlink", tree([link("a", "b"), file("a/b")]), /not a directory/],
    ["a child without its directory", tree([file("a/b")]), /not a directory/],
    ["a child of a closed directory", tree([directory("a"), directory("b"), file("b/c/d")]), /not a directory/],
    ["a long name", tree([file("a".repeat(256))]), /longer than 255/],
    ["a device", tree([{ type: "device", path: "a", mode: 0, mtime: 0 } as unknown as ManifestEntry]), /type/],
    ["set-user-id", tree([file("a", { mode: 0o4755 })]), /mode/],
    ["a piece behind its chunk", tree([file("a", { pieces: [[0, 95, 10]] })]), /piece outside/],
    ["a piece of no chunk", tree([file("a", { pieces: [[1, 0, 10]] })]), /piece outside/],
    ["too few bytes", tree([file("a", { size: 11 })]), /has 10 bytes/],
    ["overlapping holes", tree([file("a", { size: 20, pieces: [], holes: [[0, 12], [8, 8]] })]), /hole/],
    ["a hole behind the end", tree([file("a", { size: 20, pieces: [[0, 0, 10]], holes: [[15, 10]] })]), /hole/],
    ["an absolute symlink", tree([link("a", "/etc/shadow")]), /leads outside: "\/etc\/shadow"/],
    ["a symlink upwards", tree([link("a", "../x")]), /leads outside/],
    ["a symlink upwards behind a name", tree([link("a", "b/../../x")]), /leads outside/],
    ["an unknown field", tree([{ ...directory("a"), owner: 0 } as unknown as ManifestEntry]), /unknown field owner/],
    ["wrong sums", tree([file("a")], { bytes: 9 }), /its header says 9/],
    ["wrong number of files", tree([file("a")], { files: 2 }), /its header says 2/],
    ["missing lines", tree([file("a")], { entries: 2 }), /truncated: 1 lines/],
    ["lines too many", tree([file("a"), file("b")], { entries: 1 }), /more lines/],
    ["another format", tree([], { format: "tar" as typeof MANIFEST_FORMAT }), /format/],
    ["a chunk twice", { ...tree([], { chunks: 2 }), chunks: [{ id: hash(7), size: 1, stored: 1 }, { id: hash(7), size: 1, stored: 1 }] }, /twice/],
    ["a chunk too large", { ...tree([]), chunks: [{ id: hash(7), size: 2 ** 24, stored: 1 }] }, /size/],
  ];
  it.each(cases)("%s", (_, manifest, message) => expect(why(manifest)).toMatch(message));
  it("a bomb", () => {
    expect(why(tree([file("a", { size: 2 ** 50, pieces: [], holes: [[0, 2 ** 50]] })]))).toMatch(/bytes are more than/);
    expect(why(tree([], { entries: 3_000_000 }))).toMatch(/3000000 entries are more than the 2000000 allowed/);
    expect(why(tree([file("a")]), { bytes: 9 })).toMatch(/10 bytes are more than the 9 allowed/);
  });
  it("but a symlink may lead outside where the caller says so", () => expect(why(tree([link("a", "/usr/bin/python3")]), { outsideLinks: "keep" })).toBe("taken"));
});

describe("the quick look at an entry", () => {
  it("takes nothing that the schema would not take as it is", () => {
    const odd = fc.constantFrom<unknown>(-1, 0, 1.5, 2 ** 60, 0o777, 0o1777, 0o7777, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1, "", "a", "x".repeat(4_097), null, [], [[0, 0, 1]], [[0, 0, 0]], [[0, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES]], [[0, 0, MAX_CHUNK_BYTES + 1]], [[0, 0]], {}, hash(1), Number.NaN, "file", "directory", true);
    const change = fc.tuple(fc.constantFrom("type", "path", "path_b64", "mode", "mtime", "size", "hash", "pieces", "holes", "torn", "target", "__proto__", "x"), odd);
    fc.assert(
      fc.property(fc.constantFrom(file("a"), directory("a"), link("a", "b")), fc.array(change, { maxLength: 2 }), (entry, changes) => {
        const value: unknown = JSON.parse(JSON.stringify(Object.fromEntries([...Object.entries(entry), ...changes])));
        if (isPlainEntry(value)) expect(manifestEntry.safeParse(value)).toEqual({ success: true, data: value });
      }),
      { numRuns: 3_000 },
    );
    expect([file("a"), directory("a"), link("a", "b")].map(isPlainEntry)).toEqual([true, true, false]);
  });
});

describe("a symlink that does not lead outside", () => {
  it("stays inside however such links are chained", () => {
    const names = fc.array(fc.constantFrom("a", "b", "..", "."), { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom("a", "b", "a/a", "a/b", "b/a"), names), fc.array(fc.constantFrom("a", "b"), { maxLength: 4 }), (targets, start) => {
        const links = new Map(Object.entries(targets).filter(([path, target]) => !leadsOutside(path, target) && !Object.keys(targets).some((other) => path.startsWith(`${other}/`))));
        let left: string[] = [...start];
        let at: string[] = [];
        for (let steps = 0; left.length > 0 && steps < 100; steps++) {
          const name = left.shift() ?? "";
          if (name === ".") continue;
          if (name === "..") expect(at.pop()).toBeDefined();
          else {
            const target: ByteString | undefined = links.get([...at, name].join("/"));
            if (target === undefined) at = [...at, name];
            else left = [...target.split("/"), ...left];
          }
        }
      }),
    );
  });
});

describe("the difference between two manifests", () => {
  it("names what was added, removed and changed, in order", () => {
    const a = tree([directory("a"), file("a/b"), file("c"), link("l", "c"), file("x")]);
    const b = tree([directory("a"), file("a/b", { hash: hash(2) }), file("a/c"), file("c", { mode: 0o755, mtime: 9 }), link("l", "d"), directory("x")]);
    expect(diffManifests(a, b).map(({ path, change, what }) => [path, change, ...what])).toEqual([["a/b", "changed", "content"], ["a/c", "added"], ["c", "changed", "mode"], ["l", "changed", "target"], ["x", "changed", "type"]]);
    expect(diffManifests(b, a).map(({ path, change }) => [path, change])).toContainEqual(["a/c", "removed"]);
    expect(diffManifests(a, a)).toEqual([]);
  });
});
