/** Owns the model gateway's part of the fakes: budgets of a tenant in memory, configs, prices and calls of records in memory. */

import type { ModelPolicy, SessionGatewayRpc, TenantAdmission, TenantGatewayRpc } from "../../durable-objects/index.ts";
import { fail, ok, type AgentConfig, type Budget, type BudgetCreate, type BudgetNotice, type BudgetPatch, type ModelPrice, type ModelRequest, type Result, type UsageTotals } from "../../sdk/protocol/index.ts";
import type { Records } from "../db/records.ts";

const NONE = fail("not_found", "No budget of that id here");
const NOTHING = { spent_cost_usd: 0, spent_tokens: 0, reserved_cost_usd: 0, reserved_tokens: 0 };

/** A tenant that keeps budgets and lets every call through. */
export class FakeBudgets implements TenantGatewayRpc {
  readonly budgets = new Map<string, Budget>();
  async modelPolicy(): Promise<ModelPolicy> {
    return { budgets: this.budgets.size > 0, requests_per_minute: null };
  }
  async admitCall(): Promise<TenantAdmission> {
    return { ok: true };
  }
  async keepModelCall(): Promise<void> {}
  async settleModelCall(): Promise<BudgetNotice[]> {
    return [];
  }
  async createBudget(tenant_id: string, id: string, { name = "", label, period, max_cost_usd, max_tokens }: BudgetCreate): Promise<Result<Budget>> {
    const at = new Date().toISOString();
    const made: Budget = this.budgets.get(id) ?? { id, tenant_id, name: name || null, scope: label ? "label" : "tenant", label, period, max_cost_usd, max_tokens, ...NOTHING, period_start: null, created_at: at, updated_at: at };
    this.budgets.set(id, made);
    return ok(made);
  }
  async listBudgets(): Promise<Budget[]> {
    return [...this.budgets.values()];
  }
  async readBudget(id: string): Promise<Result<Budget>> {
    const found = this.budgets.get(id);
    return found ? ok(found) : NONE;
  }
  async updateBudget(id: string, { name, max_cost_usd, max_tokens }: BudgetPatch): Promise<Result<Budget>> {
    const found = this.budgets.get(id);
    if (!found) return NONE;
    const next = { ...found, ...(name !== undefined && { name }), ...(max_cost_usd !== undefined && { max_cost_usd }), ...(max_tokens !== undefined && { max_tokens }) };
    this.budgets.set(id, next);
    return ok(next);
  }
  async deleteBudget(id: string): Promise<Result<Budget>> {
    const found = await this.readBudget(id);
    this.budgets.delete(id);
    return found;
  }
  async raiseBudget(): Promise<void> {}
}

/** What a session answers the gateway whose token it does not know. */
export class FakeGateway implements SessionGatewayRpc {
  async claimGateway(): Promise<ReturnType<typeof fail>> {
    return fail("unauthorized", "the gateway key is unknown, or its runner is gone");
  }
  async openCall(): Promise<ReturnType<typeof fail>> {
    return this.claimGateway();
  }
  async keepCall(): Promise<void> {}
  async settleCall(): Promise<void> {}
  async refuseCall(): Promise<void> {}
}

const NO_TOTALS: UsageTotals = {
  requests: 0, failed_requests: 0, unpriced_requests: 0, estimated_requests: 0, input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: 0, cache_hit_rate: null,
  median_duration_ms: null, median_ttft_ms: null,
};

/** Configs and prices as Postgres keeps them; sums are zero. `up` throws where the database is to be away. */
export function memoryGateway(up: () => void): Pick<Records, "agentConfigs" | "prices" | "usage"> {
  const configs = new Map<string, { config: AgentConfig; sealed_key: string }>();
  const prices = new Map<string, ModelPrice[]>();
  const calls: ModelRequest[] = [];
  const mine = (tenantId: string) => [...configs.values()].filter(({ config }) => config.tenant_id === tenantId);
  return {
    agentConfigs: {
      async create({ id, tenant_id, name, agent, api, model, base_url, sealed_key, masked_key, shared, requests_per_minute, created_at }) {
        up();
        const at = created_at.toISOString();
        const config: AgentConfig = { id, tenant_id, name, agent, api, model, base_url, key: masked_key, shared, requests_per_minute, created_at: at, updated_at: at };
        configs.set(id, { config, sealed_key });
        return config;
      },
      async find(tenantId, ref) {
        up();
        return mine(tenantId).find(({ config }) => config.id === ref || config.name === ref) ?? null;
      },
      async list(tenantId, query) {
        up();
        const items = mine(tenantId).map(({ config }) => config);
        return { items: items.slice(0, query.limit), total: items.length, limit: query.limit, offset: query.offset ?? 0, next_cursor: null };
      },
      async update(tenantId, id, { sealed_key, masked_key, ...change }, now) {
        const found = mine(tenantId).find(({ config }) => config.id === id);
        if (!found) return null;
        const config = { ...found.config, ...change, ...(masked_key !== undefined && { key: masked_key }), updated_at: now.toISOString() };
        configs.set(id, { config, sealed_key: sealed_key ?? found.sealed_key });
        return config;
      },
      async remove(tenantId, id) {
        const found = mine(tenantId).find(({ config }) => config.id === id);
        configs.delete(id);
        return found?.config ?? null;
      },
    },
    prices: {
      async of(tenantId) {
        up();
        return prices.get(tenantId) ?? [];
      },
      async put(tenantId, models) {
        up();
        prices.set(tenantId, models);
      },
    },
    usage: {
      async total() {
        up();
        return NO_TOTALS;
      },
      async by() {
        up();
        return [];
      },
      async requests(tenantId, _filter, limit) {
        up();
        return calls.filter(({ tenant_id }) => tenant_id === tenantId).slice(0, limit);
      },
      async record(values) {
        calls.push(...values);
      },
    },
  };
}
