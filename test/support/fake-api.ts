/** Owns a small server that speaks the API in memory, for tests of the client and of mctl: bodies are parsed by the protocol's own schemas. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as z from "zod";
import {
  ERRORS, event as eventSchema, Failure, imageTypeOf, invalid, keyCreate, newBody, newChildId, newId, newToken, permissionApprove, permissionDeny, sessionCreate, sessionOf, sessionPatch, taskCreate, TASK_ENDED, runnerTokenCreate,
  type Capsule, type Event, type EventData, type EventType, type Permission, type Session, type Task, type TaskStatus,
} from "../../sdk/protocol/index.ts";

export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: unknown;
}
/** What goes wrong with one request, before it is handled or (`after`) once it has been. */
export type Fault = { status: number; headers?: Record<string, string>; body?: string } | { drop: true; after?: true };

const AT = "2026-11-21T10:00:00.000Z";
const NO_USAGE = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null };

/** One tenant with its sessions. `script` plays the agent: it is called with each new task. */
export class FakeApi {
  readonly requests: Seen[] = [];
  readonly capsules: Capsule[] = [];
  readonly sessions = new Map<string, Session>();
  readonly tasks = new Map<string, Task>();
  readonly permissions = new Map<string, Permission>();
  readonly log = new Map<string, Event[]>();
  readonly files = new Map<string, string>();
  /** Faults by `METHOD /path-ending`, one taken per request. */
  readonly faults = new Map<string, Fault[]>();
  /** After how many events the next streams are cut, one taken per stream. */
  cuts: number[] = [];
  openStreams = 0;
  apiKey = newToken("api_key");
  script: ((task: Task, api: FakeApi) => Promise<void> | void) | null = null;
  readonly #server: Server;
  readonly #watchers = new Set<() => void>();
  readonly #answers = new Map<string, { body: string; status: number; text: string }>();
  #now = Date.parse(AT);

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }
  async start(): Promise<this> {
    await new Promise<void>((resolve) => void this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }
  seen(method: string, ending: string): Seen[] {
    return this.requests.filter((request) => request.method === method && request.path.endsWith(ending));
  }
  fault(route: string, ...faults: Fault[]): void {
    this.faults.set(route, [...(this.faults.get(route) ?? []), ...faults]);
  }

  /** Appends an event to the session's log. */
  emit<T extends EventType>(task: Task | Session, type: T, data: EventData<T>): void {
    const [sessionId, taskId] = "session_id" in task ? [task.session_id, task.id] : [task.id, null];
    const log = this.log.get(sessionId) ?? [];
    const event = eventSchema.parse({ seq: log.length + 1, session_id: sessionId, task_id: taskId, run_id: null, at: AT, type, data });
    log.push(event as Event);
    this.log.set(sessionId, log);
    for (const wake of this.#watchers) wake();
  }
  end(task: Task, status: TaskStatus, more: Partial<Task> = {}): void {
    Object.assign(task, { status, ended_at: AT, ...more });
    this.emit(task, "task.status", { status, attempt: 1, error: task.error, reason: null });
  }
  /** Asks for a permission; resolves with it once it is answered. */
  async ask(task: Task, ask: { tool: string; summary: string; risk?: Permission["risk"] }): Promise<Permission> {
    const call = { tool: ask.tool, input: { command: ask.summary }, summary: ask.summary, risk: ask.risk ?? "high", reasons: ["reaches the network"] };
    const permission: Permission = { id: newChildId("permission", task.session_id, this.#now++), session_id: task.session_id, task_id: task.id, run_id: newChildId("run", task.session_id, this.#now++), tenant_id: newId("tenant", 0), status: "pending", ...call, decision: null, created_at: AT, ended_at: null, version: 1 };
    this.permissions.set(permission.id, permission);
    this.emit(task, "permission.requested", { ...call, permission_id: permission.id });
    await this.until(() => permission.status !== "pending");
    return permission;
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#watchers.delete(wake);
          resolve();
        };
        this.#watchers.add(wake);
      });
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const raw = Buffer.concat(chunks);
    const text = raw.toString();
    const json = (request.headers["content-type"] ?? "application/json").startsWith("application/json");
    const seen: Seen = { method: request.method ?? "", path: url.pathname, query: url.searchParams, headers: request.headers, body: !json ? new Uint8Array(raw) : text ? (JSON.parse(text) as unknown) : null };
    this.requests.push(seen);
    const route = [...this.faults.keys()].find((key) => key.startsWith(`${seen.method} `) && seen.path.endsWith(key.slice(seen.method.length + 1)));
    const fault = route ? this.faults.get(route)?.shift() : undefined;
    if (fault && "status" in fault) return void response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    if (fault && !fault.after) return void request.socket.destroy();
    try {
      if (request.headers.authorization !== `Bearer ${this.apiKey}`) throw new Failure("unauthorized", "The key is not known");
      if (request.headers.accept === "text/event-stream") return await this.#stream(seen, response);
      const [status, value] = this.#once(seen, text, () => this.#handle(seen));
      if (fault) return void request.socket.destroy();
      if (value instanceof Uint8Array) return void response.writeHead(status, { "content-type": "application/octet-stream" }).end(value);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    } catch (error) {
      const failure = error instanceof Failure ? error : error instanceof z.ZodError ? invalid(error) : new Failure("internal_error", String(error));
      if (!response.headersSent) response.writeHead(ERRORS[failure.code].status, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: failure.toBody("req_fake") }));
    }
  }

  #once(seen: Seen, text: string, handle: () => [number, unknown]): [number, unknown] {
    const key = seen.headers["idempotency-key"];
    if (seen.method !== "POST" || typeof key !== "string" || /\/(approve|deny|cancel|retry|execute|drain|pause|suspend|resume)$/.test(seen.path)) return handle();
    const before = this.#answers.get(key);
    if (before && before.body !== text) throw new Failure("conflict", "This Idempotency-Key was used with another request");
    if (before) return [before.status, JSON.parse(before.text)];
    const [status, value] = handle();
    this.#answers.set(key, { body: text, status, text: JSON.stringify(value) });
    return [status, value];
  }

  #handle({ method, path, query, body }: Seen): [number, unknown] {
    const parts = path.replace(/^\/(?:admin\/)?api\/v1\//, "").split("/").map(decodeURIComponent);
    const [noun = "", id = "", sub = "", verb = ""] = parts;
    const route = `${method} ${noun}${id ? "/:id" : ""}${sub ? `/${sub}` : ""}${verb ? `/${verb}` : ""}`;
    switch (route) {
      case "POST sessions": {
        const { api_key, env, budget: _, ...input } = sessionCreate.parse(body);
        const session: Session = {
          model: null, provider: null, selector: null, name: null, suspend_strategy: null, workspace_quota_mb: null, suspension: null, interrupted: false, capsule_id: null, forked_from: null, ...input, id: newId("session", this.#now++), tenant_id: newId("tenant", 0), status: "active", status_reason: null,
          workspace_id: newId("workspace", 0), host_id: null, env_names: Object.keys(env), has_api_key: api_key !== undefined, runner: null, task_id: null, queued_tasks: 0,
          pending_permissions: 0, usage: NO_USAGE, last_seq: 0, created_at: AT, updated_at: AT, ended_at: null, version: 1,
        };
        this.sessions.set(session.id, session);
        return [201, session];
      }
      case "GET sessions": return [200, this.#page([...this.sessions.values()].filter((s) => !query.get("status") || s.status === query.get("status")), query)];
      case "GET sessions/:id": return [200, of(this.sessions, id)];
      case "PATCH sessions/:id": return [200, Object.assign(of(this.sessions, id), sessionPatch.parse(body))];
      case "DELETE sessions/:id": return [200, Object.assign(of(this.sessions, id), { status: "terminated", ended_at: AT })];
      case "POST sessions/:id/suspend": return [200, Object.assign(of(this.sessions, id), { status: "suspended", suspension: { strategy: "pause", cause: "requested", since: AT, demoted_at: null, runner_id: null, host_id: null, capsule_id: null, ...(body as object) } })];
      case "POST sessions/:id/resume": return [200, Object.assign(of(this.sessions, id), { status: "active", suspension: null })];
      case "POST sessions/:id/capsules": {
        const [capsule] = this.capsules;
        const session = of(this.sessions, id);
        if (!capsule) throw new Failure("conflict", "the session has no runner", { details: { instead: ["wait"] } });
        const seq = this.log.get(id)?.length ?? 0;
        const told = { capsule_id: capsule.id, why: "manual" } as const;
        if (capsule.workspace.files === 0) this.emit(session, "workspace.sync_failed", { ...told, error: { code: "sync_failed", message: "the disk is full" } });
        else this.emit(session, "workspace.synced", { ...told, workspace: capsule.workspace, state: null, torn: capsule.torn, left_out: [], duration_ms: 1 });
        return [202, { id: capsule.id, session_id: id, seq }];
      }
      case `GET sessions/:id/capsules/${verb}`: return [200, of(new Map(this.capsules.map((capsule) => [capsule.id, capsule])), verb)];
      case "GET sessions/:id/capsules": return [200, this.#page([...this.capsules], query)];
      case "POST sessions/:id/fork": {
        const fork = { ...of(this.sessions, id), ...(body as object), id: newId("session", this.#now++) };
        this.sessions.set(fork.id, fork);
        return [201, fork];
      }
      case "GET sessions/:id/events": return [200, this.#logPage(id, null, query)];
      case "GET sessions/:id/files": return [200, { items: this.#list(query.get("path") ?? "") }];
      case "GET sessions/:id/files/content": return [200, new TextEncoder().encode(of(this.files, query.get("path") ?? ""))];
      case "POST sessions/:id/attachments": {
        const bytes = body as Uint8Array;
        return [201, { id: newId("attachment", this.#now++), name: query.get("name") ?? "image.png", media_type: imageTypeOf(bytes), size: bytes.length }];
      }
      case "POST sessions/:id/tasks": return [201, this.#give(of(this.sessions, id), body)];
      case "GET tasks": return [200, this.#page([...this.tasks.values()].filter((t) => !query.get("session_id") || t.session_id === query.get("session_id")), query)];
      case "GET tasks/:id": return [200, of(this.tasks, id)];
      case "GET tasks/:id/runs": return [200, { items: [] }];
      case "GET tasks/:id/logs": return [200, this.#logPage(sessionOf(id) ?? "", id, query)];
      case "POST tasks/:id/cancel": {
        const task = of(this.tasks, id);
        if (TASK_ENDED.has(task.status)) throw new Failure("conflict", `The task has ended: ${task.status}`);
        this.end(task, "canceled");
        return [200, task];
      }
      case "GET permissions": return [200, this.#page([...this.permissions.values()].filter((p) => !query.get("status") || p.status === query.get("status")), query)];
      case "GET permissions/:id": return [200, of(this.permissions, id)];
      case "POST permissions/:id/approve": return [200, this.#decide(of(this.permissions, id), "approved", permissionApprove.parse(body))];
      case "POST permissions/:id/deny": return [200, this.#decide(of(this.permissions, id), "denied", { ...permissionDeny.parse(body), scope: "once" })];
      case "POST runners/:id/pause":
      case "POST runners/:id/resume":
      case "POST runners/:id/drain": return [200, { id, session_id: newId("session", 0), status: "busy" }];
      case "GET hosts": return [200, this.#page([], query)];
      case "POST keys": {
        const { name, scopes } = keyCreate.parse(body);
        return [201, { id: newId("key", this.#now++), tenant_id: newId("tenant", 0), name, display: "mk_abcde", scopes, created_at: AT, expires_at: null, revoked_at: null, last_used_at: null, key: newToken("api_key") }];
      }
      case "POST runner-tokens": return [201, { ...runnerTokenCreate.parse(body), id: `rtk_${newBody(0)}`, tenant_id: newId("tenant", 0), display: "rtok_abc", created_at: AT, revoked_at: null, token: newToken("runner") }];
      default: throw new Failure("not_found", `No such route: ${route}`);
    }
  }

  #give(session: Session, body: unknown): Task {
    const { budget: _, attachments: __, ...input } = taskCreate.parse(body);
    const task: Task = {
      continue_from: null, ...input, id: newChildId("task", session.id, this.#now++), session_id: session.id, tenant_id: session.tenant_id, status: "pending", attempts: 0, run_id: null, result: null, exit_code: null, error: null,
      usage: null, waiting_for: null, conversation: null, next_attempt_at: null, created_at: AT, started_at: null, ended_at: null, version: 1,
    };
    this.tasks.set(task.id, task);
    this.emit(task, "task.created", { task_id: task.id, prompt_preview: input.prompt.slice(0, 100), labels: input.labels });
    const { script } = this;
    if (script) queueMicrotask(() => void script(task, this));
    return task;
  }
  #decide(permission: Permission, status: "approved" | "denied", answer: { reason?: string | undefined; scope: "once" | "turn" | "session" }): Permission {
    if (permission.status !== "pending") throw new Failure("conflict", `Already ${permission.status} by ${permission.decision?.by_name ?? "nobody"}`, { details: { status: permission.status, decision: permission.decision } });
    const reason = answer.reason ?? null;
    Object.assign(permission, { status, decision: { by: newId("key", 0), by_name: "tester", reason, scope: answer.scope, at: AT }, ended_at: AT });
    this.emit(of(this.tasks, permission.task_id), "permission.answered", { permission_id: permission.id, status, by: "tester", reason, scope: answer.scope });
    return permission;
  }
  #page(all: readonly unknown[], query: URLSearchParams) {
    const limit = Number(query.get("limit") ?? 50);
    const offset = Number(query.get("cursor") ?? query.get("offset") ?? 0);
    const next = offset + limit < all.length ? String(offset + limit) : null;
    return { items: all.slice(offset, offset + limit), total: all.length, limit, offset, next_cursor: next };
  }
  #list(dir: string) {
    const inside = [...this.files.keys()].filter((path) => dir === "" || path.startsWith(`${dir}/`)).map((path) => (dir === "" ? path : path.slice(dir.length + 1)));
    return [...new Set(inside.map((path) => path.split("/")[0] ?? ""))].map((name) => {
      const path = dir === "" ? name : `${dir}/${name}`;
      const text = this.files.get(path);
      return { name, path, kind: text === undefined ? "directory" : "file", size: text?.length ?? 0, modified_at: AT };
    });
  }
  #matching(sessionId: string, taskId: string | null, query: URLSearchParams, after: number): Event[] {
    const types = query.get("types")?.split(",");
    return (this.log.get(sessionId) ?? []).filter((event) => event.seq > after && (taskId === null || event.task_id === taskId) && (!types || types.includes(event.type)));
  }
  #logPage(sessionId: string, taskId: string | null, query: URLSearchParams) {
    of(this.sessions, sessionId);
    const after = Number(query.get("after") ?? 0);
    const tail = query.get("tail");
    const limit = Math.min(3, Number(query.get("limit") ?? 3));
    const all = this.#matching(sessionId, taskId, query, after);
    const events = tail === null ? all.slice(0, limit) : all.slice(Math.max(0, all.length - Number(tail)));
    return { events, last_seq: this.log.get(sessionId)?.length ?? 0, next: events.at(-1)?.seq ?? after, more: tail === null && all.length > limit, ended: false };
  }

  async #stream({ path, query }: Seen, response: ServerResponse): Promise<void> {
    const [noun, id = ""] = path.replace("/api/v1/", "").split("/");
    const sessionId = noun === "tasks" ? (sessionOf(id) ?? "") : id;
    const bus = noun === "events";
    if (!bus) of(this.sessions, sessionId);
    const taskId = noun === "tasks" ? id : null;
    const task = taskId === null ? null : of(this.tasks, taskId);
    let after = Number(query.get("after") ?? 0);
    if (query.get("tail") !== null) after = this.#matching(sessionId, taskId, query, 0).at(-Number(query.get("tail")) - 1)?.seq ?? 0;
    let cut = this.cuts.shift() ?? Infinity;
    this.openStreams++;
    let open = true;
    response.once("close", () => {
      open = false;
      this.openStreams--;
      for (const wake of this.#watchers) wake();
    });
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": hello\n\n");
    const busEvents = () => [...this.log.values()].flat().map((event, i): Event => ({ ...event, cursor: i + 1 })).filter((event) => (event.cursor ?? 0) > after && (query.get("types")?.split(",").includes(event.type) ?? true));
    for (;;) {
      for (const event of bus ? busEvents() : this.#matching(sessionId, taskId, query, after)) {
        after = event.cursor ?? event.seq;
        const text = `id: ${after}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
        if (cut-- <= 0) {
          // Half an event goes out before the connection breaks.
          response.write(text.slice(0, text.length / 2), () => response.destroy());
          return;
        }
        response.write(text);
      }
      if (!open) return;
      if ((task && TASK_ENDED.has(task.status)) || (!bus && !task && this.sessions.get(sessionId)?.status === "terminated")) {
        response.end(`event: end\ndata: ${JSON.stringify({ seq: after, reason: "ended" })}\n\n`);
        return;
      }
      await this.until(() => !open || (bus ? busEvents() : this.#matching(sessionId, taskId, query, after)).length > 0 || (task !== null && TASK_ENDED.has(task.status)));
    }
  }
}

function of<T>(map: ReadonlyMap<string, T>, id: string): T {
  const found = map.get(id);
  if (found === undefined) throw new Failure("not_found", "Nothing of that id here");
  return found;
}
