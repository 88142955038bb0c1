import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { historyHash, NO_HASH, type SessionHistory } from "../protocol/history.ts";
import { newId } from "../protocol/ids.ts";
import { HistoryCheck, splitBlocks } from "./verify.ts";

const ID = newId("session", 1);
const bytesOf = (text: string) => new Uint8Array(new TextEncoder().encode(text));

/** A history of blocks with so many events each. */
async function historyOf(sizes: readonly number[], id = ID): Promise<{ blocks: Uint8Array<ArrayBuffer>[]; known: SessionHistory }> {
  const blocks: Uint8Array<ArrayBuffer>[] = [];
  let previous = NO_HASH;
  let from = 1;
  for (const [i, count] of sizes.entries()) {
    const header = { format: "marionette-log/1", session_id: id, block: i + 1, from, count, previous };
    const events = Array.from({ length: count }, (_, k) => ({ seq: from + k, session_id: id, task_id: null, run_id: null, at: "2026-11-21T00:00:00.000Z", type: "log", data: { text: `语 ${from + k}` } }));
    const block = bytesOf([header, ...events].map((line) => `${JSON.stringify(line)}\n`).join(""));
    blocks.push(block);
    previous = await historyHash(block);
    from += count;
  }
  const end = { events: from - 1, blocks: sizes.length, head: previous };
  return { blocks, known: { session_id: id, last_seq: from - 1, pinned: end, archive: { ...end, bytes: 1, archived_at: "2026-11-21T00:00:00.000Z" }, recorded: end } };
}
async function checked(blocks: readonly Uint8Array<ArrayBuffer>[], known: SessionHistory | null) {
  const check = new HistoryCheck(ID, known);
  for (const block of blocks) await check.push(block);
  return check.end(known);
}

describe("a history", () => {
  it("that is whole is found whole, by the session and by the database", async () => {
    const { blocks, known } = await historyOf([3, 1, 5]);
    expect(await checked(blocks, known)).toMatchObject({ whole: true, events: 9, blocks: 3, head: known.archive?.head, against: ["session", "database"], unpinned: 0, problems: [] });
    expect(await checked(blocks, null)).toMatchObject({ whole: true, against: [], unpinned: 9 });
  });

  it("of which any byte was changed is found out", async () => {
    const { blocks, known } = await historyOf([3, 2, 4]);
    await fc.assert(fc.asyncProperty(fc.nat(2), fc.nat(), fc.integer({ min: 1, max: 255 }), async (which, place, by) => {
      const changed = blocks.map((block) => block.slice());
      const block = changed[which] ?? new Uint8Array();
      block[place % block.length] = (block[place % block.length] ?? 0) ^ by;
      expect((await checked(changed, known)).whole).toBe(false);
    }));
  });

  it("of which a block was left out, doubled, swapped, put in from elsewhere or cut off at the end is named", async () => {
    const { blocks: [a, b, c], known } = await historyOf([3, 2, 4]);
    const { blocks: [foreign] } = await historyOf([3], newId("session", 2));
    if (!a || !b || !c || !foreign) throw new Error("unreachable");
    const kinds = async (blocks: Uint8Array<ArrayBuffer>[]) => (await checked(blocks, known)).problems.map(({ kind, block }) => `${kind} ${block}`);
    expect(await kinds([a, c])).toContain("cut 3");
    expect(await kinds([b, c])).toContain("cut 2");
    expect(await kinds([a, b])).toEqual(["cut 3", "cut 3", "cut 3"]);
    expect(await kinds([a, a, b, c])).toContain("cut 1");
    expect(await kinds([a, c, b])).not.toEqual([]);
    expect(await kinds([foreign, b, c])).toEqual(expect.arrayContaining(["foreign 1", "changed 1"]));
    expect(await kinds([])).not.toEqual([]);
    expect(await kinds([bytesOf("{}\n"), b, c])).toContain("malformed 1");
  });

  it("that was written anew from the first block on fits nobody's memory", async () => {
    const { known } = await historyOf([3, 2]);
    const { blocks } = await historyOf([2, 3]);
    expect((await checked(blocks, known)).problems.map(({ kind }) => kind)).toEqual(["changed", "changed", "changed"]);
  });

  it("that the server cannot open is told, and nothing behind it is blamed", async () => {
    const { blocks: [a], known } = await historyOf([3, 2]);
    const check = new HistoryCheck(ID, known);
    if (a) await check.push(a);
    check.unreadable(2, "the bucket has it no more");
    expect(check.end(known)).toMatchObject({ whole: false, problems: [{ kind: "unreadable", block: 2 }] });
  });
});

describe("an export", () => {
  async function* pieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length] ?? 1;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
  const all = async (source: AsyncIterable<Uint8Array>) => {
    const blocks: Uint8Array[] = [];
    for await (const block of splitBlocks(source)) blocks.push(block);
    return blocks;
  };

  it("is cut into its blocks wherever the bytes are parted", async () => {
    const { blocks } = await historyOf([3, 1, 5, 2]);
    const whole = new Uint8Array(blocks.flatMap((block) => [...block]));
    await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 6 }), async (sizes) => {
      expect(await all(pieces(whole, sizes))).toEqual(blocks);
    }));
  });

  it("that ends in a failure or in the middle of a line throws, and gives no part of a block", async () => {
    const { blocks: [a] } = await historyOf([3]);
    const text = new TextDecoder().decode(a);
    await expect(all(pieces(bytesOf(`${text}{"error":{"code":"conflict","message":"gone","details":{"block":2}}}\n`), [50]))).rejects.toMatchObject({ code: "conflict", details: { block: 2 } });
    await expect(all(pieces(bytesOf(text.slice(0, -5)), [50]))).rejects.toThrow("middle of a line");
  });
});
