/** Owns the wrapping of data keys by the deployment's key: AES-256-GCM, bound to the tenant and version that a key belongs to. */

import { Failure } from "../../sdk/protocol/index.ts";
import type { Env } from "../env.ts";

const NONCE_BYTES = 12;
const encoder = new TextEncoder();

const hexBytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hexOf = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** One of the deployment's keys; `name` tells keys apart and says nothing of them. */
export interface WrappingKey {
  name: string;
  key: CryptoKey;
}

async function imported(variable: string, hex: string): Promise<WrappingKey> {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new Failure("unavailable", `${variable} must be 32 bytes in hex`, { hint: "Set the secret and deploy again", details: { retry_after_seconds: 60 } });
  const bytes = hexBytes(hex);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return { name: hexOf(digest.subarray(0, 8)), key: await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]) };
}

/** The deployment's key, and the one before it where it is being rotated. */
export async function wrappingKeys(env: Env): Promise<{ current: WrappingKey; previous: WrappingKey | null }> {
  const before = env.MARIONETTE_ENCRYPTION_KEY_PREVIOUS;
  return { current: await imported("MARIONETTE_ENCRYPTION_KEY", env.MARIONETTE_ENCRYPTION_KEY ?? ""), previous: before ? await imported("MARIONETTE_ENCRYPTION_KEY_PREVIOUS", before) : null };
}

const bound = (tenantId: string, version: number) => encoder.encode(`marionette data key ${tenantId} ${version}`);

export async function wrap({ key }: WrappingKey, tenantId: string, version: number, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: bound(tenantId, version) }, key, bytes));
  return btoa(String.fromCharCode(...iv, ...sealed));
}

/** Null where another key wrapped it, or it belongs to another tenant or version. */
export async function unwrapWith({ key }: WrappingKey, tenantId: string, version: number, wrapped: string): Promise<Uint8Array<ArrayBuffer> | null> {
  const bytes = Uint8Array.from(atob(wrapped), (char) => char.charCodeAt(0));
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, NONCE_BYTES), additionalData: bound(tenantId, version) }, key, bytes.slice(NONCE_BYTES)));
  } catch {
    return null;
  }
}
