/** Owns the routes of workspaces: made, named, listed, restored and deleted, with their manifests, differences and collections. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub, storageStub, type Holdings } from "../../durable-objects/index.ts";
import { collection, collectionAsk, Failure, idOf, manifestDiff, manifestSummary, workspace, workspaceCreate, workspacePatch, workspaceRestore, type Page, type Workspace as WorkspaceValue } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import type { WorkspaceRow } from "../db/workspaces.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, named, pages, takes } from "../openapi.ts";
import { collectTenant } from "../storage/collecting.ts";
import { changesOf } from "../storage/trees.ts";
import { dropAttachments } from "../storage/attachments.ts";
import { storageOf } from "../storage/storage.ts";
import { idParam, labelFilter, listQuery } from "./schemas.ts";

const tags = ["workspaces"];
const Workspace = named("Workspace", workspace);
const Manifest = named("ManifestSummary", manifestSummary);
const Diff = named("ManifestDiff", manifestDiff);
const Collected = named("Collection", collection);
const at = idParam("workspace");

const create = createRoute({ method: "post", path: "/workspaces", tags, ...keyed("write"), summary: "Create a workspace", description: "Every session has one; make one by hand to fill it before, or to share it between sessions.", request: takes("WorkspaceCreate", workspaceCreate), responses: { 201: answers(Workspace, "The workspace"), ...failures("conflict", "payload_too_large") } });
const list = createRoute({ method: "get", path: "/workspaces", tags, ...keyed("read"), summary: "List workspaces", request: listQuery({ labels: labelFilter.optional() }), responses: { 200: pages(Workspace, "Newest first"), ...failures() } });
const read = createRoute({ method: "get", path: "/workspaces/{id}", tags, ...keyed("read"), summary: "Read a workspace", request: at, responses: { 200: answers(Workspace, "The workspace"), ...failures("not_found") } });
const update = createRoute({ method: "patch", path: "/workspaces/{id}", tags, ...keyed("write"), summary: "Change a workspace", description: "Name, labels, quota or retention.", request: { ...at, ...takes("WorkspacePatch", workspacePatch) }, responses: { 200: answers(Workspace, "The workspace as it is now"), ...failures("not_found", "payload_too_large") } });
const remove = createRoute({ method: "delete", path: "/workspaces/{id}", tags, ...keyed("write"), summary: "Delete a workspace", description: "Its manifests go at once, chunks that nothing else refers to with the next collections. Refused while a session uses it.", request: at, responses: { 200: answers(Workspace, "As it was"), ...failures("not_found", "conflict") } });
const manifests = createRoute({ method: "get", path: "/workspaces/{id}/manifests", tags, ...keyed("read"), summary: "List a workspace's manifests", request: { ...at, ...listQuery({}) }, responses: { 200: pages(Manifest, "Newest first"), ...failures("not_found") } });
const diff = createRoute({
  method: "get", path: "/workspaces/{id}/manifests/{from}/diff/{to}", tags, ...keyed("read"), summary: "Compare two manifests",
  request: { params: z.object({ id: idOf("workspace"), from: idOf("manifest"), to: idOf("manifest") }), query: z.strictObject({ limit: z.coerce.number().int().min(1).max(10_000).default(1_000) }) },
  responses: { 200: answers(Diff, "What differs, in the order of paths"), ...failures("not_found", "conflict", "payload_too_large") },
});
const restore = createRoute({
  method: "post", path: "/workspaces/{id}/restore", tags, ...keyed("write"), summary: "Go on from an earlier manifest", description: "The workspace's next runner restores it. Refused while a session has a runner there.",
  request: { ...at, ...takes("WorkspaceRestore", workspaceRestore) }, responses: { 200: answers(Workspace, "The workspace as it is now"), ...failures("not_found", "conflict", "payload_too_large") },
});
const gc = createRoute({
  method: "post", path: "/workspaces/gc", tags, ...keyed("admin"), summary: "Collect what nothing refers to", description: "Expired workspaces are dropped, and manifests older than their workspace's retention but for the newest ten and those that it or a capsule goes on from; chunks without a reference are marked, and removed where they have been marked for seven days.",
  request: takes("CollectionAsk", collectionAsk), responses: { 200: answers(Collected, "What was done, or would be"), ...failures("conflict", "payload_too_large") },
});

function shown(row: WorkspaceRow, held: Holdings | undefined): WorkspaceValue {
  const { created_at, updated_at, last_used_at, ...rest } = row;
  const { manifest_id = null, manifests: count = 0, files = 0, bytes = 0 } = held ?? {};
  return { ...rest, manifest_id, manifests: count, files, bytes, created_at: created_at.toISOString(), updated_at: updated_at.toISOString(), last_used_at: last_used_at.toISOString() };
}

async function withHoldings(c: Ctx, rows: WorkspaceRow[]): Promise<WorkspaceValue[]> {
  const { tenant_id } = actorOf(c);
  const held = rows.length === 0 ? {} : await reach(() => storageStub(c.env, tenant_id).holdings(rows.map(({ id }) => id)));
  return rows.map((row) => shown(row, held[row.id]));
}
async function one(c: Ctx, row: WorkspaceRow): Promise<WorkspaceValue> {
  const [value] = await withHoldings(c, [row]);
  if (!value) throw new Error("unreachable");
  return value;
}
const unknown = () => new Failure("not_found", "No workspace of that id here");

/** The workspace's row; throws `not_found`, also for another tenant's. */
export async function workspaceOf(c: Ctx, id: string): Promise<WorkspaceRow> {
  const row = await c.get("records").workspaces.read(actorOf(c).tenant_id, id);
  if (!row) throw unknown();
  return row;
}

