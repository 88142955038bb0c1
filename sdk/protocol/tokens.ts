/** Owns bearer tokens: prefix and 32 random bytes in base64url; only their SHA-256 is ever stored. */

import { isId } from "./ids.ts";

export const TOKEN_PREFIXES = { api_key: "mk_", runner: "rtok_", run: "gtok_" } as const;
export type TokenKind = keyof typeof TOKEN_PREFIXES;

/** Version of the stored hash: 1 is SHA-256 of the whole token, hex. */
export const HASH_VERSION = 1;

const BODY = /^[A-Za-z0-9_-]{43}$/;

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A fresh token; show it once, store `hashToken(token)` and `displayOf(token)`. */
export function newToken(kind: TokenKind): string {
  return TOKEN_PREFIXES[kind] + base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** The kind of a well-formed token, else null. */
export function tokenKind(token: string): TokenKind | null {
  for (const [kind, prefix] of Object.entries(TOKEN_PREFIXES)) {
    if (token.startsWith(prefix) && BODY.test(token.slice(prefix.length))) return kind as TokenKind;
  }
  return null;
}

/**
 * The model gateway's token of a runner: made of its run token, so that both come and go together, but not the other way round. The
 * agent is given this one; with it, nobody can speak on the runner's link.
 */
export async function gatewayToken(runToken: string): Promise<string> {
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(runToken), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return TOKEN_PREFIXES.run + base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode("model gateway"))));
}

/** What an agent presents to the gateway as its key: the token, and the session that it is good for. */
export function gatewayKey(token: string, sessionId: string): string {
  return `${token}.${sessionId}`;
}

/** Token and session of a key that `gatewayKey` made; null where it is none. */
export function parseGatewayKey(key: string): { token: string; session_id: string } | null {
  const dot = key.indexOf(".");
  const token = key.slice(0, dot);
  const session_id = key.slice(dot + 1);
  return tokenKind(token) === "run" && isId("session", session_id) ? { token, session_id } : null;
}

/** SHA-256 of the token, 64 hex digits. */
export async function hashToken(token: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** The first characters of a token, for lists: enough to recognise it, useless to guess it. */
export function displayOf(token: string): string {
  return token.slice(0, 8);
}

/** Compares two strings of equal length in time that does not depend on where they differ. */
export function equalConstantTime(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
