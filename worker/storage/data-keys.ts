/** Owns the words of a tenant's data key: what it seals, opens and names. */

/**
 * The key that a tenant's bytes are kept under. What is sealed with one version stays readable after a rotation; names stay the same.
 */
export interface DataKey {
  readonly tenantId: string;
  /** The version that seals now. */
  readonly version: number;
  /** Seals with AES-256-GCM, bound to `name` (the object's key): under another name it does not open. */
  seal(name: string, bytes: Uint8Array): Promise<Uint8Array>;
  /** Throws `conflict` where the bytes were altered, swapped or cut, or their key is deleted. */
  open(name: string, sealed: Uint8Array): Promise<Uint8Array>;
  /** HMAC-SHA-256 of `id` under the tenant's naming key, hex: the same for every version. */
  name(id: string): string;
}

/** Bytes that sealing adds: format, key version, nonce, tag. */
export const SEAL_BYTES = 1 + 4 + 12 + 16;
