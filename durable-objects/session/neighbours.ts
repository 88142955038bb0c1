/** Owns the calls to other objects: each is made after the turn that asked for it, and its answer is fed back into the machine. */

import { gatewayToken, hashToken, newToken, sealModelKey, Secret, unwrap, type Result, type Spawned, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { hostStub, poolStub, tenantStub, type ObjectsEnv } from "../ports.ts";
import type { HostRpc, PoolRpc, TenantRpc } from "../rpc.ts";
import { hostWish } from "./capsules.ts";
import { newRunnerId, type Engine } from "./engine.ts";
import type { Call, Chore, GatewayAccess } from "./state.ts";
import type { WaitingKey } from "./waiting-key.ts";

/** The other objects that a session calls. */
export interface Neighbours {
  pool(tenantId: string, pool: string): Pick<PoolRpc, "request" | "release" | "setIdle">;
  host(hostId: string): Pick<HostRpc, "spawn" | "destroy" | "forget" | "suspend" | "resume" | "discardFiles">;
  tenant(tenantId: string): Pick<TenantRpc, "publish" | "closeStream" | "raiseBudget">;
}

export function neighboursOf(env: ObjectsEnv): Neighbours {
  return { pool: (tenantId, pool) => poolStub(env, tenantId, pool), host: (hostId) => hostStub(env, hostId), tenant: (tenantId) => tenantStub(env, tenantId) };
}

export class Caller {
  readonly #engine: Engine;
  readonly #neighbours: () => Neighbours;
  /** Run tokens of runners that are being started, by runner: only their hashes are stored. */
  readonly #tokens = new Map<string, Secret>();
  /** The deployment has a model key of its own, for sessions without one. */
  readonly #deploymentKey: boolean;
  readonly #key: WaitingKey;
  readonly #waitUntil: (work: Promise<unknown>) => void;

  constructor(engine: Engine, neighbours: () => Neighbours, key: WaitingKey, waitUntil: (work: Promise<unknown>) => void, deploymentKey: boolean) {
    this.#deploymentKey = deploymentKey;
    this.#engine = engine;
    this.#neighbours = neighbours;
    this.#key = key;
    this.#waitUntil = waitUntil;
    engine.listen(({ calls }) => {
      const { session } = engine.state;
      if (key.any && (session?.status === "terminated" || session?.has_api_key === false)) key.drop();
      for (const chore of calls) waitUntil(this.#make(chore));
    });
  }

  /** The session's own model key, from when it is given until a runner has it. */
  keyGiven(key: string, owner: { tenant_id: string; id: string }): void {
    this.#waitUntil(this.#key.give(key, owner));
  }

  /** A lease came, as the answer to a request or later: gives the runner its id and token. */
  async granted(epoch: number, hostId: string): Promise<void> {
    const { runner_id, token_hash, gateway } = await this.#newRunner();
    this.#engine.feed({ type: "lease.granted", epoch, host_id: hostId, runner_id, token_hash, gateway });
    const { attachment } = this.#engine.state;
    if (attachment?.runner_id === runner_id) return;
    this.#tokens.delete(runner_id);
    this.#key.meantFor(attachment?.runner_id ?? null);
  }

  /** A runner's token, the gateway's that is made of it, and the session's model key, which only the latter opens from here on. */
  async #newRunner(): Promise<{ runner_id: string; token_hash: string; gateway: GatewayAccess }> {
    const runner_id = newRunnerId();
    const token = newToken("run");
    this.#tokens.set(runner_id, new Secret(token));
    const own = await gatewayToken(token);
    const { session } = this.#engine.state;
    const key = session && (await this.#key.takeFor(runner_id, session));
    const sealed_key = key && session ? await sealModelKey(own, session.id, key.reveal()) : null;
    return { runner_id, token_hash: await hashToken(token), gateway: { hash: await hashToken(own), sealed_key } };
  }

  async #make({ key, call }: Chore): Promise<void> {
    try {
      await this.#call(call);
      this.#engine.feed({ type: "call.done", key });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#engine.feed({ type: "call.failed", key, message: message.slice(0, 500) });
    }
  }

  async #call(call: Call): Promise<void> {
    const { session } = this.#engine.state;
    if (!session) return;
    const { id, tenant_id, pool } = session;
    switch (call.kind) {
      case "lease.request": {
        const { agent, provider, selector } = session;
        const answer = await this.#neighbours().pool(tenant_id, pool).request({ tenant_id, session_id: id, epoch: call.epoch, agent, provider, selector, host: hostWish(this.#engine.state) });
        if (!answer.ok) this.#engine.feed({ type: "lease.refused", epoch: call.epoch, message: answer.error.message });
        else if (answer.value.granted) await this.granted(call.epoch, answer.value.host_id);
        else this.#engine.feed({ type: "lease.queued", epoch: call.epoch, reason: answer.value.reason });
        return;
      }
      case "lease.release": return this.#neighbours().pool(tenant_id, pool).release(id, call.epoch);
      case "lease.idle": return this.#neighbours().pool(tenant_id, pool).setIdle(id, call.epoch, call.idle);
      case "host.destroy": return this.#neighbours().host(call.host_id).destroy(call.runner_id, call.reason);
      case "host.forget": return this.#neighbours().host(call.host_id).forget(id);
      case "host.spawn": return this.#spawn(call);
      case "host.suspend": {
        const answer = unwrap(await this.#neighbours().host(call.host_id).suspend(call.runner_id, call.strategy, call.fallback));
        this.#engine.feed({ type: "host.suspended", runner_id: call.runner_id, answer });
        return;
      }
      case "host.resume": {
        const answer = unwrap(await this.#neighbours().host(call.host_id).resume(call.runner_id));
        this.#engine.feed({ type: "host.resumed", runner_id: call.runner_id, answer });
        return;
      }
      case "budget.raise": return this.#neighbours().tenant(tenant_id).raiseBudget(call.budget_id, call.permission_id, call.caps);
      case "host.discard": return this.#neighbours().host(call.host_id).discardFiles(id, session.workspace_id);
    }
  }

  async #spawn({ epoch, host_id, runner_id }: Extract<Call, { kind: "host.spawn" }>): Promise<void> {
    const { session, attachment } = this.#engine.state;
    if (!session || attachment?.runner_id !== runner_id) return;
    let token = this.#tokens.get(runner_id);
    if (!token && attachment.state !== "spawning") {
      // It is here already, so its host only answers what it runs in.
      token = new Secret(newToken("run"));
    } else if (!token) {
      // Known by hash only, since the object was started anew: a runner that has not come yet gets another.
      const renewed = await this.#newRunner();
      this.#engine.feed({ type: "spawn.renewed", runner_id, new_runner_id: renewed.runner_id, token_hash: renewed.token_hash, gateway: renewed.gateway });
      return;
    }
    const { id: session_id, tenant_id, workspace_id, agent, model, provider, keep_raw, has_api_key, agent_config_id, workspace_quota_mb } = session;
    const spec: SpawnSpec = {
      runner_id, session_id, tenant_id, workspace_id, epoch, run_token: token.reveal(), agent, model, provider, env: this.#engine.env.all(), keep_raw,
      needs_key: has_api_key && (attachment.gateway?.sealed_key ?? null) === null, gateway: has_api_key || Boolean(agent_config_id) || this.#deploymentKey,
      ...(attachment.restore && { restore: attachment.restore }), workspace_quota_mb, ...(session.directory && { directory: session.directory.path }),
    };
    const result = await this.#neighbours().host(host_id).spawn(spec);
    this.#engine.feed({ type: "spawn.answered", runner_id, answer: answerOf(result) });
    this.#tokens.delete(runner_id);
    if (result.ok && result.value.ok) this.#key.served(runner_id);
  }
}

function answerOf(result: Result<Spawned>): Spawned {
  if (result.ok) return result.value;
  const { message, hint } = result.error;
  return { ok: false, error: { code: "host_unavailable", message, ...(hint && { hint }) }, retryable: true };
}
