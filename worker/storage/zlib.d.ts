/** Owns the types of what the worker uses of the runtime's zlib: Node's own types would bring Node's world with them. */

declare module "node:zlib" {
  interface Limits {
    maxOutputLength?: number;
  }
  export function zstdCompressSync(bytes: Uint8Array): Uint8Array;
  /** Throws where the bytes are no zstd, are cut, or unpack to more than `maxOutputLength`. */
  export function zstdDecompressSync(bytes: Uint8Array, options?: Limits): Uint8Array;
}
