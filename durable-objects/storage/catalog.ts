/** Owns what a tenant's storage object decides: which puts are needed, what a manifest may refer to, and what may be removed. */

import { Failure, fail, ok, type Collection, type PageQuery, type Result } from "../../sdk/protocol/index.ts";
import { Chunks } from "./chunks.ts";
import { Collector } from "./collection.ts";
import { Manifests, type Keep } from "./manifests.ts";
import type { Bucket, Claim, Committed, ManifestPage, NewChunk, NewManifest, Scope } from "./rpc.ts";

const MAX_TOLD = 4_096;
const NO_MANIFEST = fail("not_found", "no manifest of that id here");

/** Everything but the wiring, so that a test can turn its clock and hold its store. */
export class Catalog {
  readonly chunks: Chunks;
  readonly manifests: Manifests;
  readonly #storage: DurableObjectStorage;
  readonly #collector: Collector;
  readonly #now: () => number;
  #collecting = false;

  constructor(storage: DurableObjectStorage, bucket: () => Bucket, now: () => number = Date.now) {
    this.#storage = storage;
    this.#now = now;
    this.chunks = new Chunks(storage);
    this.manifests = new Manifests(storage);
    this.#collector = new Collector(storage, this.chunks, this.manifests, bucket);
  }

  missing(scopes: Scope[], ids: string[]): string[] {
    const usable = this.chunks.readable(scopes, ids, true);
    return ids.filter((id) => !usable.has(id));
  }

  async claim(id: string | null, key: string): Promise<Claim> {
    while (this.chunks.isRemoving(key)) await this.#collector.settle();
    return id !== null && this.chunks.there(id) ? { state: "there" } : this.chunks.claim(key, this.#now());
  }

  stored(scope: Scope, chunk: NewChunk, ticket: string | null): "stored" | "again" {
    if (ticket === null) return this.chunks.grant(scope, chunk.id) ? "stored" : "again";
    if (!this.chunks.redeem(chunk.key, ticket)) return "again";
    this.#storage.transactionSync(() => this.chunks.put(scope, chunk, this.#now()));
    return "stored";
  }

  commit(scopes: Scope[], manifest: NewManifest, ids: string[], ticket: string): Committed {
    const scope = manifest.kind === "state" ? (manifest.session_id ?? manifest.workspace_id) : manifest.workspace_id;
    if (this.manifests.find([scope], manifest.id)) {
      this.chunks.redeem(manifest.key, ticket);
      return { state: "committed", created: false };
    }
    const usable = this.chunks.readable(scopes, ids, true);
    const missing = ids.filter((id) => !usable.has(id));
    if (missing.length > 0) return { state: "missing", ids: missing.slice(0, MAX_TOLD), total: missing.length };
    if (!this.chunks.redeem(manifest.key, ticket)) return { state: "again" };
    const numbers = [...usable.values()];
    this.#storage.transactionSync(() => {
      this.manifests.add(scope, manifest, numbers, this.chunks.size(numbers), this.#now());
      this.chunks.grantAll(scope, numbers);
      if (manifest.kind === "workspace") this.manifests.setHead(manifest.workspace_id, manifest.id);
    });
    return { state: "committed", created: true };
  }

  page(workspaceId: string, query: PageQuery): ManifestPage {
    return this.manifests.page(workspaceId, query);
  }

  setHead(workspaceId: string, manifestId: string): Result<{ manifest_id: string }> {
    const row = this.manifests.find([workspaceId], manifestId);
    if (row?.kind !== "workspace") return NO_MANIFEST;
    this.manifests.setHead(workspaceId, manifestId);
    return ok({ manifest_id: manifestId });
  }

  adopt(manifestId: string, from: Scope, to: Scope): Result<{ manifest_id: string }> {
    if (this.manifests.find([to], manifestId)) return ok({ manifest_id: manifestId });
    const row = this.manifests.find([from], manifestId);
    if (!row) return NO_MANIFEST;
    this.#storage.transactionSync(() => {
      const numbers = this.manifests.refs(row.n);
      this.manifests.add(to, { ...row, torn: row.torn === 1 }, numbers, row.stored_bytes, this.#now());
      this.chunks.grantAll(to, numbers);
      if (row.kind === "workspace" && this.manifests.head(to) === null) this.manifests.setHead(to, manifestId);
    });
    return ok({ manifest_id: manifestId });
  }

  drop(workspaceId: string): number {
    return this.#storage.transactionSync(() => {
      const { count, keys, scopes } = this.manifests.drop(workspaceId);
      for (const scope of scopes) this.chunks.forgetScope(scope);
      this.#collector.discard(keys.filter((key) => !this.chunks.isClaimed(key, this.#now())));
      return count;
    });
  }

  /** Where a manifest of these scopes lies; whoever asks is about to use it. */
  use(scopes: Scope[], id: string): { key: string; kind: "workspace" | "state"; workspace_id: string } | null {
    const row = this.manifests.find(scopes, id);
    if (!row) return null;
    this.manifests.use(row, this.#now());
    return { key: row.key, kind: row.kind, workspace_id: row.workspace_id };
  }

  thin(workspaceId: string, keep: Keep, dryRun: boolean): number {
    return this.#storage.transactionSync(() => {
      const { count, keys } = this.manifests.thin(workspaceId, keep, dryRun);
      this.#collector.discard(keys.filter((key) => !this.chunks.isClaimed(key, this.#now())));
      return count;
    });
  }

  async collect(tenantId: string, dryRun: boolean): Promise<Result<Collection>> {
    if (this.#collecting) return fail("conflict", "A collection of this tenant runs already", { details: { running: true } });
    this.#collecting = true;
    try {
      const now = this.#now();
      const counts = this.#collector.mark(now, dryRun);
      if (!dryRun) {
        await this.#collector.settle();
        Object.assign(counts, await this.#collector.sweep(now));
        for (const prefix of [`chunks/${tenantId}/`, `manifests/${tenantId}/`]) await this.#collector.leftovers(prefix, now);
      }
      return ok({ tenant_id: tenantId, dry_run: dryRun, ...counts, expired_workspaces: 0, expired_manifests: 0, thinned_manifests: 0 });
    } catch (error) {
      if (error instanceof Failure) return { ok: false, error: error.toBody() };
      throw error;
    } finally {
      this.#collecting = false;
    }
  }

  /** Drops every record; the bytes, which nobody can open, are removed as the store's leftovers are: at once. */
  forgetAll(): void {
    this.#storage.transactionSync(() => {
      const keys = this.#storage.sql.exec<{ key: string }>("select key from chunks union select key from manifests").toArray().map(({ key }) => key);
      for (const table of ["refs", "manifests", "heads", "readers", "scopes", "chunks"]) this.#storage.sql.exec(`delete from ${table}`);
      for (let at = 0; at < keys.length; at += MAX_TOLD) this.#collector.discard(keys.slice(at, at + MAX_TOLD));
    });
  }
  settle(): Promise<void> {
    return this.#collector.settle();
  }
}
