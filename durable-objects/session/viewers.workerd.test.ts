import { describe, expect, it, vi } from "vitest";
import { CLOSE, MAX_FRAME_ITEMS, VIEWER_UNCHECKED_CHARS, VIEWER_WINDOW_CHARS } from "../../sdk/protocol/index.ts";
import { actor, line, status, stranger, Subject, type RunnerClient, type ViewerClient } from "./fixture.ts";

const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, i) => from + i);

async function running(): Promise<{ subject: Subject; runner: RunnerClient; id: string; run: Awaited<ReturnType<RunnerClient["start"]>> }> {
  const subject = await new Subject().create();
  const runner = await subject.runner();
  const id = await subject.task();
  const run = await runner.start();
  await runner.acked();
  return { subject, runner, id, run };
}

/** Acknowledges what comes until `done`. */
async function acknowledging(viewer: ViewerClient, done: () => boolean): Promise<void> {
  let acked = 0;
  await vi.waitUntil(
    () => {
      const seq = viewer.seqs.at(-1) ?? 0;
      if (seq > acked) viewer.socket.send(JSON.stringify({ type: "ack", seq }));
      acked = seq;
      return done();
    },
    { timeout: 5_000 },
  );
}

describe("a viewer", () => {
  it("sees history, then what is live, without gap or double, however the two meet", async () => {
    const { subject, runner, run } = await running();
    for (let i = 0; i < 20; i++) runner.events(run, ...Array.from({ length: 200 }, (_, k) => line(`${i}.${k} ${"x".repeat(200)}`)));
    await runner.acked();
    const viewers = await Promise.all([subject.viewer(), subject.viewer("after=100"), subject.viewer("tail=7"), subject.viewer("after=2000&flow=1")]);
    for (let i = 0; i < 20; i++) runner.events(run, ...Array.from({ length: 200 }, (_, k) => line(`live ${i}.${k}`)));
    await runner.acked();
    const last = (await subject.log({ tail: 1 }))[0]?.seq ?? 0;
    await vi.waitUntil(() => viewers.every(({ seqs }) => seqs.at(-1) === last), { timeout: 5_000 });
    expect(viewers[0].seqs).toEqual(upTo(last));
    expect(viewers[1].seqs).toEqual(upTo(last, 101));
    expect(viewers[2].seqs[0]).toBeLessThanOrEqual(last - 6);
    expect(viewers[2].seqs).toEqual(upTo(last, viewers[2].seqs[0]));
    expect(viewers[3].seqs).toEqual(upTo(last, 2_001));
    for (const { frames } of viewers) expect(frames.filter(({ type }) => type === "caught_up").length).toBe(1);
  });

  it("sees what it asked for: task, types, streams, raw", async () => {
    const { subject, runner, id, run } = await running();
    const items = [line("out"), line("err", "stderr"), { ...line("rich"), raw: { own: true } }];
    const before = await Promise.all([subject.viewer("stream=stderr&types=log"), subject.viewer("types=log&raw=1"), subject.viewer("types=log"), subject.viewer(`task_id=${id}&types=run.status,log&types=usage`)]);
    await Promise.all(before.map((viewer) => viewer.until(({ type }) => type === "caught_up")));
    runner.events(run, ...items);
    await runner.acked();
    const after = await Promise.all([subject.viewer("stream=stderr&types=log"), subject.viewer("types=log&raw=1"), subject.viewer("types=log"), subject.viewer(`task_id=${id}&types=run.status,log&types=usage`)]);
    for (const [errors, raw, plain, mixed] of [before, after]) {
      await vi.waitUntil(() => mixed?.items.at(-1)?.type === "log" && plain?.items.length === 3);
      expect(errors?.items).toEqual([items[1]]);
      expect(raw?.items).toEqual(items);
      expect(plain?.items).toEqual([items[0], items[1], line("rich")]);
      expect(mixed?.items.map(({ type }) => type)).toEqual(["run.status", "run.status", "log", "log", "log"]);
      expect(new Set(mixed?.seqs).size).toBe(5);
    }
  });

  it("is sent no more than its window holds until it acknowledges, also over an eviction", async () => {
    const { subject, runner, run } = await running();
    const block = Array.from({ length: MAX_FRAME_ITEMS / 10 }, () => line("x".repeat(5_000)));
    for (let i = 0; i < 30; i++) runner.events(run, ...block);
    await runner.acked();
    const viewer = await subject.viewer("flow=1");
    const sent = () => viewer.items.length;
    await vi.waitUntil(() => sent() * 5_000 >= VIEWER_WINDOW_CHARS);
    const held = sent();
    expect(held * 5_000).toBeLessThan(VIEWER_WINDOW_CHARS * 1.3);
    await subject.evict();
    await subject.rpc.read(actor);
    expect(sent()).toBe(held);
    const last = (await subject.log({ tail: 1 }))[0]?.seq ?? 0;
    await acknowledging(viewer, () => viewer.seqs.at(-1) === last);
    expect(viewer.seqs).toEqual(upTo(last));
  });

  it("goes on after an eviction also where what it saw last is not what was logged last", async () => {
    const { subject, runner, run } = await running();
    const block = Array.from({ length: MAX_FRAME_ITEMS / 10 }, () => line("x".repeat(5_000)));
    for (let i = 0; i < 20; i++) runner.events(run, ...block, line("not for it", "stderr"));
    await runner.acked();
    const viewer = await subject.viewer("flow=1&types=log&stream=stdout");
    await vi.waitUntil(() => viewer.items.length * 5_000 >= VIEWER_WINDOW_CHARS);
    await subject.evict();
    await subject.rpc.read(actor);
    await acknowledging(viewer, () => viewer.items.length === 20 * block.length);
  });

  it("that never says a word is sent so much, and then asked to come back", async () => {
    const { subject, runner, run } = await running();
    const block = Array.from({ length: 10 }, () => line("x".repeat(60_000)));
    for (let sent = 0; sent < VIEWER_UNCHECKED_CHARS * 1.1; sent += 600_000) {
      runner.events(run, ...block);
      await runner.acked();
    }
    const viewer = await subject.viewer("types=log", actor, "counted");
    expect(await viewer.untilClosed()).toBe(CLOSE.again);
    const next = await subject.viewer(`types=log&after=${viewer.seqs.at(-1)}`);
    const last = (await subject.log({ tail: 1, types: ["log"] }))[0]?.seq;
    await vi.waitUntil(() => next.seqs.at(-1) === last, { timeout: 5_000 });
    expect(next.seqs[0]).toBe((viewer.seqs.at(-1) ?? 0) + 1);
    await vi.waitUntil(() => subject.fakes.closedStreams.includes("counted"));
  });

  it("is told the end when the task that it follows has ended, whether it was there before or came after", async () => {
    const { subject, runner, id, run } = await running();
    const before = await subject.viewer(`task_id=${id}`);
    await before.until(({ type }) => type === "caught_up");
    runner.events(run, line("last"), status("completed"));
    for (const viewer of [before, await subject.viewer(`task_id=${id}`)]) {
      expect(await viewer.untilClosed()).toBe(CLOSE.ended);
      expect(viewer.frames.at(-1)).toMatchObject({ type: "end", reason: "the task has ended: completed" });
      expect(viewer.items.at(-1)).toMatchObject({ type: "task.status", data: { status: "completed" } });
    }
  });

  it("is told the end when the session has ended", async () => {
    const { subject } = await running();
    const viewer = await subject.viewer();
    await viewer.until(({ type }) => type === "caught_up");
    expect(await subject.rpc.terminate(actor)).toMatchObject({ ok: true, value: { status: "terminated", runner: null } });
    expect(await viewer.untilClosed()).toBe(CLOSE.ended);
    expect(viewer.items.at(-1)).toMatchObject({ type: "session.status", data: { status: "terminated" } });
  });

  it("that is another tenant's, or asks for what is not there, is refused", async () => {
    const { subject } = await running();
    await expect(subject.viewer("", stranger)).rejects.toThrow("404");
    await expect(subject.viewer("task_id=task_x")).rejects.toThrow("400");
    await expect(subject.viewer("types=everything")).rejects.toThrow("400");
    await expect(subject.viewer(`task_id=task_${"0".repeat(42)}`)).rejects.toThrow("404");
  });

  it("that says what it may not is closed", async () => {
    const { subject } = await running();
    for (const [query, text] of [["", '{"type":"ack","seq":1}'], ["flow=1", "{"], ["flow=1", '{"type":"ack","seq":99999}'], ["flow=1", '{"type":"ack","seq":-1}'], ["flow=1", "x".repeat(2_000)]] as const) {
      const viewer = await subject.viewer(query);
      await viewer.until(({ type }) => type === "caught_up");
      viewer.socket.send(text);
      expect(await viewer.untilClosed()).toBe(CLOSE.protocol);
    }
  });
});
