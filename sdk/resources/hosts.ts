/** Owns `client.hosts` and `client.runners`: the machines that have joined and what serves sessions on them. */

import type { Host, Runner, RunnerStatus } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export interface HostListParams extends ListParams {
  status?: Host["status"] | undefined;
  pool?: string | undefined;
}
export interface RunnerListParams extends ListParams {
  status?: RunnerStatus | undefined;
  pool?: string | undefined;
  session_id?: string | undefined;
}

/** Hosts of the key's tenant. */
export class Hosts extends Resource {
  list(params: HostListParams = {}, options?: RequestOptions): Pages<Host> {
    return this.pages<Host>(api`/hosts`, { ...params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Host> {
    return this.transport.json("GET", api`/hosts/${id}`, resource<Host>, {}, options);
  }
  /** With `true` the host takes no new runners, and keeps those that it has; with `false` it takes them again. */
  drain(id: string, draining = true, options?: RequestOptions): Promise<Host> {
    return this.transport.json("POST", api`/hosts/${id}/drain`, resource<Host>, { body: { draining } }, options);
  }
}

/** Runners of the key's tenant. */
export class Runners extends Resource {
  list(params: RunnerListParams = {}, options?: RequestOptions): Pages<Runner> {
    return this.pages<Runner>(api`/runners`, { ...params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Runner> {
    return this.transport.json("GET", api`/runners/${id}`, resource<Runner>, {}, options);
  }
}
