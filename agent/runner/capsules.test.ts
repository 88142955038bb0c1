import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Failure, newChildId, newId, type RestoreOrder } from "../../sdk/protocol/index.ts";
import { treeFailure } from "../../sdk/workspace/failure.ts";
import type { SyncResult } from "../../sdk/workspace/sync.ts";
import { Capsules, type CapsuleParts } from "./capsules.ts";
import { Journal } from "./journal.ts";
import { MemoryStore } from "./journal-store.ts";
import { restore } from "./restore.ts";
import { MARKER } from "./spec.ts";
import type { Trees } from "./trees.ts";

const session_id = newId("session", 0);
const owner = { session_id, runner_id: newId("runner", 0), epoch: 1 };
const of = () => ({ task_id: newChildId("task", session_id, 0), run_id: newChildId("run", session_id, 0) });

/** One sync that a test reads and ends by hand. */
interface Held {
  kind: string;
  manifest_id: string;
  signal: AbortSignal;
  read: () => void;
  done: (result?: Partial<SyncResult>) => void;
  fail: (error: unknown) => void;
}

let state: string;
let syncs: Held[];
let has: Set<string>;
let restored: string[];
let refuse: unknown;
const trees: Trees = {
  stateFiles: [".talks"],
  sync(kind, manifest_id, signal) {
    const [read, done] = [Promise.withResolvers<void>(), Promise.withResolvers<SyncResult>()];
    read.promise.catch(() => {});
    const result = { manifest_id, unchanged: false, files: 1, bytes: 2, sent_bytes: 3, sent_chunks: 1, torn: false, excluded: [], excluded_total: 0 };
    syncs.push({ kind, manifest_id, signal, read: read.resolve, done: (more = {}) => (read.resolve(), done.resolve({ ...result, ...more })), fail: (error) => (read.reject(error), done.reject(error)) });
    return { read: read.promise, done: done.promise };
  },
  async restore(kind, { manifest_id }) {
    if (refuse) throw refuse;
    restored.push(kind);
    return { manifest_id, header: { files: 4, bytes: 5 } } as Awaited<ReturnType<Trees["restore"]>>;
  },
  has: (kind) => has.has(kind),
};
let journal: Journal;
async function make(more: Partial<CapsuleParts> = {}): Promise<Capsules> {
  return new Capsules({ session_id, state, journal, stamp: () => new Date(0).toISOString(), now: () => 0, log: () => {}, trees: async () => trees, understood: () => true, retryMs: 1, ...more });
}
interface Item {
  type: string;
  data: { capsule_id: string; torn?: boolean; kept?: boolean; error?: { code: string; message: string }; workspace?: { files: number }; state?: object | null };
}
/** What was journalled so far. */
function told(): Item[] {
  journal.flush();
  const items: Item[] = [];
  for (let after = 0; ; ) {
    const frame = journal.frame(after);
    if (!frame) return items;
    items.push(...(JSON.parse(frame.text) as { items: Item[] }).items);
    after = frame.to;
  }
}
const begun = (count: number) => expect.poll(() => syncs.length).toBe(count);

beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), "capsules-"));
  [syncs, has, restored, refuse] = [[], new Set(), [], null];
  journal = await Journal.open(new MemoryStore(), owner);
});
afterEach(() => {
  rmSync(state, { recursive: true, force: true });
});

