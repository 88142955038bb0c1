/** Owns `mctl usage` and `mctl budgets`: what model calls cost, and what they may. */

import type { Budget } from "../../protocol/budget.ts";
import type { ModelPrice, UsageRow } from "../../protocol/usage.ts";
import { defineCommand } from "../command.ts";
import { UserError } from "../io.ts";
import { choice, flag, pairs, text } from "../option.ts";
import { count, type Column } from "../output/table.ts";
import { listOptions, printList } from "./listing.ts";

const usd = (value: number) => `$${value.toFixed(4)}`;
const rowColumns = (group: string): readonly Column<UsageRow>[] => [
  { title: group.toUpperCase(), value: (r) => r.key, max: 40 }, { title: "CALLS", value: (r) => r.requests, right: true }, { title: "COST", value: (r) => usd(r.cost_usd), right: true },
  { title: "IN", value: (r) => count(r.input_tokens), right: true }, { title: "CACHED", value: (r) => (r.cache_hit_rate === null ? null : `${Math.round(r.cache_hit_rate * 100)}%`), right: true },
  { title: "OUT", value: (r) => count(r.output_tokens), right: true }, { title: "UNPRICED", value: (r) => r.unpriced_requests || null, right: true }, { title: "ESTIMATED", value: (r) => r.estimated_requests || null, right: true, wide: true },
  { title: "FAILED", value: (r) => r.failed_requests || null, right: true, wide: true }, { title: "FIRST TOKEN", value: (r) => (r.median_ttft_ms === null ? null : `${Math.round(r.median_ttft_ms)} ms`), right: true, wide: true },
];
const priceColumns: readonly Column<ModelPrice>[] = [
  { title: "MODEL", value: (p) => p.match }, { title: "IN", value: (p) => p.input, right: true }, { title: "OUT", value: (p) => p.output, right: true }, { title: "CACHE READ", value: (p) => p.cache_read, right: true },
  { title: "CACHE WRITE", value: (p) => p.cache_write, right: true }, { title: "1 H", value: (p) => p.cache_write_1h, right: true },
];
const spent = (cap: number | null, used: number, show: (value: number) => string) => (cap === null ? null : `${show(used)} of ${show(cap)}`);
const budgetColumns: readonly Column<Budget>[] = [
  { title: "ID", value: (b) => b.id }, { title: "NAME", value: (b) => b.name, max: 24 }, { title: "FOR", value: (b) => (b.label ? `${b.label.name}=${b.label.value}` : "the tenant") }, { title: "PERIOD", value: (b) => b.period },
  { title: "COST", value: (b) => spent(b.max_cost_usd, b.spent_cost_usd, (value) => `$${value.toFixed(2)}`), right: true }, { title: "TOKENS", value: (b) => spent(b.max_tokens, b.spent_tokens, count), right: true },
];

function amount(given: string | undefined, name: string): number | undefined {
  if (given === undefined) return undefined;
  if (!/^\d{1,9}(\.\d{1,6})?$/.test(given)) throw new UserError(`--${name} is not an amount of US dollars: '${given}'`);
  return Number(given);
}
function whole(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  if (!/^\d{1,15}$/.test(given)) throw new UserError(`--max-tokens is not a number of tokens: '${given}'`);
  return Number(given);
}
const caps = { maxCost: text("USD", "most US dollars"), maxTokens: text("N", "most tokens, of all kinds together") };
const BUDGET = { name: "budget", summary: "id of the budget (bud_…)" } as const;

