/** Owns where the gateway's doors are mounted: before all that frames the API, so that what passes is upstream's own. */

import type { App } from "../context.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { logger } from "../log.ts";
import { serve } from "./call.ts";
import { policies } from "./policies.ts";

export function gatewayRoutes(app: App, recordsFor: (env: Env) => Records): void {
  app.all("/gateway/*", (c) => serve(c.req.raw, { env: c.env, records: recordsFor(c.env), policies, waitUntil: (work) => c.executionCtx.waitUntil(work), log: logger(c.env.MARIONETTE_LOG_LEVEL) }));
}
