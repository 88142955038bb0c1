/** Owns the arithmetic of caps: what a call may still cost, when four fifths are spent. Pure; costs in US dollars. */

import { BUDGET_WARNING, type BudgetCaps, type BudgetState } from "../../sdk/protocol/index.ts";

export interface Tally {
  cost_usd: number;
  tokens: number;
}
export const NOTHING: Tally = { cost_usd: 0, tokens: 0 };

/** The most that a call can cost; `cost_usd` is null where the model has no price. */
export interface Largest {
  cost_usd: number | null;
  tokens: number;
}

/** Sums of dollars are kept to a billionth, so that what was reserved and given back leaves nothing behind. */
const exact = (usd: number) => Math.round(usd * 1e9) / 1e9;
export function add(a: Tally, b: Tally): Tally {
  return { cost_usd: exact(a.cost_usd + b.cost_usd), tokens: a.tokens + b.tokens };
}
export function sum(tallies: Iterable<Tally>): Tally {
  let total = NOTHING;
  for (const tally of tallies) total = add(total, tally);
  return total;
}
export function tallyOf(largest: Largest): Tally {
  return { cost_usd: largest.cost_usd ?? 0, tokens: largest.tokens };
}

/**
 * Whether a call may be made: `yes`; `busy`, where only what other calls have reserved stands in its way; `no`; `unpriced`, where a cap on cost
 * cannot be held because nobody knows what the call costs.
 */
export type Admission = "yes" | "busy" | "no" | "unpriced";
export function admit(caps: BudgetCaps, spent: Tally, reserved: Tally, largest: Largest): Admission {
  if (caps.max_cost_usd !== null && largest.cost_usd === null) return "unpriced";
  const call = tallyOf(largest);
  const fits = (taken: Tally) => {
    const after = add(taken, call);
    return (caps.max_cost_usd === null || after.cost_usd <= caps.max_cost_usd) && (caps.max_tokens === null || after.tokens <= caps.max_tokens);
  };
  if (fits(add(spent, reserved))) return "yes";
  return fits(spent) ? "busy" : "no";
}

/** Whether four fifths of a cap are spent. A cap of nothing has no such point. */
export function nears(caps: BudgetCaps, spent: Tally): boolean {
  const reached = (cap: number | null, is: number) => cap !== null && cap > 0 && is >= cap * BUDGET_WARNING;
  return reached(caps.max_cost_usd, spent.cost_usd) || reached(caps.max_tokens, spent.tokens);
}
/** Whether this is the step that reaches four fifths of the first of a budget's caps. */
export function warns(caps: BudgetCaps, before: Tally, after: Tally): boolean {
  return !nears(caps, before) && nears(caps, after);
}

export function stateOf(caps: BudgetCaps, spent: Tally, reserved: Tally): BudgetState {
  return {
    max_cost_usd: caps.max_cost_usd, max_tokens: caps.max_tokens, spent_cost_usd: spent.cost_usd, spent_tokens: spent.tokens, reserved_cost_usd: reserved.cost_usd, reserved_tokens: reserved.tokens,
  };
}

/** Caps raised as somebody said; where nobody said how far, by what was the cap. */
export function raised(caps: BudgetCaps, asked: BudgetCaps | null, spent: Tally): BudgetCaps {
  if (asked) return { max_cost_usd: asked.max_cost_usd, max_tokens: asked.max_tokens };
  const twice = (cap: number | null, used: number) => (cap === null ? null : exact(Math.max(cap, used) + cap));
  return { max_cost_usd: twice(caps.max_cost_usd, spent.cost_usd), max_tokens: twice(caps.max_tokens, spent.tokens) };
}

const usd = (value: number) => `$${value >= 1 ? value.toFixed(2) : value.toPrecision(2)}`;
/** `$1.20 of $1.50 and 3,000 of 10,000 tokens`. */
export function inWords({ max_cost_usd, max_tokens, spent_cost_usd, spent_tokens }: BudgetState): string {
  const parts = [
    ...(max_cost_usd === null ? [] : [`${usd(spent_cost_usd)} of ${usd(max_cost_usd)}`]),
    ...(max_tokens === null ? [] : [`${spent_tokens.toLocaleString("en-US")} of ${max_tokens.toLocaleString("en-US")} tokens`]),
  ];
  return parts.join(" and ");
}
export function largestInWords({ cost_usd, tokens }: Largest): string {
  return `${cost_usd === null ? "" : `${usd(cost_usd)} or `}${tokens.toLocaleString("en-US")} tokens`;
}