export const usageCommands = [
  defineCommand({
    name: "usage show",
    summary: "Show what model calls used and cost",
    description: "Costs leave out calls of models without a price; UNPRICED says how many there were.",
    options: {
      by: text("GROUP", "hour, day, month, model, agent, session, task, run, upstream, …, or label:NAME (default model)"), selector: text("CONDITIONS", "only calls with session=…, task=…, model=…, agent=…, or a label: team=web"),
      from: text("TIME", "from this time on, RFC 3339 in UTC"), to: text("TIME", "until this time"), csv: flag("as CSV"),
    },
    examples: [["usage show --by label:team --from 2026-11-01T00:00:00Z", "who spends what"], ["usage show --by day --csv > usage.csv", ""]],
    async run(context, _, { by = "model", csv, ...span }) {
      const params = { ...span, group_by: by };
      if (csv) return context.out.write(await context.client.usage.csv(params));
      const report = await context.client.usage.report(params);
      if (context.out.structured) return context.out.one(report, () => []);
      context.out.many(report.rows, rowColumns(by), (row) => row.key ?? "");
      context.out.note(`${report.total.requests} calls, ${usd(report.total.cost_usd)}${report.total.unpriced_requests > 0 ? `, and ${report.total.unpriced_requests} calls without a price` : ""}.`);
    },
  }),
  defineCommand({
    name: "usage prices",
    summary: "Show the prices that calls are counted with, in US dollars for a million tokens",
    options: {},
    examples: [["usage prices", ""]],
    async run(context) {
      const pricing = await context.client.usage.prices();
      if (context.out.structured) return context.out.one(pricing, () => []);
      context.out.many(pricing.models, priceColumns, (price) => price.match);
      context.out.note(`Version ${pricing.version}.`);
    },
  }),
  defineCommand({
    name: "budgets create",
    summary: "Cap what the tenant, or all that has a label, may spend on models",
    options: { ...caps, label: pairs("all sessions and tasks with this label"), period: choice(["day", "month", "total"], "begin anew each day or month, UTC (default total)"), name: text("NAME", "a name, for people") },
    examples: [["budgets create --label team=web --max-cost 50 --period month", ""]],
    async run(context, _, { maxCost, maxTokens, label, period, name }) {
      const [first, ...more] = Object.entries(label ?? {});
      if (more.length > 0) throw new UserError("A budget has one label");
      const cap = { max_cost_usd: amount(maxCost, "max-cost"), max_tokens: whole(maxTokens) };
      const budget = await context.client.budgets.create({ ...cap, period, name, ...(first && { label: { name: first[0], value: first[1] } }) });
      if (context.out.structured) context.out.one(budget, () => []);
      else context.out.line(budget.id);
    },
  }),
  defineCommand({
    name: "budgets list",
    summary: "List budgets with what is spent of them",
    options: listOptions,
    examples: [["budgets list", ""]],
    async run(context, _, chosen) {
      await printList(context, chosen, () => context.client.budgets.list(), budgetColumns, "budgets");
    },
  }),
  defineCommand({
    name: "budgets update",
    summary: "Change a budget's caps",
    args: [BUDGET],
    options: caps,
    examples: [["budgets update bud_… --max-cost 100", ""]],
    async run(context, { budget: id = "" }, { maxCost, maxTokens }) {
      const cost = amount(maxCost, "max-cost");
      const tokens = whole(maxTokens);
      if (cost === undefined && tokens === undefined) throw new UserError("Nothing to change", "give --max-cost or --max-tokens");
      const budget = await context.client.budgets.update(id, { ...(cost !== undefined && { max_cost_usd: cost }), ...(tokens !== undefined && { max_tokens: tokens }) });
      if (context.out.structured) context.out.one(budget, () => []);
      else context.out.note(`Changed ${budget.id}.`);
    },
  }),
  defineCommand({
    name: "budgets delete",
    summary: "Lift a budget",
    args: [BUDGET],
    options: {},
    examples: [["budgets delete bud_…", ""]],
    async run(context, { budget: id = "" }) {
      await context.client.budgets.delete(id);
      context.out.note(`Lifted ${id}.`);
    },
  }),
];

/** Caps of a session or task, from options. */
export const budgetOptions = { maxCost: text("USD", "most US dollars that its model calls may cost"), maxTokens: text("N", "most tokens that its model calls may use") };
export function budgetOf({ maxCost, maxTokens }: { maxCost: string | undefined; maxTokens: string | undefined }): { max_cost_usd: number | null; max_tokens: number | null } | undefined {
  const [cost, tokens] = [amount(maxCost, "max-cost"), whole(maxTokens)];
  return cost === undefined && tokens === undefined ? undefined : { max_cost_usd: cost ?? null, max_tokens: tokens ?? null };
}
