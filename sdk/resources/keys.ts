/** Owns `client.keys`: the tenant's API keys. */

import type * as z from "zod";
import type { ApiKey, ApiKeyCreated, keyCreate } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type KeyCreateParams = z.input<typeof keyCreate>;

/** API keys of the tenant; all of it needs the scope `admin`. */
export class Keys extends Resource {
  /** `key` of the answer is shown this once. */
  create(params: KeyCreateParams, options?: RequestOptions): Promise<ApiKeyCreated> {
    return this.transport.json("POST", api`/keys`, resource<ApiKeyCreated>, { body: params }, options);
  }
  list(params: ListParams = {}, options?: RequestOptions): Pages<ApiKey> {
    return this.pages<ApiKey>(api`/keys`, { ...params }, options);
  }
  /** Refused everywhere within 5 seconds. */
  revoke(id: string, options?: RequestOptions): Promise<ApiKey> {
    return this.transport.json("DELETE", api`/keys/${id}`, resource<ApiKey>, {}, options);
  }
}
