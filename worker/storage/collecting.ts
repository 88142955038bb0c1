/** Owns a tenant's garbage collection from outside its index: workspaces whose retention is over first, then old manifests, then marks and removals. */

import { sessionStub, storageStub } from "../../durable-objects/index.ts";
import { Failure, type Collection } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import type { Logger } from "../log.ts";
import { dropAttachments } from "./attachments.ts";
import { objectStoreOf } from "./stores.ts";

/** Workspaces and tenants in one query. */
const PAGE = 200;

/** So many of a workspace's newest manifests, and of each session's states, stay whatever their age. */
const NEWEST = 10;
const DAY_MS = 86_400_000;
/** A workspace of so many sessions is left as it is. */
const MAX_SESSIONS = 1_000;

/** Manifests that capsules of a workspace's sessions have, or null where that cannot be told: a session that has not begun may have yet to restore any. */
async function inCapsules(env: Env, records: Records, tenantId: string, workspaceId: string): Promise<string[] | null> {
  const sessions = await records.workspaces.sessions(tenantId, workspaceId, { ended: true, limit: MAX_SESSIONS });
  if (sessions.length === MAX_SESSIONS || sessions.some(({ status }) => status === "pending")) return null;
  const named: string[] = [];
  for (const { id } of sessions) {
    for (let offset = 0; ; ) {
      const { items, total } = await call(() => sessionStub(env, id).listCapsules({ tenant_id: tenantId, key_id: "system", key_name: null }, { limit: PAGE, offset }));
      for (const { workspace, state } of items) named.push(workspace.manifest_id, ...(state ? [state.manifest_id] : []));
      offset += items.length;
      if (items.length === 0 || offset >= total) break;
    }
  }
  return named;
}

/** Forgets manifests that are older than their workspace is kept after its last session, but for the newest, those of capsules, and those that were used since. */
async function thin(env: Env, records: Records, tenantId: string, dryRun: boolean, now: Date): Promise<number> {
  const index = () => storageStub(env, tenantId);
  let count = 0;
  for (let after = ""; ; ) {
    const crowded = await reach(() => index().crowded({ newest: NEWEST, since: now.getTime() - DAY_MS }, after, PAGE));
    for (const id of crowded) {
      const row = await records.workspaces.read(tenantId, id);
      const keep = { newest: NEWEST, since: now.getTime() - (row?.retention_days ?? 0) * DAY_MS };
      // No session is asked, and woken, where there is nothing to ask for.
      if (!row || (await reach(() => index().thin(id, { ...keep, named: [] }, true))) === 0) continue;
      const named = await inCapsules(env, records, tenantId, id).catch((error: unknown) => {
        if (error instanceof Failure) return null;
        throw error;
      });
      if (named) count += await reach(() => index().thin(id, { ...keep, named }, dryRun));
    }
    const last = crowded.at(-1);
    if (crowded.length < PAGE || last === undefined) return count;
    after = last;
  }
}

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
  const thinned = await thin(env, records, tenantId, dryRun, now);
  const counts = await call(() => storageStub(env, tenantId).collect(tenantId, dryRun));
  return { ...counts, expired_workspaces: workspaces, expired_manifests: manifests, thinned_manifests: thinned };
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
        if (!dryRun && counts.marked + counts.removed + counts.expired_workspaces + counts.thinned_manifests > 0) log.info("collected", { tenant, ...counts });
      } catch (error) {
        log.warn("not collected", { tenant, error: error instanceof Error ? error.message.slice(0, 300) : "unknown" });
      }
    }
    const last = tenants.at(-1);
    if (tenants.length < PAGE || last === undefined) return done;
    after = last;
  }
}
