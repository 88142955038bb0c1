/** Owns the putting and getting of chunks and manifests: proved by their hash, sealed, stored, and known to the tenant's index. */

import type { NewManifest, Scope, StorageRpc } from "../../durable-objects/index.ts";
import { Failure } from "../../sdk/protocol/index.ts";
import type { ManifestHeader, ManifestKind } from "../../sdk/protocol/manifest.ts";
import { reach } from "../calls.ts";
import type { DataKey } from "./data-keys.ts";
import { readManifest } from "./manifest-lines.ts";
import type { ObjectStore } from "./object-store.ts";

/** Whose bytes they are, and what of them may be used. */
export interface Access {
  tenantId: string;
  workspaceId: string;
  /** The session whose sandbox asks; null for a client. */
  sessionId: string | null;
  /** What may be read, the first of which gets what is put: a session's own, or a client's workspace. */
  scopes: [Scope, ...Scope[]];
}

export interface Bytes {
  objects: ObjectStore;
  key: DataKey;
  /** A fresh stub of the tenant's index. */
  index: () => StorageRpc;
}

/** Chunks of one manifest: what one call to the index can name, some 400 GB of files. */
const MAX_CHUNKS = 400_000;
/** Puts that are tried before the store counts as too busy: each is asked for by a restart or a removal at the same moment. */
const TRIES = 4;
const busy = () => new Failure("unavailable", "These bytes are being removed just now; try again", { details: { retry_after_seconds: 1 } });

export function chunkKey(key: DataKey, id: string): string {
  const name = key.name(id);
  return `chunks/${key.tenantId}/${name.slice(0, 2)}/${name}`;
}
export function manifestKey(tenantId: string, workspaceId: string, manifestId: string): string {
  return `manifests/${tenantId}/${workspaceId}/${manifestId}`;
}

export async function sha256(bytes: ArrayBuffer | Uint8Array<ArrayBuffer>): Promise<string> {
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps a chunk. Its claim is asked for while the body still comes. Answers whether it was new; throws `bad_request` where the bytes are not those of the id. */
export async function putChunk({ objects, key, index }: Bytes, { scopes: [own] }: Access, id: string, read: () => Promise<Uint8Array<ArrayBuffer>>): Promise<boolean> {
  const name = chunkKey(key, id);
  const claiming = reach(() => index().claim(id, name));
  // The body may fail first; what the claim then says is nobody's concern.
  claiming.catch(() => {});
  const body = await read();
  const hash = await sha256(body);
  if (hash !== id) throw new Failure("bad_request", `The bytes are not those of chunk ${id}: their SHA-256 is ${hash}`, { details: { chunk: id, sha256: hash } });
  let claim = await claiming;
  const chunk = { id, key: name, size: body.byteLength };
  for (let tries = 1; ; tries++) {
    if (claim.state === "there") {
      if ((await reach(() => index().stored(own, chunk, null))) === "stored") return false;
    } else {
      const { ticket } = claim;
      await objects.put(name, await key.seal(name, body));
      // Not `reach`: a second telling of the same ticket would be taken for one that is over.
      if ((await index().stored(own, chunk, ticket)) === "stored") return true;
    }
    if (tries === TRIES) throw busy();
    claim = await reach(() => index().claim(id, name));
  }
}

/** A chunk's compressed bytes. Throws `not_found` where the scopes may not read it, `conflict` naming it where the store lost or damaged it. */
export async function getChunk({ objects, key, index }: Bytes, { scopes }: Access, id: string): Promise<Uint8Array> {
  const name = chunkKey(key, id);
  const reading = objects.get(name);
  reading.catch(() => {});
  if (!(await reach(() => index().readable(scopes, id)))) {
    void reading.then((found) => found?.body.cancel()).catch(() => {});
    throw new Failure("not_found", `No chunk ${id} in this workspace`, { details: { chunk: id } });
  }
  const found = await reading;
  const damage = async (why: string) => {
    // From now on it counts as missing: whoever still has it sends it again.
    await reach(() => index().lost(id));
    return new Failure("conflict", `Chunk ${id} cannot be read: ${why}`, { details: { chunk: id, stored: why } });
  };
  if (!found) throw await damage("it is missing in the object store");
  try {
    return await key.open(name, await found.bytes());
  } catch (error) {
    if (error instanceof Failure && error.details && "stored" in error.details) throw await damage(String(error.details["stored"]));
    throw error;
  }
}

export interface ManifestPut {
  id: string;
  kind: ManifestKind;
  /** Most bytes of all files; null: no limit. */
  quotaBytes: number | null;
}

const missingChunks = (ids: string[], total: number) =>
  new Failure("conflict", `${total} of the manifest's chunks are not here`, { hint: "Send them, then the manifest again", details: { missing: ids, total } });

function fits(header: ManifestHeader, { workspaceId }: Access, { id, kind, quotaBytes }: ManifestPut): void {
  const wrong = header.manifest_id !== id ? "manifest_id" : header.workspace_id !== workspaceId ? "workspace_id" : header.kind !== kind ? "kind" : null;
  if (wrong) throw new Failure("bad_request", `the manifest is refused: its ${wrong} is not the one of the address`, { details: { [wrong]: "not the one of the address" } });
  if (quotaBytes !== null && header.bytes > quotaBytes) {
    throw new Failure("payload_too_large", `The workspace has ${header.bytes} bytes, its quota is ${quotaBytes}`, { hint: "Remove files, name some in .marionetteignore, or raise quota_mb", details: { bytes: header.bytes, quota_bytes: quotaBytes, files: header.files } });
  }
}

/** Checks, keeps and records a manifest; answers whether it was new. */
export async function putManifest({ objects, key, index }: Bytes, access: Access, put: ManifestPut, body: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const { header, check } = await readManifest(body, { chunks: MAX_CHUNKS, outsideLinks: put.kind === "state" ? "keep" : "refuse" });
  fits(header, access, put);
  // What is recorded stays as it is: its chunks are kept for it.
  if (await reach(() => index().manifest(access.scopes, put.id))) return false;
  const ids = check.chunks.map((chunk) => chunk.id);
  const gone = await reach(() => index().missing(access.scopes, ids));
  if (gone.length > 0) throw missingChunks(gone.slice(0, 4_096), gone.length);
  const name = manifestKey(access.tenantId, access.workspaceId, put.id);
  const { parent, created_at, entries, files, bytes, torn } = header;
  const record: NewManifest = { id: put.id, workspace_id: access.workspaceId, kind: put.kind, session_id: access.sessionId, parent, key: name, created_at, entries, files, bytes, torn };
  for (let tries = 1; tries <= TRIES; tries++) {
    const claim = await reach(() => index().claim(null, name));
    if (claim.state !== "absent") throw busy();
    await objects.put(name, await key.seal(name, body));
    const answer = await index().commit(access.scopes, record, ids, claim.ticket);
    if (answer.state === "committed") return answer.created;
    if (answer.state === "missing") throw missingChunks(answer.ids, answer.total);
  }
  throw busy();
}

/** A manifest's packed bytes. */
export async function getManifest({ objects, key, index }: Bytes, { scopes }: Pick<Access, "scopes">, id: string): Promise<Uint8Array> {
  const known = await reach(() => index().manifest(scopes, id));
  if (!known) throw new Failure("not_found", "No manifest of that id in this workspace");
  const found = await objects.get(known.key);
  if (!found) throw new Failure("conflict", `Manifest ${id} is missing in the object store`, { details: { manifest: id, stored: "missing" } });
  return key.open(known.key, await found.bytes());
}
