/** Owns the tests of thinning: old manifests go, and nothing that a workspace, a capsule or a fork may go on from. */

import { env, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ObjectsEnv } from "../ports.ts";
import { Catalog } from "./catalog.ts";
import { MARKED_MS } from "./collection.ts";

const bindings = env as unknown as ObjectsEnv;
const DAY = 86_400_000;
const TENANT = "ten_test";
const chunkId = (n: number) => n.toString(16).padStart(64, "0");
const keyOf = (chunk: string) => `chunks/${TENANT}/${chunk}`;

interface Made {
  scope: string;
  workspace: string;
  id: string;
  key: string;
  chunks: number[];
  at: number;
  used: number;
  adopted: boolean;
}

/** A catalog over a fresh object's own SQLite and a store in memory, and what it should hold. */
class World {
  readonly objects = new Set<string>();
  readonly made: Made[] = [];
  readonly heads = new Map<string, string>();
  now = 1_000;
  #count = 0;
  #fresh: () => Catalog;
  catalog: Catalog;

  constructor(storage: DurableObjectStorage) {
    const bucket = {
      delete: async (keys: readonly string[]) => keys.forEach((key) => this.objects.delete(key)),
      list: async () => ({ items: [], cursor: null }),
    };
    this.#fresh = () => new Catalog(storage, () => bucket, () => this.now);
    this.catalog = this.#fresh();
  }
  restart(): void {
    this.catalog = this.#fresh();
  }

  async put(workspace: string, kind: "workspace" | "state", chunks: number[]): Promise<string> {
    const session = workspace.replace("ws", "sess");
    for (const n of chunks) {
      const id = chunkId(n);
      const claim = await this.catalog.claim(id, keyOf(id));
      this.objects.add(keyOf(id));
      this.catalog.stored(session, { id, key: keyOf(id), size: 10 }, claim.state === "absent" ? claim.ticket : null);
    }
    const id = `m${this.#count++}`;
    const key = `manifests/${TENANT}/${workspace}/${id}`;
    const claim = await this.catalog.claim(null, key);
    this.objects.add(key);
    const manifest = { id, workspace_id: workspace, kind, session_id: session, parent: null, key, created_at: "", entries: 1, files: 1, bytes: 1, torn: false };
    const answer = this.catalog.commit([workspace, session], manifest, chunks.map(chunkId), claim.state === "absent" ? claim.ticket : "");
    expect(answer).toEqual({ state: "committed", created: true });
    const scope = kind === "state" ? session : workspace;
    this.made.push({ scope, workspace, id, key, chunks, at: this.now, used: 0, adopted: false });
    if (kind === "workspace") this.heads.set(workspace, id);
    return id;
  }
  adopt(from: Made, to: string): void {
    this.catalog.adopt(from.id, from.scope, to);
    if (this.made.some(({ scope, id }) => scope === to && id === from.id)) return;
    this.made.push({ ...from, scope: to, at: this.now, adopted: true });
    if (from.scope.startsWith("ws") && !this.heads.has(to)) this.heads.set(to, from.id);
  }
  has({ scope, id }: Made): boolean {
    return this.catalog.manifests.find([scope], id) !== null;
  }
  /** Thins a workspace, and checks that exactly what need not stay has gone. */
  thin(workspace: string, newest: number, since: number, named: string[]): number {
    const before = this.made.filter((each) => each.workspace === workspace && !each.adopted);
    const goes = before.filter((each) => {
      const place = before.filter(({ scope }) => scope === each.scope).toReversed().indexOf(each) + 1;
      return place > newest && each.at < since && each.used < since && this.heads.get(each.scope) !== each.id && !named.includes(each.id);
    });
    expect(this.catalog.manifests.crowded({ newest, since }, "", 100).includes(workspace)).toBe(before.some((each) => goes.includes(each)) || this.catalog.thin(workspace, { newest, since, named: [] }, true) > 0);
    expect(this.catalog.thin(workspace, { newest, since, named }, true)).toBe(goes.length);
    expect(this.catalog.thin(workspace, { newest, since, named }, false)).toBe(goes.length);
    for (const each of goes) this.made.splice(this.made.indexOf(each), 1);
    return goes.length;
  }
  check(): void {
    for (const each of this.made) {
      if (!this.has(each)) throw new Error(`manifest ${each.id} of ${each.scope} is forgotten`);
      for (const key of [each.key, ...each.chunks.map((n) => keyOf(chunkId(n)))]) if (!this.objects.has(key)) throw new Error(`${key} is gone, which ${each.id} of ${each.scope} needs`);
    }
  }
}

