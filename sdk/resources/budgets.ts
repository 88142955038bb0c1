/** Owns `client.budgets`: caps on what the tenant, or all that has a label, may spend on models. */

import type * as z from "zod";
import type { Budget, budgetCreate, BudgetPatch } from "../protocol/budget.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type BudgetCreateParams = z.input<typeof budgetCreate>;

/** Budgets of the tenant. Changing them needs the scope `admin`. */
export class Budgets extends Resource {
  create(params: BudgetCreateParams, options?: RequestOptions): Promise<Budget> {
    return this.transport.json("POST", api`/budgets`, resource<Budget>, { body: params }, options);
  }
  /** Newest first, with what is spent and reserved. */
  list(options?: RequestOptions): Pages<Budget> {
    return this.pages<Budget>(api`/budgets`, {}, options);
  }
  get(id: string, options?: RequestOptions): Promise<Budget> {
    return this.transport.json("GET", api`/budgets/${id}`, resource<Budget>, {}, options);
  }
  update(id: string, patch: BudgetPatch, options?: RequestOptions): Promise<Budget> {
    return this.transport.json("PATCH", api`/budgets/${id}`, resource<Budget>, { body: patch }, options);
  }
  delete(id: string, options?: RequestOptions): Promise<Budget> {
    return this.transport.json("DELETE", api`/budgets/${id}`, resource<Budget>, {}, options);
  }
}
