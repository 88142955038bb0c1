import { lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { bytesOf, carryOut, ids, picture, step } from "../../test/support/trees.ts";
import { DirectoryDoor } from "./door.ts";
import { removeTree } from "./stage.ts";
import { restoreTree } from "./restore.ts";
import { syncTree, type SyncOptions } from "./sync.ts";
import { TICK_MS } from "./tree-index.ts";

const base = mkdtempSync(join(tmpdir(), "workspace-trees-"));
afterAll(() => removeTree(base));
let places = 0;
function place() {
  const at = join(base, String(places++));
  mkdirSync(join(at, "tree"), { recursive: true });
  const door = new DirectoryDoor(join(at, "store"));
  const sync = (more: Partial<SyncOptions> = {}) => syncTree({ root: join(at, "tree"), kind: "workspace", ids: ids(), door, index: join(at, "index"), ...more }).done;
  return { at, tree: join(at, "tree"), door, sync };
}

describe("a tree that was synced and restored", () => {
  it("is the same: names, bytes, modes, times, symlinks, empty directories; also when only what changed was sent and written", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 8 }), fc.boolean(), async (first, second, verify) => {
        const { at, tree, door, sync } = place();
        const [copy, index] = [join(at, "copy"), join(at, "copy.index")];
        carryOut(tree, first);
        const before = picture(tree);
        const one = await sync();
        expect(one).toMatchObject({ torn: false, unchanged: false, excluded: [] });
        await restoreTree({ root: copy, manifest: one.manifest_id, door, index, verify });
        expect(picture(copy)).toEqual(before);
        expect(await sync()).toMatchObject({ manifest_id: one.manifest_id, unchanged: true, sent_bytes: 0 });
        carryOut(tree, second);
        const after = picture(tree);
        const two = await sync();
        await restoreTree({ root: copy, manifest: two.manifest_id, door, index, verify });
        expect(picture(copy)).toEqual(after);
        // And back, into a tree that something was done to since.
        carryOut(copy, second);
        await restoreTree({ root: copy, manifest: one.manifest_id, door, index });
        expect(picture(copy)).toEqual(before);
        const again = syncTree({ root: copy, kind: "workspace", ids: ids(), door, index });
        expect(await again.done).toMatchObject({ manifest_id: one.manifest_id, unchanged: true });
        removeTree(at);
      }),
      // What it makes smaller takes longer than a test may: the first that fails is shown.
      { numRuns: 20, endOnFailure: true },
    );
  });

  it("writes only what differs when the index is there", async () => {
    const { at, tree, door, sync } = place();
    for (let i = 0; i < 200; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 1_000));
    writeFileSync(join(tree, "large"), bytesOf(500, 6_000_000));
    const one = await sync();
    const [root, index] = [join(at, "copy"), join(at, "i")];
    await restoreTree({ root, manifest: one.manifest_id, door, index });
    writeFileSync(join(tree, "f7"), "other");
    const two = await sync();
    expect(two.sent_chunks).toBe(1);
    expect(await restoreTree({ root, manifest: two.manifest_id, door, index })).toMatchObject({ reused: 200, written_bytes: 5 });
    expect(picture(root)).toEqual(picture(tree));
  });

  it("sends a file that grew or moved only where it is new", async () => {
    const { tree, sync } = place();
    const large = bytesOf(1, 12_000_000);
    writeFileSync(join(tree, "large"), large);
    const one = await sync();
    writeFileSync(join(tree, "large"), Buffer.concat([Buffer.from("in front"), large]));
    const two = await sync();
    expect(two.sent_chunks).toBeLessThan(one.sent_chunks / 2);
    spawnSync("mv", [join(tree, "large"), join(tree, "moved")]);
    expect(await sync()).toMatchObject({ sent_chunks: 0, unchanged: false });
  });

  it("sends nothing again of what moved among small files, or is so new that it has to be read again", async () => {
    const { tree, sync } = place();
    for (let i = 0; i < 50; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 1_000));
    await delay(2 * TICK_MS);
    writeFileSync(join(tree, "new"), bytesOf(50, 1_000));
    const { ctimeMs } = lstatSync(join(tree, "new"));
    const one = await sync({ now: () => ctimeMs });
    expect(await sync()).toMatchObject({ manifest_id: one.manifest_id, unchanged: true, sent_bytes: 0 });
    renameSync(join(tree, "f7"), join(tree, "moved"));
    expect(await sync()).toMatchObject({ unchanged: false, sent_chunks: 0 });
  });

  it("keeps holes as holes", async () => {
    const { at, tree, door, sync } = place();
    spawnSync("truncate", ["-s", "300M", join(tree, "huge")]);
    spawnSync("dd", ["if=/dev/urandom", `of=${join(tree, "huge")}`, "bs=1M", "count=2", "seek=150", "conv=notrunc"]);
    const one = await sync({ quota: { bytes: 10_000_000 } });
    expect(one.bytes).toBe(300 * 2 ** 20);
    await restoreTree({ root: join(at, "copy"), manifest: one.manifest_id, door });
    const [there, here] = [lstatSync(join(tree, "huge")), lstatSync(join(at, "copy", "huge"))];
    expect(here.size).toBe(there.size);
    expect(here.blocks).toBeLessThanOrEqual(there.blocks + 512);
    expect(spawnSync("cmp", [join(tree, "huge"), join(at, "copy", "huge")]).status).toBe(0);
  });

  it("repacks chunks that are mostly made of what is gone", async () => {
    const { at, tree, door, sync } = place();
    for (let i = 0; i < 400; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 4_000));
    await sync();
    for (let i = 0; i < 400; i++) if (i % 40 !== 0) rmSync(join(tree, `f${i}`));
    const two = await sync();
    const done = await restoreTree({ root: join(at, "copy"), manifest: two.manifest_id, door });
    expect(done.fetched_bytes).toBeLessThan(50_000);
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });
});

