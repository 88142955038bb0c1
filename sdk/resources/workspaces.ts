/** Owns `client.workspaces`: make, list, change, restore and delete workspaces; their files, manifests and collections. */

import type * as z from "zod";
import type { Collection, FileEntry, ManifestDiff, ManifestSummary, Workspace, workspaceCreate, WorkspacePatch } from "../protocol/index.ts";
import { pageData, type Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { labelQuery, Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type WorkspaceCreateParams = z.input<typeof workspaceCreate>;
export interface WorkspaceListParams extends ListParams {
  /** Workspaces that have all of these. */
  labels?: Readonly<Record<string, string>> | undefined;
}
/** Which state of the files: a manifest, or without one what a host holds now, else what was synced last. */
export interface WorkspaceAt {
  manifest_id?: string | undefined;
}

/** Workspaces of the key's tenant. Whole trees travel by `mctl workspaces push` and `pull`. */
export class Workspaces extends Resource {
  create(params: WorkspaceCreateParams = {}, options?: RequestOptions): Promise<Workspace> {
    return this.transport.json("POST", api`/workspaces`, resource<Workspace>, { body: params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Workspace> {
    return this.transport.json("GET", api`/workspaces/${id}`, resource<Workspace>, {}, options);
  }
  /** Newest first. */
  list({ labels, ...query }: WorkspaceListParams = {}, options?: RequestOptions): Pages<Workspace> {
    return this.pages<Workspace>(api`/workspaces`, { ...query, labels: labelQuery(labels) }, options);
  }
  update(id: string, patch: WorkspacePatch, options?: RequestOptions): Promise<Workspace> {
    return this.transport.json("PATCH", api`/workspaces/${id}`, resource<Workspace>, { body: patch }, options);
  }
  /** Refused with `conflict` while a session uses it. */
  delete(id: string, options?: RequestOptions): Promise<Workspace> {
    return this.transport.json("DELETE", api`/workspaces/${id}`, resource<Workspace>, {}, options);
  }
  /** Entries of one directory (the root without `path`). */
  async files(id: string, path = "", { manifest_id }: WorkspaceAt = {}, options?: RequestOptions): Promise<FileEntry[]> {
    return (await this.transport.json("GET", api`/workspaces/${id}/files`, pageData<FileEntry>, { query: { path, manifest: manifest_id } }, options)).items;
  }
  /** A file's bytes, whole. */
  read(id: string, path: string, { manifest_id }: WorkspaceAt = {}, options?: RequestOptions): Promise<Uint8Array> {
    return this.transport.send("GET", api`/workspaces/${id}/files/content`, async (response) => new Uint8Array(await response.arrayBuffer()), { query: { path, manifest: manifest_id } }, options);
  }
  /** Newest first. */
  manifests(id: string, query: ListParams = {}, options?: RequestOptions): Pages<ManifestSummary> {
    return this.pages<ManifestSummary>(api`/workspaces/${id}/manifests`, { ...query }, options);
  }
  /** What differs from one manifest to another, in the order of paths; `limit` items at most. */
  diff(id: string, from: string, to: string, { limit }: { limit?: number | undefined } = {}, options?: RequestOptions): Promise<ManifestDiff> {
    return this.transport.json("GET", api`/workspaces/${id}/manifests/${from}/diff/${to}`, (value) => value as ManifestDiff, { query: { limit } }, options);
  }
  /** The workspace's next runner restores this manifest. Refused with `conflict` while a session has a runner there. */
  restore(id: string, manifestId: string, options?: RequestOptions): Promise<Workspace> {
    return this.transport.json("POST", api`/workspaces/${id}/restore`, resource<Workspace>, { body: { manifest_id: manifestId } }, options);
  }
  /** Marks chunks that nothing refers to, and removes those that have been marked for seven days. Needs the scope admin. */
  collect({ dry_run = false }: { dry_run?: boolean | undefined } = {}, options?: RequestOptions): Promise<Collection> {
    return this.transport.json("POST", api`/workspaces/gc`, (value) => value as Collection, { body: { dry_run } }, options);
  }
}
