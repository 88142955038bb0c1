import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DirectoryDoor } from "../../sdk/workspace/door.ts";
import { restoreTree } from "../../sdk/workspace/restore.ts";
import { syncTree } from "../../sdk/workspace/sync.ts";
import { inProcess, runnerDirectories, specFor } from "../../test/support/runner-stage.ts";
import { SessionServer } from "../../test/support/session-server.ts";
import { newId } from "../../sdk/protocol/index.ts";
import { createRunner, type Runner } from "./runner.ts";
import { treeError } from "./tree-error.ts";

const SIZE_BYTES = 1_048_576;

/** A file system of its own, so small that it can be filled. */
let disk: string | null = null;
beforeAll(() => {
  if (process.getuid?.() !== 0) return;
  const path = mkdtempSync(join(tmpdir(), "small-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE_BYTES}`, "tmpfs", path], { stdio: "ignore" });
    disk = path;
  } catch {
    rmSync(path, { recursive: true });
  }
});
afterAll(() => {
  if (disk === null) return;
  execFileSync("umount", ["-l", disk]);
  rmSync(disk, { recursive: true });
});

function fill(directory: string): () => void {
  const path = join(directory, "filler");
  for (const size of [65_536, 4_096, 64]) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: "a" });
    } catch {
      // As full as this size makes it.
    }
  }
  return () => rmSync(path, { force: true });
}

describe("a full disk", () => {
  it("under the journal fails the run in that word; the journal survives, and the next run goes well when there is room again", async (context) => {
    if (disk === null) context.skip("only root can mount a small file system");
    const place = disk ?? "";
    const server = await SessionServer.start();
    const directories = runnerDirectories();
    const state = join(place, "state");
    mkdirSync(state);
    let more: (() => Promise<void>) | null = null;
    const agent = inProcess(async (given) => {
      const { interrupt, task } = given;
      await given.emit({ type: "message", data: { text: `began ${task.prompt}` } });
      if (task.prompt !== "fill") return;
      more = () => given.emit({ type: "log", data: { stream: "stdout", text: "x".repeat(10_000) } });
      await new Promise<void>((resolve) => interrupt.addEventListener("abort", () => resolve(), { once: true }));
    });
    const runners: Runner[] = [];
    const start = async () => {
      const made = await createRunner({ spec: specFor(server, { ...directories, state }), adapter: agent, timings: { backoff_min_ms: 5, backoff_max_ms: 50 } });
      runners.push(made);
      return made;
    };
    try {
      const first = await start();
      const { run_id } = server.task("fill");
      await server.until("it began", () => server.of("message", run_id).length > 0);
      const empty = fill(place);
      while (server.of("run.status", run_id).every(({ status }) => status === "running")) {
        await (more as (() => Promise<void>) | null)?.();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(await server.ended(run_id)).toMatchObject({ status: "failed", error: { code: "disk_full", message: expect.stringContaining("the disk is full") as string } });
      // No half-written copy takes the room that is missing.
      expect(existsSync(join(state, "journal.jsonl.new"))).toBe(false);
      for (const line of readFileSync(join(state, "journal.jsonl"), "utf8").trimEnd().split("\n")) JSON.parse(line);
      empty();
      expect(await server.ended(server.task("again").run_id)).toMatchObject({ status: "completed" });
      // Its next life reads the journal back whole, and has nothing to tell twice.
      first.kill();
      await server.until("the link is down", () => !server.connected);
      const before = server.log.length;
      await start();
      expect(await server.ended(server.task("third").run_id)).toMatchObject({ status: "completed" });
      expect(server.log.slice(before).every(({ item }) => item.type !== "message" || item.data.text === "began third")).toBe(true);
      expect(server.faults).toEqual([]);
    } finally {
      for (const runner of runners) runner.kill();
      await server.stop();
      directories[Symbol.dispose]();
    }
  });

  it("under a tree that is restored is said in that word, and the old tree stays whole; the last capsule does, too", async (context) => {
    if (disk === null) context.skip("only root can mount a small file system");
    const place = disk ?? "";
    const store = mkdtempSync(join(tmpdir(), "store-"));
    const from = mkdtempSync(join(tmpdir(), "from-"));
    const root = join(place, "tree");
    mkdirSync(root);
    try {
      writeFileSync(join(from, "large"), Buffer.alloc(2 * SIZE_BYTES, 7));
      writeFileSync(join(root, "old"), "still here");
      const door = new DirectoryDoor(store);
      const ids = { manifest_id: newId("manifest", 0), workspace_id: newId("workspace", 0) };
      const { manifest_id } = await syncTree({ root: from, kind: "workspace", ids, door, index: join(store, "index") }).done;
      const fault = await restoreTree({ root, manifest: manifest_id, door }).then(() => null, (error: unknown) => error);
      expect(treeError(fault, "restore_failed")).toMatchObject({ code: "disk_full" });
      expect(readFileSync(join(root, "old"), "utf8")).toBe("still here");
      expect(await door.hasManifest(manifest_id)).toBe(true);
    } finally {
      for (const path of [store, from]) rmSync(path, { recursive: true, force: true });
    }
  });
});
