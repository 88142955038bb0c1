/** Owns the wiring of the StorageObject, one per tenant: constructor, RPC, alarm. */

import { DurableObject } from "cloudflare:workers";
import { fail, type Collection, type PageQuery, type Result } from "../../sdk/protocol/index.ts";
import type { ObjectsEnv, PortsOf } from "../ports.ts";
import { Catalog } from "./catalog.ts";
import type { Keep } from "./manifests.ts";
import type { Bucket, Claim, Committed, Holdings, ManifestPage, NewChunk, NewManifest, Scope, StorageRpc } from "./rpc.ts";

/** When removals that failed are tried again. */
const AGAIN_MS = 60_000;

function bucketOf(bucket: (() => Bucket) | undefined): Bucket {
  if (!bucket) throw new Error("no object store was given to the objects");
  return bucket();
}

/** The class to export from the worker's entry. */
export function storageObject<Env extends ObjectsEnv>(portsOf: PortsOf<Env>) {
  return class StorageObject extends DurableObject<Env> implements StorageRpc {
    readonly catalog: Catalog;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      this.catalog = new Catalog(ctx.storage, () => bucketOf(portsOf(env).bucket));
    }

    async missing(scopes: Scope[], ids: string[]): Promise<string[]> {
      return this.catalog.missing(scopes, ids);
    }
    async claim(id: string | null, key: string): Promise<Claim> {
      return this.catalog.claim(id, key);
    }
    async stored(scope: Scope, chunk: NewChunk, ticket: string | null): Promise<"stored" | "again"> {
      return this.catalog.stored(scope, chunk, ticket);
    }
    async readable(scopes: Scope[], id: string): Promise<boolean> {
      return this.catalog.chunks.readable(scopes, [id], false).size > 0;
    }
    async lost(id: string): Promise<void> {
      this.catalog.chunks.lost(id, Date.now());
    }
    async commit(scopes: Scope[], manifest: NewManifest, ids: string[], ticket: string): Promise<Committed> {
      return this.catalog.commit(scopes, manifest, ids, ticket);
    }
    async manifest(scopes: Scope[], id: string): Promise<{ key: string; kind: "workspace" | "state"; workspace_id: string } | null> {
      return this.catalog.use(scopes, id);
    }
    async manifests(workspaceId: string, query: PageQuery): Promise<ManifestPage> {
      return this.catalog.page(workspaceId, query);
    }
    async head(workspaceId: string): Promise<{ manifest_id: string } | null> {
      const manifest_id = this.catalog.manifests.head(workspaceId);
      return manifest_id === null ? null : { manifest_id };
    }
    async setHead(workspaceId: string, manifestId: string): Promise<Result<{ manifest_id: string }>> {
      return this.catalog.setHead(workspaceId, manifestId);
    }
    async adopt(manifestId: string, from: Scope, to: Scope): Promise<Result<{ manifest_id: string }>> {
      return from === to ? fail("bad_request", "from and to are the same") : this.catalog.adopt(manifestId, from, to);
    }
    async holdings(workspaceIds: string[]): Promise<Record<string, Holdings>> {
      return this.catalog.manifests.holdings(workspaceIds);
    }
    async drop(workspaceId: string): Promise<number> {
      const count = this.catalog.drop(workspaceId);
      await this.#soon();
      return count;
    }
    async crowded(keep: Omit<Keep, "named">, after: string, limit: number): Promise<string[]> {
      return this.catalog.manifests.crowded(keep, after, limit);
    }
    async thin(workspaceId: string, keep: Keep, dryRun: boolean): Promise<number> {
      const count = this.catalog.thin(workspaceId, keep, dryRun);
      if (!dryRun) await this.#soon();
      return count;
    }
    async collect(tenantId: string, dryRun: boolean): Promise<Result<Collection>> {
      return this.catalog.collect(tenantId, dryRun);
    }
    async forgetAll(): Promise<void> {
      this.catalog.forgetAll();
      await this.#soon();
    }

    /** Removals are carried out by the alarm: it comes again until they succeed. */
    async #soon(): Promise<void> {
      await this.ctx.storage.setAlarm(Date.now());
    }
    override async alarm(): Promise<void> {
      try {
        await this.catalog.settle();
      } catch {
        await this.ctx.storage.setAlarm(Date.now() + AGAIN_MS);
      }
    }
  };
}
