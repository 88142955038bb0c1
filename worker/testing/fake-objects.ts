/** Owns objects that live in memory, for tests of the doors: they remember, answer and stream, and can be made to fail. */

import type { StoredAttachment, Actor, ForkSource, Admission, BusPage, HostRpc, IdempotencyAnswer, LogPage, ObjectsEnv, RunClaim, SessionOrigin, SessionRpc, TenantRpc } from "../../durable-objects/index.ts";
import {
  fail, newBody, newChildId, newId, ok,
  sessionCreate, type Attachment, type AudioPiece, type Browsed, type Capsule, type CapsuleAsked, type Event, type EventItem, type FileContent, type FileEntry, type Host, type Limits, type LogQuery, type Page, type Permission, type PermissionApprove, type PermissionDeny, type Result, type Run, type Session, type SessionCreate, type SessionPatch, type SessionSuspend,
  type Task, type TaskCreate, type TranscribeAnswer,
} from "../../sdk/protocol/index.ts";
import { FakeBudgets } from "./fake-gateway.ts";
import { FakeSchedules } from "./fake-schedules.ts";
import { FakeStorage } from "./fake-storage.ts";

const noUsage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null };
const NOT_HERE = fail("not_found", "Nothing of that id here");

/** A socket pair whose far end the test holds. */
function socket(): { response: Response; server: WebSocket } {
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  return { response: new Response(null, { status: 101, webSocket: client }), server };
}

type SessionCalls = Omit<SessionRpc, "leaseGranted" | "leaseQueued" | "leaseWanted" | "runnerGone">;

/** A session that does nothing by itself: tests put events and permissions into it. */
export class FakeSession extends FakeSchedules implements SessionCalls {
  session: Session | null = null;
  readonly tasks = new Map<string, Task>();
  readonly permissions = new Map<string, Permission>();
  readonly log: Event[] = [];
  /** Hash of the run token that is good now. */
  runHash: string | null = null;
  readonly viewers: { server: WebSocket; url: URL; headers: Headers; got: unknown[]; closed: boolean }[] = [];
  ended = false;

