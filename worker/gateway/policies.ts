/** Owns what an isolate remembers between calls: prices, opened agent configs, a tenant's limits, and whose a session is. */

import type { ModelPolicy } from "../../durable-objects/index.ts";
import { tenantStub } from "../../durable-objects/index.ts";
import { openModelKey, type AgentConfig, type ModelPrice } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import { openConfig } from "./configs.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";

/** Longest that something is believed without asking again. */
const BELIEVED_MS = 5_000;
/** How long it holds on while who knows better cannot be asked. */
const HELD_MS = 15 * 60_000;
const MAX_REMEMBERED = 10_000;

/** Values by key, for seconds; the last one for longer where a new one cannot be had. One read at a time a key. */
export class Believed<T> {
  readonly #known = new Map<string, { value: T; read: number; until: number }>();
  readonly #reading = new Map<string, Promise<T>>();

  async find(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    const now = Date.now();
    if (known && known.until > now) return known.value;
    const under = this.#reading.get(key);
    if (under && known) return known.value;
    const reading = read();
    this.#reading.set(key, reading);
    try {
      const value = await reading;
      if (this.#known.size >= MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? "");
      this.#known.set(key, { value, read: now, until: now + BELIEVED_MS });
      return value;
    } catch (error) {
      if (!known || known.read + HELD_MS < now) throw error;
      known.until = now + BELIEVED_MS;
      return known.value;
    } finally {
      if (this.#reading.get(key) === reading) this.#reading.delete(key);
    }
  }
  forget(key: string): void {
    this.#known.delete(key);
  }
}

/** A config with its key in the open. It never leaves the isolate but towards its provider. */
export interface OpenConfig {
  config: AgentConfig;
  key: string;
}

/** How long a session's own key stays in the open after it was used: an agent's calls come one after another. */
const KEY_MS = 30_000;

/** Sessions' own keys as they were opened, for seconds; each is found only by who has both what was sealed and the token that opens it. */
export class OpenedKeys {
  readonly #keys = new Map<string, { key: string; until: number }>();

  async find(token: string, sessionId: string, sealed: string): Promise<string> {
    const name = `${sessionId}/${token}/${sealed}`;
    const key = this.#keys.get(name)?.key ?? (await openModelKey(token, sessionId, sealed));
    const now = Date.now();
    this.#keys.delete(name);
    this.#keys.set(name, { key, until: now + KEY_MS });
    // In order of their last use.
    for (const [other, { until }] of this.#keys) {
      if (until > now && this.#keys.size <= MAX_REMEMBERED) break;
      this.#keys.delete(other);
    }
    return key;
  }
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
