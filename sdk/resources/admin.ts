/** Owns `client.admin`: tenants, their keys and the tokens with which hosts join. */

import type * as z from "zod";
import type { ApiKey, ApiKeyCreated, RunnerToken, RunnerTokenCreated, Tenant, tenantCreate, tenantPatch } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { adminApi, type Transport } from "../core/transport.ts";
import type { KeyCreateParams, RunnerTokenCreateParams } from "./keys.ts";

/** Whose it is to be. */
interface ForTenant {
  tenant_id: string;
}
/** Lists are of all tenants where it is left out. */
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
  create(params: KeyCreateParams & ForTenant, options?: RequestOptions): Promise<ApiKeyCreated> {
    return this.transport.json("POST", adminApi`/keys`, resource<ApiKeyCreated>, { body: params }, options);
  }
  list(params: ListParams & OfTenant = {}, options?: RequestOptions): Pages<ApiKey> {
    return this.pages<ApiKey>(adminApi`/keys`, { ...params }, options);
  }
  revoke(id: string, options?: RequestOptions): Promise<ApiKey> {
    return this.transport.json("DELETE", adminApi`/keys/${id}`, resource<ApiKey>, {}, options);
  }
}

class AdminRunnerTokens extends Resource {
  /** `token` of the answer is shown this once. */
  create(params: RunnerTokenCreateParams & ForTenant, options?: RequestOptions): Promise<RunnerTokenCreated> {
    return this.transport.json("POST", adminApi`/runner-tokens`, resource<RunnerTokenCreated>, { body: params }, options);
  }
  list(params: ListParams & OfTenant = {}, options?: RequestOptions): Pages<RunnerToken> {
    return this.pages<RunnerToken>(adminApi`/runner-tokens`, { ...params }, options);
  }
  revoke(id: string, options?: RequestOptions): Promise<RunnerToken> {
    return this.transport.json("DELETE", adminApi`/runner-tokens/${id}`, resource<RunnerToken>, {}, options);
  }
}

/** The deployment's administration; the client's `apiKey` is the master key. */
export class Admin {
  readonly tenants: Tenants;
  readonly keys: AdminKeys;
  readonly runnerTokens: AdminRunnerTokens;
  constructor(transport: Transport) {
    this.tenants = new Tenants(transport);
    this.keys = new AdminKeys(transport);
    this.runnerTokens = new AdminRunnerTokens(transport);
  }
}
