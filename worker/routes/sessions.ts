/** Owns the routes of sessions: create, list, read, change, end, and their log. */

import { createRoute } from "@hono/zod-openapi";
import { sessionStub } from "../../durable-objects/index.ts";
import { Failure, scheduleCreate, sessionAsk, sessionCreate, sessionPatch, sessionStatus, type SessionAsk } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { patchedModel, withModel } from "../gateway/session-model.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, pages, streams, takes } from "../openapi.ts";
import { logAnswer } from "../streams/log.ts";
import { withDirectory } from "./directories.ts";
import { headOf, listed } from "./listing.ts";
import { makeSchedule, withConfig } from "./scheduled.ts";
import { idParam, labelFilter, listQuery, LogPage, Session, sessionLogQuery } from "./schemas.ts";

const tags = ["sessions"];
const create = createRoute({
  method: "post", path: "/sessions", tags, ...keyed("write"),
  summary: "Create a session", description: "At once asks its pool for a runner; tasks may be given before one has come. `scheduled` with `schedule`, `timezone` and `prompt` makes a schedule with it, as POST /schedules does, whose further options are changed there. An `Idempotency-Key` makes a repeated create answer the same.",
  request: takes("SessionCreate", sessionAsk),
  responses: { 201: answers(Session, "The session"), ...failures("conflict", "payload_too_large", "rate_limited") },
});
const list = createRoute({
  method: "get", path: "/sessions", tags, ...keyed("read"), summary: "List sessions",
  request: listQuery({ status: sessionStatus.optional(), labels: labelFilter.optional() }),
  responses: { 200: pages(Session, "Newest first"), ...failures() },
});
const read = createRoute({ method: "get", path: "/sessions/{id}", tags, ...keyed("read"), summary: "Read a session", request: idParam("session"), responses: { 200: answers(Session, "The session"), ...failures("not_found") } });
const update = createRoute({
  method: "patch", path: "/sessions/{id}", tags, ...keyed("write"), summary: "Change a session", description: "Name, labels, permission rules, edit mode, the model provider's key, or which approvals for the turn and the session still hold (`approvals` names the requests to keep).",
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

/** A session with its schedule, made as POST /schedules makes them. */
async function scheduled(c: Ctx, asked: SessionAsk) {
  const actor = actorOf(c);
  const { schedule: cron, lifecycle_mode: _, api_key: __, base_url: ___, ...options } = asked;
  const input = await withDirectory(c, await withConfig(c, scheduleCreate.parse({ ...options, cron })));
  return creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "sessions" } }, async (ids) => {
    const { session_id } = await makeSchedule(c, ids, input).catch((error: unknown) => {
      const why = error instanceof Failure ? error.details?.["cron"] : undefined;
      throw typeof why === "string" ? new Failure("bad_request", `schedule: ${why}`, { details: { schedule: why } }) : error;
    });
    const session = await call(() => sessionStub(c.env, session_id).read(actor));
    await listed(c, session);
    return session;
  });
}

export function sessionRoutes(app: App): void {
  app.openapi(create, async (c) => {
    const actor = actorOf(c);
    const asked = c.req.valid("json");
    if (asked.lifecycle_mode === "scheduled") return c.json(await scheduled(c, asked), 201);
    const { schedule: _, timezone: __, prompt: ___, ...options } = asked;
    const input = await withDirectory(c, await withModel(c, sessionCreate.parse(options)));
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

