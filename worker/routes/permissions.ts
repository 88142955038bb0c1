/** Owns the routes of permission requests: list, read, approve, deny. */

import { createRoute } from "@hono/zod-openapi";
import { sessionStub } from "../../durable-objects/index.ts";
import { idOf, permissionApprove, permissionDeny, permissionStatus } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed, pages, takes } from "../openapi.ts";
import { idParam, listQuery, Permission } from "./schemas.ts";
import { ownerOf } from "./tasks.ts";

const tags = ["permissions"];
const list = createRoute({
  method: "get", path: "/permissions", tags, ...keyed("read"), summary: "List permission requests",
  request: listQuery({ status: permissionStatus.optional(), session_id: idOf("session").optional() }),
  responses: { 200: pages(Permission, "Newest first"), ...failures() },
});
const read = createRoute({ method: "get", path: "/permissions/{id}", tags, ...keyed("read"), summary: "Read a permission request", request: idParam("permission"), responses: { 200: answers(Permission, "The request"), ...failures("not_found") } });
const answered = { 200: answers(Permission, "The request with its decision"), ...failures("not_found", "conflict", "payload_too_large") };
const approve = createRoute({
  method: "post", path: "/permissions/{id}/approve", tags, ...keyed("approve"), summary: "Approve", description: "For this call, for calls like it in this task (`turn`), or in this session. A second answer is a conflict that says what was decided.",
  request: { ...idParam("permission"), ...takes("PermissionApprove", permissionApprove) }, responses: answered,
});
const deny = createRoute({
  method: "post", path: "/permissions/{id}/deny", tags, ...keyed("approve"), summary: "Deny", description: "The agent sees the reason.",
  request: { ...idParam("permission"), ...takes("PermissionDeny", permissionDeny) }, responses: answered,
});

export function permissionRoutes(app: App): void {
  const of = (c: Ctx, id: string) => sessionStub(c.env, ownerOf(id));
  app.openapi(list, async (c) => c.json(await c.get("records").lists.permissions(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(read, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).readPermission(actorOf(c), id)), 200);
  });
  app.openapi(approve, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).approvePermission(actorOf(c), id, c.req.valid("json"))), 200);
  });
  app.openapi(deny, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => of(c, id).denyPermission(actorOf(c), id, c.req.valid("json"))), 200);
  });
}
