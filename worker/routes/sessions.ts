/** Owns the routes of sessions: create, list, read, change, end, and their log. */

import { createRoute } from "@hono/zod-openapi";
import { sessionStub, storageStub, type Row } from "../../durable-objects/index.ts";
import { sessionCreate, sessionPatch, sessionStatus, type Session as SessionValue } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { patchedModel, withModel } from "../gateway/session-model.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, pages, streams, takes } from "../openapi.ts";
import { logAnswer } from "../streams/log.ts";
import { withDirectory } from "./directories.ts";
import { idParam, labelFilter, listQuery, LogPage, Session, sessionLogQuery } from "./schemas.ts";

const tags = ["sessions"];
const create = createRoute({
  method: "post", path: "/sessions", tags, ...keyed("write"),
  summary: "Create a session", description: "At once asks its pool for a runner; tasks may be given before one has come. An `Idempotency-Key` makes a repeated create answer the same.",
  request: takes("SessionCreate", sessionCreate),
  responses: { 201: answers(Session, "The session"), ...failures("conflict", "payload_too_large", "rate_limited") },
});
const list = createRoute({
  method: "get", path: "/sessions", tags, ...keyed("read"), summary: "List sessions",
  request: listQuery({ status: sessionStatus.optional(), labels: labelFilter.optional() }),
  responses: { 200: pages(Session, "Newest first"), ...failures() },
});
const read = createRoute({ method: "get", path: "/sessions/{id}", tags, ...keyed("read"), summary: "Read a session", request: idParam("session"), responses: { 200: answers(Session, "The session"), ...failures("not_found") } });
const update = createRoute({
  method: "patch", path: "/sessions/{id}", tags, ...keyed("write"), summary: "Change a session", description: "Name, labels, permission rules, edit mode, or the model provider's key.",
  request: { ...idParam("session"), ...takes("SessionPatch", sessionPatch) },
  responses: { 200: answers(Session, "The session as it is now"), ...failures("not_found", "conflict", "payload_too_large") },
});
const terminate = createRoute({
  method: "delete", path: "/sessions/{id}", tags, ...keyed("write"), summary: "End a session", description: "Cancels what runs, gives the runner back. What was logged stays readable.",
  request: idParam("session"), responses: { 200: answers(Session, "The session, terminated"), ...failures("not_found", "conflict") },
});
const events = createRoute({
  method: "get", path: "/sessions/{id}/events", tags, ...keyed("read"), summary: "Read or follow a session's log",
  description: "A page as JSON; followed (`follow=true` or `Accept: text/event-stream`) as server-sent events with `id` = `seq`, ending with `event: end`; as a WebSocket of blocks on Upgrade. `after=seq` resumes any of them.",
  request: { params: idParam("session").params, query: sessionLogQuery },
  responses: { ...streams(LogPage), ...failures("not_found", "rate_limited") },
});

/** Longest that a create waits for its row to be in the lists. */
const LISTED_WITHIN_MS = 1_000;

/** Copies rows into the lists now; their object's outbox does the same a little later, and for good. */
export async function copied(c: Ctx, rows: Row[]): Promise<void> {
  const done = c.get("records").projection.apply(rows).catch(() => {
    c.get("log").warn("not listed yet", { request_id: c.get("request_id"), ids: rows.map(({ value }) => value.id).join(" ") });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, LISTED_WITHIN_MS);
  await Promise.race([done, promise]);
  clearTimeout(timer);
}
export function listed(c: Ctx, session: SessionValue): Promise<void> {
  return copied(c, [{ resource: "session", value: session }]);
}

/** What a workspace that was there before holds, for the session's first runner to restore. */
export async function headOf(c: Ctx, workspaceId: string | undefined): Promise<{ manifest_id: string } | undefined> {
  if (workspaceId === undefined) return undefined;
  return (await storageStub(c.env, actorOf(c).tenant_id).head(workspaceId)) ?? undefined;
}

export function sessionRoutes(app: App): void {
  app.openapi(create, async (c) => {
    const actor = actorOf(c);
    const input = await withDirectory(c, await withModel(c, c.req.valid("json")));
    const made = await creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "sessions" } }, async (ids) => {
      const id = ids.id("session");
      const session = await call(async () => sessionStub(c.env, id).create(actor, id, input.workspace_id ?? ids.id("workspace"), input, await headOf(c, input.workspace_id)));
      await listed(c, session);
      return session;
    });
    return c.json(made, 201);
  });
  app.openapi(list, async (c) => c.json(await c.get("records").lists.sessions(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(read, async (c) => c.json(await call(() => sessionStub(c.env, c.req.valid("param").id).read(actorOf(c))), 200));
  app.openapi(update, async (c) => {
    const patch = await patchedModel(c, c.req.valid("json"));
    const session = await call(() => sessionStub(c.env, c.req.valid("param").id).update(actorOf(c), patch));
    await listed(c, session);
    return c.json(session, 200);
  });
  app.openapi(terminate, async (c) => {
    const session = await call(() => sessionStub(c.env, c.req.valid("param").id).terminate(actorOf(c)));
    await listed(c, session);
    return c.json(session, 200);
  });
  app.openapi(events, async (c) => {
    const { follow, ...query } = c.req.valid("query");
    return logAnswer(c, c.req.valid("param").id, query, follow ?? false);
  });
}

