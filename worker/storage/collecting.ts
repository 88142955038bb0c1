/** Owns a tenant's garbage collection from outside its index: workspaces whose retention is over first, then marks and removals. */

import { storageStub } from "../../durable-objects/index.ts";
import type { Collection } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import type { Logger } from "../log.ts";
import { dropAttachments } from "./attachments.ts";
import { objectStoreOf } from "./stores.ts";

/** Workspaces and tenants in one query. */
const PAGE = 200;

/** Throws `conflict` while a collection of the tenant runs, `unavailable` where a part cannot be reached; what was done stays done. */
export async function collectTenant(env: Env, records: Records, tenantId: string, dryRun: boolean, now: Date): Promise<Collection> {
  let workspaces = 0;
  let manifests = 0;
  for (;;) {
    const expired = await records.workspaces.expired(tenantId, now, PAGE);
    if (dryRun) {
      const held = await reach(() => storageStub(env, tenantId).holdings(expired));
      workspaces = expired.length;
      manifests = Object.values(held).reduce((sum, each) => sum + each.manifests, 0);
      break;
    }
    for (const id of expired) {
      // The bytes first: a row that is gone would not be found again.
      manifests += await reach(() => storageStub(env, tenantId).drop(id));
      await dropAttachments(objectStoreOf(env), tenantId, id);
      if (await records.workspaces.remove(tenantId, id, now)) workspaces++;
    }
    if (expired.length < PAGE) break;
  }
  const counts = await call(() => storageStub(env, tenantId).collect(tenantId, dryRun));
  return { ...counts, expired_workspaces: workspaces, expired_manifests: manifests };
}

/** Every tenant's collection, one after the other; a tenant whose collection fails is logged and left for the next time. */
export async function collectAll(env: Env, records: Records, log: Logger, now: Date, dryRun = false): Promise<Collection[]> {
  const done: Collection[] = [];
  for (let after = ""; ; ) {
    const tenants = await records.workspaces.tenants(after, PAGE);
    for (const tenant of tenants) {
      try {
        const counts = await collectTenant(env, records, tenant, dryRun, now);
        done.push(counts);
        if (!dryRun && counts.marked + counts.removed + counts.expired_workspaces > 0) log.info("collected", { tenant, ...counts });
      } catch (error) {
        log.warn("not collected", { tenant, error: error instanceof Error ? error.message.slice(0, 300) : "unknown" });
      }
    }
    const last = tenants.at(-1);
    if (tenants.length < PAGE || last === undefined) return done;
    after = last;
  }
}