  #mine(actor: Actor): Session | null {
    return this.session?.tenant_id === actor.tenant_id ? this.session : null;
  }
  #change(actor: Actor, change: (session: Session) => Partial<Session>): Result<Session> {
    const session = this.#mine(actor);
    if (!session) return NOT_HERE;
    this.session = { ...session, ...change(session), version: session.version + 1 };
    return ok(this.session);
  }
  async create(actor: Actor, id: string, workspaceId: string, input: SessionCreate, origin?: SessionOrigin): Promise<Result<Session>> {
    const { agent, labels, pool, runner_lifecycle, edit_mode, rules, keep_raw, lifecycle_mode, idle_timeout_seconds, suspend_after_seconds, retention_days } = input;
    const at = new Date().toISOString();
    this.session ??= {
      id, tenant_id: actor.tenant_id, name: input.name ?? null, agent, model: input.model ?? null, labels, status: "pending", status_reason: null, pool, provider: null, selector: null, workspace_id: workspaceId, directory: input.directory ?? null, host_id: null,
      runner_lifecycle, edit_mode, rules, env_names: Object.keys(input.env), has_api_key: input.api_key !== undefined, keep_raw,
      lifecycle_mode, idle_timeout_seconds, suspend_after_seconds, suspend_strategy: null, workspace_quota_mb: null, retention_days, suspension: null, interrupted: false, capsule_id: null,
      forked_from: origin && "capsule" in origin ? { session_id: origin.capsule.session_id, capsule_id: origin.capsule.id, seq: origin.capsule.seq } : null,
      runner: null, task_id: null, queued_tasks: 0, pending_permissions: 0, usage: noUsage, last_seq: 0,
      created_at: at, updated_at: at, ended_at: null, version: 1,
    };
    return this.#mine(actor) ? ok(this.session) : NOT_HERE;
  }
  async read(actor: Actor): Promise<Result<Session>> {
    const session = this.#mine(actor);
    return session ? ok(session) : NOT_HERE;
  }
  async update(actor: Actor, { name, labels }: SessionPatch): Promise<Result<Session>> {
    return this.#change(actor, () => ({ ...(name !== undefined && { name }), ...(labels && { labels }) }));
  }
  async terminate(actor: Actor): Promise<Result<Session>> {
    return this.#change(actor, () => ({ status: "terminated" }));
  }
  readonly capsules: Capsule[] = [];
  async suspend(actor: Actor, { strategy }: SessionSuspend): Promise<Result<Session>> {
    if (this.#mine(actor)?.status === "suspended") return fail("conflict", "the session is suspended already", { details: { status: "suspended", instead: ["resume"] } });
    const at = new Date().toISOString();
    return this.#change(actor, () => ({ status: "suspended", suspension: { strategy: strategy ?? "pause", cause: "requested", since: at, demoted_at: null, runner_id: null, host_id: null, capsule_id: null } }));
  }
  async resume(actor: Actor): Promise<Result<Session>> {
    return this.#change(actor, () => ({ status: "resuming", suspension: null }));
  }
  /** What was asked of runners. */
  readonly ofRunners: [string, string][] = [];
  async #ofRunner(actor: Actor, what: string, id: string): Promise<Result<Session>> {
    this.ofRunners.push([what, id]);
    return this.read(actor);
  }
  pauseRunner(actor: Actor, id: string): Promise<Result<Session>> {
    return this.#ofRunner(actor, "pause", id);
  }
  resumeRunner(actor: Actor, id: string): Promise<Result<Session>> {
    return this.#ofRunner(actor, "resume", id);
  }
  drainRunner(actor: Actor, id: string): Promise<Result<Session>> {
    return this.#ofRunner(actor, "drain", id);
  }
  readonly chosen: string[] = [];
  async workspaceRestored(actor: Actor, manifestId: string): Promise<Result<Session>> {
    this.chosen.push(manifestId);
    return this.read(actor);
  }
  async takeCapsule(actor: Actor, id: string): Promise<Result<CapsuleAsked>> {
    const session = this.#mine(actor);
    if (session?.status === "suspended") return fail("conflict", "the session is suspended");
    return session ? ok({ id, session_id: session.id, seq: session.last_seq }) : NOT_HERE;
  }
  async listCapsules(actor: Actor, { limit, offset }: { limit: number; offset: number }): Promise<Result<Page<Capsule>>> {
    return this.#mine(actor) ? ok({ items: this.capsules.slice(offset, offset + limit), total: this.capsules.length, limit, offset, next_cursor: null }) : NOT_HERE;
  }
  async readCapsule(actor: Actor, id: string): Promise<Result<Capsule>> {
    const capsule = this.#mine(actor) && this.capsules.find((other) => other.id === id);
    return capsule ? ok(capsule) : NOT_HERE;
  }
  async forkSource(actor: Actor): Promise<Result<ForkSource>> {
    const session = this.#mine(actor);
    if (!session) return NOT_HERE;
    const [capsule] = this.capsules;
    if (!capsule) return fail("conflict", "the session has no capsule yet", { details: { points: [] } });
    return ok({ capsule, needs_key: session.has_api_key, input: sessionCreate.parse({ agent: session.agent, labels: session.labels }) });
  }
  async createTask(actor: Actor, taskId: string, input: TaskCreate): Promise<Result<Task>> {
    const session = this.#mine(actor);
    if (!session) return NOT_HERE;
    const made: Task = this.tasks.get(taskId) ?? {
      id: taskId, session_id: session.id, tenant_id: session.tenant_id, status: "pending", prompt: input.prompt, timeout_seconds: input.timeout_seconds, max_retries: input.max_retries, continue_from: input.continue_from ?? null,
      labels: input.labels, attempts: 0, run_id: null, result: null, exit_code: null, error: null, usage: null, waiting_for: null, conversation: null, next_attempt_at: null, created_at: new Date().toISOString(), started_at: null,
      ended_at: null, version: 1,
    };
    this.tasks.set(taskId, made);
    return ok(made);
  }
  readonly images = new Map<string, Attachment>();
  async addAttachment(actor: Actor, attachment: Attachment): Promise<Result<Attachment>> {
    if (!this.#mine(actor)) return NOT_HERE;
    this.images.set(attachment.id, attachment);
    return ok(attachment);
  }
  async readAttachment(actor: Actor, id: string): Promise<Result<StoredAttachment>> {
    const session = this.#mine(actor);
    const attachment = session && this.images.get(id);
    return attachment ? ok({ attachment, workspace_id: session.workspace_id }) : NOT_HERE;
  }
  async readTask(actor: Actor, taskId: string): Promise<Result<Task>> {
    const task = this.#mine(actor) && this.tasks.get(taskId);
    return task ? ok(task) : NOT_HERE;
  }
  async readRuns(actor: Actor, taskId: string): Promise<Result<Run[]>> {
    const task = await this.readTask(actor, taskId);
    return task.ok ? ok([]) : task;
  }
  async cancelTask(actor: Actor, taskId: string): Promise<Result<Task>> {
    const task = await this.readTask(actor, taskId);
    if (!task.ok) return task;
    if (task.value.status === "canceled") return fail("conflict", "The task has ended", { details: { status: "canceled" } });
    this.tasks.set(taskId, { ...task.value, status: "canceled" });
    return this.readTask(actor, taskId);
  }
  retryTask(actor: Actor, taskId: string): Promise<Result<Task>> {
    return this.readTask(actor, taskId);
  }
  executeTask(actor: Actor, taskId: string): Promise<Result<Task>> {
    return this.readTask(actor, taskId);
  }
  async checkRun(tokenHash: string): Promise<Result<RunClaim>> {
    const { session } = this;
    if (!session || tokenHash !== this.runHash) return fail("unauthorized", "no runner of this session has this token now");
    return ok({ tenant_id: session.tenant_id, session_id: session.id, workspace_id: session.workspace_id, epoch: 1 });
  }
  /** Puts a pending permission request of a task into the session. */
  ask(task: Task): Permission {
    const now = Date.now();
    const permission: Permission = {
      id: newChildId("permission", task.session_id, now), session_id: task.session_id, task_id: task.id, run_id: newChildId("run", task.session_id, now), tenant_id: task.tenant_id, status: "pending", tool: "Bash",
      input: { command: "ls" }, summary: "ls", risk: "low", reasons: [], decision: null, created_at: new Date(now).toISOString(), ended_at: null, version: 1,
    };
    this.permissions.set(permission.id, permission);
    return permission;
  }
  async readPermission(actor: Actor, permissionId: string): Promise<Result<Permission>> {
    const permission = this.#mine(actor) && this.permissions.get(permissionId);
    return permission ? ok(permission) : NOT_HERE;
  }
  async #answer(actor: Actor, permissionId: string, status: "approved" | "denied", reason: string | null, scope: "once" | "turn" | "session"): Promise<Result<Permission>> {
    const found = await this.readPermission(actor, permissionId);
    if (!found.ok) return found;
    if (found.value.decision) return fail("conflict", `The request was ${found.value.status} already`, { details: { status: found.value.status, decision: found.value.decision } });
    this.permissions.set(permissionId, { ...found.value, status, decision: { by: actor.key_id, by_name: actor.key_name, reason, scope, at: new Date().toISOString() } });
    return this.readPermission(actor, permissionId);
  }
  approvePermission(actor: Actor, permissionId: string, input: PermissionApprove): Promise<Result<Permission>> {
    return this.#answer(actor, permissionId, "approved", input.reason ?? null, input.scope);
  }
  denyPermission(actor: Actor, permissionId: string, input: PermissionDeny): Promise<Result<Permission>> {
    return this.#answer(actor, permissionId, "denied", input.reason ?? null, "once");
  }
  /** Adds events to the log, without telling viewers. */
  write(...items: EventItem[]): void {
    const { id } = this.session ?? { id: newId("session", 0) };
    for (const item of items) this.log.push({ seq: this.log.length + 1, session_id: id, task_id: null, run_id: null, ...item });
  }
  async readLog(actor: Actor, query: LogQuery): Promise<Result<LogPage>> {
    if (!this.#mine(actor)) return NOT_HERE;
    const after = query.after ?? (query.tail === undefined ? 0 : Math.max(0, this.log.length - query.tail));
    const events = this.log.filter(({ seq }) => seq > after).slice(0, query.limit ?? 100);
    return ok({ events, last_seq: this.log.length, next: events.at(-1)?.seq ?? after, more: false, ended: this.ended });
  }
  async readHistory(actor: Actor): ReturnType<SessionRpc["readHistory"]> {
    const session = this.#mine(actor);
    return session ? ok({ session_id: session.id, last_seq: this.log.length, pinned: null, archive: session.archive ?? null }) : NOT_HERE;
  }
  /** A block of three events each. */
  async readBlock(actor: Actor, block: number): ReturnType<SessionRpc["readBlock"]> {
    if (!this.#mine(actor)) return NOT_HERE;
    const events = this.log.slice((block - 1) * 3, block * 3);
    const text = [{ format: "marionette-log/1", block }, ...events].map((line) => `${JSON.stringify(line)}\n`).join("");
    return ok(events.length === 0 ? null : { text: new Uint8Array(new TextEncoder().encode(text)), last: block * 3 >= this.log.length });
  }
  async fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.pathname === "/runner") return request.headers.get("authorization")?.endsWith("good") ? socket().response : Response.json({ error: fail("unauthorized", "Not this session's runner").error }, { status: 401 });
    const actor = JSON.parse(request.headers.get("x-marionette-actor") ?? "null") as Actor | null;
    if (!actor || !this.#mine(actor)) return Response.json({ error: NOT_HERE.error }, { status: 404 });
    const { response, server } = socket();
    const viewer = { server, url, headers: request.headers, got: [] as unknown[], closed: false };
    server.addEventListener("message", ({ data }) => void viewer.got.push(JSON.parse(String(data))));
    server.addEventListener("close", () => void (viewer.closed = true));
    this.viewers.push(viewer);
    return response;
  }
}

