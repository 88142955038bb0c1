import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { manifestLines, type FileEntry, type Manifest } from "../protocol/manifest.ts";
import { bytesOf, ids, picture } from "../../test/support/trees.ts";
import { pack, packManifest, sha256, unpackManifest } from "./codec.ts";
import { DirectoryDoor } from "./door.ts";
import { treeReason } from "./failure.ts";
import { restoreTree, type RestoreOptions } from "./restore.ts";
import { recoverTree, removeTree, STAGE } from "./stage.ts";
import { syncTree } from "./sync.ts";

const base = mkdtempSync(join(tmpdir(), "workspace-hostile-"));
afterAll(() => removeTree(base));
let places = 0;
/** Each starts a process of its own. */
const KILLS = 10;

/** A kept tree, and another one in the place where it is to be restored. */
async function place(files: Record<string, string | Uint8Array> = { "a/one": "one", "a/two": "two", "large": bytesOf(3, 4_000_000), "z": "z" }) {
  const at = join(base, String(places++));
  const [tree, root, store] = [join(at, "tree"), join(at, "root"), join(at, "store")];
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(join(tree, path, ".."), { recursive: true });
    writeFileSync(join(tree, path), bytes);
  }
  mkdirSync(join(root, "old"), { recursive: true });
  writeFileSync(join(root, "old", "file"), "what was here");
  symlinkSync("old/file", join(root, "link"));
  const door = new DirectoryDoor(store);
  const { manifest_id } = await syncTree({ root: tree, kind: "workspace", ids: ids(), door, index: join(at, "index") }).done;
  const manifest = await unpackManifest(await door.getManifest(manifest_id));
  return { at, tree, root, door, store, manifest, manifest_id };
}
const chunkFile = (store: string, id: string) => join(store, "chunks", id.slice(0, 2), id);

/** Refused with these words, and what was there is there as before. */
async function refused(root: string, options: Omit<RestoreOptions, "root">, reason: string, words: RegExp) {
  const before = picture(root);
  const error: unknown = await restoreTree({ root, ...options }).then(() => null, (failure: unknown) => failure);
  expect(error).toBeInstanceOf(Error);
  expect((error as Error).message).toMatch(words);
  expect(treeReason(error)).toBe(reason);
  expect(picture(root)).toEqual(before);
  expect(existsSync(join(root, STAGE))).toBe(false);
}

