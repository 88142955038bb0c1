/** Owns the doors for images: sent by clients with a prompt, shown again in the transcript, and fetched by the runner whose agent is to see them. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub } from "../../durable-objects/index.ts";
import { attachment, attachmentName, Failure, hashToken, idOf, imageType, imageTypeOf, MAX_ATTACHMENT_BYTES, type Attachment as AttachmentValue, type ImageType } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { authenticated, needs, runTokenOf, type KeyCache } from "../middleware/auth.ts";
import { creating } from "../middleware/creating.ts";
import { readCapped } from "../middleware/request.ts";
import { answers, failures, named } from "../openapi.ts";
import { getAttachment, putAttachment } from "../storage/attachments.ts";
import { storageOf } from "../storage/storage.ts";

const Attachment = named("Attachment", attachment);
const TYPES = imageType.options;
const images = Object.fromEntries(TYPES.map((type) => [type, { schema: z.string() }])) as Record<ImageType, { schema: z.ZodString }>;
const key = (cache: KeyCache, scope: "read" | "write") => ({ security: [{ api_key: [scope] }], middleware: [authenticated(cache), needs(scope)] });

/** The body as an image: of a kind that agents can see, and what it says it is. */
async function imageOf(c: Ctx): Promise<{ bytes: Uint8Array<ArrayBuffer>; media_type: ImageType }> {
  const { raw } = c.req;
  const bytes = raw.body === null ? new Uint8Array() : await readCapped(raw.body, Number(raw.headers.get("content-length") ?? 0), MAX_ATTACHMENT_BYTES);
  const refuse = (field: string, why: string) => new Failure("bad_request", `${field}: ${why}`, { details: { [field]: why }, hint: "Send a PNG, JPEG, GIF or WebP image with its own content type" });
  const said = imageType.safeParse((raw.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase());
  if (!said.success) throw refuse("content-type", `must be one of ${TYPES.join(", ")}`);
  if (bytes.byteLength === 0) throw refuse("body", "empty");
  const media_type = imageTypeOf(bytes);
  if (media_type === null) throw refuse("body", "these bytes are no PNG, JPEG, GIF or WebP image, whatever their name says");
  if (media_type !== said.data) throw refuse("content-type", `says ${said.data}, and the bytes are ${media_type}`);
  return { bytes, media_type };
}

/** Stands in for the body of a request that is read already: what is compared where the same idempotency key comes again. */
async function digested(c: Ctx, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const { raw } = c.req;
  const headers = new Headers(raw.headers);
  headers.set("content-type", "text/plain");
  c.req.raw = new Request(raw.url, { method: raw.method, headers, body: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""), signal: raw.signal });
}

/** Mount before the API: its own middleware takes JSON alone. */
export function attachmentRoutes(app: App, cache: KeyCache): void {
  const tags = ["tasks"];
  const create = createRoute({
    method: "post", path: "/api/v1/sessions/{id}/attachments", tags, ...key(cache, "write"), summary: "Send an image to a session",
    description: `The body is the image, at most ${MAX_ATTACHMENT_BYTES} bytes. Name its id in a task's \`attachments\`, and the agent sees it with the prompt. It is kept, sealed, as long as the session's workspace.`,
    request: { params: z.object({ id: idOf("session") }), query: z.strictObject({ name: z.string().max(255).optional() }), body: { required: true as const, content: images } },
    responses: { 201: answers(Attachment, "It is kept"), ...failures("not_found", "conflict", "payload_too_large", "rate_limited") },
  });
  const at = { params: z.object({ id: idOf("session"), attachment_id: idOf("attachment") }) };
  const read = createRoute({ method: "get", path: "/api/v1/sessions/{id}/attachments/{attachment_id}", tags, ...key(cache, "read"), summary: "Read an image of a session", request: at, responses: { 200: { content: images, description: "The image" }, ...failures("not_found", "conflict") } });
  const fetched = createRoute({
    method: "get", path: "/links/attachments/{session_id}/{attachment_id}", tags: ["links"], security: [{ run_token: [] }], summary: "Fetch an image for the agent",
    request: { params: z.object({ session_id: idOf("session"), attachment_id: idOf("attachment") }) }, responses: { 200: { content: { "application/octet-stream": { schema: z.string() } }, description: "The image" }, ...failures("not_found", "conflict") },
  });

  app.openapi(create, async (c) => {
    const actor = actorOf(c);
    const { id } = c.req.valid("param");
    const { name = "" } = c.req.valid("query");
    const { bytes, media_type } = await imageOf(c);
    const session = await call(() => sessionStub(c.env, id).read(actor));
    if (session.status === "terminated") throw new Failure("conflict", "The session has ended and takes no more images", { details: { status: session.status } });
    await digested(c, bytes);
    const made = await creating<AttachmentValue>(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "tasks" } }, async (ids) => {
      const image = { id: ids.id("attachment"), name: attachmentName(name, media_type), media_type, size: bytes.byteLength };
      // The bytes first: what a task can name is there.
      await putAttachment(storageOf(c.env, c.get("records")), { tenant_id: actor.tenant_id, workspace_id: session.workspace_id, session_id: id, id: image.id }, bytes);
      return call(() => sessionStub(c.env, id).addAttachment(actor, image));
    });
    return c.json(made, 201);
  });
  app.openapi(read, async (c) => {
    const actor = actorOf(c);
    const { id, attachment_id } = c.req.valid("param");
    const found = await call(() => sessionStub(c.env, id).readAttachment(actor, attachment_id));
    const bytes = await getAttachment(storageOf(c.env, c.get("records")), { tenant_id: actor.tenant_id, workspace_id: found.workspace_id, session_id: id, id: attachment_id });
    // It never changes. Opened by itself it may do nothing, whatever is in it.
    const headers = { "cache-control": "private, max-age=86400, immutable", "content-security-policy": "default-src 'none'; sandbox", "content-disposition": `inline; filename*=UTF-8''${encodeURIComponent(found.attachment.name)}` };
    return new Response(bytes, { headers: { ...headers, "content-type": found.attachment.media_type } });
  });
  app.openapi(fetched, async (c) => {
    const { session_id, attachment_id } = c.req.valid("param");
    const hash = await hashToken(runTokenOf(c));
    const { tenant_id, workspace_id } = await call(() => sessionStub(c.env, session_id).checkRun(hash));
    const bytes = await getAttachment(storageOf(c.env, c.get("records")), { tenant_id, workspace_id, session_id, id: attachment_id });
    return c.body(bytes, 200, { "content-type": "application/octet-stream" });
  });
}