/** A host with files: a path that ends in `/` lists, any other reads. */
class FakeHost implements Pick<HostRpc, "read" | "drain" | "listFiles" | "readFile" | "browse" | "readBrowsed" | "transcribe"> {
  /** Pieces that came, and what the last of them is answered. */
  readonly pieces: AudioPiece[] = [];
  heard: TranscribeAnswer[] = [];
  async transcribe(actor: Actor, piece: AudioPiece): Promise<Result<TranscribeAnswer>> {
    if (this.host?.tenant_id !== actor.tenant_id) return NOT_HERE;
    this.pieces.push(piece);
    return ok(this.heard.shift() ?? { state: "more" });
  }
  host: Host | null = null;
  readonly files = new Map<string, Uint8Array>();
  join: unknown = null;
  async read(actor: Actor): Promise<Result<Host>> {
    return this.host?.tenant_id === actor.tenant_id ? ok(this.host) : NOT_HERE;
  }
  async drain(actor: Actor, draining: boolean): Promise<Result<Host>> {
    const found = await this.read(actor);
    if (found.ok) this.host = { ...found.value, status: draining ? "draining" : "online" };
    return this.read(actor);
  }
  async listFiles(_actor: Actor, _workspaceId: string, path: string): Promise<Result<FileEntry[]>> {
    return ok([...this.files].map(([name, bytes]) => ({ name, path: `${path}/${name}`, kind: "file" as const, size: bytes.byteLength, modified_at: new Date(0).toISOString() })));
  }
  async readFile(_actor: Actor, _workspaceId: string, path: string, offset: number, length: number): Promise<Result<FileContent>> {
    const bytes = this.files.get(path);
    if (!bytes) return fail("not_found", "No such file");
    const base64 = btoa(Array.from(bytes.subarray(offset, offset + length), (byte) => String.fromCharCode(byte)).join(""));
    return ok({ path, size: bytes.byteLength, offset, base64, modified_at: new Date(0).toISOString() });
  }
  async browse(actor: Actor, _root: string, path: string, offset: number, limit: number): Promise<Result<Browsed>> {
    const found = await this.read(actor);
    if (!found.ok) return found;
    if (path.includes("gone")) return fail("not_found", "gone does not exist");
    const listed = await this.listFiles(actor, "", path);
    return listed.ok ? ok({ items: listed.value.slice(offset, offset + limit), total: listed.value.length }) : listed;
  }
  async readBrowsed(actor: Actor, _root: string, path: string, offset: number, length: number): Promise<Result<FileContent>> {
    const found = await this.read(actor);
    return found.ok ? this.readFile(actor, "", path, offset, length) : found;
  }
  async fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    this.join = JSON.parse(new Request(input, init).headers.get("x-marionette-host") ?? "null");
    return socket().response;
  }
}

