/** Owns who may enter: API keys by their hash or by the dashboard's cookie, runner tokens, and the deployment's master key; what a key may do is its scopes. */

import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";
import { equalConstantTime, Failure, hashToken, tokenKind, type ApiKey, type KeyScope, type RunnerToken } from "../../sdk/protocol/index.ts";
import { Believed } from "../believed.ts";
import type { AppEnv, Caller, Ctx } from "../context.ts";
import { databaseFailure } from "../db/client.ts";
import { hashOfCookie } from "./cookie.ts";

const KEY_PROTOCOL = "marionette.key.";
/** What is echoed to a browser that offers it beside its key, so that the key is not sent back. */
const PROTOCOL = "marionette";

/** Keys by hash, unknown ones too. While the database is away nothing can be revoked, and a key that was good lets sessions go on. */
export type KeyCache = Believed<ApiKey | null>;
export const keyCache = (now?: () => number): KeyCache => new Believed({ ...(now && { now }), passing: (error) => databaseFailure(error) !== null, lasting: (key) => key !== null });

const refused = (why: string, hint?: string) => new Failure("unauthorized", why, hint ? { hint } : {});

/** The bearer token of a request; a browser's WebSocket may bring it as the subprotocol `marionette.key.<token>`. */
function bearer(c: Ctx): string {
  const header = c.req.header("authorization");
  if (header !== undefined) {
    const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
    if (!token) throw refused("The Authorization header must be `Bearer <token>`");
    return token;
  }
  if (c.req.header("upgrade")?.toLowerCase() === "websocket") {
    const offered = (c.req.header("sec-websocket-protocol") ?? "").split(",").map((each) => each.trim());
    const own = offered.find((each) => each.startsWith(KEY_PROTOCOL));
    if (own) {
      c.set("protocol", offered.includes(PROTOCOL) ? PROTOCOL : own);
      return own.slice(KEY_PROTOCOL.length);
    }
  }
  throw refused("A token is needed", "Send `Authorization: Bearer mk_…`");
}

/** The hash of the key that a request brings: as a bearer token, or by the dashboard's cookie. */
async function hashOf(c: Ctx): Promise<string> {
  if (c.req.header("authorization") === undefined && !c.req.header("sec-websocket-protocol")?.includes(KEY_PROTOCOL)) {
    const hash = await hashOfCookie(c, Date.now());
    if (hash !== null) return hash;
  }
  const token = bearer(c);
  const kind = tokenKind(token);
  if (kind === "run" || kind === "runner") throw refused("A runner's token is not an API key", "It opens its own link and nothing else");
  if (kind !== "api_key") throw refused("The key is not an API key (mk_…)");
  return hashToken(token);
}

/** The living key of this hash. Throws `unauthorized` where it is unknown, revoked or expired. */
export async function keyByHash(c: Ctx, cache: KeyCache, hash: string): Promise<ApiKey> {
  const now = Date.now();
  const { access } = c.get("records");
  const key = await cache.find(hash, () => access.keyByHash(hash));
  if (!key) throw refused("The key is not known");
  if (key.revoked_at) throw refused("The key is revoked");
  if (key.expires_at && Date.parse(key.expires_at) <= now) throw refused("The key has expired");
  if (!key.last_used_at || Date.parse(key.last_used_at) < now - 60_000) c.executionCtx.waitUntil(access.touchKey(key.id, new Date(now)).catch(() => {}));
  return key;
}

async function callerOf(c: Ctx, cache: KeyCache): Promise<Caller> {
  const key = await keyByHash(c, cache, await hashOf(c));
  return { kind: "key", actor: { tenant_id: key.tenant_id, key_id: key.id, key_name: key.name }, scopes: key.scopes };
}

/** Lets API keys in; what each may do is asked by `needs`. */
export function authenticated(cache: KeyCache): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    c.set("caller", await callerOf(c, cache));
    await next();
  });
}

/** Refuses keys without the scope. */
export function needs(scope: KeyScope): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const caller = c.get("caller");
    if (caller?.kind !== "key" || !caller.scopes.includes(scope)) throw new Failure("forbidden", `This needs a key with the scope '${scope}'`, { details: { scope } });
    await next();
  });
}

/** Lets the master key in and nothing else. */
export const mastered: MiddlewareHandler<AppEnv> = createMiddleware<AppEnv>(async (c, next) => {
  const token = bearer(c);
  const master = c.env.MARIONETTE_MASTER_KEY;
  // Hashes have one length, so that not even the key's length shows.
  if (!master || !equalConstantTime(await hashToken(token), await hashToken(master))) throw refused("This needs the deployment's master key");
  c.set("caller", { kind: "master" });
  await next();
});

/** The runner token of a host that joins. */
export async function runnerTokenOf(c: Ctx): Promise<RunnerToken> {
  const token = bearer(c);
  if (tokenKind(token) !== "runner") throw refused("A host joins with a runner token (rtok_…)");
  const found = await c.get("records").access.runnerTokenByHash(await hashToken(token), new Date());
  if (!found) throw refused("The runner token is unknown, revoked or rotated away");
  return found;
}

/** The run token of a runner that links itself to its session; the session's object decides whether it is the right one. */
export function runTokenOf(c: Ctx): string {
  const token = bearer(c);
  if (tokenKind(token) !== "run") throw refused("A runner's link takes its run token (gtok_…)");
  return token;
}
