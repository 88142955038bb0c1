/** Owns the form of sealed bytes: a format byte, the key's version, a nonce, then AES-256-GCM's text and tag, bound to the object's name. */

import { Failure } from "../../sdk/protocol/index.ts";

const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + 4 + NONCE_BYTES;
const encoder = new TextEncoder();

/** The head is bound too: nobody can say that another version sealed it. */
function bound(head: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  const told = encoder.encode(name);
  const all = new Uint8Array(5 + told.byteLength);
  all.set(head.subarray(0, 5));
  all.set(told, 5);
  return all;
}

const damaged = (why: string) => new Failure("conflict", `The stored bytes are damaged: ${why}`, { details: { stored: why } });

/** Views of an ArrayBuffer pass as they are; only shared memory, which no request brings, is copied. */
const owned = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => (bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes));

export async function sealBytes(key: CryptoKey, version: number, name: string, bytes: Uint8Array): Promise<Uint8Array> {
  const head = new Uint8Array(HEAD_BYTES);
  head[0] = FORMAT;
  new DataView(head.buffer).setUint32(1, version);
  const iv = crypto.getRandomValues(head.subarray(5));
  const text = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: bound(head, name) }, key, owned(bytes)));
  const sealed = new Uint8Array(HEAD_BYTES + text.byteLength);
  sealed.set(head);
  sealed.set(text, HEAD_BYTES);
  return sealed;
}

/** Throws `conflict` with what is wrong: cut, altered, another object's bytes, or sealed with a key that is deleted. */
export async function openSealed(keyOf: (version: number) => CryptoKey | null, name: string, sealed: Uint8Array): Promise<Uint8Array> {
  if (sealed.byteLength < HEAD_BYTES + TAG_BYTES) throw damaged("cut short");
  if (sealed[0] !== FORMAT) throw damaged("not in a known form");
  const version = new DataView(sealed.buffer, sealed.byteOffset).getUint32(1);
  const key = keyOf(version);
  if (!key) throw new Failure("conflict", "The data key that sealed these bytes was deleted", { details: { key_version: version } });
  try {
    const bytes = owned(sealed);
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.subarray(5, HEAD_BYTES), additionalData: bound(bytes, name) }, key, bytes.subarray(HEAD_BYTES)));
  } catch {
    throw damaged("altered, or another object's");
  }
}
