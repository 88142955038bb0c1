/** Owns a tenant's storage object in memory, for tests of the doors: it has nothing, takes chunks, and refuses what names any. */

import type { Claim, Committed, Holdings, ManifestPage, NewChunk, StorageRpc } from "../../durable-objects/index.ts";
import { fail, ok, type Collection, type PageQuery, type Result } from "../../sdk/protocol/index.ts";

export class FakeStorage implements StorageRpc {
  readonly chunks = new Set<string>();

  async missing(_scopes: string[], ids: string[]): Promise<string[]> {
    return ids.filter((id) => !this.chunks.has(id));
  }
  async claim(): Promise<Claim> {
    return { state: "absent", ticket: "ticket" };
  }
  async stored(_scope: string, { id }: NewChunk): Promise<"stored"> {
    this.chunks.add(id);
    return "stored";
  }
  async readable(_scopes: string[], id: string): Promise<boolean> {
    return this.chunks.has(id);
  }
  async lost(id: string): Promise<void> {
    this.chunks.delete(id);
  }
  async commit(): Promise<Committed> {
    return { state: "committed", created: true };
  }
  async manifest(): Promise<null> {
    return null;
  }
  async manifests(_workspaceId: string, _query: PageQuery): Promise<ManifestPage> {
    return { items: [], total: 0, next: null };
  }
  async head(): Promise<null> {
    return null;
  }
  async setHead(): Promise<Result<{ manifest_id: string }>> {
    return fail("not_found", "no manifest of that id here");
  }
  async adopt(manifest_id: string): Promise<Result<{ manifest_id: string }>> {
    return ok({ manifest_id });
  }
  async holdings(workspaceIds: string[]): Promise<Record<string, Holdings>> {
    return Object.fromEntries(workspaceIds.map((id) => [id, { manifest_id: null, manifests: 0, files: 0, bytes: 0 }]));
  }
  async drop(): Promise<number> {
    return 0;
  }
  async crowded(): Promise<string[]> {
    return [];
  }
  async thin(): Promise<number> {
    return 0;
  }
  async collect(tenant_id: string, dry_run: boolean): Promise<Result<Collection>> {
    return ok({ tenant_id, dry_run, kept: this.chunks.size, kept_bytes: 0, marked: 0, marked_before: 0, removed: 0, removed_bytes: 0, expired_workspaces: 0, expired_manifests: 0, thinned_manifests: 0 });
  }
  async forgetAll(): Promise<void> {
    this.chunks.clear();
  }
}
