import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { CLOSE, fail, MAX_LINK_BYTES, newChildId, newId, newToken, RUNNER_LINK_VERSION, unwrap } from "../../sdk/protocol/index.ts";
import { runnerFrames } from "../../test/support/frames.ts";
import { actor, ask, line, status, Subject } from "./fixture.ts";

describe("a session with its runner", () => {
  it("leases, spawns, hands out a task, logs it and ends it", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    const id = await subject.task({ prompt: "hello" });
    const run = await runner.start();
    expect(run.prompt).toBe("hello");
    runner.events(run, line("one"), line("two"), status("completed", { result: "done", conversation: "c1" }));
    await runner.acked();
    expect(await subject.rpc.readTask(actor, id)).toMatchObject({ ok: true, value: { status: "completed", result: "done", attempts: 1, prompt: "hello" } });
    const log = await subject.log();
    expect(log.map(({ type }) => type)).toEqual([
      "session.status", "session.status", "runner.attached", "task.created", "run.status", "task.status", "run.status", "log", "log", "run.status", "task.status",
    ]);
    expect(log.map(({ seq }) => seq)).toEqual(log.map((_, i) => i + 1));
  });

  it("gives the next task in the turn in which one ends, and continues the conversation", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    await subject.task({ prompt: "second" });
    const first = await runner.start();
    runner.events(first, status("completed", { conversation: "c1" }));
    expect(await runner.command("task.start", 2)).toMatchObject({ prompt: "second", conversation: "c1", attempt: 1 });
  });

  it("carries a prompt of 1 MB, whatever it is written in", async () => {
    const prompt = `${"語".repeat(600_000)}${"😀".repeat(200_000)}`;
    const subject = await new Subject().create();
    const id = await subject.task({ prompt });
    const runner = await subject.runner();
    expect((await runner.command("task.start")).prompt).toBe(prompt);
    const task = await subject.rpc.readTask(actor, id);
    expect(task.ok && task.value.prompt === prompt).toBe(true);
  });

  it("understands the version before, and gives it no commands that it does not know", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner(undefined, RUNNER_LINK_VERSION - 1);
    await subject.task();
    const run = await runner.start();
    await runner.acked();
    expect(await subject.rpc.suspend(actor, {})).toMatchObject({ ok: true, value: { status: "suspending" } });
    await runner.command("stop");
    expect(runner.commands.map(({ body }) => body.kind)).toEqual(["task.start", "stop"]);
    runner.socket.close(CLOSE.stopped);
    await vi.waitUntil(async () => unwrap(await subject.rpc.read(actor)).status === "suspended");
    expect(unwrap(await subject.rpc.read(actor))).toMatchObject({ interrupted: true, queued_tasks: 1 });
    expect(unwrap(await subject.rpc.readTask(actor, run.task_id))).toMatchObject({ status: "pending" });
  });

  it("closes a link of a version that it does not understand", async () => {
    const subject = await new Subject().create();
    const runner = await subject.dial(await subject.spawned());
    runner.send(runner.hello(RUNNER_LINK_VERSION + 1));
    expect(await runner.untilClosed()).toBe(CLOSE.version);
  });

  it("takes hello and events in one message, and drops what it has seen before", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    const run = await runner.start();
    await runner.acked();
    const frame = { type: "events", from: 1, task_id: run.task_id, run_id: run.run_id, items: [status("running"), line("a"), line("b")] };
    const again = await subject.dial(runner.spec);
    again.send([again.hello(2, { journal: { first: 1, last: 3 }, last_command: 1, run_id: run.run_id }), frame, frame]);
    expect(await again.until((down) => down.type === "events.ack")).toMatchObject({ up_to: 3 });
    expect(await runner.untilClosed()).toBe(CLOSE.replaced);
    expect((await subject.log({ types: ["log"] })).map(({ data }) => data)).toEqual([{ stream: "stdout", text: "a" }, { stream: "stdout", text: "b" }]);
    expect(again.commands).toEqual([]);
  });

  it("sends a command again until it is acknowledged", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    await runner.command("task.start");
    const again = await subject.runner(runner.spec);
    await again.command("task.start");
    again.send({ type: "command.ack", up_to: 1 });
    const third = await subject.dial(runner.spec);
    third.send(third.hello(2, { last_command: 1 }));
    await third.until((frame) => frame.type === "welcome");
    await subject.rpc.update(actor, { edit_mode: "turn" });
    await third.command("settings");
    expect(third.commands.map(({ body }) => body.kind)).toEqual(["settings"]);
  });

  it("refuses tokens that are not the current runner's", async () => {
    const subject = await new Subject().create();
    const spec = await subject.spawned();
    await expect(subject.dial({ ...spec, run_token: newToken("run") })).rejects.toThrow("401");
    await expect(subject.dial({ ...spec, run_token: "x" })).rejects.toThrow("401");
    const runner = await subject.dial(spec);
    runner.send(runner.hello(2, { runner_id: newId("runner", 1) }));
    expect(await runner.untilClosed()).toBe(CLOSE.stale);
  });

  it("lets the runner's ping be answered without being asked", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    let pongs = 0;
    runner.socket.addEventListener("message", ({ data }) => {
      if (data === "pong") pongs++;
    });
    runner.socket.send("ping");
    await vi.waitUntil(() => pongs === 1);
  });
});

