/** Owns the routes by which a tenant manages its own API keys and runner tokens, and what the administration shares with them. */

import { createRoute } from "@hono/zod-openapi";
import { Failure, displayOf, hashToken, keyCreate, newToken, runnerTokenCreate, type ApiKey, type ApiKeyCreated, type KeyCreate, type RunnerToken as RunnerTokenValue, type RunnerTokenCreated as RunnerTokenCreatedValue } from "../../sdk/protocol/index.ts";
import type * as z from "zod";
import { actorOf, type App, type Ctx } from "../context.ts";
import type { KeyCache } from "../middleware/auth.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, pages, takes } from "../openapi.ts";
import { idParam, Key, KeyCreated, listQuery, RunnerToken, RunnerTokenCreated } from "./schemas.ts";

/** How long a rotated runner token still opens the door. */
const ROTATION_MS = 60 * 60 * 1_000;
type RunnerTokenCreate = z.infer<typeof runnerTokenCreate>;

/** Makes a key for a tenant; the only answer that shows it. */
export async function makeKey(c: Ctx, owner: { tenantId: string; scope: string }, input: KeyCreate): Promise<ApiKeyCreated> {
  return creating(c, { owner: owner.tenantId, scope: owner.scope, secret: true }, async (ids) => {
    const key = newToken("api_key");
    const expires = input.expires_in_seconds === undefined ? null : new Date(ids.now.getTime() + input.expires_in_seconds * 1_000);
    const row = { id: ids.id("key"), tenant_id: owner.tenantId, name: input.name, hash: await hashToken(key), display: displayOf(key), scopes: [...new Set(input.scopes)], created_at: ids.now, expires_at: expires };
    return { ...(await c.get("records").access.createKey(row)), key };
  });
}

/** Revokes a key of a tenant, or of any with null; at once in this isolate, within five seconds elsewhere. */
export async function revokeKey(c: Ctx, cache: KeyCache, tenantId: string | null, id: string): Promise<ApiKey> {
  const revoked = await c.get("records").access.revokeKey(tenantId, id, new Date());
  if (!revoked) throw new Failure("not_found", "No key of that id here");
  cache.forget(revoked.hash);
  return revoked.key;
}

export async function makeRunnerToken(c: Ctx, owner: { tenantId: string; scope: string }, input: RunnerTokenCreate): Promise<RunnerTokenCreatedValue> {
  return creating(c, { owner: owner.tenantId, scope: owner.scope, secret: true }, async (ids) => {
    const token = newToken("runner");
    const row = { id: ids.id("runner_token"), tenant_id: owner.tenantId, name: input.name, pool: input.pool, labels: input.labels, hash: await hashToken(token), display: displayOf(token), created_at: ids.now };
    return { ...(await c.get("records").access.createRunnerToken(row)), token };
  });
}

/** A new token in place of the old, which stays good for one hour. */
export async function rotateRunnerToken(c: Ctx, tenantId: string | null, id: string): Promise<RunnerTokenCreatedValue> {
  const token = newToken("runner");
  const rotated = await c.get("records").access.rotateRunnerToken(tenantId, id, { hash: await hashToken(token), display: displayOf(token) }, new Date(Date.now() + ROTATION_MS));
  if (!rotated) throw new Failure("not_found", "No runner token of that id here");
  return { ...rotated, token };
}

export async function revokeRunnerToken(c: Ctx, tenantId: string | null, id: string): Promise<RunnerTokenValue> {
  const revoked = await c.get("records").access.revokeRunnerToken(tenantId, id, new Date());
  if (!revoked) throw new Failure("not_found", "No runner token of that id here");
  return revoked;
}

const keyTags = ["keys"];
const tokenTags = ["runner tokens"];
const secretNote = "The answer shows it, and nothing shows it again.";
const createKey = createRoute({ method: "post", path: "/keys", tags: keyTags, ...keyed("admin"), summary: "Make an API key", description: secretNote, request: takes("KeyCreate", keyCreate), responses: { 201: answers(KeyCreated, "The key"), ...failures("conflict", "payload_too_large") } });
const listKeys = createRoute({ method: "get", path: "/keys", tags: keyTags, ...keyed("admin"), summary: "List API keys", request: listQuery({}), responses: { 200: pages(Key, "Newest first"), ...failures() } });
const readKey = createRoute({ method: "get", path: "/keys/{id}", tags: keyTags, ...keyed("admin"), summary: "Read an API key", request: idParam("key"), responses: { 200: answers(Key, "The key's record"), ...failures("not_found") } });
const deleteKey = createRoute({ method: "delete", path: "/keys/{id}", tags: keyTags, ...keyed("admin"), summary: "Revoke an API key", description: "It is refused everywhere within five seconds.", request: idParam("key"), responses: { 200: answers(Key, "The key, revoked"), ...failures("not_found") } });
const createToken = createRoute({ method: "post", path: "/runner-tokens", tags: tokenTags, ...keyed("admin"), summary: "Make a runner token", description: secretNote, request: takes("RunnerTokenCreate", runnerTokenCreate), responses: { 201: answers(RunnerTokenCreated, "The token"), ...failures("conflict", "payload_too_large") } });
const listTokens = createRoute({ method: "get", path: "/runner-tokens", tags: tokenTags, ...keyed("admin"), summary: "List runner tokens", request: listQuery({}), responses: { 200: pages(RunnerToken, "Newest first"), ...failures() } });
const rotateToken = createRoute({ method: "post", path: "/runner-tokens/{id}/rotate", tags: tokenTags, ...keyed("admin"), summary: "Rotate a runner token", description: "The old one stays good for one hour.", request: idParam("runner_token"), responses: { 200: answers(RunnerTokenCreated, "The new token"), ...failures("not_found") } });
const deleteToken = createRoute({ method: "delete", path: "/runner-tokens/{id}", tags: tokenTags, ...keyed("admin"), summary: "Revoke a runner token", description: "No host joins with it any more; a host that is linked stays until its link ends.", request: idParam("runner_token"), responses: { 200: answers(RunnerToken, "The token, revoked"), ...failures("not_found") } });

export function keyRoutes(app: App, cache: KeyCache): void {
  const owner = (c: Ctx) => ({ tenantId: actorOf(c).tenant_id, scope: actorOf(c).key_id });
  app.openapi(createKey, async (c) => c.json(await makeKey(c, owner(c), c.req.valid("json")), 201));
  app.openapi(listKeys, async (c) => c.json(await c.get("records").access.keys(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(readKey, async (c) => {
    const key = await c.get("records").access.key(actorOf(c).tenant_id, c.req.valid("param").id);
    if (!key) throw new Failure("not_found", "No key of that id here");
    return c.json(key, 200);
  });
  app.openapi(deleteKey, async (c) => c.json(await revokeKey(c, cache, actorOf(c).tenant_id, c.req.valid("param").id), 200));
  app.openapi(createToken, async (c) => c.json(await makeRunnerToken(c, owner(c), c.req.valid("json")), 201));
  app.openapi(listTokens, async (c) => c.json(await c.get("records").access.runnerTokens(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(rotateToken, async (c) => c.json(await rotateRunnerToken(c, actorOf(c).tenant_id, c.req.valid("param").id), 200));
  app.openapi(deleteToken, async (c) => c.json(await revokeRunnerToken(c, actorOf(c).tenant_id, c.req.valid("param").id), 200));
}
