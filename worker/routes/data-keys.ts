/** Owns the administration of stored bytes: tenants' data keys, and collections of any tenant or of all. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { storageStub } from "../../durable-objects/index.ts";
import { collection, collectionAsk, dataKeyInfo, Failure, idOf, type DataKeyInfo } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import type { App, Ctx } from "../context.ts";
import type { DataKeyRow } from "../db/data-keys.ts";
import { administered, answers, failures, named, takes } from "../openapi.ts";
import { collectAll, collectTenant } from "../storage/collecting.ts";
import { storageOf } from "../storage/storage.ts";
import { idParam } from "./schemas.ts";

const tags = ["admin"];
const Keys = named("DataKeys", z.object({ items: z.array(dataKeyInfo) }));
const Rewrapped = named("Rewrapped", z.object({ rewrapped: z.number().int(), unopened: z.number().int() }));
const Collections = named("Collections", z.object({ items: z.array(collection) }));
const tenant = idParam("tenant");

const list = createRoute({ method: "get", path: "/tenants/{id}/data-keys", tags, ...administered(), summary: "List the versions of a tenant's data key", request: tenant, responses: { 200: answers(Keys, "Oldest first, without the keys"), ...failures("not_found") } });
const rotate = createRoute({
  method: "post", path: "/tenants/{id}/data-keys/rotate", tags, ...administered(), summary: "Give a tenant a new data key", description: "What is sealed stays readable. After a deletion, new data can be kept again.",
  request: tenant, responses: { 200: answers(Keys, "Oldest first"), ...failures("not_found", "conflict") },
});
const remove = createRoute({
  method: "delete", path: "/tenants/{id}/data-keys", tags, ...administered(), summary: "Delete a tenant's data key", description: "All that it sealed, workspaces and histories, is unreadable for ever: everywhere within five seconds.",
  request: tenant, responses: { 200: answers(Keys, "All deleted"), ...failures("not_found") },
});
const rewrap = createRoute({
  method: "post", path: "/data-keys/rewrap", tags, ...administered(), summary: "Wrap all data keys with the deployment's key",
  description: "After MARIONETTE_ENCRYPTION_KEY was changed and MARIONETTE_ENCRYPTION_KEY_PREVIOUS set to the one before. Nothing that is stored is read. When `unopened` is 0 the one before may go.",
  responses: { 200: answers(Rewrapped, "How many"), ...failures() },
});
const gc = createRoute({
  method: "post", path: "/workspaces/gc", tags, ...administered(), summary: "Collect what nothing refers to", description: "Of one tenant, or of all.",
  request: takes("AdminCollectionAsk", collectionAsk.extend({ tenant_id: idOf("tenant").optional() })), responses: { 200: answers(Collections, "One a tenant"), ...failures("not_found", "conflict", "payload_too_large") },
});

async function tenantOf(c: Ctx, id: string): Promise<string> {
  if (!(await c.get("records").access.tenant(id))) throw new Failure("not_found", "No tenant of that id here");
  return id;
}
const shown = (rows: DataKeyRow[]): { items: DataKeyInfo[] } => ({ items: rows.map(({ version, state, created_at }) => ({ version, state, created_at: created_at.toISOString() })) });

export function dataKeyRoutes(app: App): void {
  const keyring = (c: Ctx) => storageOf(c.env, c.get("records")).keyring;
  app.openapi(list, async (c) => c.json(shown(await keyring(c).list(await tenantOf(c, c.req.valid("param").id))), 200));
  app.openapi(rotate, async (c) => c.json(shown(await keyring(c).rotate(await tenantOf(c, c.req.valid("param").id))), 200));
  app.openapi(remove, async (c) => {
    const id = await tenantOf(c, c.req.valid("param").id);
    await keyring(c).remove(id);
    // What nobody can open is not worth its room.
    await reach(() => storageStub(c.env, id).forgetAll(id));
    return c.json(shown(await keyring(c).list(id)), 200);
  });
  app.openapi(rewrap, async (c) => c.json(await keyring(c).rewrap(), 200));
  app.openapi(gc, async (c) => {
    const { tenant_id, dry_run } = c.req.valid("json");
    const now = new Date();
    if (tenant_id !== undefined) return c.json({ items: [await collectTenant(c.env, c.get("records"), await tenantOf(c, tenant_id), dry_run, now)] }, 200);
    return c.json({ items: await collectAll(c.env, c.get("records"), c.get("log"), now, dry_run) }, 200);
  });
}
