/** Owns the sealing of small texts with the deployment's key: AES-256-GCM, a random nonce in front, base64. None of them lives longer than the dashboard's cookie. */

import { Failure } from "../sdk/protocol/index.ts";
import type { Env } from "./env.ts";
import { wrappingKeys } from "./storage/key-wrapping.ts";

const NONCE_BYTES = 12;

export async function seal(env: Env, text: string): Promise<string> {
  const { current } = await wrappingKeys(env);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, current.key, new TextEncoder().encode(text)));
  return btoa(String.fromCharCode(...nonce, ...sealed));
}

/**
 * Opens with the deployment's key, or with the one before it while that is set: nobody is signed out because the key was changed. There is nothing to
 * re-wrap, as what is sealed here ends by itself within 30 days. Throws `conflict` where neither sealed it, or it was altered.
 */
export async function open(env: Env, sealed: string): Promise<string> {
  const { current, previous } = await wrappingKeys(env);
  for (const each of [current, previous]) {
    try {
      if (!each) continue;
      const bytes = Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0));
      return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, NONCE_BYTES) }, each.key, bytes.slice(NONCE_BYTES)));
    } catch {
      // Another key's, or nobody's.
    }
  }
  throw new Failure("conflict", "What was sealed here does not open: the deployment's encryption key was changed, or it was altered", { hint: "Set MARIONETTE_ENCRYPTION_KEY_PREVIOUS to the key that was used before" });
}
