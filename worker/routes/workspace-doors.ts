/** Owns the doors for a workspace's bytes: chunks and manifests, for sandboxes with their run token and for clients with their key. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub, storageStub, type RunClaim } from "../../durable-objects/index.ts";
import { Failure, hashToken, idOf, missingAnswer, missingAsk } from "../../sdk/protocol/index.ts";
import { chunkId, manifestKind, MAX_STORED_CHUNK_BYTES } from "../../sdk/protocol/manifest.ts";
import { Believed } from "../believed.ts";
import { call, reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { databaseFailure } from "../db/client.ts";
import { authenticated, needs, runTokenOf, type KeyCache } from "../middleware/auth.ts";
import { bounded, readCapped } from "../middleware/request.ts";
import { answers, failures, named, takes } from "../openapi.ts";
import { getChunk, getManifest, putChunk, putManifest, type Access, type Bytes } from "../storage/bytes.ts";
import { storageOf } from "../storage/storage.ts";
import { mustBeFree } from "./workspaces.ts";

/** Largest manifest that a worker, which must seal it whole, takes. */
const MAX_DOOR_MANIFEST_BYTES = 32 * 1024 * 1024;
const Missing = named("MissingChunks", missingAnswer);
const octets = { "application/octet-stream": { schema: z.string() } };
const sends = { body: { required: true as const, content: octets } };
const bytesAnswer = (description: string) => ({ content: octets, description });
const kept = z.object({ id: z.string() });
const Kept = named("Kept", kept);

type Identify = (c: Ctx, fresh: boolean) => Promise<Access>;

async function bytesOf(c: Ctx, tenantId: string): Promise<Bytes> {
  const storage = storageOf(c.env, c.get("records"));
  return { objects: storage.objects, key: await storage.dataKey(tenantId), index: () => storageStub(c.env, tenantId) };
}

async function bodyOf(c: Ctx, max: number): Promise<Uint8Array<ArrayBuffer>> {
  const { raw } = c.req;
  const stated = Number(raw.headers.get("content-length") ?? Number.NaN);
  // The runtime holds a body to the length that it states.
  if (stated <= max) return new Uint8Array(await raw.arrayBuffer());
  return raw.body === null ? new Uint8Array() : readCapped(raw.body, Number.isNaN(stated) ? 0 : stated, max);
}

/** Most bytes that a workspace may have; null where there is no limit, or the database cannot say now. The sandbox holds to it too. */
async function quotaOf(c: Ctx, { tenantId, workspaceId }: Access): Promise<number | null> {
  try {
    const row = await c.get("records").workspaces.read(tenantId, workspaceId);
    return row?.quota_mb == null ? null : row.quota_mb * 1024 * 1024;
  } catch (error) {
    if (!databaseFailure(error)) throw error;
    return null;
  }
}

