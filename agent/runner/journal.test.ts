import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newChildId, newId, type Command } from "../../sdk/protocol/index.ts";
import { FRAME_CHARS, FRAME_ITEMS, Journal, MAX_UNACKNOWLEDGED } from "./journal.ts";
import { FileStore, MemoryStore, type JournalStore } from "./journal-store.ts";

const T0 = Date.UTC(2026, 10, 21);
const session_id = newId("session", T0);
const owner = { session_id, runner_id: newId("runner", T0), epoch: 1 };
const ids = (n: number) => ({ task_id: newChildId("task", session_id, T0 + n), run_id: newChildId("run", session_id, T0 + n) });
const A = ids(1);
const item = (n: number, size = 0) => JSON.stringify({ n, text: "x".repeat(size) });
const start = (id: number, run: { task_id: string; run_id: string }): Command => ({ type: "command", id, epoch: 1, body: { kind: "task.start", ...run, attempt: 1, prompt: "hi", timeout_seconds: 1, conversation: null } });

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "journal-"));
  path = join(directory, "journal.jsonl");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = () => Journal.open(new FileStore(path), owner);
/** The file on a disk that may be full. */
function onDisk(full: () => boolean): JournalStore {
  const file = new FileStore(path);
  const refuse = () => {
    if (full()) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  };
  return {
    get size() {
      return file.size;
    },
    load: () => file.load(),
    append: (text) => (refuse(), file.append(text)),
    replace: (text) => (refuse(), file.replace(text)),
    truncate: (count) => file.truncate(count),
    close: () => file.close(),
  };
}
/** Everything that would be sent after number `after`, one entry an item. */
function sent(journal: Journal, after = journal.first - 1): { at: number; run_id: string | null; n: number }[] {
  const all: { at: number; run_id: string | null; n: number }[] = [];
  for (let frame = journal.frame(after); frame; frame = journal.frame(frame.to)) {
    const { from, run_id, items } = JSON.parse(frame.text) as { from: number; run_id: string | null; items: { n: number }[] };
    items.forEach(({ n }, i) => all.push({ at: from + i, run_id, n }));
  }
  return all;
}

