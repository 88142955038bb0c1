/** Owns what the session's tests inside the runtime share: fakes of the objects beside it, and clients of its two sockets. */

/// <reference types="@cloudflare/vitest-plugin/types" />

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import {
  newChildId, newId, objectFrame, ok, RUNNER_LINK_VERSION, sessionCreate, taskCreate, viewerFrame, type Command, type CommandBody, type Event, type EventItem, type ObjectFrame, type Result, type Resumed, type Session,
  type SessionCreate, unwrap,
  type Suspended, type SuspendStrategy, type Spawned, type SpawnSpec, type TaskCreate, type ViewerFrame,
} from "../../sdk/protocol/index.ts";
import { sessionStub, type Archive, type KeySafe, type ObjectsEnv } from "../ports.ts";
import type { Actor, BusEvent, LeaseAnswer, LeaseRequest, SessionRpc } from "../rpc.ts";
import type { SessionApi } from "./api.ts";
import type { Archiver } from "./archive.ts";
import type { Engine } from "./engine.ts";
import type { Neighbours } from "./neighbours.ts";
import type { Reader } from "./reader.ts";

const bindings = env as unknown as ObjectsEnv;
export const actor: Actor = { tenant_id: newId("tenant", 1), key_id: newId("key", 1), key_name: "test" };
export const stranger: Actor = { ...actor, tenant_id: newId("tenant", 2) };

/** Pool, host and tenant that remember what they were asked and answer as told. */
export class Fakes implements Neighbours {
  readonly hostId = newId("host", 1);
  readonly requests: LeaseRequest[] = [];
  readonly released: number[] = [];
  readonly idle: boolean[] = [];
  readonly spawns: SpawnSpec[] = [];
  readonly destroyed: string[] = [];
  readonly forgotten: string[] = [];
  readonly published: BusEvent[] = [];
  readonly closedStreams: string[] = [];
  readonly suspends: { runner_id: string; strategy: SuspendStrategy }[] = [];
  readonly resumes: string[] = [];
  readonly discarded: string[] = [];
  suspend: (strategy: SuspendStrategy) => Result<Suspended> = (strategy) => ok({ ok: true, strategy, detail: "" });
  resume: () => Result<Resumed> = () => ok({ ok: true });
  lease: () => Result<LeaseAnswer> = () => ok({ granted: true, host_id: this.hostId });
  spawn: () => Promise<Result<Spawned>> = async () => ok({ ok: true, provider: "process", sandbox: "process", isolation: "none" });

  pool() {
    return {
      request: async (request: LeaseRequest) => {
        this.requests.push(request);
        return this.lease();
      },
      release: async (_session: string, epoch: number) => void this.released.push(epoch),
      setIdle: async (_session: string, _epoch: number, idle: boolean) => void this.idle.push(idle),
    };
  }
  host() {
    return {
      spawn: async (spec: SpawnSpec) => {
        this.spawns.push(spec);
        return this.spawn();
      },
      destroy: async (runnerId: string) => void this.destroyed.push(runnerId),
      forget: async (sessionId: string) => void this.forgotten.push(sessionId),
      suspend: async (runnerId: string, strategy: SuspendStrategy) => {
        this.suspends.push({ runner_id: runnerId, strategy });
        return this.suspend(strategy);
      },
      resume: async (runnerId: string) => {
        this.resumes.push(runnerId);
        return this.resume();
      },
      discardFiles: async (sessionId: string) => void this.discarded.push(sessionId),
    };
  }
  tenant() {
    return { publish: async (_session: string, events: BusEvent[]) => void this.published.push(...events), closeStream: async (stream: string) => void this.closedStreams.push(stream), raiseBudget: async () => {} };
  }
}

/** What a test sees of the object from within. */
export interface SessionInside {
  neighbours: Neighbours;
  readonly engine: Engine;
  readonly api: SessionApi;
  readonly reader: Reader;
  readonly archiver: Archiver;
  archive: Archive | null;
  keySafe: KeySafe | null;
}

