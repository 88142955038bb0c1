/** Owns what a host tells others: its pool, its runners' sessions, the database. All of it is kept until it has arrived. */

import { earliest } from "../base/deadlines.ts";
import type { Projection, Row } from "../ports.ts";
import type { PoolRpc, SessionRpc } from "../rpc.ts";
import { Courier } from "./courier.ts";
import type { Effect, State } from "./machine.ts";

/** Whom a host talks to. */
export interface HostNeighbours<Env> {
  session(env: Env, sessionId: string): Pick<SessionRpc, "runnerGone">;
  pool(env: Env, tenantId: string, pool: string): Pick<PoolRpc, "memberUp" | "memberDown">;
}

type Message = Extract<Effect, { kind: "member" | "leave" | "gone" }>;

export interface TellingOptions {
  storage: DurableObjectStorage;
  projection: Projection;
  session: (id: string) => Pick<SessionRpc, "runnerGone">;
  pool: (tenantId: string, pool: string) => Pick<PoolRpc, "memberUp" | "memberDown">;
  state: () => State;
  defer: (work: Promise<void>) => void;
  settled: () => void;
}

export class Telling {
  readonly #options: TellingOptions;
  readonly #messages: Courier<Message>;
  readonly #rows: Courier<Row>;

  constructor(options: TellingOptions) {
    this.#options = options;
    const { storage, projection, defer, settled } = options;
    this.#messages = new Courier<Message>({ storage, name: "messages", mode: "each", deliver: async ([message]) => message && this.#tell(message), defer, settled });
    this.#rows = new Courier<Row>({ storage, name: "rows", mode: "batch", deliver: (rows) => projection.apply(rows), defer, settled });
  }

  /** Keeps what an effect wants told; call it in the transaction that stores the state. */
  post(effect: Effect, now: number): void {
    switch (effect.kind) {
      case "member": return this.#messages.post("member", effect, now);
      case "leave": return this.#messages.post(`leave/${effect.pool}`, effect, now);
      case "gone": return this.#messages.post(`gone/${effect.runner_id}`, effect, now);
      case "host.row": return this.#rows.post(effect.value.id, { resource: "host", value: effect.value }, now);
      case "runner.row": return this.#rows.post(effect.value.id, { resource: "runner", value: effect.value }, now);
    }
  }

  run(now: number): void {
    this.#messages.run(now);
    this.#rows.run(now);
  }
  next(now: number): number | null {
    return earliest(this.#messages.next(now), this.#rows.next(now));
  }

  async #tell(message: Message): Promise<void> {
    const { session, pool, state } = this.#options;
    if (message.kind === "gone") return session(message.session_id).runnerGone(message.epoch, message.runner_id, message.reason);
    const { join, info, online, draining } = state();
    if (!join || !info) return;
    if (message.kind === "leave") return message.pool === join.pool ? undefined : pool(message.tenant_id, message.pool).memberDown(join.host_id);
    // How it is now counts, not how it was when this was posted.
    await (online ? pool(join.tenant_id, join.pool).memberUp(join.tenant_id, join.host_id, info, draining) : pool(join.tenant_id, join.pool).memberDown(join.host_id));
  }
}
