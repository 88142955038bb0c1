/** Owns the routes of a session's suspensions: suspend, resume, its capsules, and the fork that goes on from one of them. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub, storageStub } from "../../durable-objects/index.ts";
import { capsule, capsuleAsked, Failure, idOf, sessionFork, sessionResume, sessionSuspend, type SessionFork } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, named, pages, takes } from "../openapi.ts";
import { withDirectory } from "./directories.ts";
import { idParam, listQuery, Session } from "./schemas.ts";
import { listed } from "./listing.ts";

const tags = ["sessions"];
const Capsule = named("Capsule", capsule);
const at = idParam("session");
const suspend = createRoute({
  method: "post", path: "/sessions/{id}/suspend", tags, ...keyed("write"), summary: "Suspend a session",
  description: "Answers `suspending` at once. What is kept depends on the strategy, and on what the provider can; the resume's receipt says it. A task, or an answer to a permission request, resumes the session.",
  request: { ...at, ...takes("SessionSuspend", sessionSuspend) }, responses: { 200: answers(Session, "The session, suspending"), ...failures("not_found", "conflict", "payload_too_large") },
});
const resume = createRoute({
  method: "post", path: "/sessions/{id}/resume", tags, ...keyed("write"), summary: "Resume a session",
  description: "Answers `resuming` at once; a session that is active is answered as it is. With `provider`, `selector` or `capsule_id` it goes on in another way than it was.",
  request: { ...at, ...takes("SessionResume", sessionResume) }, responses: { 200: answers(Session, "The session, resuming"), ...failures("not_found", "conflict", "payload_too_large") },
});
const take = createRoute({
  method: "post", path: "/sessions/{id}/capsules", tags, ...keyed("write"), summary: "Take a capsule now",
  description: "Of a session that has its runner; what runs goes on, and a capsule of files that change while they are read is `torn`. Answers at once: the capsule is there when `workspace.synced` names it in the log, after `seq`; `workspace.sync_failed` says why it will not be. The newest that was asked for wins.",
  request: at, responses: { 202: answers(named("CapsuleAsked", capsuleAsked), "It is being taken"), ...failures("not_found", "conflict") },
});
const list = createRoute({
  method: "get", path: "/sessions/{id}/capsules", tags, ...keyed("read"), summary: "List a session's capsules", description: "The states that it can be resumed or forked from: one at every task's end, one at every suspension, and those that were asked for. The newest 50 are kept, and those of forks.",
  request: { ...at, ...listQuery({}) }, responses: { 200: pages(Capsule, "Newest first"), ...failures("not_found") },
});
const read = createRoute({
  method: "get", path: "/sessions/{id}/capsules/{capsule_id}", tags, ...keyed("read"), summary: "Read a capsule",
  request: { params: z.object({ id: idOf("session"), capsule_id: idOf("capsule") }) }, responses: { 200: answers(Capsule, "The capsule"), ...failures("not_found") },
});
const fork = createRoute({
  method: "post", path: "/sessions/{id}/fork", tags, ...keyed("write"), summary: "Fork a session",
  description: "A new session with the workspace and the conversation as of an event, a task's end or a capsule; the latest where none is named. The session itself is left as it is, and may have ended. Where the point is gone, `details.points` names those that are there.",
  request: { ...at, ...takes("SessionFork", sessionFork) }, responses: { 201: answers(Session, "The new session"), ...failures("not_found", "conflict", "payload_too_large", "rate_limited") },
});

/** Makes the new session; the same on every try. */
async function forked(c: Ctx, from: string, { name, api_key, ...point }: SessionFork, ids: { id: string; workspace_id: string }) {
  const actor = actorOf(c);
  const { input, ...origin } = await call(() => sessionStub(c.env, from).forkSource(actor, point));
  const placed = await withDirectory(c, { ...input, ...(name !== undefined && { name }), ...(api_key !== undefined && { api_key }) });
  const { workspace, state, workspace_id, session_id } = origin.capsule;
  const storage = () => storageStub(c.env, actor.tenant_id);
  await call(() => storage().adopt(workspace.manifest_id, workspace_id, ids.workspace_id));
  if (state) await call(() => storage().adopt(state.manifest_id, session_id, ids.id));
  const session = await call(() => sessionStub(c.env, ids.id).create(actor, ids.id, ids.workspace_id, placed, origin));
  await listed(c, session);
  return session;
}

export function capsuleRoutes(app: App): void {
  app.openapi(suspend, async (c) => {
    const session = await call(() => sessionStub(c.env, c.req.valid("param").id).suspend(actorOf(c), c.req.valid("json")));
    await listed(c, session);
    return c.json(session, 200);
  });
  app.openapi(resume, async (c) => {
    const session = await call(() => sessionStub(c.env, c.req.valid("param").id).resume(actorOf(c), c.req.valid("json")));
    await listed(c, session);
    return c.json(session, 200);
  });
  app.openapi(take, async (c) => {
    const actor = actorOf(c);
    const { id } = c.req.valid("param");
    const asked = await creating(c, { owner: actor.tenant_id, scope: actor.key_id }, (ids) => call(() => sessionStub(c.env, id).takeCapsule(actor, ids.child("capsule", id))));
    return c.json(asked, 202);
  });
  app.openapi(list, async (c) => {
    const { limit, offset, cursor } = c.req.valid("query");
    const from = cursor === undefined ? (offset ?? 0) : Number(cursor);
    if (!Number.isSafeInteger(from) || from < 0) throw new Failure("bad_request", "cursor: not a cursor of this list", { details: { cursor: "not a cursor of this list" } });
    const page = await call(() => sessionStub(c.env, c.req.valid("param").id).listCapsules(actorOf(c), { limit, offset: from }));
    const next = from + page.items.length;
    return c.json({ ...page, next_cursor: next < page.total && page.items.length > 0 ? String(next) : null }, 200);
  });
  app.openapi(read, async (c) => {
    const { id, capsule_id } = c.req.valid("param");
    return c.json(await call(() => sessionStub(c.env, id).readCapsule(actorOf(c), capsule_id)), 200);
  });
  app.openapi(fork, async (c) => {
    const actor = actorOf(c);
    const body = c.req.valid("json");
    const made = await creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "sessions" } }, (ids) =>
      forked(c, c.req.valid("param").id, body, { id: ids.id("session"), workspace_id: ids.id("workspace") }));
    return c.json(made, 201);
  });
}
