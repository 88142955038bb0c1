/** Owns how the dashboard signs in and out: an API key is exchanged for a cookie that scripts cannot read. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { apiKey, Failure, hashToken, idOf, tokenKind, type ApiKey } from "../../sdk/protocol/index.ts";
import type { App } from "../context.ts";
import { keyByHash, type KeyCache } from "../middleware/auth.ts";
import { giveCookie, hashOfCookie, takeCookie } from "../middleware/cookie.ts";
import { bounded } from "../middleware/request.ts";
import { answers, failures, named, takes } from "../openapi.ts";

const SignedIn = named("SignedIn", z.object({ tenant_id: idOf("tenant"), key: apiKey.pick({ id: true, name: true, scopes: true, expires_at: true }) }));
const tags = ["sign-in"];
const signIn = createRoute({
  method: "post", path: "/auth/sign-in", tags, security: [], middleware: [bounded] as const, summary: "Exchange an API key for the dashboard's cookie",
  request: takes("SignIn", z.strictObject({ api_key: z.string().max(200) })), responses: { 200: answers(SignedIn, "Signed in for 30 days, or until the key is revoked"), ...failures("payload_too_large") },
});
const signOut = createRoute({ method: "post", path: "/auth/sign-out", tags, security: [], summary: "Forget the dashboard's cookie", responses: { 200: answers(z.object({ ok: z.literal(true) }), "Signed out"), ...failures() } });
const me = createRoute({ method: "get", path: "/auth/me", tags, security: [], summary: "Who the dashboard's cookie is", responses: { 200: answers(SignedIn, "Signed in"), ...failures() } });

const shown = ({ tenant_id, id, name, scopes, expires_at }: ApiKey) => ({ tenant_id, key: { id, name, scopes, expires_at } });

export function signInRoutes(app: App, cache: KeyCache): void {
  app.openapi(signIn, async (c) => {
    const key = c.req.valid("json").api_key.trim();
    if (tokenKind(key) !== "api_key") throw new Failure("unauthorized", "This is not an API key", { hint: "It begins with mk_ and was shown once, when it was made" });
    const hash = await hashToken(key);
    const found = await keyByHash(c, cache, hash);
    await giveCookie(c, hash, Date.now());
    return c.json(shown(found), 200);
  });
  app.openapi(signOut, (c) => {
    takeCookie(c);
    return c.json({ ok: true as const }, 200);
  });
  app.openapi(me, async (c) => {
    const hash = await hashOfCookie(c, Date.now());
    if (hash === null) throw new Failure("unauthorized", "You are signed out");
    return c.json(shown(await keyByHash(c, cache, hash)), 200);
  });
}
