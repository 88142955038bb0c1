import { env, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { storageStub, type ObjectsEnv } from "../ports.ts";
import { Catalog } from "./catalog.ts";
import { MARKED_MS } from "./collection.ts";
import type { NewManifest } from "./rpc.ts";

const bindings = env as unknown as ObjectsEnv;
const HOUR = 3_600_000;
const TENANT = "ten_test";
const id = (n: number) => n.toString(16).padStart(64, "0");
const keyOf = (chunk: string) => `chunks/${TENANT}/${chunk}`;

/** The object store as a map; what is asked of it ends when the test says so. */
class Memory {
  readonly objects = new Map<string, number>();
  readonly waiting: (() => void)[] = [];
  held = false;
  now = 0;
  async #turn(): Promise<void> {
    if (this.held) await new Promise<void>((go) => this.waiting.push(go));
  }
  release(): void {
    for (const go of this.waiting.splice(0)) go();
  }
  async delete(keys: readonly string[]): Promise<void> {
    await this.#turn();
    for (const key of keys) this.objects.delete(key);
  }
  async list(prefix: string) {
    await this.#turn();
    return { items: [...this.objects].filter(([key]) => key.startsWith(prefix)).map(([key, uploaded]) => ({ key, uploaded })), cursor: null };
  }
}

/** Runs `work` over a fresh object's own SQLite. */
async function inside<T>(work: (catalog: Catalog, memory: Memory, again: () => Catalog) => Promise<T>): Promise<T> {
  const stub = bindings.STORAGE.get(bindings.STORAGE.newUniqueId());
  return runInDurableObject(stub, async (_object, state) => {
    const memory = new Memory();
    const fresh = () => new Catalog(state.storage, () => memory, () => memory.now);
    return work(fresh(), memory, fresh);
  });
}

const manifest = (name: string, workspace: string, change: Partial<NewManifest> = {}): NewManifest => ({
  id: name, workspace_id: workspace, kind: "workspace", session_id: "sess_a", parent: null, key: `manifests/${TENANT}/${workspace}/${name}`, created_at: "2026-11-21T00:00:00.000Z", entries: 1, files: 1, bytes: 10, torn: false, ...change,
});
async function put(catalog: Catalog, memory: Memory, scope: string, chunk: string): Promise<string> {
  const claim = await catalog.claim(chunk, keyOf(chunk));
  if (claim.state === "absent") memory.objects.set(keyOf(chunk), memory.now);
  return catalog.stored(scope, { id: chunk, key: keyOf(chunk), size: 10 }, claim.state === "absent" ? claim.ticket : null);
}
async function commit(catalog: Catalog, memory: Memory, scopes: string[], made: NewManifest, ids: string[]) {
  const claim = await catalog.claim(null, made.key);
  if (claim.state !== "absent") throw new Error("a manifest is never there");
  memory.objects.set(made.key, memory.now);
  return catalog.commit(scopes, made, ids, claim.ticket);
}

