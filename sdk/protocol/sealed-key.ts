/** Owns the sealing of a model provider's key so that only the runner's gateway token opens it: HKDF-SHA-256 of the token, then AES-256-GCM. */

const NONCE_BYTES = 12;
const INFO = new TextEncoder().encode("marionette model key 1");

async function keyOf(token: string, sessionId: string) {
  const material = await crypto.subtle.importKey("raw", new TextEncoder().encode(token), "HKDF", false, ["deriveKey"]);
  // Bound to the session: a sealed key that is moved elsewhere does not open.
  const salt = new TextEncoder().encode(sessionId);
  return crypto.subtle.deriveKey({ name: "HKDF", hash: "SHA-256", salt, info: INFO }, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/** Seals `key`; base64 of nonce and ciphertext. */
export async function sealModelKey(token: string, sessionId: string, key: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, await keyOf(token, sessionId), new TextEncoder().encode(key)));
  return btoa(String.fromCharCode(...nonce, ...sealed));
}

/** The key that was sealed; throws where another token or session sealed it, or it was altered. */
export async function openModelKey(token: string, sessionId: string, sealed: string): Promise<string> {
  const bytes = Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0));
  return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, NONCE_BYTES) }, await keyOf(token, sessionId), bytes.slice(NONCE_BYTES)));
}
