/** Owns the routes of a workspace's files: live from the host that holds them, or as one of its manifests has them. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub, storageStub } from "../../durable-objects/index.ts";
import { Failure, idOf } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed } from "../openapi.ts";
import type { Bytes } from "../storage/bytes.ts";
import { storageOf } from "../storage/storage.ts";
import { listTree, readTree } from "../storage/trees.ts";
import { hostFile } from "./files.ts";
import { Files } from "./schemas.ts";
import { workspaceOf } from "./workspaces.ts";

const tags = ["workspaces"];
const path = z.string().max(4_096).regex(/^[^\0]*$/, "must not hold NUL");
const manifest = idOf("manifest").optional();
const at = { params: z.object({ id: idOf("workspace") }) };
const description = "Without `manifest`: from the host that holds the workspace now, else as it was last synced.";
const list = createRoute({
  method: "get", path: "/workspaces/{id}/files", tags, ...keyed("read"), summary: "List a directory of a workspace", description,
  request: { ...at, query: z.strictObject({ path: path.default(""), manifest }) }, responses: { 200: answers(Files, "What the directory holds"), ...failures("not_found", "conflict") },
});
const content = createRoute({
  method: "get", path: "/workspaces/{id}/files/content", tags, ...keyed("read"), summary: "Read a file of a workspace", description,
  request: { ...at, query: z.strictObject({ path: path.min(1), manifest }) },
  responses: { 101: { description: "Never" }, 200: { content: { "application/octet-stream": { schema: z.string() } }, description: "The file's bytes" }, ...failures("not_found", "conflict", "payload_too_large") },
});

async function bytesOf(c: Ctx): Promise<Bytes> {
  const { tenant_id } = actorOf(c);
  const storage = storageOf(c.env, c.get("records"));
  return { objects: storage.objects, key: await storage.dataKey(tenant_id), index: () => storageStub(c.env, tenant_id) };
}

/** The host that holds the workspace's files now; null where none is known, or it is not there. */
async function holderOf(c: Ctx, id: string): Promise<string | null> {
  const actor = actorOf(c);
  const session = (await c.get("records").workspaces.sessions(actor.tenant_id, id, { ended: true, limit: 10 })).find(({ host_id }) => host_id !== null);
  if (!session?.host_id) return null;
  const hostId = session.host_id;
  const host = await call(() => hostStub(c.env, hostId).read(actor)).catch((error: unknown) => {
    if (error instanceof Failure && (error.code === "not_found" || error.code === "unavailable")) return null;
    throw error;
  });
  return host?.status === "online" ? hostId : null;
}

async function headOf(c: Ctx, id: string): Promise<string> {
  const head = await reach(() => storageStub(c.env, actorOf(c).tenant_id).head(id));
  if (!head) throw new Failure("conflict", "No host holds the workspace now, and it was never synced", { hint: "Give a session in it a task, or `mctl workspaces push` files into it" });
  return head.manifest_id;
}

/** `live` where a host has the files and the workspace is there; what the host no longer has comes from the last manifest. */
async function from<T>(c: Ctx, id: string, wanted: string | undefined, live: (hostId: string) => Promise<T>, kept: (manifestId: string) => Promise<T>): Promise<T> {
  await workspaceOf(c, id);
  if (wanted !== undefined) return kept(wanted);
  const hostId = await holderOf(c, id);
  if (hostId === null) return kept(await headOf(c, id));
  try {
    return await live(hostId);
  } catch (error) {
    const gone = error instanceof Failure && (error.code === "unavailable" || error.code === "not_found");
    if (!gone) throw error;
    const head = await reach(() => storageStub(c.env, actorOf(c).tenant_id).head(id));
    if (!head) throw error;
    return kept(head.manifest_id);
  }
}

export function workspaceFileRoutes(app: App): void {
  app.openapi(list, async (c) => {
    const actor = actorOf(c);
    const { id } = c.req.valid("param");
    const { path: wanted, manifest: of } = c.req.valid("query");
    const items = await from(c, id, of, (hostId) => call(() => hostStub(c.env, hostId).listFiles(actor, id, wanted)), async (manifestId) => listTree(await bytesOf(c), id, manifestId, wanted));
    return c.json({ items }, 200);
  });
  app.openapi(content, async (c) => {
    const { id } = c.req.valid("param");
    const { path: wanted, manifest: of } = c.req.valid("query");
    return from<Response>(c, id, of, (hostId) => hostFile(c, hostId, id, wanted), async (manifestId) => {
      const { entry, body } = await readTree(await bytesOf(c), id, manifestId, wanted);
      const headers = { "content-type": "application/octet-stream", "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(wanted.toWellFormed().split("/").at(-1) ?? "file")}`, "last-modified": new Date(entry.mtime / 1_000).toUTCString() };
      if (c.req.raw.method === "HEAD") {
        await body.cancel();
        return c.body(null, 200, { ...headers, "content-length": String(entry.size) });
      }
      return new Response(body.pipeThrough(new FixedLengthStream(entry.size)), { headers });
    });
  });
}
