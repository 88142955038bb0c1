/** Owns the wiring of the PoolObject: constructor, RPC, alarm. */

import { DurableObject } from "cloudflare:workers";
import { fail, ok, type HostInfo, type Result } from "../../sdk/protocol/index.ts";
import { alarmMove, earliest } from "../base/deadlines.ts";
import { Courier } from "../host/courier.ts";
import { sessionStub, type ObjectsEnv, type PortsOf } from "../ports.ts";
import type { LeaseAnswer, LeaseRequest, PoolRpc, SessionRpc } from "../rpc.ts";
import { nextDeadline, step, type Effect, type PoolEvent, type State } from "./machine.ts";
import { parseSelector } from "./selector.ts";
import { PoolStore } from "./store.ts";

/** Whom a pool talks to. */
export interface PoolNeighbours<Env> {
  session(env: Env, sessionId: string): Pick<SessionRpc, "leaseGranted" | "leaseQueued" | "leaseWanted">;
}

/** The class to export from the worker's entry; `portsOf` gives it what lies above it, `neighbours` the objects beside it. */
export function poolObject<Env extends ObjectsEnv>(_portsOf: PortsOf<Env>, neighbours: PoolNeighbours<Env> = { session: sessionStub }) {
  return class PoolObject extends DurableObject<Env> implements PoolRpc {
    readonly #store: PoolStore;
    readonly #courier: Courier<Effect>;
    #state: State;
    #alarm: number | null = null;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      this.#store = new PoolStore(ctx.storage);
      this.#courier = new Courier<Effect>({
        storage: ctx.storage, name: "sessions", mode: "each",
        deliver: async ([effect]) => effect && this.#tell(effect),
        defer: (work) => ctx.waitUntil(work),
        settled: () => this.#carry(Date.now()),
      });
      // The name is `{tenant}/{pool}`.
      this.#state = this.#store.load(ctx.id.name?.split("/").slice(1).join("/") ?? "");
      void ctx.blockConcurrencyWhile(async () => {
        this.#alarm = await ctx.storage.getAlarm();
      });
    }

    async request(request: LeaseRequest): Promise<Result<LeaseAnswer>> {
      const conditions = parseSelector(request.selector);
      if (!conditions.ok) return conditions;
      this.#step({ type: "request", request, conditions: conditions.value });
      const entry = this.#state.entries.get(request.session_id);
      if (entry?.request.epoch !== request.epoch) return fail("conflict", `epoch ${request.epoch} of this session is over`, { details: { epoch: entry?.request.epoch ?? null } });
      return ok(entry.host_id !== null ? { granted: true, host_id: entry.host_id } : { granted: false, reason: entry.reason ?? "" });
    }

    async release(sessionId: string, epoch: number): Promise<void> {
      this.#step({ type: "release", session_id: sessionId, epoch });
    }

    async setIdle(sessionId: string, epoch: number, idle: boolean): Promise<void> {
      this.#step({ type: "idle", session_id: sessionId, epoch, idle });
    }

    async memberUp(_tenantId: string, hostId: string, info: HostInfo, draining: boolean): Promise<void> {
      this.#step({ type: "member.up", host_id: hostId, info, draining });
    }

    async memberDown(hostId: string): Promise<void> {
      this.#step({ type: "member.down", host_id: hostId });
    }

    override async alarm(): Promise<void> {
      this.#alarm = null;
      this.#step({ type: "tick" });
    }

    #step(event: PoolEvent): void {
      const now = Date.now();
      const result = step(this.#state, event, now);
      this.ctx.storage.transactionSync(() => {
        this.#store.save(result);
        for (const effect of result.effects) if (effect.kind !== "wanted") this.#courier.post(effect.session_id, effect, now);
        // What was to be told of an epoch that is over is moot; a grant that went out meanwhile is refused by its epoch.
        for (const id of result.touched.entries) if (!result.state.entries.has(id)) this.#courier.drop(id);
      });
      this.#state = result.state;
      for (const effect of result.effects) if (effect.kind === "wanted") this.ctx.waitUntil(this.#tell(effect).catch(() => {}));
      this.#carry(now);
    }

    #carry(now: number): void {
      this.#courier.run(now);
      const move = alarmMove(this.#alarm, earliest(nextDeadline(this.#state, now), this.#courier.next(now)), now);
      if (move === null) return;
      this.#alarm = move;
      this.ctx.waitUntil(this.ctx.storage.setAlarm(move));
    }

    async #tell(effect: Effect): Promise<void> {
      const session = neighbours.session(this.env, effect.session_id);
      if (effect.kind === "granted") await session.leaseGranted(effect.epoch, effect.host_id);
      else if (effect.kind === "queued") await session.leaseQueued(effect.epoch, effect.reason);
      else await session.leaseWanted(effect.epoch);
    }
  };
}
