/** Owns the calls that the model gateway makes of objects: whose token this is, may this call be made, and what it was. */

import type { BudgetCaps, Budget, BudgetCreate, BudgetNotice, BudgetPatch, Result } from "../sdk/protocol/index.ts";
import type { Largest, Tally } from "./base/caps.ts";
import type { CallReport, ModelCall, Via } from "./session/budget.ts";

/** Where the key for a call is. `sealed` opens with the token that the agent presented. */
export type KeyPlace = { kind: "byok"; sealed: string } | { kind: "byok_missing" } | { kind: "agent_config"; id: string } | { kind: "deployment" };

export interface GatewayClaim {
  tenant_id: string;
  agent: string;
  /** The session's own address of its provider. */
  base_url: string | null;
  key: KeyPlace;
}
export interface CallGrant extends GatewayClaim {
  task_id: string | null;
  run_id: string | null;
  /** Of the session and of the task that runs. */
  labels: Record<string, string>;
}

export interface SessionGatewayRpc {
  /** Whose gateway token this is, and with what key it calls: `unauthorized` unless it is that of the current attachment. */
  claimGateway(tokenHash: string): Promise<Result<GatewayClaim>>;
  /** Reserves the most that the call can cost; `budget_exceeded`, or `rate_limited` where only other calls under way stand in its way. Idempotent by the call's id. */
  openCall(tokenHash: string, call: ModelCall): Promise<Result<CallGrant>>;
  /** The call goes on, by this way; say so more often than every three minutes. */
  keepCall(callId: string, via?: Via): Promise<void>;
  /** The call has ended. Idempotent: what is settled stays. */
  settleCall(report: CallReport, notices: BudgetNotice[]): Promise<void>;
  /** A budget above the session's refused it; with `ask`, the session asks its owner. */
  refuseCall(callId: string, notice: BudgetNotice, ask: boolean): Promise<void>;
}

/** What applies to all of a tenant's calls; believed for seconds by the edge. */
export interface ModelPolicy {
  budgets: boolean;
  requests_per_minute: number | null;
}
export interface TenantCall {
  id: string;
  labels: Record<string, string>;
  model: string | null;
  largest: Largest;
  /** The upstream key's own limit. */
  key: { id: string; requests_per_minute: number } | null;
}
export type TenantAdmission =
  | { ok: true }
  | { ok: false; why: "rate"; what: "tenant" | "key"; limit: number; retry_after_seconds: number }
  | { ok: false; why: "busy" | "no" | "unpriced"; notice: BudgetNotice };

export interface TenantGatewayRpc {
  modelPolicy(): Promise<ModelPolicy>;
  /** Takes a token of each rate and reserves in each budget that applies: all of them or none. */
  admitCall(call: TenantCall): Promise<TenantAdmission>;
  keepModelCall(callId: string): Promise<void>;
  /** Answers the budgets of which four fifths are spent with this call. */
  settleModelCall(callId: string, spent: Tally): Promise<BudgetNotice[]>;
  createBudget(tenantId: string, id: string, input: BudgetCreate): Promise<Result<Budget>>;
  listBudgets(): Promise<Budget[]>;
  readBudget(id: string): Promise<Result<Budget>>;
  updateBudget(id: string, patch: BudgetPatch): Promise<Result<Budget>>;
  deleteBudget(id: string): Promise<Result<Budget>>;
  /** Raises a cap from an approval: to `caps`, or by what it was. Idempotent by the permission. */
  raiseBudget(id: string, permissionId: string, caps: BudgetCaps | null): Promise<void>;
}
