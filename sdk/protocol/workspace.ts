/** Owns the workspace resource: what a client may ask for, what it is shown, and what it is told of manifests, differences and collections. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { labels, name, timestamp } from "./values.ts";

/** Days that a workspace is kept after its last session ended. */
const MIN_RETENTION_DAYS = 1;
const MAX_RETENTION_DAYS = 30;
const DEFAULT_RETENTION_DAYS = 7;
/** Largest quota, MiB: a tebibyte. */
const MAX_QUOTA_MB = 1_048_576;

const retentionDays = z.number().int().min(MIN_RETENTION_DAYS).max(MAX_RETENTION_DAYS);
const quotaMb = z.number().int().min(1).max(MAX_QUOTA_MB).nullable();

export const workspaceCreate = z.strictObject({
  name: name.optional(),
  labels: labels.default({}),
  /** Most MiB that its files may have; null: no limit. */
  quota_mb: quotaMb.default(null),
  retention_days: retentionDays.default(DEFAULT_RETENTION_DAYS),
});
export type WorkspaceCreate = z.infer<typeof workspaceCreate>;

export const workspacePatch = z.strictObject({ name: name.nullable().optional(), labels: labels.optional(), quota_mb: quotaMb.optional(), retention_days: retentionDays.optional() });
export type WorkspacePatch = z.infer<typeof workspacePatch>;

export const workspace = z.object({
  id: idOf("workspace"),
  tenant_id: idOf("tenant"),
  name: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  quota_mb: z.number().int().nullable(),
  retention_days: z.number().int(),
  /** The manifest that the workspace's next runner restores; null before the first sync. */
  manifest_id: idOf("manifest").nullable(),
  /** Manifests that are kept. */
  manifests: z.number().int(),
  /** Files and bytes of that manifest. */
  files: z.number().int(),
  bytes: z.number().int(),
  /** When a session last said anything of it. */
  last_used_at: timestamp,
  created_at: timestamp,
  updated_at: timestamp,
  version: z.number().int(),
});
export type Workspace = z.infer<typeof workspace>;

/** What a manifest is, without its entries. */
export const manifestSummary = z.object({
  id: idOf("manifest"),
  workspace_id: idOf("workspace"),
  kind: z.enum(["workspace", "state"]),
  /** The session that synced it; null where a client pushed it. */
  session_id: idOf("session").nullable(),
  parent: idOf("manifest").nullable(),
  created_at: timestamp,
  entries: z.number().int(),
  files: z.number().int(),
  bytes: z.number().int(),
  chunks: z.number().int(),
  /** Compressed bytes of its chunks, also of those that others share. */
  stored_bytes: z.number().int(),
  /** Files changed while they were read. */
  torn: z.boolean(),
  /** The workspace's next runner restores this one. */
  current: z.boolean(),
});
export type ManifestSummary = z.infer<typeof manifestSummary>;

export const workspaceRestore = z.strictObject({ manifest_id: idOf("manifest") });

/** One file of a manifest, or a difference of two: `modified` where content, mode or target is another. */
const manifestChange = z.object({
  path: z.string(),
  change: z.enum(["added", "removed", "modified"]),
  kind: z.enum(["file", "directory", "symlink"]),
  /** Bytes before and after; null where it was not there. */
  before: z.number().int().nullable(),
  after: z.number().int().nullable(),
});
export type ManifestChange = z.infer<typeof manifestChange>;

/** In the order of paths; `truncated` where there are more than a page holds, and then `total` counts them all. */
export const manifestDiff = z.object({ from: idOf("manifest"), to: idOf("manifest"), items: z.array(manifestChange), total: z.number().int(), truncated: z.boolean() });
export type ManifestDiff = z.infer<typeof manifestDiff>;

export const collectionAsk = z.strictObject({
  /** Only count. */
  dry_run: z.boolean().default(false),
});

/** What one garbage collection of a tenant did, or would do. */
export const collection = z.object({
  tenant_id: idOf("tenant"),
  dry_run: z.boolean(),
  /** Chunks, and their bytes, that something refers to. */
  kept: z.number().int(),
  kept_bytes: z.number().int(),
  /** That nothing refers to: marked now, and before. */
  marked: z.number().int(),
  marked_before: z.number().int(),
  /** Marked long enough, and removed. */
  removed: z.number().int(),
  removed_bytes: z.number().int(),
  /** Workspaces whose retention is over, and manifests that went with them. */
  expired_workspaces: z.number().int(),
  expired_manifests: z.number().int(),
  /** Manifests that were older than their workspace's retention, and that neither it nor a capsule goes on from. */
  thinned_manifests: z.number().int(),
});
export type Collection = z.infer<typeof collection>;

export const missingAsk = z.strictObject({ ids: z.array(z.string().regex(/^[0-9a-f]{64}$/, "expected a SHA-256 in hex")).max(4_096) });
export const missingAnswer = z.object({ missing: z.array(z.string()) });

/** A tenant's data key, without the key. */
export const dataKeyInfo = z.object({ version: z.number().int(), state: z.enum(["active", "retired", "deleted"]), created_at: timestamp });
export type DataKeyInfo = z.infer<typeof dataKeyInfo>;
