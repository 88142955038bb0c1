/** Owns the tenant's budgets: caps over the calls of many sessions, reserved and settled in one place, so that sessions side by side cannot overshoot. */

import { fail, ok, type Budget, type BudgetCaps, type BudgetCreate, type BudgetNotice, type BudgetPatch, type BudgetPeriod, type Result } from "../../sdk/protocol/index.ts";
import { add, admit, nears, NOTHING, raised, stateOf, sum, tallyOf, type Tally } from "../base/caps.ts";
import { migrate } from "../base/sql.ts";
import type { TenantAdmission, TenantCall } from "../model-rpc.ts";

/** A reservation whose gateway has said nothing for so long is settled by itself, as what was reserved. */
export const SILENCE_MS = 180_000;
/** Most budgets of one tenant: every call is held against all that apply. */
export const MAX_BUDGETS = 1_000;

/** A budget as it is kept: what is spent belongs to the period that began at `since`. */
interface Kept {
  id: string;
  tenant_id: string;
  name: string | null;
  label: { name: string; value: string } | null;
  period: BudgetPeriod;
  caps: BudgetCaps;
  since: number;
  spent: Tally;
  /** Somebody has been told that four fifths are spent: once a period and cap. */
  warned?: boolean;
  created_at: number;
  updated_at: number;
}
interface Reserved {
  id: string;
  deadline: number;
  tally: Tally;
  budgets: string[];
}

/** When the period that holds `now` began, epoch milliseconds, UTC; 0 for one without end. */
export function periodStart(period: BudgetPeriod, now: number): number {
  const at = new Date(now);
  if (period === "day") return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate());
  return period === "month" ? Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1) : 0;
}

/** The budget in the period that runs at `now`: a new period begins with nothing spent. */
function running(kept: Kept, now: number): Kept {
  const since = periodStart(kept.period, now);
  return since > kept.since ? { ...kept, since, spent: NOTHING, warned: false } : kept;
}

/** Whether the news of four fifths still holds with other caps. */
function told({ warned = false, spent }: Kept, caps: BudgetCaps): boolean {
  return warned && nears(caps, spent);
}

/** Whether a call with these labels falls under a budget. */
export function applies({ label }: Pick<Kept, "label">, labels: Readonly<Record<string, string>>): boolean {
  return label === null || (Object.hasOwn(labels, label.name) && labels[label.name] === label.value);
}

export class Budgets {
  readonly #sql: SqlStorage;
  readonly #budgets = new Map<string, Kept>();
  readonly #reserved = new Map<string, Reserved>();

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    migrate(storage, "budgets", [[
      "create table budgets (id text primary key, value text not null)",
      "create table reservations (id text primary key, value text not null)",
      "create table raises (permission_id text primary key)",
    ]]);
    for (const { value } of this.#sql.exec<{ value: string }>("select value from budgets")) this.#know(JSON.parse(value) as Kept);
    for (const { value } of this.#sql.exec<{ value: string }>("select value from reservations")) {
      const reserved = JSON.parse(value) as Reserved;
      this.#reserved.set(reserved.id, reserved);
    }
  }

  get any(): boolean {
    return this.#budgets.size > 0;
  }