describe("the journal", () => {
  it("is read back as it was written", async () => {
    const journal = await open();
    journal.receive(start(1, A));
    journal.setRun({ run_id: A.run_id, agents: [{ pid: 5, started: "x" }], conversation: "c", pending: ["p"] });
    for (let n = 0; n < 10; n++) void journal.append(n < 5 ? A : null, item(n));
    expect(journal.flush()).toBe(true);
    const again = await open();
    expect(sent(again)).toEqual(sent(journal));
    expect(sent(again).map(({ n }) => n)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(again).toMatchObject({ last: 10, first: 1, lastCommand: 1, run: journal.run, starts: journal.starts });
    again.end(A.run_id);
    again.flush();
    expect(await open()).toMatchObject({ run: null, starts: [], lastCommand: 1 });
  });

  it("keeps whole turns and numbers without gaps, wherever its end is torn off", async () => {
    const journal = await open();
    const turns: { bytes: number; last: number; command: number; running: string | null; starts: number }[] = [];
    const note = () => turns.push({ bytes: statSync(path).size, last: journal.last, command: journal.lastCommand, running: journal.run?.run_id ?? null, starts: journal.starts.length });
    note();
    for (let turn = 0; turn < 12; turn++) {
      const run = ids(turn);
      if (turn % 3 === 0) journal.receive(start(turn / 3 + 1, run));
      if (turn % 3 === 1) journal.setRun({ run_id: ids(turn - 1).run_id, agents: [], conversation: null, pending: [] });
      for (let i = 0; i <= turn % 4; i++) void journal.append(A, JSON.stringify({ n: journal.last + 1, text: "ä\u{1f600}\n" }));
      if (turn % 3 === 2) journal.end(ids(turn - 2).run_id);
      journal.flush();
      note();
    }
    const whole = readFileSync(path);
    for (let size = 0; size <= whole.length; size++) {
      writeFileSync(path, whole.subarray(0, size));
      const again = await open();
      const expected = turns.findLast(({ bytes }) => bytes <= size) ?? { last: 0, command: 0, running: null, starts: 0 };
      expect(again).toMatchObject({ last: expected.last, lastCommand: expected.command });
      expect([again.run?.run_id ?? null, again.starts.length]).toEqual([expected.running, expected.starts]);
      expect(sent(again).map(({ at, n }) => [at, n])).toEqual(Array.from({ length: expected.last }, (_, i) => [i + 1, i + 1]));
      void again.append(null, item(expected.last + 1));
      again.close();
      const third = await open();
      expect(third.last).toBe(expected.last + 1);
      third.close();
    }
  });

  it("keeps what was not acknowledged, once and in order, through any life", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("append" as const), count: fc.integer({ min: 1, max: 700 }), run: fc.integer({ min: 0, max: 2 }) }),
      fc.record({ do: fc.constant("ack" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ do: fc.constantFrom("flush" as const, "reopen" as const, "tear" as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        rmSync(path, { force: true });
        let journal = await open();
        let flushed = 0;
        let acked = 0;
        const runOf = new Map<number, string | null>();
        for (const each of steps) {
          if (each.do === "append") {
            for (let i = 0; i < each.count; i++) {
              const run = each.run === 0 ? null : ids(each.run);
              void journal.append(run, item(journal.last + 1));
              runOf.set(journal.last, run?.run_id ?? null);
            }
          } else if (each.do === "flush") {
            journal.flush();
            flushed = journal.last;
          } else if (each.do === "ack") {
            acked = Math.max(acked, acked + Math.floor((flushed - acked) * each.part));
            journal.acknowledge(acked);
          } else {
            // Killed: what was not flushed is gone; torn: and half a line lies at the end.
            if (each.do === "tear") writeFileSync(path, '{"events":[{"from":', { flag: "a" });
            journal = await open();
            journal.acknowledge(acked);
            expect(journal.last).toBe(flushed);
          }
          expect(journal.first).toBe(acked >= journal.last ? journal.last + 1 : acked + 1);
        }
        journal.flush();
        const items = sent(journal, acked);
        expect(items.map(({ at, n }) => [at, n])).toEqual(Array.from({ length: journal.last - acked }, (_, i) => [acked + i + 1, acked + i + 1]));
        for (const { at, run_id } of items) expect(run_id).toBe(runOf.get(at));
        journal.close();
      }),
      { numRuns: 60 },
    );
  });

  it("holds frames to one run, and to their limits", async () => {
    const journal = await open();
    for (let n = 1; n <= 1_700; n++) void journal.append(n <= 900 ? A : ids(2), item(n));
    for (let n = 1_701; n <= 1_720; n++) void journal.append(A, item(n, 60_000));
    journal.flush();
    for (let frame = journal.frame(0); frame; frame = journal.frame(frame.to)) {
      expect(frame.to - frame.from + 1).toBeLessThanOrEqual(FRAME_ITEMS);
      expect(frame.text.length).toBeLessThan(FRAME_CHARS + 1_000);
    }
    expect(sent(journal)).toHaveLength(1_720);
  });

  it("gives no room beyond its limit, until enough is acknowledged", async () => {
    const journal = await Journal.open(new MemoryStore(), owner);
    const big = item(1, 60_000);
    let room = true;
    for (let n = 0; n * big.length < MAX_UNACKNOWLEDGED; n++) void journal.append(A, big);
    const waiting = journal.append(A, big).then(() => (room = true));
    room = false;
    journal.flush();
    await Promise.resolve();
    expect(room).toBe(false);
    journal.acknowledge(10);
    await Promise.resolve();
    expect(room).toBe(false);
    journal.acknowledge(journal.last - 10);
    await waiting;
    expect(room).toBe(true);
  });

  it("lets one turn hold only so much, so that an agent that never pauses is sent all the same", async () => {
    const journal = await open();
    let written = 0;
    journal.onWritten = () => written++;
    for (let n = 0; n < 5_000; n++) await journal.append(A, item(n, 100));
    expect(written).toBeGreaterThan(3);
    journal.close();
  });

  it("is written anew when most of it is acknowledged, and stays whole", async () => {
    const journal = await open();
    journal.receive(start(1, A));
    journal.setRun({ run_id: A.run_id, agents: [], conversation: "c", pending: [] });
    for (let n = 1; n <= 400; n++) {
      void journal.append(A, item(n, 60_000));
      journal.flush();
      if (n > 5) journal.acknowledge(n - 5);
    }
    expect(statSync(path).size).toBeLessThan(10 * 1024 * 1024);
    const again = await open();
    again.acknowledge(395);
    expect(sent(again).map(({ n }) => n)).toEqual([396, 397, 398, 399, 400]);
    expect(again).toMatchObject({ last: 400, lastCommand: 1, run: journal.run, starts: journal.starts });
  });

  it("takes an acknowledgement in the middle of a block", async () => {
    const journal = await open();
    for (let n = 1; n <= 10; n++) void journal.append(A, item(n));
    journal.flush();
    journal.acknowledge(4);
    expect(sent(journal).map(({ at }) => at)).toEqual([5, 6, 7, 8, 9, 10]);
    expect(sent(journal, 7).map(({ at }) => at)).toEqual([8, 9, 10]);
  });

  it("takes each command once, and none out of order", async () => {
    const journal = await open();
    expect(journal.receive(start(2, A))).toBe("gap");
    expect(journal.receive(start(1, A))).toBe("new");
    expect(journal.receive(start(1, A))).toBe("seen");
    journal.flush();
    expect((await open()).receive(start(1, A))).toBe("seen");
  });

  it("begins anew where the file is another runner's, or no journal at all", async () => {
    const journal = await open();
    void journal.append(null, item(1));
    journal.close();
    expect(await Journal.open(new FileStore(path), { ...owner, epoch: 2 })).toMatchObject({ last: 0, first: 1 });
    writeFileSync(path, "\0\xff garbage\nmore\n");
    const again = await open();
    void again.append(null, item(1));
    again.close();
    expect((await open()).last).toBe(1);
  });

  it("cuts off everything from a damaged line on", async () => {
    const journal = await open();
    for (let n = 1; n <= 3; n++) {
      void journal.append(null, item(n));
      journal.flush();
    }
    const lines = readFileSync(path, "utf8").split("\n");
    writeFileSync(path, [lines[0], lines[1], "{damaged", lines[3], ""].join("\n"));
    const again = await open();
    expect(again.last).toBe(1);
    void again.append(null, item(2));
    again.close();
    expect(sent(await open()).map(({ n }) => n)).toEqual([1, 2]);
    truncateSync(path, 0);
    expect((await open()).last).toBe(0);
  });

  it("says that its disk is full, keeps all in memory, and writes the whole once there is room", async () => {
    let full = false;
    const faults: string[] = [];
    const journal = await Journal.open(onDisk(() => full), owner);
    journal.onFault = ({ message }) => faults.push(message);
    void journal.append(A, item(1));
    journal.flush();
    full = true;
    void journal.append(A, item(2));
    expect(journal.flush()).toBe(false);
    expect(faults[0]).toContain("ENOSPC");
    expect((await open()).last).toBe(1);
    full = false;
    void journal.append(A, item(3));
    expect(journal.flush()).toBe(true);
    expect(journal.fault).toBeNull();
    expect(sent(await open()).map(({ n }) => n)).toEqual([1, 2, 3]);
  });

  it("goes on behind what the session saw of an earlier life, also where that was never in the file", async () => {
    // The earlier life wrote two, and told five.
    const before = await open();
    for (const n of [1, 2]) void before.append(A, item(n));
    before.close();
    const journal = await open();
    void journal.append(A, item(6));
    journal.flush();
    // It dies before it has heard from the session, twice: what it has to say is still said behind the five.
    const third = await open();
    void third.append(A, item(7));
    third.meet(5);
    expect(sent(third)).toEqual([{ at: 6, run_id: A.run_id, n: 6 }, { at: 7, run_id: A.run_id, n: 7 }]);
    void third.append(A, item(8));
    third.flush();
    third.meet(6);
    expect(sent(third).map(({ at, n }) => [at, n])).toEqual([[7, 7], [8, 8]]);
    // And the file says the same as its memory.
    const fourth = await open();
    fourth.meet(6);
    expect(sent(fourth).map(({ at, n }) => [at, n])).toEqual([[7, 7], [8, 8]]);
    expect(fourth).toMatchObject({ last: 8, first: 7 });
  });

  it("keeps what is said of its own failure to write, and writes again by itself", async () => {
    let full = true;
    const journal = await Journal.open(onDisk(() => full), owner);
    const heard: boolean[] = [];
    journal.onFault = (_error, again) => {
      heard.push(again);
      if (heard.length === 1) void journal.append(A, item(2));
    };
    void journal.append(A, item(1));
    await vi.waitFor(() => expect(heard.length).toBeGreaterThan(1), 30_000);
    expect(heard.every((again) => again)).toBe(true);
    expect(sent(journal).map(({ at, n }) => [at, n])).toEqual([[1, 1], [2, 2]]);
    full = false;
    await vi.waitFor(async () => expect(sent(await open()).map(({ at, n }) => [at, n])).toEqual([[1, 1], [2, 2]]), 30_000);
    expect(journal.fault).toBeNull();
    journal.close();
  });
});