/** One session's object with fakes beside it. */
export class Subject {
  readonly id = newId("session", Date.now());
  readonly workspaceId = newId("workspace", Date.now());
  readonly fakes = new Fakes();
  /** Where its events go when it has ended; null: nowhere. */
  archive: Archive | null = null;
  /** What seals its model key while that waits; null: nothing. */
  keySafe: KeySafe | null = null;
  readonly stub = sessionStub(bindings, this.id);
  readonly object: DurableObjectStub = bindings.SESSIONS.get(bindings.SESSIONS.idFromName(this.id));

  get rpc(): SessionRpc {
    return this.stub;
  }
  /** Puts the fakes beside the object that is in memory now. */
  async inject(): Promise<void> {
    await runInDurableObject(this.object, (instance) => {
      (instance as unknown as SessionInside).neighbours = this.fakes;
      (instance as unknown as SessionInside).archive = this.archive;
      (instance as unknown as SessionInside).keySafe = this.keySafe;
    });
  }
  async create(input: Partial<SessionCreate> = {}): Promise<this> {
    await this.inject();
    const result = await this.rpc.create(actor, this.id, this.workspaceId, sessionCreate.parse({ agent: "example", ...input }));
    expect(result).toMatchObject({ ok: true });
    return this;
  }
  async task(input: Partial<TaskCreate> = {}): Promise<string> {
    const id = newChildId("task", this.id, Date.now());
    expect(await this.rpc.createTask(actor, id, taskCreate.parse({ prompt: "do it", ...input }))).toMatchObject({ ok: true });
    return id;
  }
  async evict(): Promise<void> {
    // An object that still sends its rows cannot be evicted yet; on a busy machine that may take a while.
    for (let tries = 1; ; tries++) {
      try {
        await evictDurableObject(this.object);
        break;
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
    await this.inject();
  }
  async log(query: Parameters<SessionRpc["readLog"]>[1] = {}): Promise<Event[]> {
    const page = await this.rpc.readLog(actor, { limit: 1_000, ...query });
    if (!page.ok) throw new Error(page.error.message);
    return page.value.events;
  }
  async session(): Promise<Session> {
    return unwrap(await this.rpc.read(actor));
  }
  /** Waits until the session has this status. */
  async is(status: Session["status"]): Promise<Session> {
    await vi.waitUntil(async () => (await this.session()).status === status, { timeout: 5_000 });
    return this.session();
  }
  async spawned(count = 1): Promise<SpawnSpec> {
    await vi.waitUntil(() => this.fakes.spawns.length >= count);
    return this.fakes.spawns[count - 1] as SpawnSpec;
  }
  /** A runner that has said hello and was welcomed. */
  async runner(spec?: SpawnSpec, version = RUNNER_LINK_VERSION): Promise<RunnerClient> {
    const runner = await this.dial(spec ?? (await this.spawned()));
    runner.send(runner.hello(version));
    await runner.until((frame) => frame.type === "welcome");
    return runner;
  }
  async dial(spec: SpawnSpec): Promise<RunnerClient> {
    const response = await this.stub.fetch("http://session/runner", { headers: { upgrade: "websocket", authorization: `Bearer ${spec.run_token}` } });
    if (!response.webSocket) throw new Error(`refused: ${response.status}`);
    return new RunnerClient(response.webSocket, spec);
  }
  async viewer(query = "", by: Actor = actor, stream?: string): Promise<ViewerClient> {
    const response = await this.stub.fetch(`http://session/viewer?${query}`, { headers: { upgrade: "websocket", "x-marionette-actor": JSON.stringify(by), ...(stream !== undefined && { "x-marionette-stream": stream }) } });
    if (!response.webSocket) throw new Error(`refused: ${response.status}`);
    return new ViewerClient(response.webSocket);
  }
}

class Client<Frame> {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  closed: number | null = null;

  constructor(socket: WebSocket, parse: (text: string) => Frame[]) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (data !== "pong") this.frames.push(...parse(data as string));
    });
    socket.addEventListener("close", ({ code }) => {
      this.closed = code;
    });
    socket.accept();
  }
  async until(match: (frame: Frame) => boolean): Promise<Frame> {
    await vi.waitUntil(() => this.frames.some(match), { timeout: 5_000 });
    return this.frames.find(match) as Frame;
  }
  async untilClosed(): Promise<number> {
    await vi.waitUntil(() => this.closed !== null, { timeout: 5_000 });
    return this.closed as number;
  }
}

