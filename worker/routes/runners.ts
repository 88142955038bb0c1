/** Owns the routes of runners and hosts: what serves sessions, and where. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub } from "../../durable-objects/index.ts";
import { Failure, host, idOf, runnerStatus, slug } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App } from "../context.ts";
import { answers, failures, keyed, pages, takes } from "../openapi.ts";
import { Host, idParam, listQuery, Runner } from "./schemas.ts";

const listRunners = createRoute({
  method: "get", path: "/runners", tags: ["runners"], ...keyed("read"), summary: "List runners",
  request: listQuery({ status: runnerStatus.optional(), pool: slug.optional(), session_id: idOf("session").optional() }),
  responses: { 200: pages(Runner, "Newest first"), ...failures() },
});
const readRunner = createRoute({ method: "get", path: "/runners/{id}", tags: ["runners"], ...keyed("read"), summary: "Read a runner", request: idParam("runner"), responses: { 200: answers(Runner, "The runner"), ...failures("not_found") } });
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

export function runnerRoutes(app: App): void {
  app.openapi(listRunners, async (c) => c.json(await c.get("records").lists.runners(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(readRunner, async (c) => {
    const runner = await c.get("records").lists.runner(actorOf(c).tenant_id, c.req.valid("param").id);
    if (!runner) throw new Failure("not_found", "No runner of that id here");
    return c.json(runner, 200);
  });
  app.openapi(listHosts, async (c) => c.json(await c.get("records").lists.hosts(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(readHost, async (c) => c.json(await call(() => hostStub(c.env, c.req.valid("param").id).read(actorOf(c))), 200));
  app.openapi(drain, async (c) => c.json(await call(() => hostStub(c.env, c.req.valid("param").id).drain(actorOf(c), c.req.valid("json").draining)), 200));
}
