/** Owns `client.admin`: tenants, their keys and the tokens with which hosts join. */

import type * as z from "zod";
import type { ApiKey, ApiKeyCreated, RunnerToken, RunnerTokenCreated, runnerTokenCreate, Tenant, tenantCreate, tenantPatch } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { adminApi, type Transport } from "../core/transport.ts";
import type { KeyCreateParams } from "./keys.ts";

export type RunnerTokenCreateParams = z.input<typeof runnerTokenCreate>;

/** With the master key: `tenant_id` says whose. A tenant's own key with the scope `admin` leaves it out. */
interface OfTenant {
  tenant_id?: string | undefined;
}

class Tenants extends Resource {
  create(params: z.input<typeof tenantCreate>, options?: RequestOptions): Promise<Tenant> {
    return this.transport.json("POST", adminApi`/tenants`, resource<Tenant>, { body: params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Tenant> {
    return this.transport.json("GET", adminApi`/tenants/${id}`, resource<Tenant>, {}, options);
  }
  list(params: ListParams = {}, options?: RequestOptions): Pages<Tenant> {
    return this.pages<Tenant>(adminApi`/tenants`, { ...params }, options);
  }
  update(id: string, patch: z.input<typeof tenantPatch>, options?: RequestOptions): Promise<Tenant> {
    return this.transport.json("PATCH", adminApi`/tenants/${id}`, resource<Tenant>, { body: patch }, options);
  }
}

class AdminKeys extends Resource {
  /** `key` of the answer is shown this once. */
  create(params: KeyCreateParams & OfTenant, options?: RequestOptions): Promise<ApiKeyCreated> {
    return this.transport.json("POST", adminApi`/keys`, resource<ApiKeyCreated>, { body: params }, options);
  }
  list(params: ListParams & OfTenant = {}, options?: RequestOptions): Pages<ApiKey> {
    return this.pages<ApiKey>(adminApi`/keys`, { ...params }, options);
  }
  revoke(id: string, options?: RequestOptions): Promise<ApiKey> {
    return this.transport.json("DELETE", adminApi`/keys/${id}`, resource<ApiKey>, {}, options);
  }
}

class RunnerTokens extends Resource {
  /** `token` of the answer is shown this once. */
  create(params: RunnerTokenCreateParams & OfTenant, options?: RequestOptions): Promise<RunnerTokenCreated> {
    return this.transport.json("POST", adminApi`/runner-tokens`, resource<RunnerTokenCreated>, { body: params }, options);
  }
  list(params: ListParams & OfTenant = {}, options?: RequestOptions): Pages<RunnerToken> {
    return this.pages<RunnerToken>(adminApi`/runner-tokens`, { ...params }, options);
  }
  revoke(id: string, options?: RequestOptions): Promise<RunnerToken> {
    return this.transport.json("DELETE", adminApi`/runner-tokens/${id}`, resource<RunnerToken>, {}, options);
  }
}

/** The deployment's administration; the client's key is the master key, or a key with the scope `admin` where the call allows it. */
export class Admin {
  readonly tenants: Tenants;
  readonly keys: AdminKeys;
  readonly runnerTokens: RunnerTokens;
  constructor(transport: Transport) {
    this.tenants = new Tenants(transport);
    this.keys = new AdminKeys(transport);
    this.runnerTokens = new RunnerTokens(transport);
  }
}
