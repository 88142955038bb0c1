/** Owns the door for bytes: what syncing and restoring ask of a store of chunks and manifests; and one that is a plain directory. */

import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../protocol/errors.ts";
import type { ManifestKind } from "../protocol/manifest.ts";
import { sha256 } from "./codec.ts";
import { treeFailure } from "./failure.ts";

/** Every method may be called many times at once and throws `Failure`; retries are the door's own business. */
export interface Door {
  /** Those of at most 4,096 ids that have to be sent. */
  missing(ids: readonly string[], signal?: AbortSignal): Promise<string[]>;
  /** Idempotent. */
  putChunk(id: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Throws `not_found`. The bytes are not checked. */
  getChunk(id: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** Idempotent. Throws `conflict` with `details.missing` (ids) where chunks of it are not there. */
  putManifest(id: string, kind: ManifestKind, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  getManifest(id: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** Whether this manifest is kept, so that an unchanged tree needs no second one. */
  hasManifest(id: string, signal?: AbortSignal): Promise<boolean>;
  /** Ends what it holds open. */
  close(): Promise<void>;
}

/** A store in a directory, for tests, measurements and copies on a disk: it checks hashes as the edge does, and seals nothing. */
export class DirectoryDoor implements Door {
  private readonly root: string;
  private readonly made = new Set<string>();
  constructor(root: string) {
    this.root = root;
  }

  async missing(ids: readonly string[]): Promise<string[]> {
    const there = await Promise.all(ids.map((id) => exists(this.chunk(id))));
    return ids.filter((_, at) => !there[at]);
  }
  async putChunk(id: string, bytes: Uint8Array): Promise<void> {
    if (sha256(bytes) !== id) throw new Failure("bad_request", `the bytes do not have the hash ${id}`);
    await this.put(this.chunk(id), bytes);
  }
  async getChunk(id: string): Promise<Uint8Array> {
    return get(this.chunk(id), `chunk ${id}`);
  }
  async putManifest(id: string, _kind: ManifestKind, bytes: Uint8Array): Promise<void> {
    await this.put(join(this.root, "manifests", id), bytes);
  }
  async getManifest(id: string): Promise<Uint8Array> {
    return get(join(this.root, "manifests", id), `manifest ${id}`);
  }
  async hasManifest(id: string): Promise<boolean> {
    return exists(join(this.root, "manifests", id));
  }
  async close(): Promise<void> {}

  private chunk(id: string): string {
    return join(this.root, "chunks", id.slice(0, 2), id);
  }
  private async put(path: string, bytes: Uint8Array): Promise<void> {
    const directory = join(path, "..");
    if (!this.made.has(directory)) await mkdir(directory, { recursive: true });
    this.made.add(directory);
    const next = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`;
    await writeFile(next, bytes);
    await rename(next, path);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

async function get(path: string, what: string): Promise<Uint8Array> {
  return readFile(path).catch(() => {
    throw treeFailure("missing", `${what} is not in the store`);
  });
}
