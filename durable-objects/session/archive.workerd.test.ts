import { runInDurableObject } from "cloudflare:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { Failure, historyHash, NO_HASH, type Event, type HistoryHeader, type LogQuery } from "../../sdk/protocol/index.ts";
import type { Archive, ArchivedBlock } from "../ports.ts";
import { actor, line, status, stranger, Subject, type RunnerClient, type SessionInside } from "./fixture.ts";

/** A bucket in memory that can fail, lose and alter what it has. */
class Bucket implements Archive {
  readonly after_ms = 0;
  readonly kept = new Map<string, Uint8Array>();
  puts = 0;
  /** What is put is kept, and nobody hears of it. */
  lost = false;
  /** Called before every put and get; throws to fail it. */
  before: (what: "put" | "get", block: number) => void | Promise<void> = () => {};

  name({ session_id, block }: ArchivedBlock): string {
    return `${session_id}/${block}`;
  }
  async put(block: ArchivedBlock, text: Uint8Array<ArrayBuffer>) {
    await this.before("put", block.block);
    this.puts++;
    const packed = zstdCompressSync(text);
    this.kept.set(this.name(block), packed);
    if (this.lost) throw new Error("the object died before it heard of it");
    return { bytes: packed.length };
  }
  async get(block: ArchivedBlock) {
    await this.before("get", block.block);
    const found = this.kept.get(this.name(block));
    if (!found) throw new Failure("conflict", `block ${block.block} is missing`, { details: { block: block.block, why: "missing" } });
    return new Uint8Array(zstdDecompressSync(found));
  }
}

const inside = <T>(subject: Subject, look: (inside: SessionInside) => T | Promise<T>) => runInDurableObject(subject.object, (instance) => look(instance as unknown as SessionInside));
const ring = (subject: Subject) => inside(subject, ({ archiver }) => archiver.ring(Date.now() + 10 ** 9));
const left = (subject: Subject) => inside(subject, ({ engine }) => engine.storage.sql.exec<{ n: number }>("select count(*) as n from blocks").one().n);
const archived = async (subject: Subject) => {
  const session = await subject.rpc.read(actor);
  return session.ok ? session.value.archive : undefined;
};

/** A session of two tasks and about `lines` lines, with errors, raw records and texts of all kinds. */
async function told(lines: number): Promise<{ subject: Subject; bucket: Bucket; tasks: string[] }> {
  const subject = new Subject();
  const bucket = new Bucket();
  subject.archive = bucket;
  await subject.create();
  const runner: RunnerClient = await subject.runner();
  const tasks: string[] = [];
  for (let turn = 1; turn <= 2; turn++) {
    tasks.push(await subject.task());
    const run = await runner.start(turn);
    for (let i = 0; i < lines / 2; i += 500) {
      runner.events(run, ...Array.from({ length: Math.min(500, lines / 2 - i) }, (_, k) => (k % 50 === 0 ? line(`bad ${i + k}`, "stderr") : { ...line(`语 ${i + k} ${"x".repeat(100)}`), ...(k % 7 === 0 && { raw: { own: k } }) })));
      await runner.acked();
    }
    runner.events(run, status("completed"));
    await runner.acked();
  }
  await subject.rpc.terminate(actor);
  return { subject, bucket, tasks };
}

/** Rings until all is in the archive and gone from the object. */
async function move(subject: Subject): Promise<void> {
  await vi.waitUntil(async () => {
    await ring(subject);
    return (await archived(subject)) !== undefined && (await left(subject)) === 0;
  }, { timeout: 20_000 });
}

async function pages(subject: Subject, query: LogQuery): Promise<Event[]> {
  const events: Event[] = [];
  for (let after = query.after ?? 0; ; ) {
    const page = await subject.rpc.readLog(actor, { ...query, after, limit: 1_000 });
    if (!page.ok) throw new Error(page.error.message);
    events.push(...page.value.events);
    expect(page.value.next).toBeGreaterThanOrEqual(after);
    after = page.value.next;
    if (!page.value.more) return events;
  }
}
async function blocks(subject: Subject): Promise<Uint8Array<ArrayBuffer>[]> {
  const all: Uint8Array<ArrayBuffer>[] = [];
  for (let n = 1; ; n++) {
    const answer = await subject.rpc.readBlock(actor, n);
    if (!answer.ok) throw new Error(answer.error.message);
    if (!answer.value) return all;
    all.push(new Uint8Array(answer.value.text));
    if (answer.value.last) return all;
  }
}
const headerOf = (block: Uint8Array) => JSON.parse(new TextDecoder().decode(block).split("\n", 1)[0] ?? "") as HistoryHeader;

