/** Owns what one machine asks of its own control plane with the master key: a tenant, its first key, a token for its host. */

import * as z from "zod";
import { tenant, apiKeyCreated, collection, runnerTokenCreated, type ApiKeyCreated, type Collection, type KeyScope, type Limits, type RunnerTokenCreated, type Tenant } from "../../sdk/protocol/index.ts";

export interface Admin {
  createTenant(name: string, limits?: Partial<Limits>): Promise<Tenant>;
  createKey(tenantId: string, name: string, scopes: KeyScope[]): Promise<ApiKeyCreated>;
  createRunnerToken(tenantId: string, name: string, pool?: string, labels?: Record<string, string>): Promise<RunnerTokenCreated>;
  /** Garbage collection of all tenants' workspaces. */
  collect(): Promise<Collection[]>;
}

/** A client of the admin API at `url`. Each method throws with the answer's own words where it is refused. */
export function adminOf(url: string, masterKey: string): Admin {
  async function post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    const response = await fetch(`${url}/admin/api/v1${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${masterKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`POST /admin/api/v1${path}: ${response.status} ${text.slice(0, 500)}`);
    return schema.parse(JSON.parse(text));
  }
  return {
    createTenant: (name, limits) => post("/tenants", { name, ...(limits && { limits }) }, tenant),
    createKey: (tenantId, name, scopes) => post("/keys", { tenant_id: tenantId, name, scopes }, apiKeyCreated),
    createRunnerToken: (tenantId, name, pool = "default", labels = {}) => post("/runner-tokens", { tenant_id: tenantId, name, pool, labels }, runnerTokenCreated),
    collect: async () => (await post("/workspaces/gc", {}, z.object({ items: z.array(collection) }))).items,
  };
}