describe("what is left out is named", () => {
  it("sockets, pipes and devices", async () => {
    const { tree, sync } = place();
    writeFileSync(join(tree, "file"), "x");
    spawnSync("mkfifo", [join(tree, "pipe")]);
    const server = createServer().listen(join(tree, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const done = await sync();
    server.close();
    expect(done.files).toBe(1);
    expect(done.excluded).toEqual([{ path: "pipe", why: "a pipe" }, { path: "socket", why: "a socket" }]);
  });

  it("paths that would not fit below a longer place, with all that is in them", async () => {
    const { at, tree, door, sync } = place();
    const name = "d".repeat(100);
    const levels = Math.floor((4_000 - tree.length) / (name.length + 1));
    mkdirSync(join(tree, ...Array<string>(levels).fill(name)), { recursive: true });
    const done = await sync();
    const kept = Math.floor(3_072 / (name.length + 1));
    expect(done.excluded).toEqual([{ path: Array<string>(kept + 1).fill(name).join("/"), why: "is longer than 3072 bytes" }]);
    await restoreTree({ root: join(at, "a longer name than the tree had"), manifest: done.manifest_id, door });
    expect(picture(join(at, "a longer name than the tree had")).size).toBe(kept);
  });

  it("what .marionetteignore says, as git would, in every directory", async () => {
    const { tree, door, sync, at } = place();
    for (const path of ["src/keep.log", "src/a.log", "node_modules/x/y", "build/out", "src/build", "Build", "deep/er/x.tmp", "deep/er/keep.tmp"]) {
      mkdirSync(join(tree, path, ".."), { recursive: true });
      writeFileSync(join(tree, path), path);
    }
    writeFileSync(join(tree, ".marionetteignore"), "*.log\n!keep.log\nnode_modules/\n/build\n# a comment\n");
    writeFileSync(join(tree, "deep", ".marionetteignore"), "*.tmp\n!er/keep.tmp\n");
    const done = await sync();
    expect(done.excluded.map(({ path }) => path)).toEqual(["build", "deep/er/x.tmp", "node_modules", "src/a.log"]);
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect([...picture(join(at, "copy")).keys()]).toEqual([".marionetteignore", "Build", "deep", "deep/.marionetteignore", "deep/er", "deep/er/keep.tmp", "src", "src/build", "src/keep.log"]);
  });

  it("symlinks that lead outside, unless they are asked for", async () => {
    const { at, tree, door, sync } = place();
    symlinkSync("/etc/passwd", join(tree, "shadow"));
    symlinkSync("../x", join(tree, "up"));
    symlinkSync("shadow", join(tree, "inside"));
    const strict = await sync();
    expect(strict.excluded).toEqual([{ path: "shadow", why: "a symlink that leads outside: /etc/passwd" }, { path: "up", why: "a symlink that leads outside: ../x" }]);
    const loose = await sync({ outsideLinks: "keep" });
    await expect(restoreTree({ root: join(at, "copy"), manifest: loose.manifest_id, door })).rejects.toThrow(/"shadow" is a symlink that leads outside/);
    await restoreTree({ root: join(at, "copy"), manifest: loose.manifest_id, door, outsideLinks: "keep" });
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });
});

describe("a part of a home", () => {
  it("is kept by globs, and restored beside what else is there", async () => {
    const { at, tree, door, sync } = place();
    const home = (root: string, text: string) => {
      for (const path of [".claude/projects/p/one.jsonl", ".claude/settings.json", ".claude/cache/x", ".bashrc", "notes/a"]) {
        mkdirSync(join(root, path, ".."), { recursive: true });
        writeFileSync(join(root, path), `${text} ${path}`);
      }
    };
    home(tree, "old");
    const include = [".claude/projects", ".claude/*.json", "absent/**"];
    const one = await sync({ kind: "state", include });
    expect(one.files).toBe(2);
    const root = join(at, "copy");
    home(root, "new");
    const untouched = (path: string) => !path.startsWith(".claude/cache") && path !== ".bashrc" && !path.startsWith("notes");
    const before = picture(root, untouched);
    await restoreTree({ root, manifest: one.manifest_id, door, extra: "keep", expect: { kind: "state" } });
    expect(picture(root, untouched)).toEqual(before);
    const mine = (path: string) => !/projects|json/.test(path);
    expect(picture(root, mine)).toEqual(picture(tree, mine));
  });
});
