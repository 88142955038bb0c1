/** Owns `client.hosts` and `client.runners`: the machines that have joined and what serves sessions on them. */

import type { FileEntry, Host, Runner, RunnerStatus } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export interface HostListParams extends ListParams {
  status?: Host["status"] | undefined;
  pool?: string | undefined;
}
export interface HostBrowseParams {
  /** One of the host's `browse_roots`, as it is written there. */
  root: string;
  /** Below the root; the root itself without it. */
  path?: string | undefined;
  /** Entries of a page, at most 1,000. */
  limit?: number | undefined;
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
  /** A directory below one of the host's `browse_roots`, directories first, hidden entries too. Needs a key with the scope `admin`. */
  browse(id: string, { root, path = "", limit }: HostBrowseParams, options?: RequestOptions): Pages<FileEntry> {
    return this.pages<FileEntry>(api`/hosts/${id}/browse`, { root, path, limit }, options);
  }
  /** A file's bytes, whole; as `browse`. */
  readBrowsed(id: string, root: string, path: string, options?: RequestOptions): Promise<Uint8Array> {
    return this.transport.send("GET", api`/hosts/${id}/browse/content`, async (response) => new Uint8Array(await response.arrayBuffer()), { query: { root, path } }, options);
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
  /** Freezes it where it is; its session is suspended. `ConflictError` where its provider cannot pause. The runner's `status` follows. */
  pause(id: string, options?: RequestOptions): Promise<Runner> {
    return this.transport.json("POST", api`/runners/${id}/pause`, resource<Runner>, {}, options);
  }
  /** Lets a paused runner, and its session, go on. */
  resume(id: string, options?: RequestOptions): Promise<Runner> {
    return this.transport.json("POST", api`/runners/${id}/resume`, resource<Runner>, {}, options);
  }
  /** It takes no new task and is given back when it has none; its session's next task gets another. */
  drain(id: string, options?: RequestOptions): Promise<Runner> {
    return this.transport.json("POST", api`/runners/${id}/drain`, resource<Runner>, {}, options);
  }
}
