/** Owns the routes of a session's files: they are read from the host that holds its workspace, piece by piece. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub, sessionStub, type Actor } from "../../durable-objects/index.ts";
import { Failure, idOf, type FileContent } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed } from "../openapi.ts";
import { Files } from "./schemas.ts";

/** Bytes of one piece: the most that a host gives at a time. */
export const PIECE_BYTES = 1024 * 1024;

const path = z.string().max(4_096).regex(/^[^\0]*$/, "must not hold NUL");
const at = { params: z.object({ id: idOf("session") }) };
const list = createRoute({
  method: "get", path: "/sessions/{id}/files", tags: ["files"], ...keyed("read"), summary: "List a directory of the workspace",
  request: { ...at, query: z.strictObject({ path: path.default("") }) }, responses: { 200: answers(Files, "What the directory holds"), ...failures("not_found", "conflict") },
});
const content = createRoute({
  method: "get", path: "/sessions/{id}/files/content", tags: ["files"], ...keyed("read"), summary: "Read a file of the workspace",
  request: { ...at, query: z.strictObject({ path: path.min(1) }) },
  responses: { 101: { description: "Never" }, 200: { content: { "application/octet-stream": { schema: z.string() } }, description: "The file's bytes" }, ...failures("not_found", "conflict", "payload_too_large") },
});

async function holder(c: Ctx, actor: Actor, sessionId: string): Promise<{ hostId: string; workspaceId: string }> {
  const session = await call(() => sessionStub(c.env, sessionId).read(actor));
  if (!session.host_id) throw new Failure("conflict", "No host holds the workspace yet: the session has had no runner", { hint: "Give it a task first", details: { status: session.status } });
  return { hostId: session.host_id, workspaceId: session.workspace_id };
}

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** A file of a workspace from the host that holds it. */
export async function hostFile(c: Ctx, hostId: string, workspaceId: string, wanted: string): Promise<Response> {
  const actor = actorOf(c);
  return bytesOfPieces(c, wanted, (offset) => call(() => hostStub(c.env, hostId).readFile(actor, workspaceId, wanted, offset, PIECE_BYTES)));
}

/** A file that comes piece by piece, as the bytes that it has. */
export async function bytesOfPieces(c: Ctx, wanted: string, piece: (offset: number) => Promise<FileContent>): Promise<Response> {
  const first = await piece(0);
  const name = encodeURIComponent(wanted.toWellFormed().split("/").at(-1) ?? "file");
  const headers = { "content-type": "application/octet-stream", "content-disposition": `attachment; filename*=UTF-8''${name}`, "last-modified": new Date(first.modified_at).toUTCString() };
  if (c.req.raw.method === "HEAD") return c.body(null, 200, { ...headers, "content-length": String(first.size) });

  let next: Uint8Array | null = bytesOf(first.base64);
  let offset = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        next ??= bytesOf((await piece(offset)).base64);
        const length = Math.min(next.byteLength, first.size - offset);
        // A file that shrank ends early, and the client sees from the length that it did.
        if (length > 0) controller.enqueue(next.subarray(0, length));
        offset += length;
        next = null;
        if (length === 0 || offset >= first.size) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body.pipeThrough(new FixedLengthStream(first.size)), { headers });
}

export function fileRoutes(app: App): void {
  app.openapi(list, async (c) => {
    const actor = actorOf(c);
    const { hostId, workspaceId } = await holder(c, actor, c.req.valid("param").id);
    const items = await call(() => hostStub(c.env, hostId).listFiles(actor, workspaceId, c.req.valid("query").path));
    return c.json({ items }, 200);
  });

  app.openapi(content, async (c) => {
    const actor = actorOf(c);
    const { path: wanted } = c.req.valid("query");
    const { hostId, workspaceId } = await holder(c, actor, c.req.valid("param").id);
    return hostFile(c, hostId, workspaceId, wanted);
  });
}
