/** Owns budgets: caps on what tasks, sessions, labels and tenants may spend on models, in US dollars and in tokens. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { labelName, name, oneLine, timestamp } from "./values.ts";

const cost = z.number().min(0).max(1_000_000_000);
const tokens = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const caps = z.strictObject({ max_cost_usd: cost.nullable().default(null), max_tokens: tokens.nullable().default(null) });
/** At least one cap. Tokens are all of a call: in, read from and written to the cache, out. */
export const budgetCaps = caps.refine((value) => value.max_cost_usd !== null || value.max_tokens !== null, "give max_cost_usd or max_tokens");
export type BudgetCaps = z.infer<typeof caps>;

/** A cap with what is spent of it, and what calls under way may still cost. */
export const budgetState = z.object({
  max_cost_usd: z.number().nullable(), max_tokens: z.number().nullable(),
  spent_cost_usd: z.number(), spent_tokens: z.number(), reserved_cost_usd: z.number(), reserved_tokens: z.number(),
});
export type BudgetState = z.infer<typeof budgetState>;

/** Where a budget applies. */
export const budgetScope = z.enum(["task", "session", "label", "tenant"]);
export type BudgetScope = z.infer<typeof budgetScope>;

/** Begins anew at midnight, or on the month's first, UTC; `total` never does. */
export const budgetPeriod = z.enum(["day", "month", "total"]);
export type BudgetPeriod = z.infer<typeof budgetPeriod>;

const label = z.strictObject({ name: labelName, value: oneLine(255) });
/** A tenant's budget, or with `label` that of all its sessions and tasks that have this label. */
export const budgetCreate = z
  .strictObject({ name: name.optional(), label: label.nullable().default(null), period: budgetPeriod.default("total"), ...caps.shape })
  .refine((value) => value.max_cost_usd !== null || value.max_tokens !== null, "give max_cost_usd or max_tokens");
export type BudgetCreate = z.infer<typeof budgetCreate>;
/** What is left out stays as it is. */
export const budgetPatch = z.strictObject({ name: name.nullable().optional(), max_cost_usd: cost.nullable().optional(), max_tokens: tokens.nullable().optional() });
export type BudgetPatch = z.infer<typeof budgetPatch>;

export const budget = z.object({
  id: idOf("budget"),
  tenant_id: idOf("tenant"),
  name: z.string().nullable(),
  scope: z.enum(["label", "tenant"]),
  label: label.nullable(),
  period: budgetPeriod,
  ...budgetState.shape,
  /** When the running period began; null for `total`. */
  period_start: timestamp.nullable(),
  created_at: timestamp,
  updated_at: timestamp,
});
export type Budget = z.infer<typeof budget>;

/** A budget as an event, a refusal or a question names it. */
export const budgetNotice = z.object({
  scope: budgetScope,
  /** Of a label's or tenant's budget; null for a session's or task's own. */
  budget_id: idOf("budget").nullable(),
  /** For people: `this session`, `label team=web`, … */
  what: z.string().max(500),
  ...budgetState.shape,
});
export type BudgetNotice = z.infer<typeof budgetNotice>;

/** Share of a cap at which a warning is given. */
export const BUDGET_WARNING = 0.8;
