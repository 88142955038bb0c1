/** Owns the sealing of small texts with the deployment's key: AES-256-GCM, a random nonce in front, base64. */

import { Failure } from "../sdk/protocol/index.ts";
import type { Env } from "./env.ts";

const NONCE_BYTES = 12;

async function key(env: Env): Promise<CryptoKey> {
  const hex = env.MARIONETTE_ENCRYPTION_KEY ?? "";
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new Failure("unavailable", "MARIONETTE_ENCRYPTION_KEY must be 32 bytes in hex", { hint: "Set the secret and deploy again" });
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
}

export async function seal(env: Env, text: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, await key(env), new TextEncoder().encode(text)));
  return btoa(String.fromCharCode(...nonce, ...sealed));
}

/** Throws where the text was sealed with another key or altered. */
export async function open(env: Env, sealed: string): Promise<string> {
  const bytes = Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0));
  return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, NONCE_BYTES) }, await key(env), bytes.slice(NONCE_BYTES)));
}
