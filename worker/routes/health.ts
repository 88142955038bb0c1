/** Owns the health doors: whether the worker runs, and whether what it needs does. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import type { App } from "../context.ts";
import { answers } from "../openapi.ts";
import { describe } from "../log.ts";

const Live = z.object({ status: z.literal("ok") });
const Ready = z.object({ status: z.enum(["ok", "degraded"]), postgres: z.enum(["ok", "unreachable"]), objects: z.literal("ok"), message: z.string().optional() });
const live = createRoute({ method: "get", path: "/health/live", tags: ["health"], security: [], summary: "The worker runs", responses: { 200: answers(Live, "It does") } });
const ready = createRoute({
  method: "get", path: "/health/ready", tags: ["health"], security: [], summary: "What the worker needs is there",
  responses: { 200: answers(Ready, "All is there"), 503: answers(Ready, "Postgres cannot be reached: sessions go on, lists and keys wait") },
});

/** Longest that the database may take to count as there. */
const PING_WITHIN_MS = 2_000;

export function healthRoutes(app: App): void {
  app.openapi(live, (c) => c.json({ status: "ok" as const }, 200));
  app.openapi(ready, async (c) => {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("no answer in time")), PING_WITHIN_MS);
    try {
      await Promise.race([c.get("records").ping(), promise]);
      return c.json({ status: "ok" as const, postgres: "ok" as const, objects: "ok" as const }, 200);
    } catch (error) {
      c.get("log").warn("postgres unreachable", { request_id: c.get("request_id"), ...describe(error) });
      c.header("retry-after", "5");
      return c.json({ status: "degraded" as const, postgres: "unreachable" as const, objects: "ok" as const, message: "Sessions go on; lists and keys wait for the database" }, 503);
    } finally {
      clearTimeout(timer);
    }
  });
}