describe("a tenant's storage", () => {
  it("lets a scope use what it put or what its manifests hold, and nothing that it only knows by name", () =>
    inside(async (catalog, memory) => {
      expect(await put(catalog, memory, "sess_a", id(1))).toBe("stored");
      expect([catalog.missing(["ws_a", "sess_a"], [id(1), id(2)]), catalog.missing(["ws_b", "sess_b"], [id(1)])]).toEqual([[id(2)], [id(1)]]);
      expect(await commit(catalog, memory, ["ws_b", "sess_b"], manifest("m", "ws_b"), [id(1)])).toEqual({ state: "missing", ids: [id(1)], total: 1 });
      expect(await commit(catalog, memory, ["ws_a", "sess_a"], manifest("m", "ws_a"), [id(1)])).toEqual({ state: "committed", created: true });
      expect(await commit(catalog, memory, ["ws_a", "sess_a"], manifest("m", "ws_a"), [id(1)])).toEqual({ state: "committed", created: false });
      expect([catalog.missing(["ws_a", "sess_z"], [id(1)]), catalog.manifests.find(["ws_b"], "m"), catalog.manifests.head("ws_a")]).toEqual([[], null, "m"]);
      // Another who brings the bytes may use them, and they are not stored twice.
      expect(await catalog.claim(id(1), keyOf(id(1)))).toEqual({ state: "there" });
      expect(await put(catalog, memory, "sess_b", id(1))).toBe("stored");
      expect(catalog.missing(["ws_b", "sess_b"], [id(1)])).toEqual([]);
    }));

  it("keeps a session's own state from other sessions of its workspace", () =>
    inside(async (catalog, memory) => {
      await put(catalog, memory, "sess_a", id(1));
      await commit(catalog, memory, ["ws_a", "sess_a"], manifest("s", "ws_a", { kind: "state" }), [id(1)]);
      expect([catalog.manifests.find(["ws_a", "sess_b"], "s"), catalog.missing(["ws_a", "sess_b"], [id(1)]), catalog.manifests.find(["sess_a"], "s")?.kind, catalog.manifests.head("ws_a")]).toEqual([null, [id(1)], "state", null]);
      expect(catalog.adopt("s", "sess_a", "sess_c")).toMatchObject({ ok: true });
      expect([catalog.missing(["sess_c"], [id(1)]), catalog.manifests.find(["sess_c"], "s")?.kind]).toEqual([[], "state"]);
    }));

  it("goes on from the manifest that was chosen, lists them newest first, and forgets a dropped workspace's but not a fork's", () =>
    inside(async (catalog, memory) => {
      for (const n of [1, 2, 3]) {
        await put(catalog, memory, "sess_a", id(n));
        await commit(catalog, memory, ["ws_a", "sess_a"], manifest(`m${n}`, "ws_a"), [id(n)]);
      }
      expect([catalog.setHead("ws_a", "m1").ok, catalog.setHead("ws_a", "other").ok, catalog.manifests.head("ws_a")]).toEqual([true, false, "m1"]);
      const page = catalog.page("ws_a", { limit: 2 });
      expect([page.total, page.items.map(({ id: name, current }) => [name, current]), catalog.page("ws_a", { limit: 2, cursor: page.next ?? "" }).items.map(({ id: name }) => name)]).toEqual([3, [["m3", false], ["m2", false]], ["m1"]]);
      expect(catalog.adopt("m2", "ws_a", "ws_fork")).toMatchObject({ ok: true });
      expect([catalog.drop("ws_a"), catalog.page("ws_a", { limit: 9 }).total, catalog.manifests.head("ws_fork"), catalog.missing(["ws_fork"], [id(2)]), catalog.missing(["ws_a"], [id(2)])]).toEqual([3, 0, "m2", [], [id(2)]]);
      await catalog.settle();
      expect([...memory.objects.keys()].filter((key) => key.startsWith("manifests/"))).toEqual([`manifests/${TENANT}/ws_a/m2`]);
    }));

  it("collects in two phases: marks, counts as missing, removes after seven days, counts what it would do", () =>
    inside(async (catalog, memory) => {
      for (const n of [1, 2]) await put(catalog, memory, "sess_a", id(n));
      await commit(catalog, memory, ["ws_a", "sess_a"], manifest("m", "ws_a"), [id(1)]);
      expect(await catalog.collect(TENANT, false)).toMatchObject({ ok: true, value: { kept: 1, kept_bytes: 10, marked: 0 } });
      memory.now += HOUR;
      expect(await catalog.collect(TENANT, true)).toMatchObject({ value: { dry_run: true, kept: 1, marked: 1, removed: 0 } });
      expect(catalog.missing(["sess_a"], [id(2)])).toEqual([]);
      expect(await catalog.collect(TENANT, false)).toMatchObject({ value: { kept: 1, marked: 1, marked_before: 0, removed: 0 } });
      expect(catalog.missing(["sess_a"], [id(1), id(2)])).toEqual([id(2)]);
      memory.now += MARKED_MS - 1;
      expect(await catalog.collect(TENANT, false)).toMatchObject({ value: { marked_before: 1, removed: 0 } });
      memory.now += 1;
      expect(await catalog.collect(TENANT, true)).toMatchObject({ value: { removed: 1, removed_bytes: 10 } });
      expect(memory.objects.has(keyOf(id(2)))).toBe(true);
      expect(await catalog.collect(TENANT, false)).toMatchObject({ value: { removed: 1, removed_bytes: 10, kept: 1 } });
      expect([memory.objects.has(keyOf(id(1))), memory.objects.has(keyOf(id(2)))]).toEqual([true, false]);
    }));

  it("keeps a marked chunk that was put again, one that is claimed, and makes a put wait for its removal", () =>
    inside(async (catalog, memory) => {
      for (const n of [1, 2, 3]) await put(catalog, memory, "sess_a", id(n));
      memory.now += HOUR;
      await catalog.collect(TENANT, false);
      memory.now += MARKED_MS;
      expect(await put(catalog, memory, "sess_a", id(1))).toBe("stored");
      const claim = await catalog.claim(id(2), keyOf(id(2)));
      memory.held = true;
      const collected = catalog.collect(TENANT, false);
      expect(await catalog.collect(TENANT, false)).toMatchObject({ ok: false, error: { code: "conflict" } });
      while (memory.waiting.length === 0) await Promise.resolve();
      const late = put(catalog, memory, "sess_a", id(3));
      memory.held = false;
      memory.release();
      expect(await collected).toMatchObject({ value: { removed: 1 } });
      expect([await late, [1, 2, 3].map((n) => memory.objects.has(keyOf(id(n))))]).toEqual(["stored", [true, true, true]]);
      memory.objects.set(keyOf(id(2)), memory.now);
      expect(catalog.stored("sess_a", { id: id(2), key: keyOf(id(2)), size: 10 }, claim.state === "absent" ? claim.ticket : null)).toBe("stored");
    }));

  it("asks for a put anew whose claim is over, and ends removals that a crash interrupted", () =>
    inside(async (catalog, memory, again) => {
      const claim = await catalog.claim(id(1), keyOf(id(1)));
      memory.objects.set(keyOf(id(1)), memory.now);
      const next = again();
      expect(next.stored("sess_a", { id: id(1), key: keyOf(id(1)), size: 10 }, claim.state === "absent" ? claim.ticket : null)).toBe("again");
      expect(await put(next, memory, "sess_a", id(1))).toBe("stored");
      memory.now += HOUR;
      await next.collect(TENANT, false);
      memory.now += MARKED_MS;
      memory.held = true;
      const interrupted = next.collect(TENANT, false);
      const after = again();
      memory.held = false;
      expect(await put(after, memory, "sess_a", id(1))).toBe("stored");
      expect(memory.objects.has(keyOf(id(1)))).toBe(true);
      memory.release();
      await interrupted;
    }));

  it("removes leftovers that nobody told of, after seven days", () =>
    inside(async (catalog, memory) => {
      memory.objects.set(keyOf(id(9)), 0).set(`manifests/${TENANT}/ws_a/x`, 0);
      await put(catalog, memory, "sess_a", id(1));
      await commit(catalog, memory, ["ws_a", "sess_a"], manifest("m", "ws_a"), [id(1)]);
      memory.now = MARKED_MS - 1;
      await catalog.collect(TENANT, false);
      expect(memory.objects.size).toBe(4);
      memory.now = MARKED_MS;
      await catalog.collect(TENANT, false);
      expect([...memory.objects.keys()].sort()).toEqual([keyOf(id(1)), `manifests/${TENANT}/ws_a/m`]);
    }));

  it("forgets everything with its key", () =>
    inside(async (catalog, memory) => {
      await put(catalog, memory, "sess_a", id(1));
      await commit(catalog, memory, ["ws_a", "sess_a"], manifest("m", "ws_a"), [id(1)]);
      catalog.forgetAll();
      await catalog.settle();
      expect([memory.objects.size, catalog.missing(["ws_a", "sess_a"], [id(1)]), catalog.manifests.head("ws_a")]).toEqual([0, [id(1)], null]);
    }));

  it("never removes what a manifest refers to, whatever syncs, restarts and collections do in between", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("claim" as const), chunk: fc.nat(5) }),
      fc.record({ do: fc.constant("upload" as const), chunk: fc.nat(5) }),
      fc.record({ do: fc.constant("stored" as const), chunk: fc.nat(5) }),
      fc.record({ do: fc.constant("commit" as const), workspace: fc.nat(2), chunks: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 4 }) }),
      fc.record({ do: fc.constant("drop" as const), workspace: fc.nat(2) }),
      fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, HOUR, 24 * HOUR, MARKED_MS - 1, MARKED_MS) }),
      fc.record({ do: fc.constant("collect" as const), hold: fc.boolean() }),
      fc.record({ do: fc.constant("release" as const) }),
      fc.record({ do: fc.constant("restart" as const) }),
      fc.record({ do: fc.constant("lost" as const), chunk: fc.nat(5) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) =>
        inside(async (first, memory, again) => {
          let catalog = first;
          let made = 0;
          const refs = new Map<string, number[][]>();
          const tickets = new Map<number, string | null>();
          const uploaded = new Set<number>();
          const open: Promise<unknown>[] = [];
          const check = () => {
            for (const manifests of refs.values()) for (const chunks of manifests) for (const n of chunks) if (!memory.objects.has(keyOf(id(n)))) throw new Error(`chunk ${n} is gone`);
          };
          for (const each of steps) {
            if (each.do === "wait") memory.now += each.ms;
            else if (each.do === "claim") {
              const chunk = each.chunk;
              uploaded.delete(chunk);
              tickets.delete(chunk);
              open.push(catalog.claim(id(chunk), keyOf(id(chunk))).then((claim) => tickets.set(chunk, claim.state === "absent" ? claim.ticket : null)));
            } else if (each.do === "upload") {
              if (tickets.get(each.chunk)) {
                memory.objects.set(keyOf(id(each.chunk)), memory.now);
                uploaded.add(each.chunk);
              }
            } else if (each.do === "stored") {
              const ticket = tickets.get(each.chunk);
              if (ticket === undefined || (ticket !== null && !uploaded.has(each.chunk))) continue;
              catalog.stored("sess_a", { id: id(each.chunk), key: keyOf(id(each.chunk)), size: 10 }, ticket);
              tickets.delete(each.chunk);
            } else if (each.do === "commit") {
              const workspace = `ws_${each.workspace}`;
              const name = manifest(`m${made++}`, workspace);
              const answer = await Promise.race([commit(catalog, memory, [workspace, "sess_a"], name, each.chunks.map(id)), new Promise<null>((no) => setTimeout(no, 20, null))]);
              if (answer?.state === "committed") refs.set(workspace, [...(refs.get(workspace) ?? []), each.chunks]);
            } else if (each.do === "drop") {
              catalog.drop(`ws_${each.workspace}`);
              refs.delete(`ws_${each.workspace}`);
            } else if (each.do === "collect") {
              memory.held = each.hold;
              open.push(catalog.collect(TENANT, false));
            } else if (each.do === "release") {
              memory.held = false;
              memory.release();
            } else if (each.do === "lost") {
              catalog.chunks.lost(id(each.chunk), memory.now);
            } else {
              // Whoever waited for the old one has lost its connection: nothing of it arrives any more.
              memory.held = false;
              memory.waiting.length = 0;
              open.length = 0;
              tickets.clear();
              catalog = again();
            }
            await Promise.resolve();
            check();
          }
          memory.held = false;
          memory.release();
          await Promise.all(open);
          memory.now += 2 * MARKED_MS;
          await catalog.collect(TENANT, false);
          memory.now += 2 * MARKED_MS;
          await catalog.collect(TENANT, false);
          check();
          const live = new Set([...refs.values()].flat(2));
          for (const n of [0, 1, 2, 3, 4, 5]) if (!live.has(n) && memory.objects.has(keyOf(id(n)))) throw new Error(`chunk ${n} is left`);
        }),
      ),
      { numRuns: 150 },
    );
  });
});

describe("the storage object", () => {
  it("answers by RPC, one index a tenant", async () => {
    const stub = storageStub(bindings, "ten_rpc");
    const claim = await stub.claim(id(1), keyOf(id(1)));
    if (claim.state !== "absent") throw new Error("it cannot be there");
    expect(await stub.stored("ws_a", { id: id(1), key: keyOf(id(1)), size: 3 }, claim.ticket)).toBe("stored");
    expect([await stub.missing(["ws_a"], [id(1)]), await stub.readable(["ws_b"], id(1)), await stub.head("ws_a"), await storageStub(bindings, "ten_other").missing(["ws_a"], [id(1)])]).toEqual([[], false, null, [id(1)]]);
    expect(await stub.holdings(["ws_a"])).toEqual({ ws_a: { manifest_id: null, manifests: 0, files: 0, bytes: 0 } });
    expect(await stub.collect("ten_rpc", false)).toMatchObject({ ok: true, value: { tenant_id: "ten_rpc" } });
  });
});