/** A tenant with limits, idempotency keys and a bus. */
class FakeTenant extends FakeBudgets implements Omit<TenantRpc, "publish"> {
  limits: Limits = { sessions_per_minute: 1_000_000, tasks_per_minute: 1_000_000, open_streams: 1_000_000 };
  readonly streams = new Set<string>();
  readonly #keys = new Map<string, { hash: string; seed: string; done: { status: number; body: string } | null }>();
  readonly #taken = new Map<string, number>();
  bus: Event[] = [];
  query: unknown = null;
  viewer: WebSocket | null = null;
  async admit(keyId: string, what: "sessions" | "tasks"): Promise<Admission> {
    const limit = what === "sessions" ? this.limits.sessions_per_minute : this.limits.tasks_per_minute;
    const taken = this.#taken.get(`${keyId}/${what}`) ?? 0;
    if (taken >= limit) return { admitted: false, limit, retry_after_seconds: 12.3 };
    this.#taken.set(`${keyId}/${what}`, taken + 1);
    return { admitted: true, limit, remaining: limit - taken - 1, reset_seconds: 6 };
  }
  async setLimits(limits: Limits): Promise<void> {
    this.limits = limits;
  }
  async openStream(streamId: string): Promise<boolean> {
    if (this.streams.size >= this.limits.open_streams) return false;
    this.streams.add(streamId);
    return true;
  }
  async closeStream(streamId: string): Promise<void> {
    this.streams.delete(streamId);
  }
  async begin(scope: string, key: string, hash: string): Promise<IdempotencyAnswer> {
    const name = `${scope}/${key}`;
    const known = this.#keys.get(name) ?? { hash, seed: newBody(Date.now()), done: null };
    this.#keys.set(name, known);
    if (known.hash !== hash) return { state: "other_body" };
    return known.done ? { state: "done", ...known.done } : { state: "new", seed: known.seed };
  }
  async finish(scope: string, key: string, status: number, body: string): Promise<void> {
    const known = this.#keys.get(`${scope}/${key}`);
    if (known) known.done = { status, body };
  }
  /** What is remembered of an idempotency key's answer. */
  remembered(scope: string, key: string): string | undefined {
    return this.#keys.get(`${scope}/${key}`)?.done?.body;
  }
  async readBus(query: unknown): Promise<BusPage> {
    this.query = query;
    return { events: this.bus, last_cursor: this.bus.length, next: this.bus.length, more: false };
  }
  async fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    this.query = new URL(new Request(input, init).url).search;
    const { response, server } = socket();
    this.viewer = server;
    return response;
  }
}