export class RunnerClient extends Client<ObjectFrame> {
  readonly spec: SpawnSpec;
  journal = 0;

  constructor(socket: WebSocket, spec: SpawnSpec) {
    super(socket, (text) => [JSON.parse(text)].flat().map((frame) => objectFrame.parse(frame)));
    this.spec = spec;
  }
  send(frame: unknown): void {
    this.socket.send(JSON.stringify(frame));
  }
  hello(version = RUNNER_LINK_VERSION, more: object = {}) {
    const { session_id, runner_id, epoch } = this.spec;
    return { type: "hello", version, session_id, runner_id, epoch, journal: { first: 0, last: this.journal }, last_command: 0, run_id: null, ...more };
  }
  get commands(): Command[] {
    return this.frames.filter((frame) => frame.type === "command");
  }
  async command<K extends CommandBody["kind"]>(kind: K, count = 1): Promise<Extract<CommandBody, { kind: K }>> {
    const all = () => this.commands.map(({ body }) => body).filter((body) => body.kind === kind);
    await vi.waitUntil(() => all().length >= count, { timeout: 5_000 });
    return all()[count - 1] as Extract<CommandBody, { kind: K }>;
  }
  /** Journals and sends items of a run. */
  events(of: { task_id: string | null; run_id: string | null }, ...items: EventItem[]): void {
    this.send({ type: "events", from: this.journal + 1, task_id: of.task_id, run_id: of.run_id, items });
    this.journal += items.length;
  }
  async acked(): Promise<void> {
    await this.until((frame) => frame.type === "events.ack" && frame.up_to >= this.journal);
  }
  /** Takes the task that is given next and says that it runs. */
  async start(count = 1): Promise<{ task_id: string; run_id: string; prompt: string; conversation: string | null; attempt: number }> {
    const command = await this.command("task.start", count);
    this.events(command, status("running"));
    return command;
  }
}

export class ViewerClient extends Client<ViewerFrame> {
  constructor(socket: WebSocket) {
    super(socket, (text) => [viewerFrame.parse(JSON.parse(text)) as ViewerFrame]);
  }
  /** Numbers of all events so far, in the order in which they came. */
  get seqs(): number[] {
    return this.frames.flatMap((frame) => (frame.type === "events" ? (frame.seqs ?? frame.items.map((_, i) => frame.from + i)) : []));
  }
  get items(): EventItem[] {
    return this.frames.flatMap((frame) => (frame.type === "events" ? frame.items : []));
  }
}

const at = new Date(Date.UTC(2026, 10, 21)).toISOString();
export function line(text: string, stream: "stdout" | "stderr" = "stdout"): EventItem {
  return { at, type: "log", data: { stream, text } };
}
/** A capsule of one file. */
export function synced(capsule_id: string, why: "task_end" | "suspend" | "manual" = "task_end", left_out: { path: string; why: string }[] = []): EventItem {
  const tree = () => ({ manifest_id: newId("manifest", Date.now()), files: 1, bytes: 3, sent_bytes: 3 });
  return { at, type: "workspace.synced", data: { capsule_id, why, workspace: tree(), state: tree(), torn: false, left_out, duration_ms: 1 } };
}
export function restoredFrom(capsule_id: string | null): EventItem {
  const tree = { manifest_id: newId("manifest", Date.now()), files: 1, bytes: 3, sent_bytes: 0 };
  return { at, type: "workspace.restored", data: { capsule_id, workspace: tree, state: tree, kept: false, duration_ms: 1 } };
}
/** The runner ended its agent for a suspension. */
export function interrupted(conversation: string): EventItem {
  return { at, type: "run.status", data: { status: "canceled", error: { code: "suspended", message: "the session is suspended" }, conversation } };
}
export function status(status: "running" | "completed" | "failed" | "canceled" | "timeout" | "lost", more: { result?: string; conversation?: string } = {}): EventItem {
  return { at, type: "run.status", data: { status, ...more } };
}
export function ask(permissionId: string): EventItem {
  return { at, type: "permission.requested", data: { permission_id: permissionId, tool: "Bash", input: { command: "rm x" }, summary: "rm x", risk: "critical", reasons: ["deletes"], keys: null } };
}
