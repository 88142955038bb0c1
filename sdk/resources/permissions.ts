/** Owns `client.permissions`: the tool calls that wait for a person's answer. */

import type { BudgetCaps, Permission, PermissionDeny, PermissionStatus, Scope } from "../protocol/index.ts";
import { ConflictError } from "../core/errors.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export interface PermissionListParams extends ListParams {
  status?: PermissionStatus | undefined;
  session_id?: string | undefined;
}
export interface PermissionApproveParams {
  reason?: string | undefined;
  /** `once` (default), for the rest of the task, or for the rest of the session. */
  scope?: Scope | undefined;
  /** Of a request of the tool `budget`: the caps from now on; absent: the same again. */
  budget?: Partial<BudgetCaps> | undefined;
}

/** Permission requests of the key's tenant. Answering needs the scope `approve`. */
export class Permissions extends Resource {
  list(params: PermissionListParams = {}, options?: RequestOptions): Pages<Permission> {
    return this.pages<Permission>(api`/permissions`, { ...params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Permission> {
    return this.transport.json("GET", api`/permissions/${id}`, resource<Permission>, {}, options);
  }
  /** `ConflictError` with `details.decision` where somebody was faster, or the agent took its question back. */
  approve(id: string, params: PermissionApproveParams = {}, options?: RequestOptions): Promise<Permission> {
    return this.#answer(id, "approved", this.transport.json("POST", api`/permissions/${id}/approve`, resource<Permission>, { body: params }, options), options);
  }
  /** The agent is shown the reason. `ConflictError` as of `approve`. */
  deny(id: string, params: PermissionDeny = {}, options?: RequestOptions): Promise<Permission> {
    return this.#answer(id, "denied", this.transport.json("POST", api`/permissions/${id}/deny`, resource<Permission>, { body: params }, options), options);
  }

  /** An attempt whose answer was lost may have been carried out: the next one's conflict is then this very decision. */
  async #answer(id: string, wanted: PermissionStatus, call: Promise<Permission>, options: RequestOptions | undefined): Promise<Permission> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof ConflictError && error.attempts > 1 && error.details?.["status"] === wanted) return this.get(id, options);
      throw error;
    }
  }
}