/** A namespace that makes its objects on first use; `broken` is thrown by every call to them. */
class FakeNamespace<T extends object> {
  readonly objects = new Map<string, T>();
  broken: unknown = null;
  readonly #make: () => T;
  constructor(make: () => T) {
    this.#make = make;
  }
  idFromName(name: string): string {
    return name;
  }
  of(name: string): T {
    const known = this.objects.get(name) ?? this.#make();
    this.objects.set(name, known);
    return known;
  }
  get(name: string): T {
    const target = this.of(name);
    return new Proxy(target, {
      get: (_target, property) => {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]): Promise<unknown> => {
          if (this.broken !== null) throw this.broken;
          return value.apply(target, args) as unknown;
        };
      },
    });
  }
}

/** All namespaces, with the objects in reach of the test. */
export function fakeObjects() {
  const sessions = new FakeNamespace(() => new FakeSession());
  const hosts = new FakeNamespace(() => new FakeHost());
  const tenants = new FakeNamespace(() => new FakeTenant());
  const env = { SESSIONS: sessions, HOSTS: hosts, TENANTS: tenants, STORAGE: new FakeNamespace(() => new FakeStorage()), POOLS: new FakeNamespace(() => ({})) } as unknown as ObjectsEnv;
  return { sessions, hosts, tenants, env };
}