async function inside(work: (world: World) => Promise<void>): Promise<void> {
  await runInDurableObject(bindings.STORAGE.get(bindings.STORAGE.newUniqueId()), async (_object, state) => work(new World(state.storage)));
}

describe("old manifests", () => {
  it("go with their bytes, but for the newest, the head, the named, the adopted and what was asked for lately", () =>
    inside(async (world) => {
      for (let n = 0; n < 8; n++) await world.put("ws_a", "workspace", [n]);
      world.now += 10 * DAY;
      world.catalog.setHead("ws_a", "m1");
      world.heads.set("ws_a", "m1");
      expect(world.catalog.use(["ws_a"], "m2")).toMatchObject({ kind: "workspace" });
      const used = world.made[2];
      if (used) used.used = world.now;
      world.adopt(world.made[3], "ws_fork");
      expect(world.thin("ws_a", 2, world.now - 7 * DAY, ["m0"])).toBe(3);
      expect(world.catalog.page("ws_a", { limit: 9 }).items.map(({ id }) => id)).toEqual(["m7", "m6", "m2", "m1", "m0"]);
      await world.catalog.settle();
      expect([world.objects.has("manifests/ten_test/ws_a/m3"), world.objects.has("manifests/ten_test/ws_a/m4")]).toEqual([true, false]);
      for (const _ of [1, 2]) {
        world.now += MARKED_MS;
        await world.catalog.collect(TENANT, false);
      }
      expect([3, 4].map((n) => world.objects.has(keyOf(chunkId(n))))).toEqual([true, false]);
      world.check();
    }));

  it("of a fork stay when what it was forked from is dropped, and go with the fork", () =>
    inside(async (world) => {
      await world.put("ws_a", "workspace", [1]);
      await world.put("ws_a", "state", [2]);
      const [files, state] = world.made as [Made, Made];
      world.adopt(files, "ws_b");
      world.adopt(state, "sess_b");
      expect(world.catalog.drop("ws_a")).toBe(2);
      await world.catalog.settle();
      world.made.splice(0, 2);
      world.check();
      await world.put("ws_b", "state", [3]);
      expect(world.catalog.drop("ws_b")).toBe(3);
      await world.catalog.settle();
      expect([...world.objects].filter((key) => key.startsWith("manifests/"))).toEqual([]);
    }));

  it("are exactly those that nothing can go on from, whatever is synced, forked, chosen, restarted and collected in between", async () => {
    const workspace = fc.constantFrom("ws_0", "ws_1");
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant("put" as const), workspace, state: fc.boolean(), chunks: fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 3 }) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("choose" as const), which: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("adopt" as const), which: fc.nat(), to: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("use" as const), which: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), days: fc.constantFrom(1, 3, 8) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("thin" as const), workspace, newest: fc.nat(3), days: fc.constantFrom(1, 7), named: fc.array(fc.nat(), { maxLength: 3 }) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("collect" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), (steps) =>
        inside(async (world) => {
          const pick = (n: number) => world.made[n % Math.max(1, world.made.length)];
          for (const each of steps) {
            if (each.do === "put") await world.put(each.workspace, each.state ? "state" : "workspace", each.chunks);
            else if (each.do === "wait") world.now += each.days * DAY;
            else if (each.do === "thin") world.thin(each.workspace, each.newest, world.now - each.days * DAY, each.named.map((n) => pick(n)?.id ?? ""));
            else if (each.do === "collect") await world.catalog.collect(TENANT, false);
            // Removals that were under way go on with the next put or collection.
            else if (each.do === "restart") world.restart();
            else {
              const found = pick(each.which);
              if (!found) continue;
              if (each.do === "adopt") world.adopt(found, found.scope.startsWith("ws") ? `ws_fork${each.to}` : `sess_fork${each.to}`);
              else if (each.do === "use") {
                world.catalog.use([found.scope], found.id);
                found.used = world.now;
              } else if (world.catalog.setHead(found.scope, found.id).ok) world.heads.set(found.scope, found.id);
            }
            world.check();
          }
          for (const name of ["ws_0", "ws_1"]) world.thin(name, 1, world.now + 1, []);
          for (const _ of [1, 2, 3]) {
            world.now += MARKED_MS;
            await world.catalog.collect(TENANT, false);
          }
          world.check();
          const needed = new Set(world.made.flatMap(({ key, chunks }) => [key, ...chunks.map((n) => keyOf(chunkId(n)))]));
          expect([...world.objects].filter((key) => !needed.has(key))).toEqual([]);
        })),
      { numRuns: 40 },
    );
  });
});