describe("the history of an ended session", () => {
  it("moves into the archive, and every reader sees what it saw before", async () => {
    const { subject, tasks } = await told(24_000);
    const queries: LogQuery[] = [
      {}, { raw: true }, { after: 11_111 }, { types: ["task.status", "session.status"] }, { stream: ["stderr"], types: ["log"] }, { task_id: tasks[1] }, { task_id: tasks[0], types: ["log"], stream: ["stderr"] },
    ];
    const tails: LogQuery[] = [{ tail: 100 }, { tail: 0 }, { tail: 1_000, types: ["log"], stream: ["stderr"] }, { tail: 3, types: ["task.status"] }, { tail: 50, task_id: tasks[0] }];
    const look = async () => ({ all: await Promise.all(queries.map((query) => pages(subject, query))), ends: await Promise.all(tails.map((query) => subject.log(query))) });
    const before = await look();
    await move(subject);
    expect(await look()).toEqual(before);
    await subject.evict();
    expect(await look()).toEqual(before);
    expect(before.all[0]?.length).toBeGreaterThan(24_000);

    const last = before.all[0]?.length ?? 0;
    for (const [query, expected] of [["", before.all[0]], ["after=20000&flow=1", before.all[0]?.slice(20_000)], ["tail=100", before.ends[0]], [`task_id=${tasks[1]}`, before.all[5]], ["types=log&stream=stderr", before.all[4]]] as const) {
      const viewer = await subject.viewer(query);
      await vi.waitUntil(() => {
        const seq = viewer.seqs.at(-1);
        if (query.includes("flow") && seq !== undefined && viewer.closed === null) viewer.socket.send(JSON.stringify({ type: "ack", seq }));
        return viewer.closed !== null;
      }, { timeout: 10_000 });
      expect(viewer.seqs).toEqual(expected?.map(({ seq }) => seq));
      expect(viewer.frames.at(-1)).toMatchObject({ type: "end" });
    }
    expect(await subject.rpc.read(actor)).toMatchObject({ ok: true, value: { last_seq: last, archive: { events: last } } });
    expect(await subject.rpc.readBlock(stranger, 1)).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await subject.rpc.readHistory(stranger)).toMatchObject({ ok: false, error: { code: "not_found" } });
  });

  it("is a chain: the blocks of the living session are those of the archive, and each carries the hash of the one before", async () => {
    const { subject } = await told(24_000);
    const living = await blocks(subject);
    expect(await subject.rpc.readHistory(actor)).toMatchObject({ ok: true, value: { archive: null, pinned: { blocks: living.length - 1 } } });
    await move(subject);
    const kept = await blocks(subject);
    expect(kept).toEqual(living);
    let previous = NO_HASH;
    let next = 1;
    for (const [i, block] of kept.entries()) {
      expect(headerOf(block)).toMatchObject({ session_id: subject.id, block: i + 1, from: next, previous });
      previous = await historyHash(block);
      next += headerOf(block).count;
    }
    expect(kept.length).toBeGreaterThan(2);
    expect(await archived(subject)).toMatchObject({ events: next - 1, blocks: kept.length, head: previous });
  });

  it("survives the death of the object and a failing bucket at any point of the way", async () => {
    const { subject, bucket } = await told(24_000);
    const before = await pages(subject, { raw: true });
    const chain = await blocks(subject);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom("ring", "evict", "put fails", "dies behind put"), { maxLength: 8 }), async (steps) => {
        for (const step of steps) {
          bucket.before = (what) => {
            if (step === "put fails" && what === "put") throw new Failure("unavailable", "the bucket is away");
          };
          bucket.lost = step === "dies behind put";
          if (step === "evict") await subject.evict();
          else await ring(subject);
          if (bucket.lost) await subject.evict();
          expect((await subject.log({ tail: 1 }))[0]?.seq).toBe(before.length);
        }
        bucket.before = () => {};
        bucket.lost = false;
      }),
      { numRuns: 6 },
    );
    await subject.evict();
    await move(subject);
    expect(await pages(subject, { raw: true })).toEqual(before);
    expect(await blocks(subject)).toEqual(chain);
  });

  it("names what is missing or was changed, to whoever reads, and what else there is stays readable", async () => {
    const { subject, bucket } = await told(24_000);
    await move(subject);
    const [first, second] = [1, 2].map((block) => bucket.name({ tenant_id: "", session_id: subject.id, block }));
    const text = new TextDecoder().decode(zstdDecompressSync(bucket.kept.get(first ?? "") ?? new Uint8Array()));
    bucket.kept.set(first ?? "", zstdCompressSync(new TextEncoder().encode(text.replace("bad 0", "bad 1"))));
    bucket.kept.delete(second ?? "");
    await subject.evict();
    expect(await subject.rpc.readLog(actor, {})).toMatchObject({ ok: false, error: { code: "conflict", details: { block: 1, why: "changed" } } });
    expect(await subject.rpc.readBlock(actor, 2)).toMatchObject({ ok: false, error: { code: "conflict", details: { block: 2, why: "missing" } } });
    expect(await subject.rpc.readLog(actor, { tail: 5 })).toMatchObject({ ok: true });
    const viewer = await subject.viewer();
    await viewer.untilClosed();
    expect(viewer.frames).toMatchObject([{ type: "error", error: { code: "conflict" } }]);
    bucket.before = () => {
      throw new Failure("unavailable", "the bucket is away");
    };
    await subject.evict();
    expect(await subject.rpc.readLog(actor, {})).toMatchObject({ ok: false, error: { code: "unavailable" } });
  });

  it("stays in the object of a session that lives, and of one whose tenant has not heard all", async () => {
    const subject = new Subject();
    const bucket = new Bucket();
    subject.archive = bucket;
    await subject.create();
    await ring(subject);
    expect(bucket.puts).toBe(0);
    subject.fakes.tenant = () => ({ publish: () => Promise.reject(new Error("away")), closeStream: async () => {} });
    await subject.rpc.terminate(actor);
    await ring(subject);
    expect(bucket.puts).toBe(0);
  });
});
