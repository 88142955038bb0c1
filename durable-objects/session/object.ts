/** Owns the wiring of the SessionObject: constructor, fetch, RPC, sockets, alarm. */

import { DurableObject } from "cloudflare:workers";
import {
  ERRORS, fail, invalid, logQuery, type Attachment, type BudgetNotice, type Capsule, type CapsuleAsked, type ErrorCode, type LogQuery, type Page, type Permission, type PermissionApprove, type PermissionDeny, type Result, type Run, type Schedule, type ScheduleCreate, type SchedulePatch, type Session, type SessionCreate,
  type SessionPatch, type SessionResume, type SessionSuspend, type Task, type TaskCreate,
} from "../../sdk/protocol/index.ts";
import type { StoredAttachment } from "../attachment-rpc.ts";
import { earliest } from "../base/deadlines.ts";
import { answerClose } from "../base/sockets.ts";
import type { CallGrant, GatewayClaim } from "../model-rpc.ts";
import type { Archive, KeySafe, ObjectsEnv, PortsOf } from "../ports.ts";
import type { Actor, ForkSource, LogPage, RunClaim, SessionOrigin, SessionRpc } from "../rpc.ts";
import type { ScheduleIds } from "../schedule-rpc.ts";
import { SessionApi } from "./api.ts";
import type { CallReport, ModelCall, Via } from "./budget.ts";
import { Archiver } from "./archive.ts";
import { Engine } from "./engine.ts";
import { Gateway } from "./gateway.ts";
import { Caller, neighboursOf, type Neighbours } from "./neighbours.ts";
import { Outbox } from "./outbox.ts";
import { Reader } from "./reader.ts";
import { RUNNER_TAG, RunnerLink } from "./runner-link.ts";
import { ScheduleApi } from "./schedule-api.ts";
import { Shelf } from "./shelf.ts";
import { Viewers } from "./viewers.ts";
import { WaitingKey } from "./waiting-key.ts";

