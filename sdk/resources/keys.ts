/** Owns `client.keys` and `client.runnerTokens`: the tenant's API keys, and the tokens with which its hosts join. */

import type * as z from "zod";
import type { ApiKey, ApiKeyCreated, keyCreate, RunnerToken, RunnerTokenCreated, runnerTokenCreate } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type KeyCreateParams = z.input<typeof keyCreate>;
export type RunnerTokenCreateParams = z.input<typeof runnerTokenCreate>;

/** API keys of the tenant; all of it needs the scope `admin`. */
export class Keys extends Resource {
  /** `key` of the answer is shown this once. */
  create(params: KeyCreateParams, options?: RequestOptions): Promise<ApiKeyCreated> {
    return this.transport.json("POST", api`/keys`, resource<ApiKeyCreated>, { body: params }, options);
  }
  list(params: ListParams = {}, options?: RequestOptions): Pages<ApiKey> {
    return this.pages<ApiKey>(api`/keys`, { ...params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<ApiKey> {
    return this.transport.json("GET", api`/keys/${id}`, resource<ApiKey>, {}, options);
  }
  /** Refused everywhere within 5 seconds. */
  revoke(id: string, options?: RequestOptions): Promise<ApiKey> {
    return this.transport.json("DELETE", api`/keys/${id}`, resource<ApiKey>, {}, options);
  }
}

/** Runner tokens of the tenant; all of it needs the scope `admin`. */
export class RunnerTokens extends Resource {
  /** `token` of the answer is shown this once. */
  create(params: RunnerTokenCreateParams, options?: RequestOptions): Promise<RunnerTokenCreated> {
    return this.transport.json("POST", api`/runner-tokens`, resource<RunnerTokenCreated>, { body: params }, options);
  }
  list(params: ListParams = {}, options?: RequestOptions): Pages<RunnerToken> {
    return this.pages<RunnerToken>(api`/runner-tokens`, { ...params }, options);
  }
  /** A new token in place of the old, which stays good for an hour. */
  rotate(id: string, options?: RequestOptions): Promise<RunnerTokenCreated> {
    return this.transport.json("POST", api`/runner-tokens/${id}/rotate`, resource<RunnerTokenCreated>, {}, options);
  }
  /** No host joins with it any more; one that is linked stays until its link ends. */
  revoke(id: string, options?: RequestOptions): Promise<RunnerToken> {
    return this.transport.json("DELETE", api`/runner-tokens/${id}`, resource<RunnerToken>, {}, options);
  }
}
