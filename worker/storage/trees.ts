/** Owns the reading of trees from their manifests: a directory, a file's bytes chunk by chunk, and what differs between two. */

import { zstdDecompressSync } from "node:zlib";
import { Failure, type FileEntry as Listed, type ManifestChange } from "../../sdk/protocol/index.ts";
import { diffManifests } from "../../sdk/protocol/manifest-diff.ts";
import { MAX_CHUNK_BYTES, type FileEntry, type ManifestChunk, type ManifestEntry } from "../../sdk/protocol/manifest.ts";
import { bytesToUtf8, showPath, utf8ToBytes, type ByteString } from "../../sdk/protocol/tree-path.ts";
import { getChunk, getManifest, type Bytes } from "./bytes.ts";
import { readManifest } from "./manifest-lines.ts";

/** Entries that a worker holds of one manifest for a comparison. */
const MAX_COMPARED = 150_000;
/** Entries of one directory that are listed. */
const MAX_LISTED = 10_000;

/** Path as in the manifest: no slash in front or behind, `.` and the empty path are the root. */
function normal(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new Failure("bad_request", "path: must not leave the workspace", { details: { path: "must not hold .." } });
  return parts.join("/");
}

/** Whether a path of the manifest is the one that was asked for; what is no UTF-8 is asked for as it is shown. */
function matching(asked: string): (path: ByteString) => boolean {
  const exact = utf8ToBytes(asked);
  if (!asked.includes("\\x")) return (path) => path === exact;
  return (path) => path === exact || (bytesToUtf8(path) === null && showPath(path) === asked);
}

function listed(entry: ManifestEntry, path: string): Listed {
  return { name: path.split("/").at(-1) ?? path, path, kind: entry.type, size: entry.type === "file" ? entry.size : 0, modified_at: new Date(entry.mtime / 1_000).toISOString() };
}

/** What a directory of a manifest holds. Throws `not_found` where it is none. */
export async function listTree(bytes: Bytes, workspaceId: string, manifestId: string, asked: string): Promise<Listed[]> {
  const path = normal(asked);
  const matches = matching(path);
  const items: Listed[] = [];
  // What is in a directory comes after it.
  let prefix = path === "" ? "" : null;
  await readManifest(await getManifest(bytes, { scopes: [workspaceId] }, manifestId), { outsideLinks: "keep" }, (line) => {
    if (!("entry" in line)) return;
    if (prefix === null && line.entry.type === "directory" && matches(line.path)) prefix = `${line.path}/`;
    if (prefix === null || !line.path.startsWith(prefix) || line.path.length === prefix.length || line.path.indexOf("/", prefix.length) >= 0 || items.length >= MAX_LISTED) return;
    items.push(listed(line.entry, showPath(line.path)));
  });
  if (prefix === null) throw new Failure("not_found", "No directory of that path in this manifest", { details: { path: asked } });
  return items;
}

/** A file of a manifest, and its bytes as a stream that holds one chunk at a time. */
export async function readTree(bytes: Bytes, workspaceId: string, manifestId: string, asked: string): Promise<{ entry: FileEntry; body: ReadableStream<Uint8Array> }> {
  const matches = matching(normal(asked));
  const found: { entry: ManifestEntry | null } = { entry: null };
  const { check } = await readManifest(await getManifest(bytes, { scopes: [workspaceId] }, manifestId), { outsideLinks: "keep" }, (line) => {
    if ("entry" in line && matches(line.path)) found.entry ??= line.entry;
  });
  const { entry } = found;
  if (entry === null) throw new Failure("not_found", "No file of that path in this manifest", { details: { path: asked } });
  if (entry.type !== "file") throw new Failure("conflict", `${asked} is a ${entry.type}, not a file`, { details: { type: entry.type } });
  const parts = pieces(bytes, workspaceId, entry, check.chunks);
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await parts.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
    },
    { highWaterMark: 0 },
  );
  return { entry, body };
}

const ZEROS = new Uint8Array(64 * 1024);

async function* pieces(bytes: Bytes, workspaceId: string, entry: FileEntry, chunks: readonly ManifestChunk[]): AsyncGenerator<Uint8Array> {
  const holes = [...(entry.holes ?? [])];
  let at = 0;
  function* hollow(): Generator<Uint8Array> {
    for (let hole = holes[0]; hole && hole[0] === at; hole = holes[0]) {
      for (let left = hole[1]; left > 0; left -= ZEROS.byteLength) yield ZEROS.subarray(0, Math.min(left, ZEROS.byteLength));
      at += hole[1];
      holes.shift();
    }
  }
  const open = { index: -1, raw: new Uint8Array() };
  for (const [index, offset, length] of entry.pieces) {
    yield* hollow();
    const chunk = chunks[index];
    if (!chunk) throw new Failure("conflict", "The manifest names a chunk that it does not have", { details: { chunk: index } });
    if (open.index !== index) {
      const raw = zstdDecompressSync(await getChunk(bytes, { tenantId: bytes.key.tenantId, workspaceId, sessionId: null, scopes: [workspaceId] }, chunk.id), { maxOutputLength: MAX_CHUNK_BYTES });
      if (raw.byteLength !== chunk.size) throw new Failure("conflict", `Chunk ${chunk.id} unpacks to ${raw.byteLength} bytes, not ${chunk.size}`, { details: { chunk: chunk.id } });
      Object.assign(open, { index, raw });
    }
    yield open.raw.subarray(offset, offset + length);
    at += length;
  }
  yield* hollow();
}

async function compared(bytes: Bytes, workspaceId: string, manifestId: string): Promise<{ chunks: ManifestChunk[]; entries: ManifestEntry[] }> {
  const entries: ManifestEntry[] = [];
  const { check } = await readManifest(await getManifest(bytes, { scopes: [workspaceId] }, manifestId), { outsideLinks: "keep" }, (line) => {
    if (!("entry" in line)) return;
    // Pieces are not compared, and take the most room.
    entries.push(line.entry.type === "file" ? { ...line.entry, pieces: [] } : line.entry);
    if (entries.length > MAX_COMPARED) throw new Failure("payload_too_large", `Manifests of more than ${MAX_COMPARED} entries are not compared here`, { hint: "`mctl workspaces pull` both and compare them on your machine" });
  });
  return { chunks: check.chunks, entries };
}

const sizeOf = (entry: ManifestEntry | null) => (entry === null ? null : entry.type === "file" ? entry.size : 0);

/** What differs from one manifest of a workspace to another, in the order of paths. */
export async function changesOf(bytes: Bytes, workspaceId: string, from: string, to: string): Promise<ManifestChange[]> {
  const a = await compared(bytes, workspaceId, from);
  const b = await compared(bytes, workspaceId, to);
  return diffManifests(a, b).map(({ path, change, before, after }) => ({ path, change: change === "changed" ? "modified" : change, kind: (after ?? before)?.type ?? "file", before: sizeOf(before), after: sizeOf(after) }));
}
