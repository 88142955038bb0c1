/** Owns the routes of usage and cost: calls as they were, their sums, and the prices that they were counted with. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { callOutcome, Failure, metricsSummary, pricing, pricingPut, timestamp, usageGroup, usageReport } from "../../sdk/protocol/index.ts";
import { actorOf, type App } from "../context.ts";
import { decodeCursor, encodeCursor } from "../db/page.ts";
import type { UsageFilter } from "../db/usage.ts";
import { policies } from "../gateway/policies.ts";
import { pricingOf } from "../gateway/prices.ts";
import { usageCsv } from "../gateway/usage-csv.ts";
import { answers, failures, keyed, named, takes } from "../openapi.ts";

const UsageReport = named("UsageReport", usageReport);
const MetricsSummary = named("MetricsSummary", metricsSummary);
const Pricing = named("Pricing", pricing);

/** `name=value`, with commas: `session`, `task`, `run`, `model`, `agent` and `outcome` select calls by what they were, every other name by a label. */
const selector = z.string().max(2_000);
const span = { selector: selector.optional(), from: timestamp.optional(), to: timestamp.optional() };
const SELECTED = { session: "session_id", task: "task_id", run: "run_id", model: "model", agent: "agent" } as const;

function filterOf({ selector: text, from, to }: { selector?: string | undefined; from?: string | undefined; to?: string | undefined }): UsageFilter {
  const filter: UsageFilter = {};
  const labels: Record<string, string> = {};
  for (const part of (text ?? "").split(",").map((each) => each.trim()).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at < 1) throw new Failure("bad_request", `selector: '${part.slice(0, 60)}' is not name=value`, { details: { selector: "expected name=value, separated by commas" } });
    const [name, value] = [part.slice(0, at), part.slice(at + 1)];
    if (Object.hasOwn(SELECTED, name)) filter[SELECTED[name as keyof typeof SELECTED]] = value;
    else if (name === "outcome") {
      const outcome = callOutcome.safeParse(value);
      if (!outcome.success) throw new Failure("bad_request", `selector: outcome is one of ${callOutcome.options.join(", ")}`, { details: { selector: "unknown outcome" } });
      filter.outcome = outcome.data;
    } else labels[name.replace(/^label:/, "")] = value;
  }
  // Postgres has neither NUL nor a year 10,000.
  const times = { from: from === undefined ? undefined : new Date(from), to: to === undefined ? undefined : new Date(to) };
  for (const [name, time] of Object.entries(times)) if (time && Number.isNaN(time.getTime())) throw new Failure("bad_request", `${name}: no such time`, { details: { [name]: "no such time" } });
  if ((text ?? "").includes("\0")) throw new Failure("bad_request", "selector: must not hold NUL", { details: { selector: "must not hold NUL" } });
  return { ...filter, ...times, labels };
}

const tags = ["usage"];
const usage = createRoute({
  method: "get", path: "/usage", tags, ...keyed("read"), summary: "Sum what model calls used and cost", description: "By time, model, agent, session, task, run, label (`label:team`) and more; as JSON or CSV. `unpriced_requests` are not in `cost_usd`.",
  request: { query: z.strictObject({ ...span, group_by: usageGroup.default("model"), format: z.enum(["json", "csv"]).default("json") }) },
  responses: { 200: { content: { "application/json": { schema: UsageReport }, "text/csv": { schema: z.string() } }, description: "The dearest first; by time in order of time" }, ...failures() },
});
const summary = createRoute({ method: "get", path: "/metrics/summary", tags, ...keyed("read"), summary: "See usage at a glance", request: { query: z.strictObject(span) }, responses: { 200: answers(MetricsSummary, "All, by model and by agent"), ...failures() } });
const requests = createRoute({
  method: "get", path: "/metrics/requests", tags, ...keyed("read"), summary: "Read the records of model calls", description: "JSON lines, newest first. The header `x-next-cursor` says where the next page begins, where there is one.",
  request: { query: z.strictObject({ ...span, limit: z.coerce.number().int().min(1).max(5_000).default(1_000), cursor: z.string().max(200).optional() }) },
  responses: { 200: { content: { "text/plain": { schema: z.string() } }, description: "A line a call" }, ...failures() },
});
const readPricing = createRoute({ method: "get", path: "/metrics/pricing", tags, ...keyed("read"), summary: "Read the prices", responses: { 200: answers(Pricing, "The tenant's own, then the book's; US dollars for a million tokens"), ...failures() } });
const putPricing = createRoute({
  method: "put", path: "/metrics/pricing", tags, ...keyed("admin"), summary: "Set the tenant's own prices", description: "In place of those before; they go before the book's. Calls that were made keep the price that they were counted with.",
  request: takes("PricingPut", pricingPut), responses: { 200: answers(Pricing, "The prices as they are now"), ...failures("payload_too_large") },
});

export function usageRoutes(app: App): void {
  app.openapi(usage, async (c) => {
    const { group_by, format, ...query } = c.req.valid("query");
    const { tenant_id } = actorOf(c);
    const filter = filterOf(query);
    const records = c.get("records").usage;
    const [rows, total] = await Promise.all([records.by(tenant_id, group_by, filter), records.total(tenant_id, filter)]);
    const report = { group_by, from: query.from ?? null, to: query.to ?? null, rows, total };
    if (format === "json") return c.json(report, 200);
    return c.body(usageCsv(report), 200, { "content-type": "text/csv; charset=utf-8", "content-disposition": `attachment; filename="usage-by-${group_by.replaceAll(/[^a-z0-9_-]/gi, "-")}.csv"` });
  });
  app.openapi(summary, async (c) => {
    const query = c.req.valid("query");
    const { tenant_id } = actorOf(c);
    const filter = filterOf(query);
    const records = c.get("records").usage;
    const [total, by_model, by_agent] = await Promise.all([records.total(tenant_id, filter), records.by(tenant_id, "model", filter), records.by(tenant_id, "agent", filter)]);
    return c.json({ from: query.from ?? null, to: query.to ?? null, total, by_model, by_agent }, 200);
  });
  app.openapi(requests, async (c) => {
    const { limit, cursor, ...query } = c.req.valid("query");
    const before = cursor === undefined ? null : decodeCursor(cursor);
    const found = await c.get("records").usage.requests(actorOf(c).tenant_id, filterOf(query), limit + 1, before);
    const page = found.slice(0, limit);
    const last = page.at(-1);
    const next: Record<string, string> = found.length > limit && last ? { "x-next-cursor": encodeCursor({ at: last.created_at, id: last.id }) } : {};
    return c.text(page.map((each) => `${JSON.stringify(each)}\n`).join(""), 200, { "content-type": "application/x-ndjson", ...next });
  });
  app.openapi(readPricing, async (c) => c.json(pricingOf(await c.get("records").prices.of(actorOf(c).tenant_id)), 200));
  app.openapi(putPricing, async (c) => {
    const { tenant_id } = actorOf(c);
    const { models } = c.req.valid("json");
    await c.get("records").prices.put(tenant_id, models, new Date());
    policies.forgetPrices(tenant_id);
    return c.json(pricingOf(models), 200);
  });
}
