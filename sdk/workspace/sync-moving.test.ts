import { appendFileSync, chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, rmdirSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Failure } from "../protocol/errors.ts";
import { bytesOf, ids, picture } from "../../test/support/trees.ts";
import { unpackManifest } from "./codec.ts";
import { DirectoryDoor, type Door } from "./door.ts";
import { treeReason } from "./failure.ts";
import { restoreTree } from "./restore.ts";
import { removeTree } from "./stage.ts";
import { syncTree, type SyncOptions } from "./sync.ts";

const base = mkdtempSync(join(tmpdir(), "workspace-moving-"));
afterAll(() => removeTree(base));
let places = 0;
function place(door?: (store: string) => Door) {
  const at = join(base, String(places++));
  const tree = join(at, "tree");
  mkdirSync(tree, { recursive: true });
  const store = join(at, "store");
  const opened = door?.(store) ?? new DirectoryDoor(store);
  return { at, tree, store, door: opened, start: (more: Partial<SyncOptions> = {}) => syncTree({ root: tree, kind: "workspace", ids: ids(), door: opened, index: join(at, "index"), ...more }) };
}

describe("a tree that changes while it is read", () => {
  it("is marked torn where a file never holds still, and each file is of a whole reading where it does", async () => {
    const { at, tree, door, start } = place();
    for (let i = 0; i < 50; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 300_000));
    writeFileSync(join(tree, "log"), bytesOf(7, 30_000_000));
    const timer = setInterval(() => appendFileSync(join(tree, "log"), "more\n"), 1);
    const done = await start().done;
    clearInterval(timer);
    expect(done.torn).toBe(true);
    const manifest = await unpackManifest(await door.getManifest(done.manifest_id));
    expect(manifest.entries.filter((entry) => "torn" in entry && entry.torn).map(({ path }) => path)).toEqual(["log"]);
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(picture(join(at, "copy"), (path) => path === "log")).toEqual(picture(tree, (path) => path === "log"));
    const after = await start().done;
    expect(after).toMatchObject({ torn: false, unchanged: false });
  });

  it("is marked torn where names come and go, and never fails for it", async () => {
    const { at, tree, door, start } = place();
    for (let i = 0; i < 600; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 60_000));
    let turn = 0;
    const timer = setInterval(() => {
      const [a, b] = [join(tree, `f${(turn * 7) % 600}`), join(tree, `g${turn++}`)];
      // It never comes to rest, however long the sync takes to begin or to end.
      if (!existsSync(a)) writeFileSync(a, "back");
      else if (statSync(a).isDirectory()) rmdirSync(a);
      else if (turn % 3 === 0) unlinkSync(a);
      else if (turn % 3 === 1) renameSync(a, b);
      else {
        unlinkSync(a);
        mkdirSync(a);
      }
    }, 0);
    const done = await start().done;
    clearInterval(timer);
    expect(done.torn).toBe(true);
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(await start().done).toMatchObject({ torn: false });
  });

  it("is marked torn where a name at its top comes after they were listed", async () => {
    const { tree, start } = place();
    for (let i = 0; i < 100; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 100_000));
    const before = lstatSync(tree).mtimeMs;
    const { done } = start({ onProgress: ({ phase }) => {
      if (phase !== "read") return;
      // The clock of a file system ticks, and a change within one tick leaves no trace.
      for (let i = 0; lstatSync(tree).mtimeMs === before; i++) writeFileSync(join(tree, `more-${i}`), "new");
    } });
    expect(await done).toMatchObject({ torn: true, files: 100 });
    expect(await start().done).toMatchObject({ torn: false });
  });

  it("and a change that leaves size and time as they were is seen", async () => {
    const { at, tree, door, start } = place();
    writeFileSync(join(tree, "f"), "one");
    utimesSync(join(tree, "f"), 1_000, 1_000);
    await start().done;
    writeFileSync(join(tree, "f"), "two");
    utimesSync(join(tree, "f"), 1_000, 1_000);
    const done = await start().done;
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(readFileSync(join(at, "copy", "f"), "utf8")).toBe("two");
  });
});

describe("a quota", () => {
  it("refuses before anything is sent, and names what is large", async () => {
    const { at, tree, start } = place();
    mkdirSync(join(tree, "dist"));
    writeFileSync(join(tree, "dist", "large"), bytesOf(1, 2_000_000));
    writeFileSync(join(tree, "small"), "x");
    const error: unknown = await start({ quota: { bytes: 1_000_000 } }).done.catch((failure: unknown) => failure);
    expect(treeReason(error)).toBe("quota_exceeded");
    expect((error as Error).message).toMatch(/2000001 bytes, 1000000 are allowed.*dist \(2000000\)/);
    expect(existsSync(join(at, "store"))).toBe(false);
    expect(treeReason(await start({ quota: { entries: 2 } }).done.catch((failure: unknown) => failure))).toBe("quota_exceeded");
    writeFileSync(join(tree, ".marionetteignore"), "dist\n");
    expect(await start({ quota: { bytes: 1_000_000 } }).done).toMatchObject({ files: 2 });
  });
});