/** Throws where a session that could write to the workspace stands in the way. `running`: only those that have a runner. */
export async function mustBeFree(c: Ctx, id: string, what: string, running: boolean): Promise<void> {
  const sessions = await c.get("records").workspaces.sessions(actorOf(c).tenant_id, id);
  const inTheWay = running ? sessions.filter(({ runner }) => runner !== null) : sessions;
  if (inTheWay.length === 0) return;
  const names = inTheWay.map((session) => session.id);
  throw new Failure("conflict", `${inTheWay.length === 1 ? "A session uses" : `${inTheWay.length} sessions use`} the workspace: ${names.slice(0, 3).join(", ")}`, {
    hint: running ? `Suspend or terminate it first, or fork it as of that point; then ${what}` : `Terminate it first, then ${what}`,
    details: { sessions: names, status: inTheWay[0]?.status ?? null },
  });
}

export function workspaceRoutes(app: App): void {
  app.openapi(create, async (c) => {
    const actor = actorOf(c);
    const input = c.req.valid("json");
    const made = await creating(c, { owner: actor.tenant_id, scope: actor.key_id }, async (ids) => one(c, await c.get("records").workspaces.create({ ...input, id: ids.id("workspace"), tenant_id: actor.tenant_id, created_at: ids.now })));
    return c.json(made, 201);
  });
  app.openapi(list, async (c) => {
    const page = await c.get("records").workspaces.list(actorOf(c).tenant_id, c.req.valid("query"));
    return c.json({ ...page, items: await withHoldings(c, page.items) } satisfies Page<WorkspaceValue>, 200);
  });
  app.openapi(gc, async (c) => c.json(await collectTenant(c.env, c.get("records"), actorOf(c).tenant_id, c.req.valid("json").dry_run, new Date()), 200));
  app.openapi(read, async (c) => c.json(await one(c, await workspaceOf(c, c.req.valid("param").id)), 200));
  app.openapi(update, async (c) => {
    const row = await c.get("records").workspaces.update(actorOf(c).tenant_id, c.req.valid("param").id, c.req.valid("json"), new Date());
    if (!row) throw unknown();
    return c.json(await one(c, row), 200);
  });
  app.openapi(remove, async (c) => {
    const { tenant_id } = actorOf(c);
    const row = await workspaceOf(c, c.req.valid("param").id);
    await mustBeFree(c, row.id, "delete the workspace", false);
    const before = await one(c, row);
    await c.get("records").workspaces.remove(tenant_id, row.id, new Date());
    await reach(() => storageStub(c.env, tenant_id).drop(row.id));
    await dropAttachments(storageOf(c.env, c.get("records")).objects, tenant_id, row.id);
    return c.json(before, 200);
  });

  app.openapi(manifests, async (c) => {
    const query = c.req.valid("query");
    if (query.cursor !== undefined && !/^\d{1,15}$/.test(query.cursor)) throw new Failure("bad_request", "cursor: not a cursor of a list", { details: { cursor: "not a cursor of a list" } });
    const { id } = await workspaceOf(c, c.req.valid("param").id);
    const { items, total, next } = await reach(() => storageStub(c.env, actorOf(c).tenant_id).manifests(id, query));
    return c.json({ items, total, limit: query.limit, offset: query.cursor === undefined ? (query.offset ?? 0) : 0, next_cursor: next }, 200);
  });
  app.openapi(diff, async (c) => {
    const { tenant_id } = actorOf(c);
    const { id, from, to } = c.req.valid("param");
    await workspaceOf(c, id);
    const storage = storageOf(c.env, c.get("records"));
    const bytes = { objects: storage.objects, key: await storage.dataKey(tenant_id), index: () => storageStub(c.env, tenant_id) };
    const items = await changesOf(bytes, id, from, to);
    const { limit } = c.req.valid("query");
    return c.json({ from, to, items: items.slice(0, limit), total: items.length, truncated: items.length > limit }, 200);
  });
  app.openapi(restore, async (c) => {
    const { tenant_id } = actorOf(c);
    const row = await workspaceOf(c, c.req.valid("param").id);
    const { manifest_id } = c.req.valid("json");
    if (!(await reach(() => storageStub(c.env, tenant_id).manifest([row.id], manifest_id)))) throw new Failure("not_found", "No manifest of that id in this workspace", { hint: `GET /workspaces/${row.id}/manifests lists them` });
    await mustBeFree(c, row.id, "restore it", true);
    await call(() => storageStub(c.env, tenant_id).setHead(row.id, manifest_id));
    for (const { id } of await c.get("records").workspaces.sessions(tenant_id, row.id)) await call(() => sessionStub(c.env, id).workspaceRestored(actorOf(c), manifest_id));
    return c.json(await one(c, row), 200);
  });
}
