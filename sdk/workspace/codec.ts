/** Owns how a chunk and a manifest travel: zstd at the format's level, named by the SHA-256 of the compressed bytes. */

import * as crypto from "node:crypto";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { Failure } from "../protocol/errors.ts";
import { MAX_MANIFEST_BYTES, MAX_STORED_MANIFEST_BYTES, manifestLines, parseManifest, type Manifest, type ManifestChunk, type ManifestLimits } from "../protocol/manifest.ts";
import { treeFailure } from "./failure.ts";

/** A part of the format: the same bytes get the same id wherever they are packed. */
const LEVEL = 3;
/** What zstd may need beyond the bytes themselves (its own bound, rounded up). */
const SLACK = 64 * 1024;

// mctl runs on Node 20, which has no zstd (and, at first, no one-step hash): they are looked up when they are needed, not when this file is loaded.
const { hash } = crypto as Partial<typeof crypto>;
const { zstdCompress, zstdDecompress } = zlib as Partial<typeof zlib>;

function needed<T>(of: T | undefined): T {
  if (of === undefined) throw treeFailure("unsupported", `workspaces need zstd, which came to Node with 22.15; this is Node ${process.versions.node}`);
  return of;
}

/** Throws `unsupported` where this Node cannot do it: to be asked before anything is begun. */
export function requireZstd(): void {
  needed(zstdCompress);
}

/** Hex SHA-256 of bytes. */
export function sha256(bytes: Uint8Array): string {
  return hash ? hash("sha256", bytes, "hex") : crypto.createHash("sha256").update(bytes).digest("hex");
}

/** Compresses in the thread pool, in one step: an output of 16 KiB at a time would go through the event loop for each. */
export async function pack(raw: Uint8Array): Promise<{ id: string; bytes: Buffer }> {
  const bytes = await promisify(needed(zstdCompress))(raw, { chunkSize: raw.length + SLACK, params: { [zlib.constants.ZSTD_c_compressionLevel]: LEVEL } });
  return { id: sha256(bytes), bytes };
}

/** The chunk's raw bytes, checked: throws `refused` where they are not the bytes that the manifest means. */
export async function unpack(chunk: ManifestChunk, bytes: Uint8Array): Promise<Buffer> {
  if (bytes.length !== chunk.stored) throw treeFailure("refused", `chunk ${chunk.id} has ${bytes.length} bytes, the manifest says ${chunk.stored}`, { chunk: chunk.id });
  if (sha256(bytes) !== chunk.id) throw treeFailure("refused", `chunk ${chunk.id} is corrupt: its bytes do not have this hash`, { chunk: chunk.id });
  const raw = await inflate(bytes, chunk.size).catch((error: unknown) => {
    throw treeFailure("refused", `chunk ${chunk.id} does not unpack to the ${chunk.size} bytes that the manifest says: ${words(error)}`, { chunk: chunk.id });
  });
  if (raw.length !== chunk.size) throw treeFailure("refused", `chunk ${chunk.id} unpacks to ${raw.length} bytes, the manifest says ${chunk.size}`, { chunk: chunk.id });
  return raw;
}

export async function packManifest(manifest: Manifest): Promise<Buffer> {
  const lines: Buffer[] = [];
  let batch: string[] = [];
  for (const line of manifestLines(manifest)) {
    if (batch.push(line) < 1_000) continue;
    lines.push(Buffer.from(batch.join("")));
    batch = [];
  }
  const text = Buffer.concat([...lines, Buffer.from(batch.join(""))]);
  const { bytes } = await pack(text);
  if (text.length > MAX_MANIFEST_BYTES || bytes.length > MAX_STORED_MANIFEST_BYTES)
    throw treeFailure("quota_exceeded", `the manifest of this tree would have ${bytes.length} bytes; ${MAX_STORED_MANIFEST_BYTES} are allowed. Leave out what can be made anew with .marionetteignore`);
  return bytes;
}

/** The checked manifest of its bytes; throws `refused` naming what is wrong. */
export async function unpackManifest(bytes: Uint8Array, limits: Partial<ManifestLimits> = {}): Promise<Manifest> {
  if (bytes.length > MAX_STORED_MANIFEST_BYTES) throw treeFailure("refused", `the manifest has ${bytes.length} bytes, more than the ${MAX_STORED_MANIFEST_BYTES} allowed`);
  const text = await promisify(needed(zstdDecompress))(bytes, { maxOutputLength: MAX_MANIFEST_BYTES, chunkSize: Math.min(MAX_MANIFEST_BYTES, 256 * 1024 + bytes.length * 4) }).catch((error: unknown) => {
    throw treeFailure("refused", `the manifest does not unpack (truncated or corrupt): ${words(error)}`);
  });
  try {
    return parseManifest(new TextDecoder("utf-8").decode(text), limits);
  } catch (error) {
    throw error instanceof Failure ? treeFailure("refused", error.message, error.details) : error;
  }
}

function inflate(bytes: Uint8Array, size: number): Promise<Buffer> {
  return promisify(needed(zstdDecompress))(bytes, { maxOutputLength: size, chunkSize: Math.max(64, size) });
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