  /** Reserves in every budget that applies, or in none. Idempotent by the call. */
  reserve({ id, labels, largest }: TenantCall, now: number): TenantAdmission {
    this.expire(now);
    if (this.#reserved.has(id)) return { ok: true };
    const budgets = [...this.#budgets.values()].filter((budget) => applies(budget, labels)).map((budget) => running(budget, now));
    for (const budget of budgets) {
      const why = admit(budget.caps, budget.spent, this.#under(budget.id), largest);
      if (why !== "yes") return { ok: false, why, notice: this.#notice(budget) };
    }
    if (budgets.length === 0) return { ok: true };
    const reserved: Reserved = { id, deadline: now + SILENCE_MS, tally: tallyOf(largest), budgets: budgets.map((budget) => budget.id) };
    this.#hold(reserved);
    return { ok: true };
  }

  /** Stored, too: a call that goes on is not lost with the memory that heard of it. */
  keep(callId: string, now: number): void {
    const reserved = this.#reserved.get(callId);
    if (reserved) this.#hold({ ...reserved, deadline: now + SILENCE_MS });
  }

  /**
   * Turns a reservation into what was spent; what is not reserved is settled already. Answers the budgets of which four fifths are spent and of which
   * nobody has been told.
   */
  settle(callId: string, spent: Tally, now: number): BudgetNotice[] {
    const notices: BudgetNotice[] = [];
    for (const budget of this.#spend(callId, spent, now)) {
      if (budget.warned || !nears(budget.caps, budget.spent)) continue;
      this.#save({ ...budget, warned: true });
      notices.push(this.#notice(budget));
    }
    return notices;
  }

  /** Settles what has been silent for too long, before anything is weighed or shown. Nobody listens here: who settles the next call is told of four fifths. */
  expire(now: number): void {
    for (const { id, deadline, tally } of this.#reserved.values()) if (deadline <= now) this.#spend(id, tally, now);
  }

  create(tenant_id: string, id: string, { name, label, period, max_cost_usd, max_tokens }: BudgetCreate, now: number): Result<Budget> {
    const known = this.#budgets.get(id);
    if (!known && this.#budgets.size >= MAX_BUDGETS) return fail("conflict", `A tenant has ${MAX_BUDGETS} budgets at most`, { details: { budgets: this.#budgets.size } });
    const kept: Kept = known ?? { id, tenant_id, name: name ?? null, label, period, caps: { max_cost_usd, max_tokens }, since: periodStart(period, now), spent: NOTHING, created_at: now, updated_at: now };
    if (!known) this.#save(kept);
    return ok(this.#shown(kept, now));
  }
  list(now: number): Budget[] {
    this.expire(now);
    return [...this.#budgets.values()].sort((a, b) => b.created_at - a.created_at || (a.id < b.id ? 1 : -1)).map((budget) => this.#shown(budget, now));
  }
  read(id: string, now: number): Result<Budget> {
    this.expire(now);
    const kept = this.#budgets.get(id);
    return kept ? ok(this.#shown(kept, now)) : fail("not_found", "No budget of that id here");
  }
  update(id: string, { name, max_cost_usd, max_tokens }: BudgetPatch, now: number): Result<Budget> {
    this.expire(now);
    const kept = this.#budgets.get(id);
    if (!kept) return fail("not_found", "No budget of that id here");
    const caps = { max_cost_usd: max_cost_usd === undefined ? kept.caps.max_cost_usd : max_cost_usd, max_tokens: max_tokens === undefined ? kept.caps.max_tokens : max_tokens };
    if (caps.max_cost_usd === null && caps.max_tokens === null) return fail("bad_request", "A budget needs max_cost_usd or max_tokens; delete it to lift it", { details: { max_cost_usd: "one cap must stay" } });
    const budget = running(kept, now);
    const next = { ...budget, ...(name !== undefined && { name }), caps, warned: told(budget, caps), updated_at: now };
    this.#save(next);
    return ok(this.#shown(next, now));
  }
  remove(id: string, now: number): Result<Budget> {
    const kept = this.#budgets.get(id);
    if (!kept) return fail("not_found", "No budget of that id here");
    const last = this.#shown(kept, now);
    this.#budgets.delete(id);
    this.#sql.exec("delete from budgets where id = ?", id);
    return ok(last);
  }
  /** From an approval; once for each. */
  raise(id: string, permissionId: string, asked: BudgetCaps | null, now: number): void {
    const kept = this.#budgets.get(id);
    if (!kept || this.#sql.exec("insert or ignore into raises values (?) returning permission_id", permissionId).toArray().length === 0) return;
    const budget = running(kept, now);
    const caps = raised(budget.caps, asked, budget.spent);
    this.#save({ ...budget, caps, warned: told(budget, caps), updated_at: now });
  }

  /** The budgets that a call was held against, with what it spent; none where it is settled already. */
  #spend(callId: string, spent: Tally, now: number): Kept[] {
    const reserved = this.#reserved.get(callId);
    if (!reserved) return [];
    this.#reserved.delete(callId);
    this.#sql.exec("delete from reservations where id = ?", callId);
    const after: Kept[] = [];
    for (const id of reserved.budgets) {
      const kept = this.#budgets.get(id);
      if (!kept) continue;
      const budget = running(kept, now);
      const next = { ...budget, spent: add(budget.spent, spent) };
      this.#save(next);
      after.push(next);
    }
    return after;
  }
  #hold(reserved: Reserved): void {
    this.#reserved.set(reserved.id, reserved);
    this.#sql.exec("insert or replace into reservations values (?, ?)", reserved.id, JSON.stringify(reserved));
  }
  #under(budgetId: string): Tally {
    return sum([...this.#reserved.values()].filter(({ budgets }) => budgets.includes(budgetId)).map(({ tally }) => tally));
  }
  #notice(budget: Kept): BudgetNotice {
    const { label, name } = budget;
    const what = `${label ? `label ${label.name}=${label.value}` : "this tenant"}${name ? ` (${name})` : ""}`;
    return { scope: label ? "label" : "tenant", budget_id: budget.id, what, ...stateOf(budget.caps, budget.spent, this.#under(budget.id)) };
  }
  #shown(kept: Kept, now: number): Budget {
    const { id, tenant_id, name, label, period, caps, since, spent, created_at, updated_at } = running(kept, now);
    return {
      id, tenant_id, name, scope: label ? "label" : "tenant", label, period, ...stateOf(caps, spent, this.#under(id)), period_start: period === "total" ? null : new Date(since).toISOString(),
      created_at: new Date(created_at).toISOString(), updated_at: new Date(updated_at).toISOString(),
    };
  }
  #know(kept: Kept): void {
    this.#budgets.set(kept.id, kept);
  }
  #save(kept: Kept): void {
    this.#know(kept);
    this.#sql.exec("insert or replace into budgets values (?, ?)", kept.id, JSON.stringify(kept));
  }
}