describe("a capsule", () => {
  it("lets the next task begin when both trees have been read, and is told when both are kept", async () => {
    const capsules = await make();
    let read = false;
    const taken = capsules.take({ why: "task_end", of: of() });
    void taken.read.then(() => (read = true));
    await begun(2);
    expect(syncs.map(({ kind }) => kind)).toEqual(["workspace", "state"]);
    syncs[0]?.read();
    await new Promise((resolve) => setImmediate(resolve));
    expect(read).toBe(false);
    syncs[1]?.read();
    await taken.read;
    expect(told()).toEqual([]);
    for (const sync of syncs) sync.done();
    await expect.poll(() => told().map(({ type }) => type)).toEqual(["workspace.synced"]);
    expect(told()[0]?.data).toMatchObject({ torn: false, workspace: { files: 1 }, state: { files: 1 } });
  });

  it("is noted for the host while it holds the trees as they are, and no more once a run begins", async () => {
    const capsules = await make();
    capsules.take({ why: "task_end", of: of() });
    await begun(2);
    for (const sync of syncs) sync.done();
    await expect.poll(() => existsSync(join(state, MARKER))).toBe(true);
    expect(JSON.parse(readFileSync(join(state, MARKER), "utf8"))).toEqual({ capsule_id: told()[0]?.data.capsule_id });
    capsules.runBegins();
    expect(existsSync(join(state, MARKER))).toBe(false);
    capsules.take({ why: "task_end", of: of() });
    await begun(4);
    capsules.runBegins();
    for (const sync of syncs) sync.done();
    await expect.poll(() => told().length).toBe(2);
    expect(existsSync(join(state, MARKER))).toBe(false);
  });

  it("is torn where the next task did not wait, and where it had to be read again behind its back", async () => {
    const capsules = await make();
    capsules.take({ why: "task_end", of: of() }).tear();
    await begun(2);
    for (const sync of syncs) sync.done();
    await expect.poll(() => told().length).toBe(1);
    capsules.take({ why: "task_end", of: of() });
    await begun(4);
    capsules.runBegins();
    for (const sync of syncs.slice(2)) sync.fail(treeFailure("unreachable", "nobody answers"));
    await begun(6);
    for (const sync of syncs.slice(4)) sync.done();
    await expect.poll(() => told().map(({ data }) => data.torn)).toEqual([true, true]);
  });

  it("is tried again while the control plane or its database is away", async () => {
    const capsules = await make();
    const { read } = capsules.take({ why: "task_end", of: of() });
    for (const [attempt, error] of [treeFailure("unreachable", "x"), new Failure("unavailable", "the database is away"), new Failure("internal_error", "x"), new Failure("rate_limited", "x")].entries()) {
      await begun(2 * attempt + 2);
      for (const sync of syncs.slice(2 * attempt)) sync.fail(error);
    }
    await read;
    await begun(10);
    for (const sync of syncs.slice(8)) sync.done();
    await expect.poll(() => told().map(({ type }) => type)).toEqual(["workspace.synced"]);
  });

  it("fails in words where trying again does not help", async () => {
    const capsules = await make();
    const cases: [unknown, string][] = [
      [treeFailure("quota_exceeded", "too much"), "quota_exceeded"], [new Failure("payload_too_large", "your tenant's quota"), "quota_exceeded"], [treeFailure("disk_full", "the disk is full: x"), "disk_full"],
      [treeFailure("unreadable", "x"), "sync_failed"], [new Error("a defect"), "sync_failed"],
    ];
    for (const [index, [error]] of cases.entries()) {
      capsules.take({ why: "task_end", of: of() });
      await begun(2 * index + 2);
      for (const sync of syncs.slice(2 * index)) sync.fail(error);
      await expect.poll(() => told().length).toBe(index + 1);
    }
    expect(told().map(({ type, data }) => [type, data.error?.code])).toEqual(cases.map(([, code]) => ["workspace.sync_failed", code]));
  });

  it("makes way for a newer one: the newest wins, and an older one is never told after it", async () => {
    const capsules = await make();
    capsules.take({ why: "task_end", of: of() });
    await begun(2);
    const last = of();
    capsules.take({ why: "task_end", of: last });
    await begun(4);
    for (const sync of syncs.slice(2)) sync.done();
    await expect.poll(() => told().length).toBe(1);
    expect(syncs[0]?.signal.aborted).toBe(true);
    for (const sync of syncs.slice(0, 2)) sync.done();
    await capsules.close(1_000);
    expect(told()).toHaveLength(1);
  });

  it("is answered by its id where it was asked for, also when it is given up", async () => {
    const capsules = await make();
    const capsule_id = newChildId("capsule", session_id, 1);
    capsules.take({ capsule_id, why: "suspend", of: null });
    await begun(2);
    capsules.take({ why: "manual", capsule_id: newChildId("capsule", session_id, 2), of: null });
    await begun(4);
    for (const sync of syncs.slice(2)) sync.done();
    await expect.poll(() => told().map(({ type }) => type)).toContain("workspace.synced");
    expect(told().find(({ type }) => type === "workspace.sync_failed")?.data.capsule_id).toBe(capsule_id);
    // From where its files were read, the log has moved on before it is there.
    expect(told().map(({ type }) => type)).toEqual(["workspace.sync_started", "workspace.sync_started", "workspace.sync_failed", "workspace.synced"]);
  });

  it("is not taken for a session that would not understand it", async () => {
    const capsules = await make({ understood: () => false });
    await capsules.take({ why: "task_end", of: of() }).read;
    expect(syncs).toEqual([]);
  });
});

describe("a restore", () => {
  const order = (mode: RestoreOrder["mode"]): RestoreOrder => ({ capsule_id: newChildId("capsule", session_id, 0), workspace_manifest_id: newId("manifest", 0), state_manifest_id: newId("manifest", 1), mode });
  const run = (mode: RestoreOrder["mode"]) => restore({ order: order(mode), state, journal, stamp: () => new Date(0).toISOString(), log: () => {}, trees: async () => trees });

  it("makes both trees the capsule's, the agent's first, whatever the host has", async () => {
    has = new Set(["workspace", "state"]);
    expect(await run("exact")).toBeNull();
    expect(restored).toEqual(["state", "workspace"]);
    expect(told()[0]).toMatchObject({ type: "workspace.restored", data: { kept: false, workspace: { files: 4 } } });
  });
  it("leaves what the host has, where that is wanted", async () => {
    has = new Set(["workspace", "state"]);
    expect(await run("if_missing")).toBeNull();
    expect(restored).toEqual([]);
    expect(told()[0]).toMatchObject({ type: "workspace.restored", data: { kept: true } });
  });
  it("is done once in a runner's life", async () => {
    await run("exact");
    expect(await run("exact")).toBeNull();
    expect(restored).toHaveLength(2);
    expect(told()).toHaveLength(1);
  });
  it("says why it failed, and is tried again by the runner's next life", async () => {
    refuse = treeFailure("refused", "the manifest is refused: it is truncated");
    expect(await run("exact")).toMatchObject({ code: "restore_failed", message: expect.stringContaining("truncated") as string });
    expect(told()[0]).toMatchObject({ type: "workspace.restore_failed", data: { error: { code: "restore_failed" } } });
    refuse = treeFailure("disk_full", "the disk is full: x");
    expect(await run("exact")).toMatchObject({ code: "disk_full" });
    refuse = null;
    expect(await run("exact")).toBeNull();
  });
});
