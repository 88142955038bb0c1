import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newWebSocketRpcSession } from "capnweb";
import { WebSocket } from "ws";
import type { Event, Marionette, Session } from "../../sdk/index.ts";
import { CLOSE, HOST_LINK_VERSION, MAX_LINK_BYTES, newId, newToken, RUNNER_LINK_VERSION, session as sessionSchema, viewerFrame, type HostDoor, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { apiOf } from "../support/api.ts";
import { patientClient, storedLog } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { runnerFrames } from "../support/frames.ts";
import { eventsOf, helloOf, logItem, RawRunner } from "../support/raw-runner.ts";
import { socketReader, sseReader } from "../support/readers.ts";
import { HOST_INFO, hostSocket, startSpecHost, type SpecHost } from "../support/spec-host.ts";
import { startStack, type Stack } from "../support/stack.ts";

let stack: Stack;
let client: Marionette;
let token: string;
let host: SpecHost;
beforeAll(async () => {
  stack = await startStack();
  client = patientClient(stack);
  ({ token } = await stack.admin.createRunnerToken(stack.tenantId, "spec host"));
  host = await startSpecHost(stack.url, token);
});
afterAll(async () => {
  host.close();
  await stack.close();
});

const at = () => new Date().toISOString();
const fieldsOf = (runner: RawRunner) => runner.next("error").then(({ error }) => Object.keys(error.details ?? {}));

/** A session that a runner of our own may serve. */
async function served(): Promise<{ session: Session; spec: SpawnSpec }> {
  const session = await client.sessions.create({ agent: "raw" });
  return { session, spec: await host.spec(session.id) };
}
/** An honest runner comes and does a task from its beginning to its end. */
async function worksOn({ session, spec }: { session: Session; spec: SpawnSpec }): Promise<void> {
  const runner = await RawRunner.welcomed(stack.url, spec);
  const { last } = await runner.next("welcome");
  const task = await client.tasks.create(session.id, { prompt: "honest work" });
  const run = await runner.command("task.start");
  expect(run.task_id).toBe(task.id);
  const end = { at: at(), type: "run.status", data: { status: "completed", exit_code: 0, result: "done" } };
  runner.send(eventsOf(last + 1, run, [{ at: at(), type: "run.status", data: { status: "running" } }, logItem("at work"), end]));
  await runner.acknowledged(last + 3);
  expect(await client.tasks.get(task.id)).toMatchObject({ status: "completed", result: "done" });
  runner.drop();
}

describe("a runner's door", () => {
  it("opens for the token of this session's runner of now, and for no other", async () => {
    const one = await served();
    const other = await served();
    const door = (key: string | null) => RawRunner.open(stack.url, one.session.id, key);
    for (const key of [null, "", "gtok_", newToken("run"), other.spec.run_token, stack.apiKey, token, stack.masterKey, `${one.spec.run_token}x`]) expect({ key, status: await door(key) }).toEqual({ key, status: 401 });
    expect(await RawRunner.open(stack.url, newId("session", Date.now()), one.spec.run_token)).toBe(401);
    for (const path of ["nonsense", "sess_", `${one.session.id}%00`, `../${one.session.id}/x`]) expect([400, 404]).toContain(await RawRunner.open(stack.url, path, one.spec.run_token));

    // The attachment ends; the next one's token is another.
    const link = await RawRunner.welcomed(stack.url, one.spec);
    await host.gone(one.spec);
    expect((await link.closed).code).toBe(CLOSE.stale);
    await client.tasks.create(one.session.id, { prompt: "for the next runner" });
    const next = await host.spec(one.session.id, 2);
    expect(await door(one.spec.run_token)).toBe(401);
    (await RawRunner.welcomed(stack.url, next)).drop();
  });

  it("a run token can do nothing at the API, least of all answer", async () => {
    const { session, spec } = await served();
    const runner = await RawRunner.welcomed(stack.url, spec);
    await client.tasks.create(session.id, { prompt: "asks" });
    const run = await runner.command("task.start");
    const permission = `perm_${session.id.slice(5)}${newId("session", Date.now()).slice(5)}`;
    const asked = { permission_id: permission, tool: "Bash", input: { command: "rm -rf /" }, summary: "rm -rf /", risk: "critical", reasons: ["it deletes"] };
    runner.send(eventsOf(1, run, [{ at: at(), type: "run.status", data: { status: "running" } }, { at: at(), type: "permission.requested", data: asked }]));
    await runner.acknowledged(2);
    const api = apiOf(stack.url, spec.run_token);
    for (const [method, path] of [
      ["POST", `/permissions/${permission}/approve`], ["POST", `/permissions/${permission}/deny`], ["GET", `/permissions/${permission}`], ["GET", `/sessions/${session.id}`],
      ["PATCH", `/sessions/${session.id}`], ["POST", `/sessions/${session.id}/tasks`], ["DELETE", `/sessions/${session.id}`], ["GET", "/events"],
    ] as const) expect({ path, status: (await api.request(method, path, method === "GET" || method === "DELETE" ? undefined : {})).status }).toEqual({ path, status: 401 });
    // Nor by its own link: an answer is no event of a runner's.
    runner.send(eventsOf(3, run, [{ at: at(), type: "permission.answered", data: { permission_id: permission, status: "approved", by: null, reason: null, scope: "once" } }]));
    expect(await fieldsOf(runner)).toContain("items.0.type");
    expect((await runner.closed).code).toBe(CLOSE.protocol);
    expect((await client.permissions.get(permission)).status).toBe("pending");
    await client.sessions.terminate(session.id);
  });

  it("closes on every message that no honest runner sends, names the field, and writes nothing", async () => {
    const place = await served();
    const { session, spec } = place;
    (await RawRunner.welcomed(stack.url, spec)).drop();
    const before = await eventually("the runner's coming is logged", async () => {
      const log = await storedLog(client, session.id);
      return log.some(({ type }) => type === "runner.attached") && log;
    });
    const hello = helloOf(spec);
    const line = eventsOf(1, null, [logItem("x")]);
    const messages: { name: string; data: string | Buffer; field: string; code?: number; first?: true }[] = [
      // An array is a message of several frames here.
      ...runnerFrames.flatMap(({ name, frame, field }) => (field === undefined || Array.isArray(frame) ? [] : [{ name, data: JSON.stringify(frame), field }])),
      { name: "bytes", data: Buffer.from([0, 1, 2, 255]), field: "frame" },
      { name: "no JSON", data: '{"type":', field: "frame" },
      { name: "no text at all", data: "", field: "frame" },
      { name: "5 MiB", data: "x".repeat(5 * 1024 * 1024), field: "frame" },
      { name: "a little more than may be", data: JSON.stringify(eventsOf(1, null, [logItem("x".repeat(MAX_LINK_BYTES))])), field: "frame" },
      { name: "an unpaired surrogate in a field's name", data: '{"type":"command.ack","up_to":0,"\\ud800":1}', field: "\ud800" },
      { name: "__proto__ beside the fields", data: '{"type":"command.ack","up_to":0,"__proto__":{"admin":true}}', field: "__proto__" },
      { name: "a number past every number", data: '{"type":"command.ack","up_to":1e999}', field: "up_to" },
      { name: "hello twice", data: JSON.stringify(hello), field: "type" },
      { name: "a gap", data: JSON.stringify({ ...line, from: 3 }), field: "from" },
      { name: "the other way round", data: JSON.stringify([{ ...line, from: 2 }, line]), field: "from" },
      { name: "a run of nobody's", data: JSON.stringify(eventsOf(1, { task_id: `task_${session.id.slice(5).repeat(2)}`, run_id: `trun_${session.id.slice(5).repeat(2)}` }, [logItem("x")])), field: "run_id" },
      { name: "events before hello", data: JSON.stringify(line), field: "type", first: true },
      { name: "an acknowledgement before hello", data: JSON.stringify({ type: "command.ack", up_to: 0 }), field: "type", first: true },
      { name: "hello of version 0", data: JSON.stringify({ ...hello, version: 0 }), field: "version", code: CLOSE.version, first: true },
      { name: "hello of version 99", data: JSON.stringify({ ...hello, version: 99 }), field: "version", code: CLOSE.version, first: true },
      { name: "hello of version 1.5", data: JSON.stringify({ ...hello, version: 1.5 }), field: "version", first: true },
      { name: "hello of a later epoch", data: JSON.stringify({ ...hello, epoch: spec.epoch + 1 }), field: "epoch", code: CLOSE.stale, first: true },
      { name: "hello of another session", data: JSON.stringify({ ...hello, session_id: newId("session", 1) }), field: "session_id", first: true },
      { name: "hello of another runner", data: JSON.stringify({ ...hello, runner_id: newId("runner", 1) }), field: "runner_id", code: CLOSE.stale, first: true },
    ];
    for (const { name, data, field, code = CLOSE.protocol, first } of messages) {
      const runner = first ? await RawRunner.of(stack.url, spec) : await RawRunner.welcomed(stack.url, spec);
      runner.sendAsItIs(data);
      const closed = await runner.closed;
      const told = runner.frames.flatMap((frame) => (frame.type === "error" ? [...Object.keys(frame.error.details ?? {}), frame.error.message] : []));
      expect({ name, code: closed.code, told, named: told.some((text) => text.includes(field)) }).toEqual({ name, code, told, named: true });
    }
    expect(await storedLog(client, session.id)).toEqual(before);
    await worksOn(place);
  });

  it("understands the version before, and drops what it has seen", async () => {
    const { session, spec } = await served();
    const runner = await RawRunner.welcomed(stack.url, spec, { version: RUNNER_LINK_VERSION - 1 });
    expect((await runner.next("welcome")).version).toBe(RUNNER_LINK_VERSION - 1);
    const frame = eventsOf(1, null, [logItem("one"), logItem("two"), logItem("three")]);
    for (let i = 0; i < 20; i++) runner.send(frame);
    runner.send(eventsOf(2, null, [logItem("two"), logItem("three"), logItem("four")]));
    await runner.acknowledged(4);
    runner.drop();
    const again = await RawRunner.welcomed(stack.url, spec, { journal: { first: 1, last: 4 } });
    expect((await again.next("welcome")).last).toBe(4);
    again.send(eventsOf(1, null, ["one", "two", "three", "four", "five"].map(logItem)));
    await again.acknowledged(5);
    const texts = (await storedLog(client, session.id)).flatMap((event) => (event.type === "log" ? [event.data.text] : []));
    expect(texts).toEqual(["one", "two", "three", "four", "five"]);
    again.drop();
  });
});

describe("a host's door", () => {
  it("opens for runner tokens only, and gives nobody another's host", async () => {
    const { spec } = await served();
    const stranger = await stack.tenant("stranger");
    const foreign = await stack.admin.createRunnerToken(stranger.tenantId, "foreign");
    for (const key of [newToken("runner"), "rtok_", stack.apiKey, spec.run_token, stack.masterKey]) await expect(hostSocket(stack.url, key)).rejects.toThrow("401");
    await expect(hostSocket(stack.url, token, "?host_id=nonsense")).rejects.toThrow("400");
    const other = await startSpecHost(stack.url, foreign.token, `?host_id=${host.id}`);
    expect(other.id).not.toBe(host.id);
    expect((await apiOf(stack.url, stranger.apiKey).request("GET", `/hosts/${host.id}`)).status).toBe(404);
    expect(await client.hosts.get(host.id)).toMatchObject({ status: "online" });
    other.close();
  });

  it("survives garbage, giants and lies, and the honest host beside it notices nothing", async () => {
    const deep = `["push",${"[".repeat(50_000)}${"]".repeat(50_000)}]`;
    for (const data of ["garbage", "{}", "[]", '["push"]', '["push",["import",-1]]', '["push",["pipeline",0,["__proto__"],[]]]', '["release",99,1]', '["abort"]', deep, Buffer.from([1, 2, 3]), "x".repeat(20 * 1024 * 1024)]) {
      const socket = await hostSocket(stack.url, token);
      socket.on("error", () => {});
      const closed = once(socket, "close");
      socket.send(data);
      // What is no fault by itself is followed by one.
      socket.send("not even JSON");
      await closed;
    }
    const lies: ((door: HostDoor) => Promise<unknown>)[] = [
      (door) => door.report({ runner_id: newId("runner", 1), session_id: newId("session", 1), epoch: 1, provider: "process", sandbox: null, isolation: null, state: "exited", exit_code: 0, reason: null }),
      (door) => door.update(HOST_INFO),
      (door) => door.hello({ version: 99, info: HOST_INFO, runners: [] }, {} as never),
      (door) => door.hello({ version: HOST_LINK_VERSION, info: HOST_INFO, runners: [] }, {} as never),
      (door) => door.hello({ version: HOST_LINK_VERSION, info: { ...HOST_INFO, cpus: -1 }, runners: [] }, {} as never),
      (door) => (door as unknown as { greet(): Promise<void> }).greet(),
    ];
    for (const lie of lies) {
      const socket = await hostSocket(stack.url, token);
      socket.on("error", () => {});
      await expect(lie(newWebSocketRpcSession<HostDoor>(socket as unknown as globalThis.WebSocket))).rejects.toThrow(/./);
      socket.terminate();
    }
    await worksOn(await served());
  });

  it("cannot speak for runners that are not its own", async () => {
    const { session, spec } = await served();
    const runner = await RawRunner.welcomed(stack.url, spec);
    const thief = await startSpecHost(stack.url, token);
    await thief.gone(spec);
    thief.close();
    expect((await client.sessions.get(session.id)).runner).toMatchObject({ id: spec.runner_id, state: "connected" });
    runner.drop();
  });
});

describe("a viewer's socket", () => {
  async function view(sessionId: string, query = "", onMessage: (data: Buffer) => void = () => {}): Promise<WebSocket> {
    const socket = new WebSocket(`${stack.url.replace(/^http/, "ws")}/api/v1/sessions/${sessionId}/events${query}`, { headers: { authorization: `Bearer ${stack.apiKey}` }, perMessageDeflate: false });
    // Before it is open: the first message may come in the same read as the upgrade's answer.
    socket.on("message", onMessage);
    await once(socket, "open");
    return socket;
  }

  it("that says what it may not is told so and closed", async () => {
    const { id } = await client.sessions.create({ agent: "raw" });
    const bus = new URL(`${stack.url.replace(/^http/, "ws")}/api/v1/events`);
    for (const [query, data] of [
      ["", "garbage"], ["", '{"type":"ack","seq":1}'], ["?flow=1", '{"type":"ack","seq":1e308}'], ["?flow=1", '{"type":"ack","seq":999999}'], ["?flow=1", '{"type":"ack","seq":-1}'],
      ["?flow=1", '{"type":"ack"}'], ["?flow=1", "null"], ["?flow=1", "x".repeat(2 * 1024 * 1024)], ["?flow=1", Buffer.from([0])],
    ] as const) {
      const socket = await view(id, query);
      const frames: string[] = [];
      socket.on("message", (text: Buffer) => frames.push(text.toString()));
      socket.send(data);
      const [code] = (await once(socket, "close")) as [number];
      expect({ data: String(data).slice(0, 40), code, told: frames.some((text) => text.includes('"type":"error"')) }).toEqual({ data: String(data).slice(0, 40), code: CLOSE.protocol, told: true });

      const listener = new WebSocket(bus, { headers: { authorization: `Bearer ${stack.apiKey}` }, perMessageDeflate: false });
      await once(listener, "open");
      listener.send(data);
      expect(((await once(listener, "close")) as [number])[0]).toBe(CLOSE.protocol);
    }
  });

  it("that does not keep up is sent a window and no more, while others get 200,000 events and memory stays bounded", async () => {
    const { session, spec } = await served();
    const runner = await RawRunner.welcomed(stack.url, spec);
    let taken = 0;
    const seqs: number[] = [];
    const slow = await view(session.id, "?flow=1", (data) => {
      taken += data.length;
      const frame = viewerFrame.parse(JSON.parse(data.toString()));
      if (frame.type === "events") for (let i = 0; i < frame.items.length; i++) seqs.push(frame.seqs?.[i] ?? frame.from + i);
    });
    // A second one asks over SSE and never reads.
    const stuck = new AbortController();
    await fetch(`${stack.url}/api/v1/sessions/${session.id}/events?follow=true`, { headers: { authorization: `Bearer ${stack.apiKey}`, accept: "text/event-stream" }, signal: stuck.signal });
    let fastest = 0;
    let orderly = true;
    const onEvent = ({ seq }: Event) => {
      orderly &&= seq === fastest + 1;
      fastest = seq;
    };
    const place = { url: stack.url, apiKey: stack.apiKey, sessionId: session.id };
    const fast = socketReader({ ...place, onEvent });
    const beside = await served();
    const before = rss();
    const line = logItem("y".repeat(120));
    const items = Array.from({ length: 1_000 }, () => line);
    for (let frame = 0; frame < 200; frame++) {
      runner.send(eventsOf(frame * 1_000 + 1, null, items));
      if (frame % 10 === 9) await runner.acknowledged((frame - 8) * 1_000);
      // The other session answers all the while.
      if (frame === 100) await worksOn(beside);
    }
    await runner.acknowledged(200_000);
    await eventually("the reader that keeps up has all", () => fastest >= 200_000);
    expect(orderly).toBe(true);
    expect(taken).toBeLessThan(6 * 1024 * 1024);
    // 42 MB of events went by: none of it may be held for those who do not read.
    expect(rss() - before).toBeLessThan(250 * 1024 * 1024);

    // As it acknowledges, it gets the rest.
    const { last_seq } = await client.sessions.get(session.id);
    let acknowledged = 0;
    await eventually("the slow one has all", () => {
      const last = seqs.at(-1) ?? 0;
      if (last > acknowledged) slow.send(JSON.stringify({ type: "ack", seq: (acknowledged = last) }));
      return last >= last_seq;
    });
    expect(seqs.findIndex((seq, i) => seq !== i + 1)).toBe(-1);
    stuck.abort();
    slow.terminate();
    fast.stop();
    runner.drop();
    const late = sseReader({ ...place });
    await client.sessions.terminate(session.id);
    await late.ended;
    expect(late.events.length).toBeGreaterThanOrEqual(last_seq);
    expect(await stack.api.get(`/sessions/${session.id}`, sessionSchema)).toMatchObject({ status: "terminated" });
  });

  /** Resident bytes of workerd. */
  function rss(): number {
    const status = readFileSync(`/proc/${stack.controlPlane.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  }
});