/** The class to export from the worker's entry; `portsOf` gives it what lies above it, `neighbours` the objects beside it. */
export function sessionObject<Env extends ObjectsEnv>(portsOf: PortsOf<Env>, neighbours: (env: Env) => Neighbours = neighboursOf) {
  return class SessionObject extends DurableObject<Env> implements SessionRpc {
    /** The objects that this one calls; a test puts its own here. */
    neighbours: Neighbours;
    /** Where its events go when it has ended; a test puts its own here, too. */
    archive: Archive | null;
    /** What seals a model key that waits; a test puts its own here, too. */
    keySafe: KeySafe | null;
    readonly engine: Engine;
    readonly outbox: Outbox;
    readonly api: SessionApi;
    readonly schedule: ScheduleApi;
    readonly reader: Reader;
    readonly archiver: Archiver;
    readonly #caller: Caller;
    readonly #gateway: Gateway;
    readonly #link: RunnerLink;
    readonly #viewers: Viewers;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      this.neighbours = neighbours(env);
      const waitUntil = (work: Promise<unknown>) => ctx.waitUntil(work);
      const engine = new Engine(ctx.storage);
      this.engine = engine;
      const { projection, archive = null, modelCalls, keySafe = null } = portsOf(env);
      this.keySafe = keySafe;
      this.archive = archive;
      const shelf = new Shelf(engine.history, () => this.archive, () => engine.state.session && { tenant_id: engine.state.session.tenant_id, session_id: engine.state.session.id });
      this.reader = new Reader(engine, shelf);
      this.archiver = new Archiver(engine, () => this.archive);
      this.#viewers = new Viewers(ctx, engine, shelf, (stream) => waitUntil(this.#freeStream(stream)));
      this.#link = new RunnerLink(ctx, engine);
      this.#caller = new Caller(engine, () => this.neighbours, new WaitingKey(ctx.storage.sql, () => this.keySafe), waitUntil, Boolean(env.MARIONETTE_ANTHROPIC_API_KEY || env.MARIONETTE_OPENAI_API_KEY));
      this.outbox = new Outbox(engine, projection, () => this.neighbours, waitUntil);
      this.#gateway = new Gateway(engine, modelCalls, waitUntil);
      this.api = new SessionApi(engine, this.#caller);
      this.schedule = new ScheduleApi(engine);
      engine.otherDeadline = () => earliest(this.outbox.deadline, this.#link.deadline, this.archiver.deadline, this.#gateway.deadline);
      if (!engine.state.session) return;
      if (env.MARIONETTE_LOG_LEVEL === "debug") console.log(JSON.stringify({ level: "debug", event: "session.woken", session: engine.state.session.id }));
      engine.feed({ type: "woken", linked: this.#link.linked });
      this.#viewers.resume();
      this.outbox.resume();
      this.#gateway.resume();
      this.archiver.resume();
    }

    override async fetch(request: Request): Promise<Response> {
      const url = new URL(request.url);
      if (url.pathname.endsWith("/runner")) return this.#link.accept(request);
      if (!url.pathname.endsWith("/viewer")) return refuse("not_found", "no such door");
      const actor = actorOf(request.headers.get("x-marionette-actor"));
      if (!actor || !this.api.read(actor).ok) return refuse("not_found", "no session of that id");
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return refuse("bad_request", "expected a WebSocket upgrade");
      const { searchParams: query } = url;
      const lists = Object.fromEntries(["types", "stream"].filter((name) => query.has(name)).map((name) => [name, query.getAll(name)]));
      const parsed = logQuery.safeParse({ ...Object.fromEntries(query), ...lists });
      if (!parsed.success) return Response.json({ error: invalid(parsed.error, "query").toBody() }, { status: ERRORS.bad_request.status });
      if (parsed.data.task_id !== undefined && !this.api.readTask(actor, parsed.data.task_id).ok) return refuse("not_found", "no task of that id");
      return this.#viewers.accept(parsed.data, query.get("flow") === "1", request.headers.get("x-marionette-stream"));
    }

    override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
      if (this.#isRunner(socket)) this.#link.message(socket, message);
      else this.#viewers.message(socket, message);
    }
    override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
      if (this.#isRunner(socket)) this.#link.closed(socket, code);
      else this.#viewers.closed(socket);
      answerClose(socket, code);
    }
    override async webSocketError(socket: WebSocket): Promise<void> {
      await this.webSocketClose(socket, 1006);
    }
    override async alarm(): Promise<void> {
      const now = Date.now();
      this.engine.ring(() => {
        this.outbox.ring(now);
        this.#gateway.ring(now);
        this.#link.ring(now);
      });
      await this.archiver.ring(now);
      this.engine.setAlarm();
    }

    /** The tenant counts open streams; a place that is not given back expires there. */
    async #freeStream(stream: string): Promise<void> {
      const tenant = this.engine.state.session?.tenant_id;
      if (tenant) await this.neighbours.tenant(tenant).closeStream(stream).catch(() => {});
    }
    #isRunner(socket: WebSocket): boolean {
      return this.ctx.getTags(socket).includes(RUNNER_TAG);
    }

    async create(actor: Actor, id: string, workspaceId: string, input: SessionCreate, origin?: SessionOrigin): Promise<Result<Session>> {
      return this.api.create(actor, id, workspaceId, input, origin);
    }
    async read(actor: Actor): Promise<Result<Session>> {
      return this.api.read(actor);
    }
    async update(actor: Actor, patch: SessionPatch): Promise<Result<Session>> {
      return this.api.update(actor, patch);
    }
    async terminate(actor: Actor): Promise<Result<Session>> {
      return this.api.terminate(actor);
    }
    async suspend(actor: Actor, input: SessionSuspend): Promise<Result<Session>> {
      return this.api.suspend(actor, input);
    }
    async resume(actor: Actor, input: SessionResume): Promise<Result<Session>> {
      return this.api.resume(actor, input);
    }
    async pauseRunner(actor: Actor, runnerId: string): Promise<Result<Session>> {
      return this.api.changeRunner(actor, runnerId, "pause");
    }
    async resumeRunner(actor: Actor, runnerId: string): Promise<Result<Session>> {
      return this.api.changeRunner(actor, runnerId, "resume");
    }
    async drainRunner(actor: Actor, runnerId: string): Promise<Result<Session>> {
      return this.api.changeRunner(actor, runnerId, "drain");
    }
    async workspaceRestored(actor: Actor, manifestId: string): Promise<Result<Session>> {
      return this.api.workspaceRestored(actor, manifestId);
    }
    async takeCapsule(actor: Actor, capsuleId: string): Promise<Result<CapsuleAsked>> {
      return this.api.capsules.take(actor, capsuleId);
    }
    async listCapsules(actor: Actor, query: { limit: number; offset: number }): Promise<Result<Page<Capsule>>> {
      return this.api.capsules.list(actor, query);
    }
    async readCapsule(actor: Actor, capsuleId: string): Promise<Result<Capsule>> {
      return this.api.capsules.read(actor, capsuleId);
    }
    async forkSource(actor: Actor, at: Parameters<SessionRpc["forkSource"]>[1]): Promise<Result<ForkSource>> {
      return this.api.capsules.fork(actor, at);
    }
    async createTask(actor: Actor, taskId: string, input: TaskCreate): Promise<Result<Task>> {
      return this.api.createTask(actor, taskId, input);
    }
    async addAttachment(actor: Actor, image: Attachment): Promise<Result<Attachment>> {
      return this.api.images.add(actor, image);
    }
    async readAttachment(actor: Actor, id: string): Promise<Result<StoredAttachment>> {
      return this.api.images.read(actor, id);
    }
    async readTask(actor: Actor, taskId: string): Promise<Result<Task>> {
      return this.api.readTask(actor, taskId);
    }
    async readRuns(actor: Actor, taskId: string): Promise<Result<Run[]>> {
      return this.api.readRuns(actor, taskId);
    }
    async cancelTask(actor: Actor, taskId: string): Promise<Result<Task>> {
      return this.api.changeTask(actor, taskId, "task.cancel");
    }
    async retryTask(actor: Actor, taskId: string): Promise<Result<Task>> {
      return this.api.changeTask(actor, taskId, "task.retry");
    }
    async executeTask(actor: Actor, taskId: string): Promise<Result<Task>> {
      return this.api.changeTask(actor, taskId, "task.execute");
    }
    async readPermission(actor: Actor, permissionId: string): Promise<Result<Permission>> {
      return this.api.readPermission(actor, permissionId);
    }
    async approvePermission(actor: Actor, permissionId: string, input: PermissionApprove): Promise<Result<Permission>> {
      return this.api.answer(actor, permissionId, "approved", input);
    }
    async denyPermission(actor: Actor, permissionId: string, input: PermissionDeny): Promise<Result<Permission>> {
      return this.api.answer(actor, permissionId, "denied", input);
    }
    async readLog(actor: Actor, query: LogQuery): Promise<Result<LogPage>> {
      return this.reader.page(actor, query);
    }
    async readHistory(actor: Actor): ReturnType<SessionRpc["readHistory"]> {
      return this.reader.history(actor);
    }
    async readBlock(actor: Actor, block: number): ReturnType<SessionRpc["readBlock"]> {
      return this.reader.block(actor, block);
    }
    async checkRun(tokenHash: string): Promise<Result<RunClaim>> {
      return this.api.checkRun(tokenHash);
    }

    async createSchedule(actor: Actor, ids: ScheduleIds, input: ScheduleCreate, origin?: { manifest_id: string }): Promise<Result<Schedule>> {
      return this.schedule.create(actor, ids, input, origin);
    }
    async readSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
      return this.schedule.read(actor, id);
    }
    async updateSchedule(actor: Actor, id: string, patch: SchedulePatch): Promise<Result<Schedule>> {
      return this.schedule.update(actor, id, patch);
    }
    async pauseSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
      return this.schedule.change(actor, id, "schedule.pause");
    }
    async resumeSchedule(actor: Actor, id: string): Promise<Result<Schedule>> {
      return this.schedule.change(actor, id, "schedule.resume");
    }
    async triggerSchedule(actor: Actor, id: string, taskId: string): Promise<Result<Task>> {
      return this.schedule.trigger(actor, id, taskId);
    }
    async deleteSchedule(actor: Actor, id: string, keepSession: boolean): Promise<Result<Schedule>> {
      return this.schedule.delete(actor, id, keepSession);
    }

    async claimGateway(tokenHash: string): Promise<Result<GatewayClaim>> {
      return this.#gateway.claim(tokenHash);
    }
    async openCall(tokenHash: string, call: ModelCall): Promise<Result<CallGrant>> {
      return this.#gateway.open(tokenHash, call);
    }
    async keepCall(callId: string, via?: Via): Promise<void> {
      this.#gateway.keep(callId, via ?? null);
    }
    async settleCall(report: CallReport, notices: BudgetNotice[]): Promise<void> {
      this.#gateway.settle(report, notices);
    }
    async refuseCall(callId: string, notice: BudgetNotice, ask: boolean): Promise<void> {
      this.#gateway.refuse(callId, notice, ask);
    }

    async leaseGranted(epoch: number, hostId: string): Promise<void> {
      await this.#caller.granted(epoch, hostId);
    }
    async leaseQueued(epoch: number, reason: string): Promise<void> {
      this.engine.feed({ type: "lease.queued", epoch, reason });
    }
    async leaseWanted(epoch: number): Promise<void> {
      this.engine.feed({ type: "lease.wanted", epoch });
    }
    async runnerGone(epoch: number, runnerId: string, reason: string): Promise<void> {
      this.engine.feed({ type: "runner.gone", epoch, runner_id: runnerId, reason });
    }
  };
}

/** Who looks, as the worker says: only it can reach this object. */
function actorOf(header: string | null): Actor | null {
  try {
    return header === null ? null : (JSON.parse(header) as Actor);
  } catch {
    return null;
  }
}
function refuse(code: ErrorCode, message: string): Response {
  return Response.json({ error: fail(code, message).error }, { status: ERRORS[code].status });
}