describe("a store that forgets", () => {
  it("is given again what it lacks, from the files as they are", async () => {
    const { at, tree, store, door, start } = place();
    for (let i = 0; i < 30; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 90_000));
    await start().done;
    rmSync(join(store, "chunks"), { recursive: true });
    mkdirSync(join(store, "chunks"));
    for (const shard of Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"))) mkdirSync(join(store, "chunks", shard));
    writeFileSync(join(tree, "f3"), "new");
    const done = await start().done;
    expect(done.sent_chunks).toBeGreaterThan(1);
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });

  it("also where it says so only at the end", async () => {
    let refusals = 0;
    class Forgetful extends DirectoryDoor {
      override async putManifest(...args: Parameters<DirectoryDoor["putManifest"]>): Promise<void> {
        const { chunks } = await unpackManifest(args[2]);
        if (refusals++ === 0) throw new Failure("conflict", "chunks are missing", { details: { missing: [chunks[0]?.id] } });
        return super.putManifest(...args);
      }
    }
    const { at, tree, door, start } = place((store) => new Forgetful(store));
    for (let i = 0; i < 30; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 90_000));
    const done = await start().done;
    expect(refusals).toBe(2);
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });

  it("makes the sync fail where it takes nothing, and the next one go on", async () => {
    let broken = true;
    class Broken extends DirectoryDoor {
      override async putChunk(...args: Parameters<DirectoryDoor["putChunk"]>): Promise<void> {
        if (broken && existsSync(join(base, "half"))) throw new Failure("payload_too_large", "no more");
        writeFileSync(join(base, "half"), "");
        return super.putChunk(...args);
      }
    }
    const { tree, start } = place((store) => new Broken(store));
    for (let i = 0; i < 10; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 3_000_000));
    const failed = start({ memory: 4_000_000 });
    await expect(failed.done).rejects.toThrow("no more");
    await expect(failed.read).rejects.toThrow("no more");
    broken = false;
    expect(await start().done).toMatchObject({ files: 10 });
  });
});

describe("a sync", () => {
  it("can be called off, and does not wait for what was sent before it says that all was read", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    class Slow extends DirectoryDoor {
      override async putChunk(...args: Parameters<DirectoryDoor["putChunk"]>): Promise<void> {
        await held;
        return super.putChunk(...args);
      }
    }
    const { at, tree, door, start } = place((store) => new Slow(store));
    writeFileSync(join(tree, "f"), bytesOf(1, 5_000_000));
    const before = picture(tree);
    const sync = start();
    await sync.read;
    writeFileSync(join(tree, "f"), "the next task's");
    release();
    const done = await sync.done;
    await restoreTree({ root: join(at, "copy"), manifest: done.manifest_id, door });
    expect(picture(join(at, "copy"))).toEqual(before);
    await expect(start({ signal: AbortSignal.abort() }).done).rejects.toThrow(/called off/);
  });

  it("takes an index that is not whole for none", async () => {
    const { at, tree, start } = place();
    writeFileSync(join(tree, "f"), bytesOf(1, 5_000));
    await start().done;
    const good = readFileSync(join(at, "index"));
    for (const bad of ["", "{", good.subarray(0, good.length / 2), '{"format":"marionette-index/1"}', good.toString().replace(/"chunks":\[.*?\]/, '"chunks":[]')]) {
      writeFileSync(join(at, "index"), bad);
      expect(await start().done).toMatchObject({ files: 1 });
    }
    expect(readdirSync(at).filter((name) => name.startsWith("index"))).toEqual(["index"]);
  });

  it.skipIf(process.getuid?.() !== 0)("names what it may not read, as another user", async () => {
    const { at, tree } = place();
    writeFileSync(join(tree, "open"), "x");
    mkdirSync(join(tree, "shut"), { mode: 0o700 });
    writeFileSync(join(tree, "secret"), "x", { mode: 0o600 });
    const program = `import { syncTree } from ${JSON.stringify(join(import.meta.dirname, "sync.ts"))}; import { DirectoryDoor } from ${JSON.stringify(join(import.meta.dirname, "door.ts"))};
      process.setuid(65534); console.log(JSON.stringify(await syncTree({ root: ${JSON.stringify(tree)}, kind: "workspace", ids: ${JSON.stringify(ids())}, door: new DirectoryDoor(${JSON.stringify(join(at, "free", "store"))}), index: ${JSON.stringify(join(at, "free", "index"))} }).done));`;
    mkdirSync(join(at, "free"));
    chmodSync(join(at, "free"), 0o777);
    chmodSync(base, 0o755);
    const ran = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
    expect(ran.stderr).toBe("");
    expect((JSON.parse(ran.stdout) as { excluded: { path: string; why: string }[] }).excluded.map(({ path, why }) => `${path}: ${why.slice(0, 14)}`).sort()).toEqual(["secret: cannot be read", "shut: cannot be read"]);
  });
});
