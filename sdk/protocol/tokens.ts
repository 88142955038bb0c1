/** Owns bearer tokens: prefix and 32 random bytes in base64url; only their SHA-256 is ever stored. */

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
