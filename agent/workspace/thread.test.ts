import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";
import { Secret } from "../../sdk/protocol/secret.ts";
import { treeReason } from "../../sdk/workspace/failure.ts";
import { bytesOf, ids, picture } from "../../test/support/trees.ts";
import * as thread from "./thread.ts";

const { restoreInThread, syncInThread } = thread;

const base = mkdtempSync(join(tmpdir(), "workspace-thread-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let places = 0;
function place() {
  const at = join(base, String(places++));
  const tree = join(at, "tree");
  mkdirSync(tree, { recursive: true });
  for (let i = 0; i < 20; i++) writeFileSync(join(tree, `f${i}`), bytesOf(i, 200_000));
  return { at, tree, door: { directory: join(at, "store") }, order: { root: tree, kind: "workspace" as const, ids: ids(), index: join(at, "index") } };
}

describe("a thread for files", () => {
  it("syncs and restores, saying how far it is and when all was read", async () => {
    const { at, tree, door, order } = place();
    const phases = new Set<string>();
    const said: string[] = [];
    const sync = syncInThread({ ...order, door, onProgress: ({ phase }) => phases.add(phase) });
    await Promise.all([sync.read.then(() => said.push("read")), sync.done.then(() => said.push("done"))]);
    expect(said).toEqual(["read", "done"]);
    expect(phases).toContain("read");
    const { manifest_id } = await sync.done;
    expect(await restoreInThread({ root: join(at, "copy"), manifest: manifest_id, door, verify: true })).toMatchObject({ manifest_id, reused: 0 });
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });

  it("fails with the engine's own words", async () => {
    const { at, door, order } = place();
    const quota: unknown = await syncInThread({ ...order, door, quota: { bytes: 10 } }).done.catch((thrown: unknown) => thrown);
    expect(treeReason(quota)).toBe("quota_exceeded");
    const missing: unknown = await restoreInThread({ root: join(at, "copy"), manifest: ids().manifest_id, door }).catch((thrown: unknown) => thrown);
    expect(treeReason(missing)).toBe("missing");
    const away = { base: "http://127.0.0.1:1/x", token: new Secret("gtok_never"), attempts: 1 };
    const unreachable: unknown = await syncInThread({ ...order, door: away }).done.catch((thrown: unknown) => thrown);
    expect(treeReason(unreachable)).toBe("unreachable");
  });

  it("stops when it is called off", async () => {
    const { door, order } = place();
    const cancel = new AbortController();
    for (let i = 0; i < 20; i++) writeFileSync(join(order.root, `large${i}`), bytesOf(i, 20_000_000));
    const sync = syncInThread({ ...order, door, signal: cancel.signal, onProgress: () => cancel.abort() });
    expect(treeReason(await sync.done.catch((thrown: unknown) => thrown))).toBe("aborted");
    const none = syncInThread({ ...order, door, signal: cancel.signal });
    await expect(none.read).rejects.toThrow("called off");
    await expect(none.done).rejects.toThrow("called off");
  });

  it("is found beside the bundled runner", async () => {
    const { at, tree, door, order } = place();
    const bundle = join(at, "bundle");
    await build({ entryPoints: { runner: join(import.meta.dirname, "thread.ts"), workspace: join(import.meta.dirname, "worker.ts") }, outdir: bundle, bundle: true, platform: "node", format: "esm", target: "node24", logLevel: "silent", banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' } });
    writeFileSync(join(bundle, "package.json"), '{ "type": "module" }');
    const built = (await import(join(bundle, "runner.js"))) as Pick<typeof thread, "syncInThread" | "restoreInThread">;
    const { manifest_id } = await built.syncInThread({ ...order, door }).done;
    await built.restoreInThread({ root: join(at, "copy"), manifest: manifest_id, door });
    expect(picture(join(at, "copy"))).toEqual(picture(tree));
  });
});
