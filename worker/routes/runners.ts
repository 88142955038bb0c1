/** Owns the routes of runners and hosts: what serves sessions, and where. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub, sessionStub } from "../../durable-objects/index.ts";
import { Failure, host, idOf, runnerStatus, slug, type Runner as RunnerValue } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed, pages, takes } from "../openapi.ts";
import { Host, idParam, listQuery, Runner } from "./schemas.ts";
import { listed } from "./listing.ts";

const listRunners = createRoute({
  method: "get", path: "/runners", tags: ["runners"], ...keyed("read"), summary: "List runners",
  request: listQuery({ status: runnerStatus.optional(), pool: slug.optional(), session_id: idOf("session").optional() }),
  responses: { 200: pages(Runner, "Newest first"), ...failures() },
});
const readRunner = createRoute({ method: "get", path: "/runners/{id}", tags: ["runners"], ...keyed("read"), summary: "Read a runner", request: idParam("runner"), responses: { 200: answers(Runner, "The runner"), ...failures("not_found") } });
const change = { tags: ["runners"], ...keyed("write"), request: idParam("runner"), responses: { 200: answers(Runner, "The runner"), ...failures("not_found", "conflict") } };
const pauseRunner = createRoute({
  method: "post", path: "/runners/{id}/pause", ...change, summary: "Pause a runner",
  description: "Freezes it where it is, with its memory: its session is suspended, and the runner is `paused` once its files are kept and its host has frozen it. Refused where its provider cannot pause; suspend the session then.",
});
const resumeRunner = createRoute({ method: "post", path: "/runners/{id}/resume", ...change, summary: "Resume a runner", description: "One that is paused goes on where it was, and its session is active again. One that is not is left as it is." });
const drainRunner = createRoute({
  method: "post", path: "/runners/{id}/drain", ...change, summary: "Drain a runner",
  description: "It takes no new task, and is given back when the one it has, if any, has ended. The session stays: its next task gets another runner.",
});
const listHosts = createRoute({
  method: "get", path: "/hosts", tags: ["hosts"], ...keyed("read"), summary: "List hosts",
  request: listQuery({ status: host.shape.status.optional(), pool: slug.optional() }),
  responses: { 200: pages(Host, "Newest first"), ...failures() },
});
const readHost = createRoute({ method: "get", path: "/hosts/{id}", tags: ["hosts"], ...keyed("read"), summary: "Read a host", request: idParam("host"), responses: { 200: answers(Host, "The host"), ...failures("not_found") } });
const drain = createRoute({
  method: "post", path: "/hosts/{id}/drain", tags: ["hosts"], ...keyed("admin"), summary: "Drain a host, or put it back", description: "A draining host keeps what it runs and takes nothing new.",
  request: { ...idParam("host"), ...takes("HostDrain", z.strictObject({ draining: z.boolean().default(true) })) },
  responses: { 200: answers(Host, "The host"), ...failures("not_found", "payload_too_large") },
});

async function runnerOf(c: Ctx, id: string): Promise<RunnerValue> {
  const runner = await c.get("records").lists.runner(actorOf(c).tenant_id, id);
  if (!runner) throw new Failure("not_found", "No runner of that id here");
  return runner;
}

/** Asks the session that the runner serves. The answer says what is known at once; the row follows when it has happened. */
async function changed(c: Ctx, id: string, to: "pause" | "resume" | "drain"): Promise<RunnerValue> {
  const runner = await runnerOf(c, id);
  if (runner.ended_at !== null) throw new Failure("conflict", "The runner has ended", { details: { status: runner.status, session_id: runner.session_id } });
  const stub = sessionStub(c.env, runner.session_id);
  const actor = actorOf(c);
  const session = await call(() => (to === "pause" ? stub.pauseRunner(actor, id) : to === "resume" ? stub.resumeRunner(actor, id) : stub.drainRunner(actor, id)));
  await listed(c, session);
  return runner;
}

export function runnerRoutes(app: App): void {
  app.openapi(listRunners, async (c) => c.json(await c.get("records").lists.runners(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(readRunner, async (c) => c.json(await runnerOf(c, c.req.valid("param").id), 200));
  app.openapi(pauseRunner, async (c) => c.json(await changed(c, c.req.valid("param").id, "pause"), 200));
  app.openapi(resumeRunner, async (c) => c.json(await changed(c, c.req.valid("param").id, "resume"), 200));
  app.openapi(drainRunner, async (c) => c.json(await changed(c, c.req.valid("param").id, "drain"), 200));
  app.openapi(listHosts, async (c) => c.json(await c.get("records").lists.hosts(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(readHost, async (c) => c.json(await call(() => hostStub(c.env, c.req.valid("param").id).read(actorOf(c))), 200));
  app.openapi(drain, async (c) => c.json(await call(() => hostStub(c.env, c.req.valid("param").id).drain(actorOf(c), c.req.valid("json").draining)), 200));
}
