/** Owns the calls that a tenant's storage object offers: what chunks and manifests there are, who may read them, and their collection. */

import type { Collection, ManifestSummary, PageQuery, Result } from "../../sdk/protocol/index.ts";
import type { Keep } from "./manifests.ts";

/**
 * Whose reading right it is: a workspace's id, or a session's. A workspace's scope holds the chunks of its manifests, a session's those that
 * it put itself and those of its state manifests. Knowing a chunk's id gives no right to it.
 */
export type Scope = string;

/** A claim on a name in the object store: it is not removed while the claim lasts. */
export type Claim =
  /** It is there and nothing has marked it: nothing need be put. */
  | { state: "there" }
  | { state: "absent"; ticket: string };

export interface NewChunk {
  /** SHA-256 of the compressed bytes, hex. */
  id: string;
  /** The object's key. */
  key: string;
  /** Compressed bytes. */
  size: number;
}

export interface NewManifest {
  id: string;
  workspace_id: string;
  kind: "workspace" | "state";
  session_id: string | null;
  parent: string | null;
  /** The object's key. */
  key: string;
  created_at: string;
  entries: number;
  files: number;
  bytes: number;
  torn: boolean;
}

export type Committed =
  /** `created` is false where it was recorded before. */
  | { state: "committed"; created: boolean }
  /** Chunks that are not there, or not this scope's to use: at most 4,096 of `total`. */
  | { state: "missing"; ids: string[]; total: number }
  /** The claim is over: put the manifest again. */
  | { state: "again" };

/** What a workspace holds, as the storage object counts it. */
export interface Holdings {
  manifest_id: string | null;
  manifests: number;
  files: number;
  bytes: number;
}

export interface ManifestPage {
  items: ManifestSummary[];
  total: number;
  /** Where to go on; null on the last page. */
  next: string | null;
}

export interface StorageRpc {
  /** Of `ids`, those that the scopes cannot use as they are: not there, marked by a collection, or another's. */
  missing(scopes: Scope[], ids: string[]): Promise<string[]>;
  /** Before a chunk is put: waits where it is being removed. `id` null: a manifest. */
  claim(id: string | null, key: string): Promise<Claim>;
  /** After it was put under `ticket`, or found there (`ticket` null): the scope may read it. `again`: the claim is over, put it again. */
  stored(scope: Scope, chunk: NewChunk, ticket: string | null): Promise<"stored" | "again">;
  readable(scopes: Scope[], id: string): Promise<boolean>;
  /** The store has lost it, or it does not open: it counts as missing until it is put again. */
  lost(id: string): Promise<void>;

  /** Records a manifest that was put under `ticket`, with the chunks that it refers to, all of which `scopes` may read. Idempotent by id. */
  commit(scopes: Scope[], manifest: NewManifest, ids: string[], ticket: string): Promise<Committed>;
  /** The object's key and kind, where one of the scopes has it. */
  manifest(scopes: Scope[], id: string): Promise<{ key: string; kind: "workspace" | "state"; workspace_id: string } | null>;
  /** Manifests of a workspace's files, newest first. */
  manifests(workspaceId: string, query: PageQuery): Promise<ManifestPage>;
  /** What the workspace's next runner restores: what was synced last, or what `setHead` chose since. */
  head(workspaceId: string): Promise<{ manifest_id: string } | null>;
  setHead(workspaceId: string, manifestId: string): Promise<Result<{ manifest_id: string }>>;
  /** Lets another scope read a manifest and its chunks: a fork's workspace, or its session for a state manifest. Makes it the head of a workspace that has none. Idempotent. */
  adopt(manifestId: string, from: Scope, to: Scope): Promise<Result<{ manifest_id: string }>>;
  holdings(workspaceIds: string[]): Promise<Record<string, Holdings>>;
  /** Forgets a workspace: its manifests, and its sessions' state manifests. Answers how many; their chunks go with the next collections. */
  drop(workspaceId: string): Promise<number>;
  /** Workspaces with manifests that `thin` could forget: in order, at most `limit` of those after `after`. */
  crowded(keep: Omit<Keep, "named">, after: string, limit: number): Promise<string[]>;
  /** Forgets what need not stay of a workspace's manifests and of its sessions' states; never what a workspace goes on from, or what was adopted. Answers how many. */
  thin(workspaceId: string, keep: Keep, dryRun: boolean): Promise<number>;
  /** One collection; `conflict` while another runs. */
  collect(tenantId: string, dryRun: boolean): Promise<Result<Collection>>;
  /** The tenant's key is gone, and with it all that was here. */
  forgetAll(tenantId: string): Promise<void>;
}

/** What collections need of the object store. */
export interface Bucket {
  delete(keys: readonly string[]): Promise<void>;
  list(prefix: string, options: { cursor?: string | undefined }): Promise<{ items: { key: string; uploaded: number }[]; cursor: string | null }>;
}
