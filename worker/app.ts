/** Owns the composition of the doors: what stands in front of which routes, and where they are mounted. */

import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import { Failure } from "../sdk/protocol/index.ts";
import type { App, AppEnv, Ctx } from "./context.ts";
import { recordsFor, type Records } from "./db/records.ts";
import type { Env } from "./env.ts";
import type { DashboardFiles } from "./ui/files.ts";
import { authenticated, keyCache, mastered, type KeyCache } from "./middleware/auth.ts";
import { failed, validated } from "./middleware/errors.ts";
import { bounded, framed } from "./middleware/request.ts";
import { adminRoutes } from "./routes/admin.ts";
import { attachmentRoutes } from "./routes/attachments.ts";
import { agentConfigRoutes } from "./routes/agent-configs.ts";
import { budgetRoutes } from "./routes/budgets.ts";
import { busRoutes } from "./routes/bus.ts";
import { dataKeyRoutes } from "./routes/data-keys.ts";
import { directoryRoutes } from "./routes/directories.ts";
import { docRoutes } from "./routes/docs.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { fileRoutes } from "./routes/files.ts";
import { historyRoutes } from "./routes/history.ts";
import { healthRoutes } from "./routes/health.ts";
import { keyRoutes } from "./routes/keys.ts";
import { linkRoutes } from "./routes/links.ts";
import { permissionRoutes } from "./routes/permissions.ts";
import { runnerRoutes } from "./routes/runners.ts";
import { capsuleRoutes } from "./routes/capsules.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { signInRoutes } from "./routes/sign-in.ts";
import { taskRoutes } from "./routes/tasks.ts";
import { usageRoutes } from "./routes/usage.ts";
import { uiRoutes } from "./routes/ui.ts";
import { voiceRoutes } from "./routes/voice.ts";
import { workspaceDoors } from "./routes/workspace-doors.ts";
import { workspaceFileRoutes } from "./routes/workspace-files.ts";
import { workspaceRoutes } from "./routes/workspaces.ts";

/** What the app stands on; replaced whole in tests. */
interface Parts {
  recordsFor: (env: Env) => Records;
  /** The built dashboard; none by default. */
  dashboard?: DashboardFiles;
}

const room = (): App => new OpenAPIHono<AppEnv>({ defaultHook: validated });
const nowhere = (c: Ctx) => failed(new Failure("not_found", "No such route", { hint: "GET /docs lists them all" }), c);
/** A browser may call from any origin: what it brings is the key that the page itself has; the dashboard's cookie is never sent from another site. */
const anyOrigin = cors({
  origin: "*",
  allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
  allowHeaders: ["authorization", "content-type", "idempotency-key", "last-event-id"],
  exposeHeaders: ["x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after", "idempotency-replayed", "x-next-after"],
  maxAge: 86_400,
});

/** The API of tenants, under `/api/v1`. */
function api(cache: KeyCache): App {
  const app = room();
  app.use(authenticated(cache), bounded);
  for (const routes of [sessionRoutes, capsuleRoutes, scheduleRoutes, historyRoutes, doctorRoutes, fileRoutes, taskRoutes, permissionRoutes, runnerRoutes, directoryRoutes, busRoutes, workspaceRoutes, workspaceFileRoutes, agentConfigRoutes, budgetRoutes, usageRoutes]) routes(app);
  keyRoutes(app, cache);
  return app;
}

/** The administration, under `/admin/api/v1`. */
function admin(cache: KeyCache): App {
  const app = room();
  app.use(mastered, bounded);
  adminRoutes(app, cache);
  dataKeyRoutes(app);
  return app;
}

/** All doors of the worker. */
export function createApp(parts: Parts = { recordsFor }): App {
  const cache = keyCache();
  const app = room();
  app.onError((error, c) => failed(error, c));
  app.notFound(nowhere);
  app.use(framed(parts.recordsFor));
  app.use("/api/v1/*", async (c, next) => (c.req.header("upgrade") ? next() : anyOrigin(c, next)));
  // Before the API, whose bodies are all JSON.
  workspaceDoors(app, cache);
  attachmentRoutes(app, cache);
  voiceRoutes(app, cache);
  app.route("/api/v1", api(cache));
  app.route("/admin/api/v1", admin(cache));
  healthRoutes(app);
  linkRoutes(app);
  signInRoutes(app, cache);
  uiRoutes(app, parts.dashboard ?? {}, nowhere);
  docRoutes(app);
  return app;
}
