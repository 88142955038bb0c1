/** Owns what a request carries from middleware to handler, and the app type that all routes share. */

import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Actor } from "../durable-objects/index.ts";
import type { KeyScope } from "../sdk/protocol/index.ts";
import type { Records } from "./db/records.ts";
import type { Env } from "./env.ts";
import type { Logger } from "./log.ts";

/** Who asks: a tenant's key, or the deployment's master key. */
export type Caller = { kind: "key"; actor: Actor; scopes: KeyScope[] } | { kind: "master" };

interface Variables {
  request_id: string;
  log: Logger;
  records: Records;
  caller: Caller | undefined;
  /** The subprotocol to echo where a browser's WebSocket brought its key in one. */
  protocol: string | undefined;
}
export interface AppEnv {
  Bindings: Env;
  Variables: Variables;
}
export type App = OpenAPIHono<AppEnv>;
export type Ctx = Context<AppEnv>;

/** The tenant's caller; routes under `authenticate` always have one. */
export function actorOf(c: Ctx): Actor {
  const caller = c.get("caller");
  if (caller?.kind !== "key") throw new Error("route without authentication");
  return caller.actor;
}
