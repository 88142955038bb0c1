/** Owns the dashboard's cookie: an API key's hash, sealed, that only the server can read; and that no other site can make use of it. */

import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import * as z from "zod";
import { Failure } from "../../sdk/protocol/index.ts";
import type { Ctx } from "../context.ts";
import { open, seal } from "../seal.ts";

const NAME = "marionette";
/** How long a browser stays signed in: 30 days, in seconds. */
const LIFE_SECONDS = 30 * 86_400;
/** Sent by the page with every call. A form or an image of another site cannot set it, and a script of another site is stopped by its preflight. */
export const CSRF_HEADER = "x-marionette-page";

const content = z.object({ hash: z.string().length(64), until: z.number() });

/** Signs the browser in. The key itself is not in the cookie: what is there says only which key it was. */
export async function giveCookie(c: Ctx, hash: string, now: number): Promise<void> {
  const sealed = await seal(c.env, JSON.stringify({ hash, until: now + LIFE_SECONDS * 1_000 }));
  setCookie(c, NAME, sealed, { httpOnly: true, sameSite: "Strict", path: "/", maxAge: LIFE_SECONDS, secure: new URL(c.req.url).protocol === "https:" });
}

export function takeCookie(c: Ctx): void {
  deleteCookie(c, NAME, { path: "/" });
}

/** True where the browser says that the request comes from this very site. */
function ownOrigin(c: Ctx): boolean {
  const origin = c.req.header("origin");
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === (c.req.header("host") ?? new URL(c.req.url).host);
  } catch {
    return false;
  }
}

/**
 * The key's hash of a request that brings the cookie; null without one.
 * Throws `forbidden` where the request did not come from our own page, `unauthorized` where the cookie is old or not ours.
 */
export async function hashOfCookie(c: Ctx, now: number): Promise<string | null> {
  const sealed = getCookie(c, NAME);
  if (sealed === undefined) return null;
  const upgrade = c.req.header("upgrade") !== undefined;
  const reads = c.req.method === "GET" || c.req.method === "HEAD";
  // A browser sends Origin with every upgrade and with whatever changes something; a read of another site's never carries the cookie (SameSite).
  if (!ownOrigin(c) || (upgrade && c.req.header("origin") === undefined) || (!reads && c.req.header(CSRF_HEADER) === undefined)) {
    throw new Failure("forbidden", "This call did not come from Marionette's own page", { hint: "Programs send `Authorization: Bearer mk_…` instead of the page's cookie" });
  }
  let found: z.infer<typeof content>;
  try {
    found = content.parse(JSON.parse(await open(c.env, sealed)));
  } catch {
    throw new Failure("unauthorized", "You are signed out", { hint: "Sign in again" });
  }
  if (found.until <= now) throw new Failure("unauthorized", "You were signed out after 30 days", { hint: "Sign in again" });
  return found.hash;
}