describe("what a hostile runner sends", () => {
  const deep = `{"type":"events","from":1,"task_id":null,"run_id":null,"items":[{"at":"2026-11-21T00:00:00.000Z","type":"log","data":{"stream":"stdout","text":"x"},"raw":${"[".repeat(100_000)}${"]".repeat(100_000)}}]}`;
  const table: { name: string; text: string; field: string }[] = [
    ...runnerFrames.filter(({ field }) => field !== undefined && field !== "frame").map(({ name, frame, field }) => ({ name, text: JSON.stringify(frame), field: field as string })),
    { name: "no JSON", text: "{", field: "frame" },
    { name: "nothing", text: "null", field: "frame" },
    { name: "an empty array", text: "[]", field: "frame" },
    { name: "too large", text: "x".repeat(MAX_LINK_BYTES + 1), field: "frame" },
    { name: "nested too deeply", text: deep, field: "frame" },
    { name: "a gap in the journal", text: JSON.stringify({ type: "events", from: 7, task_id: null, run_id: null, items: [line("x")] }), field: "from" },
    { name: "a command that was never given", text: JSON.stringify({ type: "command.ack", up_to: 99 }), field: "up_to" },
    { name: "an event larger than the limit", text: JSON.stringify({ type: "events", from: 1, task_id: null, run_id: null, items: [{ ...line("x"), raw: "x".repeat(300_000) }] }), field: "items.0" },
  ];
  for (const { name, text, field } of table) {
    it(`${name}: an error naming ${field}, the link closed, nothing written`, async () => {
      const subject = await new Subject().create();
      const runner = await subject.runner();
      const before = await subject.log();
      runner.socket.send(text);
      const refused = await runner.until((frame) => frame.type === "error");
      expect(Object.keys((refused.type === "error" && refused.error.details) || {})).toContain(field);
      expect(await runner.untilClosed()).toBe(CLOSE.protocol);
      expect(await subject.log()).toEqual(before);
    });
  }

  it("a second hello, a run of nobody's, a permission of another session: the whole message is undone", async () => {
    for (const [field, bad] of [
      ["type", (r: { hello: object }) => r.hello],
      ["run_id", (_: object, s: Subject) => ({ type: "events", from: 2, task_id: newChildId("task", s.id, 1), run_id: newChildId("run", s.id, 1), items: [line("x")] })],
      ["items.0.data.permission_id", () => ({ type: "events", from: 2, task_id: null, run_id: null, items: [ask(newChildId("permission", newId("session", 1), 1))] })],
    ] as [string, (runner: { hello: object }, subject: Subject) => object][]) {
      const subject = await new Subject().create();
      const runner = await subject.runner();
      const before = await subject.log();
      runner.send([{ type: "events", from: 1, task_id: null, run_id: null, items: [line("good")] }, bad({ hello: runner.hello() }, subject)]);
      const refused = await runner.until((frame) => frame.type === "error");
      expect(Object.keys((refused.type === "error" && refused.error.details) || {})).toContain(field);
      expect(await runner.untilClosed()).toBe(CLOSE.protocol);
      expect(await subject.log()).toEqual(before);
    }
  });

  it("the first message must be hello, and bytes are not understood", async () => {
    for (const message of [JSON.stringify({ type: "command.ack", up_to: 0 }), new Uint8Array([1, 2])]) {
      const subject = await new Subject().create();
      const runner = await subject.dial(await subject.spawned());
      runner.socket.send(message);
      expect(await runner.untilClosed()).toBe(CLOSE.protocol);
    }
  });
});

