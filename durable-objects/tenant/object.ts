/** Owns the wiring of the TenantObject: constructor, fetch, RPC, sockets, alarm. */

import { DurableObject } from "cloudflare:workers";
import {
  busViewQuery, ERRORS, fail, invalid, limits as limitsOf, MAX_PAGE, type Budget, type BudgetCaps, type BudgetCreate, type BudgetNotice, type BudgetPatch, type ErrorBody, type Limits, type Result,
} from "../../sdk/protocol/index.ts";
import type { Tally } from "../base/caps.ts";
import { alarmMove, earliest } from "../base/deadlines.ts";
import { answerClose } from "../base/sockets.ts";
import { migrate } from "../base/sql.ts";
import type { ModelPolicy, TenantAdmission, TenantCall } from "../model-rpc.ts";
import type { ObjectsEnv, PortsOf } from "../ports.ts";
import type { Admission, BusEvent, BusQuery, IdempotencyAnswer, TenantRpc } from "../rpc.ts";
import { Budgets } from "./budget.ts";
import { Bus, type Page } from "./bus.ts";
import { Idempotency } from "./idempotency.ts";
import { Buckets } from "./limits.ts";
import { Streams } from "./streams.ts";
import { BusViewers } from "./viewers.ts";

/** The worker's name for a stream that it counted, so that its place is given back when the socket closes. */
const STREAM_HEADER = "x-marionette-stream";
const DEFAULT_PAGE = 100;
/** Events between two looks at what is too much. */
const PURGE_EVERY = 5_000;
/** What is too old goes in one sweep, not row by row. */
const SWEEP_MS = 3_600_000;

