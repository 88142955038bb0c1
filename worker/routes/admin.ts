/** Owns the administration: tenants and their limits, and keys and runner tokens of any tenant, with the master key. */

import { createRoute } from "@hono/zod-openapi";
import { tenantStub } from "../../durable-objects/index.ts";
import { Failure, idOf, keyCreate, limits, runnerTokenCreate, tenantCreate, tenantPatch, type Limits, type Tenant as TenantValue } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import type { App, Ctx } from "../context.ts";
import type { KeyCache } from "../middleware/auth.ts";
import { creating } from "../middleware/creating.ts";
import { administered, answers, failures, pages, takes } from "../openapi.ts";
import { makeKey, makeRunnerToken, revokeKey, revokeRunnerToken, rotateRunnerToken } from "./keys.ts";
import { idParam, Key, KeyCreated, listQuery, RunnerToken, RunnerTokenCreated, Tenant } from "./schemas.ts";

const tags = ["admin"];
/** Whose idempotency keys the administration's are; and the object that remembers those of new tenants. */
const MASTER = "master";
const DEPLOYMENT = "deployment";

const ofTenant = { tenant_id: idOf("tenant") };
const filter = listQuery({ tenant_id: idOf("tenant").optional() });
const createTenant = createRoute({ method: "post", path: "/tenants", tags, ...administered(), summary: "Create a tenant", request: takes("TenantCreate", tenantCreate), responses: { 201: answers(Tenant, "The tenant"), ...failures("conflict", "payload_too_large") } });
const listTenants = createRoute({ method: "get", path: "/tenants", tags, ...administered(), summary: "List tenants", request: listQuery({}), responses: { 200: pages(Tenant, "Newest first"), ...failures() } });
const readTenant = createRoute({ method: "get", path: "/tenants/{id}", tags, ...administered(), summary: "Read a tenant", request: idParam("tenant"), responses: { 200: answers(Tenant, "The tenant"), ...failures("not_found") } });
const patchTenant = createRoute({ method: "patch", path: "/tenants/{id}", tags, ...administered(), summary: "Change a tenant's name or limits", request: { ...idParam("tenant"), ...takes("TenantPatch", tenantPatch) }, responses: { 200: answers(Tenant, "The tenant as it is now"), ...failures("not_found", "payload_too_large") } });
const createKey = createRoute({ method: "post", path: "/keys", tags, ...administered(), summary: "Make an API key for a tenant", request: takes("AdminKeyCreate", keyCreate.extend(ofTenant)), responses: { 201: answers(KeyCreated, "The key, shown this once"), ...failures("not_found", "conflict", "payload_too_large") } });
const listKeys = createRoute({ method: "get", path: "/keys", tags, ...administered(), summary: "List API keys", request: filter, responses: { 200: pages(Key, "Newest first"), ...failures() } });
const deleteKey = createRoute({ method: "delete", path: "/keys/{id}", tags, ...administered(), summary: "Revoke an API key", request: idParam("key"), responses: { 200: answers(Key, "The key, revoked"), ...failures("not_found") } });
const createToken = createRoute({ method: "post", path: "/runner-tokens", tags, ...administered(), summary: "Make a runner token for a tenant", request: takes("AdminRunnerTokenCreate", runnerTokenCreate.extend(ofTenant)), responses: { 201: answers(RunnerTokenCreated, "The token, shown this once"), ...failures("not_found", "conflict", "payload_too_large") } });
const listTokens = createRoute({ method: "get", path: "/runner-tokens", tags, ...administered(), summary: "List runner tokens", request: filter, responses: { 200: pages(RunnerToken, "Newest first"), ...failures() } });
const rotateToken = createRoute({ method: "post", path: "/runner-tokens/{id}/rotate", tags, ...administered(), summary: "Rotate a runner token", description: "The old one stays good for one hour.", request: idParam("runner_token"), responses: { 200: answers(RunnerTokenCreated, "The new token"), ...failures("not_found") } });
const deleteToken = createRoute({ method: "delete", path: "/runner-tokens/{id}", tags, ...administered(), summary: "Revoke a runner token", request: idParam("runner_token"), responses: { 200: answers(RunnerToken, "The token, revoked"), ...failures("not_found") } });

async function mustExist(c: Ctx, id: string): Promise<TenantValue> {
  const tenant = await c.get("records").access.tenant(id);
  if (!tenant) throw new Failure("not_found", "No tenant of that id here");
  return tenant;
}

/** Tells the tenant's object its limits; it counts, Postgres remembers. */
async function push(c: Ctx, tenantId: string, value: Limits): Promise<void> {
  await reach(() => tenantStub(c.env, tenantId).setLimits(value));
}

/** Only what was named: a schema's defaults must not undo what was set before. */
function merged(known: Limits, asked: Partial<Limits> | undefined, raw: unknown): Limits {
  const named = typeof raw === "object" && raw !== null && "limits" in raw && typeof raw.limits === "object" && raw.limits !== null ? Object.keys(raw.limits) : [];
  return { ...known, ...Object.fromEntries(Object.entries(asked ?? {}).filter(([name]) => named.includes(name))) };
}

export function adminRoutes(app: App, cache: KeyCache): void {
  app.openapi(createTenant, async (c) => {
    const input = c.req.valid("json");
    const made = await creating(c, { owner: DEPLOYMENT, scope: MASTER }, async (ids) => {
      const tenant = await c.get("records").access.createTenant({ id: ids.id("tenant"), name: input.name, limits: limits.parse(input.limits ?? {}), created_at: ids.now });
      await push(c, tenant.id, tenant.limits);
      return tenant;
    });
    return c.json(made, 201);
  });
  app.openapi(listTenants, async (c) => c.json(await c.get("records").access.tenants(c.req.valid("query")), 200));
  app.openapi(readTenant, async (c) => c.json(await mustExist(c, c.req.valid("param").id), 200));
  app.openapi(patchTenant, async (c) => {
    const input = c.req.valid("json");
    const known = await mustExist(c, c.req.valid("param").id);
    const next = merged(known.limits, input.limits, await c.req.json());
    const tenant = await c.get("records").access.updateTenant(known.id, { name: input.name, limits: next });
    if (!tenant) throw new Failure("not_found", "No tenant of that id here");
    await push(c, tenant.id, tenant.limits);
    return c.json(tenant, 200);
  });

  app.openapi(createKey, async (c) => {
    const { tenant_id, ...input } = c.req.valid("json");
    await mustExist(c, tenant_id);
    return c.json(await makeKey(c, { tenantId: tenant_id, scope: MASTER }, input), 201);
  });
  app.openapi(listKeys, async (c) => {
    const { tenant_id, ...query } = c.req.valid("query");
    return c.json(await c.get("records").access.keys(tenant_id ?? null, query), 200);
  });
  app.openapi(deleteKey, async (c) => c.json(await revokeKey(c, cache, null, c.req.valid("param").id), 200));
  app.openapi(createToken, async (c) => {
    const { tenant_id, ...input } = c.req.valid("json");
    await mustExist(c, tenant_id);
    return c.json(await makeRunnerToken(c, { tenantId: tenant_id, scope: MASTER }, input), 201);
  });
  app.openapi(listTokens, async (c) => {
    const { tenant_id, ...query } = c.req.valid("query");
    return c.json(await c.get("records").access.runnerTokens(tenant_id ?? null, query), 200);
  });
  app.openapi(rotateToken, async (c) => c.json(await rotateRunnerToken(c, null, c.req.valid("param").id), 200));
  app.openapi(deleteToken, async (c) => c.json(await revokeRunnerToken(c, null, c.req.valid("param").id), 200));
}