describe("losses", () => {
  it("a session evicted in the middle of a task goes on with the same sockets", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    const viewer = await subject.viewer();
    const id = await subject.task();
    const run = await runner.start();
    runner.events(run, line("before"));
    await runner.acked();
    await subject.evict();
    runner.events(run, line("after"), status("completed"));
    await runner.acked();
    expect(await subject.rpc.readTask(actor, id)).toMatchObject({ ok: true, value: { status: "completed" } });
    const last = (await subject.log()).length;
    await vi.waitUntil(() => viewer.seqs.length === last);
    expect(viewer.seqs).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  });

  it("a runner that is gone loses its run; the task says so and the next epoch serves the next one", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    const id = await subject.task();
    const run = await runner.start();
    await runner.acked();
    await subject.rpc.runnerGone(1, runner.spec.runner_id, "killed");
    expect(await subject.rpc.readTask(actor, id)).toMatchObject({ ok: true, value: { status: "failed", error: { code: "runner_lost" } } });
    expect(await runner.untilClosed()).toBe(CLOSE.stale);
    await subject.task();
    const next = await subject.runner(await subject.spawned(2));
    expect(next.spec.epoch).toBe(2);
    expect((await next.command("task.start")).run_id).not.toBe(run.run_id);
    await vi.waitUntil(() => subject.fakes.released.includes(1));
  });

  it("a runner that lost its journal is not let back in; one that lost only its tail is", async () => {
    const subject = await new Subject().create();
    const runner = await subject.runner();
    await subject.task();
    const run = await runner.start();
    runner.events(run, line("x"));
    runner.send({ type: "command.ack", up_to: 1 });
    await runner.acked();
    const shorter = await subject.dial(runner.spec);
    shorter.send(shorter.hello(2, { journal: { first: 2, last: 1 }, last_command: 1, run_id: run.run_id }));
    expect(await shorter.until((frame) => frame.type === "welcome")).toMatchObject({ last: 2 });
    const amnesiac = await subject.dial(runner.spec);
    amnesiac.send(amnesiac.hello());
    expect(await amnesiac.untilClosed()).toBe(CLOSE.stale);
    expect((await subject.log({ types: ["runner.lost"] })).length).toBe(1);
  });

  it("a pool and a tenant that fail are asked again by the alarm", async () => {
    const subject = new Subject();
    let failures = 2;
    const { lease } = subject.fakes;
    subject.fakes.lease = () => {
      if (failures-- > 0) throw new Error("overloaded");
      return lease();
    };
    await subject.create();
    await vi.waitUntil(
      async () => {
        await runDurableObjectAlarm(subject.object);
        return subject.fakes.spawns.length === 1;
      },
      { timeout: 5_000 },
    );
  });

  it("a host that is not there says so at once", async () => {
    const subject = new Subject();
    subject.fakes.lease = () => fail("bad_request", "selector: expected key=value");
    await subject.create();
    const id = await subject.task();
    await vi.waitUntil(async () => {
      const task = await subject.rpc.readTask(actor, id);
      return task.ok && task.value.status === "failed";
    });
    expect(await subject.rpc.readTask(actor, id)).toMatchObject({ ok: true, value: { error: { code: "host_unavailable", message: "selector: expected key=value" }, attempts: 1 } });
  });
});