function mount(app: App, prefix: string, params: Record<string, z.ZodString>, guard: { read: object; write: object }, identify: Identify, sandbox: boolean): void {
  const tags = [sandbox ? "links" : "workspaces"];
  const at = (more: Record<string, z.ZodType> = {}) => ({ params: z.object({ ...params, ...more }) });
  const manifestQuery = z.strictObject({ kind: manifestKind.default("workspace"), session_id: idOf("session").optional() });

  const missing = createRoute({
    method: "post", path: `${prefix}/chunks/missing`, tags, ...guard.write, summary: "Ask which chunks must be sent", description: "Also those that garbage collection has marked: sent again, they live.",
    request: { ...at(), ...takes("MissingAsk", missingAsk) }, responses: { 200: answers(Missing, "Those that are missing"), ...failures("not_found", "conflict", "payload_too_large") },
  });
  const put = createRoute({
    method: "put", path: `${prefix}/chunks/{chunk}`, tags, ...guard.write, summary: "Send a chunk", description: "The body is the compressed chunk; its SHA-256 must be the id.",
    request: { ...at({ chunk: chunkId }), ...sends }, responses: { 200: answers(Kept, "It was there"), 201: answers(Kept, "It is kept"), ...failures("not_found", "conflict", "payload_too_large") },
  });
  const get = createRoute({ method: "get", path: `${prefix}/chunks/{chunk}`, tags, ...guard.read, summary: "Read a chunk", request: at({ chunk: chunkId }), responses: { 200: bytesAnswer("The compressed chunk"), ...failures("not_found", "conflict") } });
  const record = createRoute({
    method: "put", path: `${prefix}/manifests/{manifest}`, tags, ...guard.write, summary: "Record a manifest", description: "The body is the manifest, JSON lines in zstd. Checked whole; all its chunks must be there. The workspace goes on from it.",
    request: { ...at({ manifest: idOf("manifest") }), query: manifestQuery, ...sends }, responses: { 200: answers(Kept, "It was recorded before"), 201: answers(Kept, "It is recorded"), ...failures("not_found", "conflict", "payload_too_large") },
  });
  const read = createRoute({ method: "get", path: `${prefix}/manifests/{manifest}`, tags, ...guard.read, summary: "Read a manifest", request: at({ manifest: idOf("manifest") }), responses: { 200: bytesAnswer("The manifest, JSON lines in zstd"), ...failures("not_found", "conflict") } });

  const octetHeaders = { "content-type": "application/octet-stream" };
  app.openapi(missing, async (c) => {
    const access = await identify(c, false);
    const { ids } = c.req.valid("json");
    return c.json({ missing: await reach(() => storageStub(c.env, access.tenantId).missing(access.scopes, ids)) }, 200);
  });
  app.openapi(put, async (c) => {
    const access = await identify(c, false);
    const { chunk: id } = c.req.valid("param") as { chunk: string };
    const isNew = await putChunk(await bytesOf(c, access.tenantId), access, id, () => bodyOf(c, MAX_STORED_CHUNK_BYTES));
    return c.json({ id }, isNew ? 201 : 200);
  });
  app.openapi(get, async (c) => {
    const access = await identify(c, false);
    const { chunk: id } = c.req.valid("param") as { chunk: string };
    const bytes = await getChunk(await bytesOf(c, access.tenantId), access, id);
    return c.body(bytes as Uint8Array<ArrayBuffer>, 200, octetHeaders);
  });
  app.openapi(record, async (c) => {
    const access = await identify(c, true);
    const { manifest: id } = c.req.valid("param") as { manifest: string };
    const { kind, session_id } = c.req.valid("query");
    if (session_id !== undefined && session_id !== access.sessionId) throw new Failure("bad_request", "session_id: not the session that asks", { details: { session_id: "not the session that asks" } });
    if (kind === "state" && access.sessionId === null) throw new Failure("bad_request", "kind: only a session's own sandbox records its state", { details: { kind: "must be workspace" } });
    // A runner syncs its own tree over what a client would put in its place.
    if (access.sessionId === null) await mustBeFree(c, access.workspaceId, "push", true);
    const body = await bodyOf(c, MAX_DOOR_MANIFEST_BYTES);
    const quotaBytes = kind === "workspace" ? await quotaOf(c, access) : null;
    const isNew = await putManifest(await bytesOf(c, access.tenantId), access, { id, kind, quotaBytes }, body);
    return c.json({ id }, isNew ? 201 : 200);
  });
  app.openapi(read, async (c) => {
    const access = await identify(c, false);
    const { manifest: id } = c.req.valid("param") as { manifest: string };
    if (c.req.raw.method === "HEAD") {
      if (!(await reach(() => storageStub(c.env, access.tenantId).manifest(access.scopes, id)))) throw new Failure("not_found", "No manifest of that id in this workspace");
      return c.body(null, 200, octetHeaders);
    }
    const bytes = await getManifest(await bytesOf(c, access.tenantId), access, id);
    return c.body(bytes as Uint8Array<ArrayBuffer>, 200, octetHeaders);
  });
}

/** Mount before the API: its own middleware takes JSON alone. */
export function workspaceDoors(app: App, cache: KeyCache): void {
  // Chunks prove themselves: a run token that was good is believed for them. A manifest asks anew.
  const runs = new Believed<RunClaim>({ passing: () => false });
  const sandbox: Identify = async (c, fresh) => {
    const { session_id = "", workspace_id = "" } = c.req.param();
    const hash = await hashToken(runTokenOf(c));
    const check = () => call(() => sessionStub(c.env, session_id).checkRun(hash));
    const claim = fresh ? await check() : await runs.find(`${session_id} ${hash}`, check);
    if (claim.workspace_id !== workspace_id) throw new Failure("not_found", "This session's workspace is another one");
    return { tenantId: claim.tenant_id, workspaceId: workspace_id, sessionId: session_id, scopes: [session_id, workspace_id] };
  };
  const known = new Believed<true>({ passing: () => false });
  const client: Identify = async (c) => {
    const { tenant_id } = actorOf(c);
    const { workspace_id = "" } = c.req.param();
    await known.find(`${tenant_id} ${workspace_id}`, async () => {
      if (!(await c.get("records").workspaces.read(tenant_id, workspace_id))) throw new Failure("not_found", "No workspace of that id here");
      return true;
    });
    return { tenantId: tenant_id, workspaceId: workspace_id, sessionId: null, scopes: [workspace_id] };
  };
  const key = (scope: "read" | "write") => ({ security: [{ api_key: [scope] }], middleware: [authenticated(cache), needs(scope)] });
  const run = { security: [{ run_token: [] }] };
  for (const path of ["/links/workspace/:session_id/:workspace_id/chunks/missing", "/api/v1/workspaces/:workspace_id/chunks/missing"]) app.use(path, bounded);
  mount(app, "/links/workspace/{session_id}/{workspace_id}", { session_id: idOf("session"), workspace_id: idOf("workspace") }, { read: run, write: run }, sandbox, true);
  mount(app, "/api/v1/workspaces/{workspace_id}", { workspace_id: idOf("workspace") }, { read: key("read"), write: key("write") }, client, false);
}
