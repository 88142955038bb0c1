/** Owns the routes of tasks: give, list, read, cancel, retry, start now, and their logs. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub, type Actor } from "../../durable-objects/index.ts";
import { Failure, idOf, sessionOf, taskCreate, taskStatus, type Task as TaskValue, type TaskCreate } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, pages, streams, takes } from "../openapi.ts";
import { logAnswer } from "../streams/log.ts";
import { idParam, labelFilter, listQuery, LogPage, Run, Task, taskLogQuery } from "./schemas.ts";

const tags = ["tasks"];
const made = { 201: answers(Task, "The task"), ...failures("not_found", "conflict", "payload_too_large", "rate_limited") };
const create = createRoute({ method: "post", path: "/tasks", tags, ...keyed("write"), summary: "Give a session a task", request: takes("TaskCreate", taskCreate.extend({ session_id: idOf("session") })), responses: made });
const createIn = createRoute({ method: "post", path: "/sessions/{id}/tasks", tags, ...keyed("write"), summary: "Give this session a task", request: { ...idParam("session"), ...takes("SessionTaskCreate", taskCreate) }, responses: made });
const list = createRoute({
  method: "get", path: "/tasks", tags, ...keyed("read"), summary: "List tasks",
  request: listQuery({ session_id: idOf("session").optional(), status: taskStatus.optional(), labels: labelFilter.optional() }),
  responses: { 200: pages(Task, "Newest first; a page of large prompts ends early and goes on at next_cursor"), ...failures() },
});
const task = { request: idParam("task"), responses: { 200: answers(Task, "The task"), ...failures("not_found", "conflict") } };
const read = createRoute({ method: "get", path: "/tasks/{id}", tags, ...keyed("read"), summary: "Read a task", ...task });
const runs = createRoute({ method: "get", path: "/tasks/{id}/runs", tags, ...keyed("read"), summary: "Every attempt at a task", request: task.request, responses: { 200: answers(z.object({ items: z.array(Run) }), "First to last"), ...failures("not_found") } });
const cancel = createRoute({ method: "post", path: "/tasks/{id}/cancel", tags, ...keyed("write"), summary: "Cancel a task", description: "Interrupts the agent, then ends its processes after a grace.", ...task });
const retry = createRoute({ method: "post", path: "/tasks/{id}/retry", tags, ...keyed("write"), summary: "Try a task again that ended badly", ...task });
const execute = createRoute({ method: "post", path: "/tasks/{id}/execute", tags, ...keyed("write"), summary: "Start a pending task without waiting for its backoff", ...task });
const logs = createRoute({
  method: "get", path: "/tasks/{id}/logs", tags, ...keyed("read"), summary: "Read or follow a task's log",
  description: "As the session's log. With `Accept: text/plain` only what was said and printed, as text.",
  request: { params: task.request.params, query: taskLogQuery },
  responses: { ...streams(LogPage), ...failures("not_found", "rate_limited") },
});
const socket = createRoute({
  method: "get", path: "/logs/{task_id}/stream", tags: ["live"], ...keyed("read"), summary: "A task's log over a WebSocket",
  request: { params: z.object({ task_id: idOf("task") }), query: taskLogQuery },
  responses: { 101: { description: "Frames of `events`, `caught_up`, `end`" }, ...failures("not_found") },
});

/** The session that a task's id carries. */
export function ownerOf(childId: string): string {
  const sessionId = sessionOf(childId);
  if (!sessionId) throw new Failure("bad_request", "id: carries no session", { details: { id: "carries no session" } });
  return sessionId;
}

async function give(c: Ctx, actor: Actor, sessionId: string, input: TaskCreate): Promise<TaskValue> {
  const again = { leaveOut: (made: TaskValue) => ({ ...made, prompt: "" }), putBack: (kept: TaskValue) => ({ ...kept, prompt: input.prompt }) };
  return creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "tasks" }, again }, (ids) => {
    const id = ids.child("task", sessionId);
    return call(() => sessionStub(c.env, sessionId).createTask(actor, id, input));
  });
}

export function taskRoutes(app: App): void {
  app.openapi(create, async (c) => {
    const { session_id, ...input } = c.req.valid("json");
    return c.json(await give(c, actorOf(c), session_id, input), 201);
  });
  app.openapi(createIn, async (c) => c.json(await give(c, actorOf(c), c.req.valid("param").id, c.req.valid("json")), 201));
  app.openapi(list, async (c) => c.json(await c.get("records").lists.tasks(actorOf(c).tenant_id, c.req.valid("query")), 200));

  const of = (c: Ctx, id: string) => sessionStub(c.env, ownerOf(id));
  app.openapi(read, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).readTask(actorOf(c), id)), 200);
  });
  app.openapi(runs, async (c) => {
    const { id } = c.req.valid("param");
    return c.json({ items: await call(() => of(c, id).readRuns(actorOf(c), id)) }, 200);
  });
  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).cancelTask(actorOf(c), id)), 200);
  });
  app.openapi(retry, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).retryTask(actorOf(c), id)), 200);
  });
  app.openapi(execute, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).executeTask(actorOf(c), id)), 200);
  });
  app.openapi(logs, async (c) => {
    const { id } = c.req.valid("param");
    const { follow, ...query } = c.req.valid("query");
    return logAnswer(c, ownerOf(id), { ...query, task_id: id }, follow ?? false);
  });
  app.openapi(socket, async (c) => {
    const { task_id } = c.req.valid("param");
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket") throw new Failure("bad_request", "upgrade: this is a WebSocket", { hint: "Use GET /tasks/{id}/logs?follow=true for server-sent events" });
    const { follow: _always, ...query } = c.req.valid("query");
    return logAnswer(c, ownerOf(task_id), { ...query, task_id }, true);
  });
}
