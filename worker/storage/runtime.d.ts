/** Owns the types of what storage uses of the runtime's crypto and streaming zlib. */

declare module "node:crypto" {
  interface Hmac {
    update(text: string): Hmac;
    digest(form: "hex"): string;
  }
  export function createHmac(algorithm: "sha256", key: Uint8Array): Hmac;
}
declare module "node:zlib" {
  interface Unpacking {
    write(bytes: Uint8Array, done?: (error?: Error | null) => void): boolean;
    end(): void;
    destroy(error?: Error): void;
    on(event: "data", listener: (bytes: Uint8Array) => void): this;
    on(event: "end", listener: () => void): this;
    on(event: "error", listener: (error: Error) => void): this;
  }
  export function createZstdDecompress(): Unpacking;
}
