/** Owns where the gateway's doors are: before all that frames and routes the API, so that what passes is upstream's own and waits for nothing. */

import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { logger } from "../log.ts";
import { serve } from "./call.ts";
import { policies } from "./policies.ts";

/** Answers what comes to `/gateway/`; null for all else. */
export function gatewayDoor(request: Request, env: Env, context: ExecutionContext, recordsFor: (env: Env) => Records): Promise<Response> | null {
  if (!/^https?:\/\/[^/]*\/gateway\//.test(request.url)) return null;
  return serve(request, { env, records: recordsFor(env), policies, waitUntil: (work) => context.waitUntil(work), log: logger(env.MARIONETTE_LOG_LEVEL) });
}
