/** Owns what every store of conversations must do: a suite that each one's test calls, and that others can call for theirs. Needs vitest. */

import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_BATCH, MAX_JSON_BYTES, PersistenceError, type Json, type PersistenceAdapter } from "./adapter.ts";

export interface PersistenceSubject {
  adapter: PersistenceAdapter;
  /** Another over the same store, as another process would have it. */
  again(): PersistenceAdapter;
  end?(): Promise<void>;
}

const code = (promise: Promise<unknown>) => promise.then(() => "no error", (error: unknown) => (error instanceof PersistenceError ? error.code : String(error)));
const HOSTILE: Json = { nul: "a\0b", surrogate: "\ud800", emoji: "\u{1F600}", sql: "'); drop table marco_archive; --", line: "\n\u2028", "": [[], {}, null, -0.1e-7, ""], __proto__x: { constructor: 1 } };

/** Describes the suite for `name`. Conversations have random ids. */
export function persistenceSuite(name: string, make: () => Promise<PersistenceSubject>): void {
  describe(`conversations in ${name}`, () => {
    let subject: PersistenceSubject;
    let adapter: PersistenceAdapter;
    beforeAll(async () => {
      subject = await make();
      ({ adapter } = subject);
    });
    afterAll(async () => {
      await adapter?.close();
      await subject?.end?.();
    });

    it("are not there before they are saved", async () => {
      const id = randomUUID();
      expect(await adapter.load(id)).toBeNull();
      expect(await adapter.archive(id)).toEqual([]);
      expect(await adapter.remove(id)).toBe(false);
    });
    it("keep their latest state, whatever it holds", async () => {
      const id = randomUUID();
      expect(await adapter.save(id, { turn: 1 })).toMatchObject({ revision: 1, state: { turn: 1 } });
      expect(await adapter.save(id, HOSTILE)).toMatchObject({ revision: 2 });
      const loaded = await subject.again().load(id);
      expect(loaded).toMatchObject({ revision: 2, state: HOSTILE });
      expect(loaded?.updated_at).toBeInstanceOf(Date);
      for (const state of [null, 0, "", false, []] satisfies Json[]) expect((await adapter.save(id, state)).state).toEqual(state);
      expect((await adapter.load(id))?.state).toEqual([]);
    });
    it("are saved only over the revision that the writer knows", async () => {
      const id = randomUUID();
      expect(await code(adapter.save(id, 1, { revision: 1 }))).toBe("conflict");
      await adapter.save(id, 1, { revision: 0 });
      expect(await code(adapter.save(id, 2, { revision: 0 }))).toBe("conflict");
      const writers = await Promise.all(Array.from({ length: 8 }, (_, i) => code((i % 2 ? adapter : subject.again()).save(id, i, { revision: 1 }))));
      expect(writers.filter((each) => each === "no error")).toHaveLength(1);
      expect(writers.filter((each) => each === "conflict")).toHaveLength(7);
      expect((await adapter.load(id))?.revision).toBe(2);
    });
    it("keep every message in order, without gaps, of however many writers", async () => {
      const id = randomUUID();
      expect(await adapter.append(id, [])).toBe(0);
      expect(await adapter.append(id, [HOSTILE, "second"])).toBe(0);
      expect(await adapter.append(id, [3])).toBe(2);
      const firsts = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? adapter : subject.again()).append(id, [`${i}a`, `${i}b`])));
      expect(firsts.sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => 3 + 2 * i));
      const all = await adapter.archive(id);
      expect(all.map(({ seq }) => seq)).toEqual(Array.from({ length: 23 }, (_, i) => i));
      expect(all.slice(0, 3).map(({ message }) => message)).toEqual([HOSTILE, "second", 3]);
      // A batch stays together.
      for (let i = 3; i < 23; i += 2) expect(JSON.stringify(all[i]?.message).replace("a", "b")).toBe(JSON.stringify(all[i + 1]?.message));
      expect((await subject.again().archive(id, { seq: 20, limit: 2 })).map(({ seq }) => seq)).toEqual([20, 21]);
      expect(await adapter.archive(id, { seq: 23 })).toEqual([]);
      expect(await adapter.archive(id, { limit: 0 })).toEqual([]);
    });
    it("do not double an append that is tried again", async () => {
      const id = randomUUID();
      await adapter.append(id, ["a", "b"], { seq: 0 });
      expect(await code(adapter.append(id, ["a", "b"], { seq: 0 }))).toBe("conflict");
      expect(await code(adapter.append(id, ["gap"], { seq: 5 }))).toBe("conflict");
      const writers = await Promise.all(Array.from({ length: 6 }, (_, i) => code(subject.again().append(id, [i], { seq: 2 }))));
      expect(writers.filter((each) => each === "no error")).toHaveLength(1);
      expect(await adapter.archive(id)).toHaveLength(3);
    });
    it("are apart from each other, whatever their ids look like", async () => {
      const ids = ["a/b", "a_b", "../a", "A", "a", "ünï", "x".repeat(200), "con", ".", "a b", "%2e"].map((each) => `${each}`);
      for (const [i, id] of ids.entries()) await adapter.save(id, i);
      for (const [i, id] of ids.entries()) expect((await adapter.load(id))?.state).toBe(i);
      for (const id of ids) expect(await adapter.remove(id)).toBe(true);
      for (const id of ids) expect(await adapter.load(id)).toBeNull();
    });
    it("refuse ids, states and messages that cannot be kept, and keep nothing of them", async () => {
      for (const id of ["", "a\0b", "\ud800", "x".repeat(201)]) expect(await code((async () => adapter.save(id, 1))())).toBe("invalid");
      const id = randomUUID();
      const circle: { self?: Json } = {};
      circle.self = circle as Json;
      for (const state of [undefined, Number.NaN, Infinity, { a: undefined }, () => 1, 1n, circle]) expect(await code((async () => adapter.save(id, state as Json))())).toBe("invalid");
      expect(await code((async () => adapter.append(id, ["fine", Number.NaN]))())).toBe("invalid");
      expect(await code((async () => adapter.append(id, Array.from({ length: MAX_BATCH + 1 }, () => 1)))())).toBe("too_large");
      expect(await code((async () => adapter.save(id, "x".repeat(MAX_JSON_BYTES)))())).toBe("too_large");
      expect(await code((async () => adapter.archive(id, { seq: -1 }))())).toBe("invalid");
      expect(await adapter.load(id)).toBeNull();
      expect(await adapter.archive(id)).toEqual([]);
    });
    it("page through many messages", async () => {
      const id = randomUUID();
      for (let i = 0; i < 3; i++) await adapter.append(id, Array.from({ length: 1_000 }, (_, j) => ({ n: i * 1_000 + j })));
      const seen: Json[] = [];
      for (let seq = 0; ; ) {
        const page = await adapter.archive(id, { seq });
        if (page.length === 0) break;
        expect(page.length).toBeLessThanOrEqual(1_000);
        seen.push(...page.map(({ message }) => message));
        seq += page.length;
      }
      expect(seen).toEqual(Array.from({ length: 3_000 }, (_, n) => ({ n })));
    });
    it("can be forgotten whole", async () => {
      const id = randomUUID();
      await adapter.save(id, 1);
      await adapter.append(id, [1]);
      expect(await adapter.remove(id)).toBe(true);
      expect(await adapter.load(id)).toBeNull();
      expect(await adapter.archive(id)).toEqual([]);
      expect(await adapter.append(id, ["anew"])).toBe(0);
    });
  });
}