describe("a store that lies is refused, named, and the old tree kept whole:", () => {
  it("a missing chunk", async () => {
    const { root, door, store, manifest, manifest_id } = await place();
    const id = manifest.chunks[1]?.id ?? "";
    rmSync(chunkFile(store, id));
    await refused(root, { manifest: manifest_id, door }, "missing", new RegExp(`chunk ${id} is not in the store`));
  });
  it("a corrupt chunk", async () => {
    const { root, door, store, manifest, manifest_id } = await place();
    const id = manifest.chunks.at(-1)?.id ?? "";
    const bytes = readFileSync(chunkFile(store, id));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(chunkFile(store, id), bytes);
    await refused(root, { manifest: manifest_id, door }, "refused", new RegExp(`chunk ${id} is corrupt`));
  });
  it("a chunk cut short", async () => {
    const { root, door, store, manifest, manifest_id } = await place();
    const id = manifest.chunks[0]?.id ?? "";
    writeFileSync(chunkFile(store, id), readFileSync(chunkFile(store, id)).subarray(0, -1));
    await refused(root, { manifest: manifest_id, door }, "refused", /bytes, the manifest says/);
  });
  it("another chunk under its name", async () => {
    const { root, door, store, manifest, manifest_id } = await place();
    const [one, two] = manifest.chunks;
    writeFileSync(chunkFile(store, one?.id ?? ""), readFileSync(chunkFile(store, two?.id ?? "")));
    await refused(root, { manifest: manifest_id, door }, "refused", /manifest says|corrupt/);
  });
  it("a manifest in which two chunks have changed places", async () => {
    const files = { "p": bytesOf(1, 600_000), "q": bytesOf(2, 600_000) };
    const { root, door, manifest } = await place(files);
    const entries = manifest.entries as FileEntry[];
    const swapped: Manifest = { ...manifest, entries: entries.map((entry, at) => ({ ...entry, pieces: entries[1 - at]?.pieces ?? [] })) };
    await refused(root, { manifest: await packManifest(swapped), door }, "refused", /"p" does not have the hash/);
  });
  it("a manifest of another id, workspace or kind", async () => {
    const { root, door, store, manifest_id } = await place();
    const other = ids();
    writeFileSync(join(store, "manifests", other.manifest_id), readFileSync(join(store, "manifests", manifest_id)));
    await refused(root, { manifest: other.manifest_id, door }, "refused", /says that its manifest is/);
    await refused(root, { manifest: manifest_id, door, expect: { workspace_id: other.workspace_id } }, "refused", /says that its workspace is/);
    await refused(root, { manifest: manifest_id, door, expect: { kind: "state" } }, "refused", /says that its kind is workspace/);
  });
  it("a manifest that is missing, cut or no zstd", async () => {
    const { root, door, store, manifest_id } = await place();
    const bytes = readFileSync(join(store, "manifests", manifest_id));
    for (let cut = 0; cut < bytes.length; cut += 37) await refused(root, { manifest: bytes.subarray(0, cut), door }, "refused", /truncated|empty/);
    await refused(root, { manifest: Buffer.from("PK\x03\x04 a zip"), door }, "refused", /does not unpack/);
    await refused(root, { manifest: ids().manifest_id, door }, "missing", /is not in the store/);
  });
  it("a manifest of zeros, and a chunk of zeros larger than it says", async () => {
    const { root, door, manifest } = await place({ f: bytesOf(1, 1_000) });
    const zeros = zstdCompressSync(Buffer.alloc(2 ** 30 + 2 ** 20));
    await refused(root, { manifest: zeros, door }, "refused", /does not unpack|line/);
    const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20));
    const id = sha256(bomb);
    await door.putChunk(id, bomb);
    await refused(root, { manifest: await packManifest({ ...manifest, chunks: [{ id, size: 1_000, stored: bomb.length }] }), door }, "refused", /does not unpack to the 1000 bytes/);
    const small = await pack(Buffer.alloc(900));
    await door.putChunk(small.id, small.bytes);
    await refused(root, { manifest: await packManifest({ ...manifest, chunks: [{ id: small.id, size: 1_000, stored: small.bytes.length }] }), door }, "refused", /unpacks to 900 bytes/);
  });
  it("more bytes than the quota", async () => {
    const { root, door, manifest_id } = await place();
    await refused(root, { manifest: manifest_id, door, quota: { bytes: 1_000 } }, "refused", /bytes are more than the 1000 allowed/);
  });
  it.each([["..", "../x"], ["absolute", "/tmp/x"], ["through its own stage", `${STAGE}/new/x`], ["a device", "\\\\.\\COM1"]])("a path: %s", async (_, path) => {
    const { root, door, manifest } = await place({ f: "f" });
    const entries = path.startsWith(STAGE) ? [{ type: "directory" as const, path: STAGE, mode: 0o755, mtime: 0 }, { type: "directory" as const, path: `${STAGE}/new`, mode: 0o755, mtime: 0 }] : [];
    const hostile = { header: { ...manifest.header, entries: 1 + entries.length }, chunks: manifest.chunks, entries: [...entries, { ...(manifest.entries[0] as FileEntry), path }] };
    const bytes = zstdCompressSync([...manifestLines(hostile)].join(""));
    await refused(root, { manifest: bytes, door }, "refused", /\.\.|absolute|place where trees are restored|device/);
  });
  it("a path that does not fit below its place", async () => {
    const { root, door, manifest } = await place({ f: "f" });
    const names = Array<string>(41).fill("d".repeat(98));
    const entries = names.map((_, depth) => ({ type: "directory" as const, path: names.slice(0, depth + 1).join("/"), mode: 0o755, mtime: 0 }));
    const deep = { header: { ...manifest.header, entries: entries.length, files: 0, bytes: 0, chunks: 0 }, chunks: [], entries };
    await refused(root, { manifest: zstdCompressSync([...manifestLines(deep)].join("")), door }, "unreadable", /cannot be restored: ENAMETOOLONG/);
  });
  it("a file below a symlink", async () => {
    const { root, door, manifest } = await place({ f: "f" });
    const [file] = manifest.entries as [FileEntry];
    const hostile = { header: { ...manifest.header, entries: 2 }, chunks: manifest.chunks, entries: [{ type: "symlink" as const, path: "d", mtime: 0, target: "old" }, { ...file, path: "d/f" }] };
    await refused(root, { manifest: zstdCompressSync([...manifestLines(hostile)].join("")), door }, "refused", /"d\/f" lies in something that is not a directory/);
  });
});

