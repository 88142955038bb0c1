/** Owns what an isolate remembers between calls: prices, opened agent configs, a tenant's limits, and whose a session is. */

import type { ModelPolicy } from "../../durable-objects/index.ts";
import { tenantStub } from "../../durable-objects/index.ts";
import type { AgentConfig, ModelPrice } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import { Believed, MAX_REMEMBERED } from "../believed.ts";
import { OpenedKeys } from "./opened-keys.ts";
import { openConfig } from "./configs.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";

/** A config with its key in the open. It never leaves the isolate but towards its provider. */
export interface OpenConfig {
  config: AgentConfig;
  key: string;
}

export class Policies {
  readonly #prices = new Believed<readonly ModelPrice[]>();
  readonly #configs = new Believed<OpenConfig | null>();
  readonly #policies = new Believed<ModelPolicy>();
  readonly #tenants = new Map<string, string>();
  readonly #keys = new OpenedKeys();

  /** The tenant of a session, once a token of the session was good: it never changes. */
  tenantOf(sessionId: string): string | null {
    return this.#tenants.get(sessionId) ?? null;
  }
  learn(sessionId: string, tenantId: string): void {
    if (this.#tenants.size >= MAX_REMEMBERED) this.#tenants.delete(this.#tenants.keys().next().value ?? "");
    this.#tenants.set(sessionId, tenantId);
  }

  /** A session's own key; throws where another token or session sealed it. */
  ownKey(token: string, sessionId: string, sealed: string): Promise<string> {
    return this.#keys.find(token, sessionId, sealed);
  }
  /** A tenant's own prices; none where they have never been read and the database is away. */
  prices(records: Records, tenantId: string): Promise<readonly ModelPrice[]> {
    return this.#prices.find(tenantId, () => records.prices.of(tenantId)).catch(() => []);
  }
  /** An agent config by id or name. */
  config(env: Env, records: Records, tenantId: string, ref: string): Promise<OpenConfig | null> {
    return this.#configs.find(`${tenantId}/${ref}`, () => openConfig(env, records, tenantId, ref));
  }
  policy(env: Env, tenantId: string): Promise<ModelPolicy> {
    return this.#policies.find(tenantId, () => reach(() => tenantStub(env, tenantId).modelPolicy()));
  }

  /** What was changed through this isolate holds here at once. */
  forgetPrices(tenantId: string): void {
    this.#prices.forget(tenantId);
  }
  forgetConfig(tenantId: string, ...refs: string[]): void {
    for (const ref of refs) this.#configs.forget(`${tenantId}/${ref}`);
  }
  forgetPolicy(tenantId: string): void {
    this.#policies.forget(tenantId);
  }
}

/** One isolate's. */
export const policies = new Policies();
