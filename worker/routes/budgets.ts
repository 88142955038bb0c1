/** Owns the routes of budgets: caps over a tenant's calls, or over those of a label. Sessions and tasks bring their own with them. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { tenantStub } from "../../durable-objects/index.ts";
import { budget, budgetCreate, budgetPatch } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { policies } from "../gateway/policies.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, named, pages, takes } from "../openapi.ts";
import { idParam } from "./schemas.ts";

const Budget = named("Budget", budget);
const tags = ["budgets"];
const create = createRoute({
  method: "post", path: "/budgets", tags, ...keyed("admin"), summary: "Set a budget", description: "For the tenant, or with `label` for all calls of sessions and tasks that have it. Holds for calls that begin a few seconds later.",
  request: takes("BudgetCreate", budgetCreate), responses: { 201: answers(Budget, "The budget"), ...failures("conflict", "payload_too_large") },
});
const list = createRoute({ method: "get", path: "/budgets", tags, ...keyed("read"), summary: "List budgets", request: { query: z.strictObject({ limit: z.coerce.number().int().min(1).max(1_000).default(1_000) }) }, responses: { 200: pages(Budget, "Newest first, with what is spent and reserved"), ...failures() } });
const read = createRoute({ method: "get", path: "/budgets/{id}", tags, ...keyed("read"), summary: "Read a budget", request: idParam("budget"), responses: { 200: answers(Budget, "The budget"), ...failures("not_found") } });
const update = createRoute({
  method: "patch", path: "/budgets/{id}", tags, ...keyed("admin"), summary: "Change a budget's caps or name", request: { ...idParam("budget"), ...takes("BudgetPatch", budgetPatch) },
  responses: { 200: answers(Budget, "The budget as it is now"), ...failures("not_found", "payload_too_large") },
});
const remove = createRoute({ method: "delete", path: "/budgets/{id}", tags, ...keyed("admin"), summary: "Lift a budget", request: idParam("budget"), responses: { 200: answers(Budget, "The budget that was"), ...failures("not_found") } });

export function budgetRoutes(app: App): void {
  const tenant = (c: Ctx) => tenantStub(c.env, actorOf(c).tenant_id);
  app.openapi(create, async (c) => {
    const { tenant_id, key_id } = actorOf(c);
    const made = await creating(c, { owner: tenant_id, scope: key_id }, (ids) => call(() => tenant(c).createBudget(tenant_id, ids.id("budget"), c.req.valid("json"))));
    policies.forgetPolicy(tenant_id);
    return c.json(made, 201);
  });
  app.openapi(list, async (c) => {
    const { limit } = c.req.valid("query");
    const all = await reach(() => tenant(c).listBudgets());
    return c.json({ items: all.slice(0, limit), total: all.length, limit, offset: 0, next_cursor: null }, 200);
  });
  app.openapi(read, async (c) => c.json(await call(() => tenant(c).readBudget(c.req.valid("param").id)), 200));
  app.openapi(update, async (c) => c.json(await call(() => tenant(c).updateBudget(c.req.valid("param").id, c.req.valid("json"))), 200));
  app.openapi(remove, async (c) => {
    const gone = await call(() => tenant(c).deleteBudget(c.req.valid("param").id));
    policies.forgetPolicy(actorOf(c).tenant_id);
    return c.json(gone, 200);
  });
}