describe("a restore that is interrupted", () => {
  it("by its caller leaves the old tree", async () => {
    const { root, door, manifest_id } = await place();
    await refused(root, { manifest: manifest_id, door, signal: AbortSignal.abort() }, "aborted", /called off/);
  });

  it("by being killed leaves the old tree or the new one, and goes through when it is repeated", async () => {
    const files = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i % 23}/e${i % 7}/f${i}`, bytesOf(i, i % 50 === 0 ? 700_000 : 2_000)]));
    const { at, tree, root, door, store, manifest_id } = await place(files);
    const [old, young] = [picture(root), picture(tree)];
    const save = join(at, "saved");
    spawnSync("cp", ["-a", root, save]);
    const program = `import { restoreTree } from ${JSON.stringify(join(import.meta.dirname, "restore.ts"))}; import { DirectoryDoor } from ${JSON.stringify(join(import.meta.dirname, "door.ts"))};
      process.stdout.write("begun"); await restoreTree({ root: ${JSON.stringify(root)}, manifest: ${JSON.stringify(manifest_id)}, door: new DirectoryDoor(${JSON.stringify(store)}), index: ${JSON.stringify(join(at, "i"))} }); process.stdout.write("done");`;
    const outcomes = { old: 0, new: 0 };
    let longest = 400;
    for (let kill = 0; kill < KILLS; kill++) {
      rmSync(root, { recursive: true });
      spawnSync("cp", ["-a", save, root]);
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      const begun = performance.now();
      const timer = setTimeout(() => child.kill("SIGKILL"), Math.random() * longest);
      const [code] = (await once(child, "exit")) as [number | null];
      clearTimeout(timer);
      if (code === 0) longest = Math.max(20, performance.now() - begun);
      recoverTree(root);
      const seen = picture(root);
      expect([old, young]).toContainEqual(seen);
      outcomes[seen.has("old") ? "old" : "new"] += 1;
      await restoreTree({ root, manifest: manifest_id, door, index: join(at, "i") });
      expect(picture(root)).toEqual(young);
    }
    expect(outcomes.old + outcomes.new).toBe(KILLS);
  });

  it("at each step of the swap is finished by whoever comes next", async () => {
    const { root, tree, door, manifest_id } = await place();
    const young = picture(tree);
    for (const step of ["committed", "one out", "emptied", "one in"]) {
      await restoreTree({ root, manifest: manifest_id, door });
      // As a killed process would leave it: the same tree again, staged beside itself, with the old one at the top.
      mkdirSync(join(root, STAGE, "new"), { recursive: true });
      mkdirSync(join(root, STAGE, "old"));
      spawnSync("cp", ["-a", join(tree, "a"), join(tree, "large"), join(tree, "z"), join(root, STAGE, "new")]);
      const out = ["a", "large", "z"];
      const { mode, mtime } = { mode: 0o755, mtime: Number(young.get("a")?.split(" ")[2]) };
      writeFileSync(join(root, STAGE, "committed"), JSON.stringify({ out, settle: [["a", mode, mtime]] }));
      if (step !== "committed") spawnSync("mv", [join(root, "a"), join(root, STAGE, "old")]);
      if (step === "emptied" || step === "one in") {
        spawnSync("mv", [join(root, "large"), join(root, "z"), join(root, STAGE, "old")]);
        writeFileSync(join(root, STAGE, "emptied"), "");
      }
      if (step === "one in") spawnSync("mv", [join(root, STAGE, "new", "z"), root]);
      expect(recoverTree(root)).toBe("finished");
      expect(picture(root)).toEqual(young);
      expect(readdirSync(root)).not.toContain(STAGE);
    }
  });

  it("does not follow a symlink that was put where it works", async () => {
    const { at, tree, root, door, manifest_id } = await place();
    mkdirSync(join(at, "victim"));
    symlinkSync(join(at, "victim"), join(root, STAGE));
    await restoreTree({ root, manifest: manifest_id, door });
    expect(picture(root)).toEqual(picture(tree));
    expect(readdirSync(join(at, "victim"))).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0 || spawnSync("mount", ["--version"]).status !== 0)("a disk that is full", () => {
  it("fails with that word, early where it can be known, and leaves the old tree", async () => {
    const { at, root, door, manifest_id } = await place({ noise: Buffer.concat(Array.from({ length: 4 }, (_, i) => bytesOf(i, 1_500_000))) });
    const small = join(at, "small");
    mkdirSync(small);
    if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", small]).status !== 0) return;
    try {
      spawnSync("cp", ["-a", root, join(small, "root")]);
      await refused(join(small, "root"), { manifest: manifest_id, door }, "disk_full", /the disk is full: 6000000 bytes are to be written/);
      spawnSync("mount", ["-o", "remount,size=64m,nr_inodes=12", small]);
      const many = await place(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, `${i}`])));
      await refused(join(small, "root"), { manifest: many.manifest_id, door: many.door }, "disk_full", /the disk is full/);
      await expect(restoreTree({ root: small, manifest: many.manifest_id, door: many.door })).rejects.toThrow(/full/);
    } finally {
      spawnSync("umount", [small]);
    }
  });
  it("and a mount inside the tree is not swept away", async () => {
    const { root, door, manifest_id } = await place();
    const inner = join(root, "old", "mount");
    mkdirSync(inner);
    if (spawnSync("mount", ["-t", "tmpfs", "tmpfs", inner]).status !== 0) return;
    try {
      await refused(root, { manifest: manifest_id, door }, "unreadable", /is a mount inside the tree/);
    } finally {
      spawnSync("umount", [inner]);
    }
  });
});