/** The class to export from the worker's entry. */
export function tenantObject<Env extends ObjectsEnv>(_portsOf: PortsOf<Env>) {
  return class TenantObject extends DurableObject<Env> implements TenantRpc {
    readonly #bus: Bus;
    readonly #viewers: BusViewers;
    readonly #streams: Streams;
    readonly #idempotency: Idempotency;
    readonly #buckets = new Buckets();
    readonly #budgets: Budgets;
    #limits: Limits;
    #unpurged = 0;
    #alarm: number | null = null;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      const { storage } = ctx;
      this.#bus = new Bus(storage);
      this.#viewers = new BusViewers(ctx, this.#bus);
      this.#streams = new Streams(storage);
      this.#idempotency = new Idempotency(storage);
      this.#budgets = new Budgets(storage);
      migrate(storage, "limits", [["create table limits (one integer primary key check (one = 1), body text not null)"]]);
      const kept = storage.sql.exec<{ body: string }>("select body from limits").toArray()[0];
      this.#limits = limitsOf.parse(kept ? JSON.parse(kept.body) : {});
      void ctx.blockConcurrencyWhile(async () => {
        this.#alarm = await storage.getAlarm();
      });
    }

    override async fetch(request: Request): Promise<Response> {
      const url = new URL(request.url);
      if (url.pathname !== "/bus") return refusal(fail("not_found", "Nothing here").error);
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return refusal(fail("bad_request", "expected a WebSocket upgrade").error);
      const query = busViewQuery.safeParse({ ...Object.fromEntries(url.searchParams), ...several(url, "labels"), ...several(url, "types") });
      if (!query.success) return refusal(invalid(query.error, "query").toBody());
      const [client, server] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
      this.#viewers.accept(server, query.data, request.headers.get(STREAM_HEADER));
      return new Response(null, { status: 101, webSocket: client });
    }

    override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
      this.#viewers.message(socket, message);
    }
    override webSocketClose(socket: WebSocket, code: number): void {
      this.#left(socket);
      answerClose(socket, code);
    }
    override webSocketError(socket: WebSocket): void {
      this.#left(socket);
    }

    async publish(sessionId: string, events: BusEvent[]): Promise<void> {
      const now = Date.now();
      const placed = this.ctx.storage.transactionSync(() => this.#bus.append(sessionId, events, now));
      if (placed.length === 0) return;
      this.#viewers.publish(placed);
      this.#unpurged += placed.length;
      if (this.#unpurged >= PURGE_EVERY) {
        this.#bus.purge(now);
        this.#unpurged = 0;
      }
      if (this.#alarm === null) this.#setAlarm(now);
    }

    /** A page of the bus. `gap` says which events that the reader has not seen are gone. */
    async readBus({ after, limit, types, labels }: BusQuery): Promise<Page> {
      return this.#bus.page(after ?? null, Math.min(MAX_PAGE, Math.max(1, limit ?? DEFAULT_PAGE)), { types: types ?? null, labels: labels ?? null });
    }

    async admit(keyId: string, what: "sessions" | "tasks"): Promise<Admission> {
      return this.#buckets.take(`${what}/${keyId}`, what === "sessions" ? this.#limits.sessions_per_minute : this.#limits.tasks_per_minute, Date.now());
    }

    async setLimits(limits: Limits): Promise<void> {
      this.#limits = limitsOf.parse(limits);
      this.ctx.storage.sql.exec("insert or replace into limits values (1, ?)", JSON.stringify(this.#limits));
    }

    async openStream(streamId: string): Promise<boolean> {
      const now = Date.now();
      const open = this.#streams.open(streamId, this.#limits.open_streams, now);
      this.#setAlarm(now);
      return open;
    }

    async closeStream(streamId: string): Promise<void> {
      this.#streams.close(streamId);
    }

    async begin(scope: string, key: string, bodyHash: string): Promise<IdempotencyAnswer> {
      const now = Date.now();
      const answer = this.#idempotency.begin(scope, key, bodyHash, now);
      this.#setAlarm(now);
      return answer;
    }

    async finish(scope: string, key: string, status: number, body: string): Promise<void> {
      this.#idempotency.finish(scope, key, status, body);
    }

    async modelPolicy(): Promise<ModelPolicy> {
      return { budgets: this.#budgets.any, requests_per_minute: this.#limits.model_requests_per_minute ?? null };
    }
    async admitCall(call: TenantCall): Promise<TenantAdmission> {
      const now = Date.now();
      const rates = [{ what: "tenant" as const, id: "all", limit: this.#limits.model_requests_per_minute ?? null }, { what: "key" as const, id: call.key?.id ?? "", limit: call.key?.requests_per_minute ?? null }];
      for (const { what, id, limit } of rates) {
        const rate = limit === null ? null : this.#buckets.take(`model/${what}/${id}`, limit, now);
        if (rate && !rate.admitted) return { ok: false, why: "rate", what, limit: rate.limit, retry_after_seconds: rate.retry_after_seconds };
      }
      return this.#budgets.reserve(call, now);
    }
    async keepModelCall(callId: string): Promise<void> {
      this.#budgets.keep(callId, Date.now());
    }
    async settleModelCall(callId: string, spent: Tally): Promise<BudgetNotice[]> {
      return this.#budgets.settle(callId, spent, Date.now());
    }
    async createBudget(tenantId: string, id: string, input: BudgetCreate): Promise<Result<Budget>> {
      return this.#budgets.create(tenantId, id, input, Date.now());
    }
    async listBudgets(): Promise<Budget[]> {
      return this.#budgets.list(Date.now());
    }
    async readBudget(id: string): Promise<Result<Budget>> {
      return this.#budgets.read(id, Date.now());
    }
    async updateBudget(id: string, patch: BudgetPatch): Promise<Result<Budget>> {
      return this.#budgets.update(id, patch, Date.now());
    }
    async deleteBudget(id: string): Promise<Result<Budget>> {
      return this.#budgets.remove(id, Date.now());
    }
    async raiseBudget(id: string, permissionId: string, caps: BudgetCaps | null): Promise<void> {
      this.#budgets.raise(id, permissionId, caps, Date.now());
    }

    override async alarm(): Promise<void> {
      this.#alarm = null;
      const now = Date.now();
      this.#budgets.expire(now);
      for (const store of [this.#bus, this.#streams, this.#idempotency]) store.purge(now);
      this.#setAlarm(now);
    }

    #left(socket: WebSocket): void {
      const stream = this.#viewers.closed(socket);
      if (stream !== null) this.#streams.close(stream);
      try {
        socket.close();
      } catch {
        // It is closed on both sides already.
      }
    }

    #setAlarm(now: number): void {
      // Nothing is due sooner: what is due need not be asked.
      if (alarmMove(this.#alarm, now + SWEEP_MS, now) === null) return;
      const deadline = earliest(this.#bus.deadline(), this.#streams.deadline(), this.#idempotency.deadline());
      const move = alarmMove(this.#alarm, deadline === null ? null : Math.max(deadline, now + SWEEP_MS), now);
      if (move === null) return;
      this.#alarm = move;
      this.ctx.waitUntil(this.ctx.storage.setAlarm(move));
    }
  };
}

/** A parameter that may be repeated. */
function several(url: URL, name: string): Record<string, string[]> {
  const values = url.searchParams.getAll(name);
  return values.length > 0 ? { [name]: values } : {};
}

function refusal(error: ErrorBody): Response {
  return Response.json({ error }, { status: ERRORS[error.code].status });
}
