/** Owns the doors by which runners and hosts dial in: each upgrade is handed to the object that it belongs to. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub, sessionStub, type HostJoin } from "../../durable-objects/index.ts";
import { Failure, idOf, newId } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import type { App, Ctx } from "../context.ts";
import { runnerTokenOf, runTokenOf } from "../middleware/auth.ts";
import { failures } from "../openapi.ts";
import { handed } from "../streams/log.ts";
import { headerJson, upgrade } from "../streams/source.ts";

const tags = ["links"];
const runner = createRoute({
  method: "get", path: "/links/runner/{session_id}", tags, security: [{ run_token: [] }], summary: "A runner's link to its session", description: "A WebSocket; the runner says hello first.",
  request: { params: z.object({ session_id: idOf("session") }) }, responses: { 101: { description: "The link" }, ...failures("not_found") },
});
const host = createRoute({
  method: "get", path: "/links/host", tags, security: [{ runner_token: [] }], summary: "A host daemon's link", description: "A WebSocket with a Cap'n Web session. `host_id` names a host that joined before; without it, or where it is not this tenant's, a new one is made.",
  request: { query: z.strictObject({ host_id: idOf("host").optional() }) }, responses: { 101: { description: "The link" }, ...failures() },
});

function mustUpgrade(c: Ctx): void {
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") throw new Failure("bad_request", "upgrade: this is a WebSocket", { details: { upgrade: "must be websocket" } });
}

/** The host that a daemon says it is, where it is one of the tenant's; else a new one. */
async function hostIdOf(c: Ctx, tenantId: string, claimed: string | undefined): Promise<string> {
  if (claimed === undefined) return newId("host", Date.now());
  try {
    await call(() => hostStub(c.env, claimed).read({ tenant_id: tenantId, key_id: "system", key_name: null }));
    return claimed;
  } catch (error) {
    if (error instanceof Failure && error.code === "not_found") return newId("host", Date.now());
    throw error;
  }
}

export function linkRoutes(app: App): void {
  app.openapi(runner, async (c) => {
    const token = runTokenOf(c);
    mustUpgrade(c);
    const { session_id } = c.req.valid("param");
    return handed(c, await upgrade(() => sessionStub(c.env, session_id), "/runner", { authorization: `Bearer ${token}` }));
  });
  app.openapi(host, async (c) => {
    const { tenant_id, pool, labels } = await runnerTokenOf(c);
    mustUpgrade(c);
    const join: HostJoin = { tenant_id, host_id: await hostIdOf(c, tenant_id, c.req.valid("query").host_id), pool, labels };
    return handed(c, await upgrade(() => hostStub(c.env, join.host_id), "/daemon", { "x-marionette-host": headerJson(join) }));
  });
}
