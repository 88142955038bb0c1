/** Owns the tests of the index of a tree as a file: two syncs of one tree may end at the same moment. */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadIndex } from "./tree-index.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tree-index-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const SAVES = 150;
/** Saves again and again, in a thread of its own, as each sync does. */
function saver(path: string, manifest_id: string): Promise<void> {
  const program = `
    const { workerData } = require("node:worker_threads");
    import(workerData.module).then(({ saveIndex }) => {
      const rows = new Map(Array.from({ length: 3000 }, (_, i) => ["f" + i, { entry: { type: "directory", path: "f" + i, mode: 493, mtime: i }, ino: String(i), ctime: "0" }]));
      for (let i = 0; i < ${SAVES}; i++) saveIndex(workerData.path, { manifest_id: workerData.manifest_id, chunks: [], rows });
    });`;
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, execArgv: [], workerData: { path, manifest_id, module: new URL("./tree-index.ts", import.meta.url).href } });
    worker.once("error", reject);
    worker.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`exit code ${code}`))));
  });
}

it("is saved by two threads at once, and is always one of what they saved", async () => {
  const path = join(dir, "index");
  const both = { over: false };
  const saved = Promise.all([saver(path, "one"), saver(path, "two")]).finally(() => (both.over = true));
  const seen = new Set<string | undefined>();
  for (let begun = false; !both.over; await new Promise((resolve) => setImmediate(resolve))) {
    const index = loadIndex(path);
    begun ||= index !== null;
    if (begun) seen.add(index?.rows.size === 3_000 ? index.manifest_id : undefined);
  }
  await saved;
  expect([...seen].filter((id) => id !== "one" && id !== "two")).toEqual([]);
  expect(readdirSync(dir)).toEqual(["index"]);
});
