/** Owns the records of who may enter: tenants, API keys and runner tokens; tokens only as hashes. */

import { and, desc, eq, gt, isNull, lt, or, sql, type SQL } from "drizzle-orm";
import { HASH_VERSION, type ApiKey, type KeyScope, type Limits, type Page, type PageQuery, type RunnerToken, type Tenant } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { decodeCursor, encodeCursor } from "./page.ts";
import { apiKeys, runnerTokens, tenants } from "./schema.ts";

const iso = (time: Date | null) => time?.toISOString() ?? null;

function keyOf(row: typeof apiKeys.$inferSelect): ApiKey {
  const { id, tenant_id, name, display, scopes } = row;
  return { id, tenant_id, name, display, scopes, created_at: row.created_at.toISOString(), expires_at: iso(row.expires_at), revoked_at: iso(row.revoked_at), last_used_at: iso(row.last_used_at) };
}
function tokenOf(row: typeof runnerTokens.$inferSelect): RunnerToken {
  const { id, tenant_id, name, pool, labels, display } = row;
  return { id, tenant_id, name, pool, labels, display, created_at: row.created_at.toISOString(), revoked_at: iso(row.revoked_at) };
}
function tenantOf(row: typeof tenants.$inferSelect): Tenant {
  return { id: row.id, name: row.name, limits: row.limits, created_at: row.created_at.toISOString() };
}

/** Of a row list, read one longer than the page, the page. */
function pageOf<R, T extends { id: string; created_at: string }>(rows: R[], total: number, query: PageQuery, show: (row: R) => T): Page<T> {
  const items = rows.slice(0, query.limit).map(show);
  const last = items.at(-1);
  return { items, total, limit: query.limit, offset: query.cursor === undefined ? (query.offset ?? 0) : 0, next_cursor: rows.length > query.limit && last ? encodeCursor({ at: last.created_at, id: last.id }) : null };
}

interface NewKey {
  id: string;
  tenant_id: string;
  name: string;
  hash: string;
  display: string;
  scopes: KeyScope[];
  created_at: Date;
  expires_at: Date | null;
}
interface NewRunnerToken {
  id: string;
  tenant_id: string;
  name: string;
  pool: string;
  labels: Record<string, string>;
  hash: string;
  display: string;
  created_at: Date;
}

/** Records of tenants, keys and runner tokens. Creates are idempotent by id; what is read never holds a hash. */
export function accessOf(db: Database) {
  const listed = (table: typeof tenants | typeof apiKeys | typeof runnerTokens, filter: SQL | undefined, query: PageQuery) => {
    const from = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const rest = from && sql`(${table.created_at}, ${table.id}) < (${from.at}::timestamptz, ${from.id}::text)`;
    return { rest: and(filter, rest), order: [desc(table.created_at), desc(table.id)], limit: query.limit + 1, offset: from ? 0 : (query.offset ?? 0) };
  };
  const total = sql<number>`count(*)::int`;

  return {
    async createTenant(row: { id: string; name: string; limits: Limits; created_at: Date }): Promise<Tenant> {
      await db.insert(tenants).values(row).onConflictDoNothing();
      const [found] = await db.select().from(tenants).where(eq(tenants.id, row.id));
      return tenantOf(found ?? { ...row, version: 1 });
    },
    async tenant(id: string): Promise<Tenant | null> {
      const [row] = await db.select().from(tenants).where(eq(tenants.id, id));
      return row ? tenantOf(row) : null;
    },
    async tenants(query: PageQuery): Promise<Page<Tenant>> {
      const { rest, order, limit, offset } = listed(tenants, undefined, query);
      const [count, rows] = await db.batch([db.select({ total }).from(tenants), db.select().from(tenants).where(rest).orderBy(...order).limit(limit).offset(offset)]);
      return pageOf(rows, count[0]?.total ?? 0, query, tenantOf);
    },
    async updateTenant(id: string, change: { name?: string | undefined; limits?: Limits | undefined }): Promise<Tenant | null> {
      const set = { ...(change.name !== undefined && { name: change.name }), ...(change.limits && { limits: change.limits }), version: sql`${tenants.version} + 1` };
      const [row] = await db.update(tenants).set(set).where(eq(tenants.id, id)).returning();
      return row ? tenantOf(row) : null;
    },

    async createKey(row: NewKey): Promise<ApiKey> {
      await db.insert(apiKeys).values({ ...row, hash_version: HASH_VERSION }).onConflictDoUpdate({ target: apiKeys.id, set: { hash: row.hash, display: row.display }, setWhere: eq(apiKeys.tenant_id, row.tenant_id) });
      return keyOf({ ...row, hash_version: HASH_VERSION, revoked_at: null, last_used_at: null, version: 1 });
    },
    /** The key with this hash, revoked and expired ones too. */
    async keyByHash(hash: string): Promise<ApiKey | null> {
      const [row] = await db.select().from(apiKeys).where(eq(apiKeys.hash, hash));
      return row ? keyOf(row) : null;
    },
    async key(tenantId: string, id: string): Promise<ApiKey | null> {
      const [row] = await db.select().from(apiKeys).where(and(eq(apiKeys.id, id), eq(apiKeys.tenant_id, tenantId)));
      return row ? keyOf(row) : null;
    },
    /** Of one tenant, or of all with null. */
    async keys(tenantId: string | null, query: PageQuery): Promise<Page<ApiKey>> {
      const filter = tenantId === null ? undefined : eq(apiKeys.tenant_id, tenantId);
      const { rest, order, limit, offset } = listed(apiKeys, filter, query);
      const [count, rows] = await db.batch([db.select({ total }).from(apiKeys).where(filter), db.select().from(apiKeys).where(rest).orderBy(...order).limit(limit).offset(offset)]);
      return pageOf(rows, count[0]?.total ?? 0, query, keyOf);
    },
    /** Revokes; a second time keeps the first time's date. */
    async revokeKey(tenantId: string | null, id: string, now: Date): Promise<{ key: ApiKey; hash: string } | null> {
      const mine = tenantId === null ? undefined : eq(apiKeys.tenant_id, tenantId);
      const [row] = await db.update(apiKeys).set({ revoked_at: sql`coalesce(${apiKeys.revoked_at}, ${now.toISOString()}::timestamptz)`, version: sql`${apiKeys.version} + 1` }).where(and(eq(apiKeys.id, id), mine)).returning();
      return row ? { key: keyOf(row), hash: row.hash } : null;
    },
    /** Notes that a key is in use, at most once a minute. */
    async touchKey(id: string, now: Date): Promise<void> {
      const stale = or(isNull(apiKeys.last_used_at), lt(apiKeys.last_used_at, new Date(now.getTime() - 60_000)));
      await db.update(apiKeys).set({ last_used_at: now }).where(and(eq(apiKeys.id, id), stale));
    },

    async createRunnerToken(row: NewRunnerToken): Promise<RunnerToken> {
      await db.insert(runnerTokens).values({ ...row, hash_version: HASH_VERSION }).onConflictDoUpdate({ target: runnerTokens.id, set: { hash: row.hash, display: row.display }, setWhere: eq(runnerTokens.tenant_id, row.tenant_id) });
      return tokenOf({ ...row, hash_version: HASH_VERSION, previous_hash: null, previous_until: null, revoked_at: null, version: 1 });
    },
    /** The token that this hash opens now: its own, or the one before a rotation within its last hour; not a revoked one. */
    async runnerTokenByHash(hash: string, now: Date): Promise<RunnerToken | null> {
      const opens = or(eq(runnerTokens.hash, hash), and(eq(runnerTokens.previous_hash, hash), gt(runnerTokens.previous_until, now)));
      const [row] = await db.select().from(runnerTokens).where(and(opens, isNull(runnerTokens.revoked_at)));
      return row ? tokenOf(row) : null;
    },
    async runnerTokens(tenantId: string | null, query: PageQuery): Promise<Page<RunnerToken>> {
      const filter = tenantId === null ? undefined : eq(runnerTokens.tenant_id, tenantId);
      const { rest, order, limit, offset } = listed(runnerTokens, filter, query);
      const [count, rows] = await db.batch([db.select({ total }).from(runnerTokens).where(filter), db.select().from(runnerTokens).where(rest).orderBy(...order).limit(limit).offset(offset)]);
      return pageOf(rows, count[0]?.total ?? 0, query, tokenOf);
    },
    async rotateRunnerToken(tenantId: string | null, id: string, fresh: { hash: string; display: string }, previousUntil: Date): Promise<RunnerToken | null> {
      const mine = tenantId === null ? undefined : eq(runnerTokens.tenant_id, tenantId);
      const set = { previous_hash: sql`${runnerTokens.hash}`, previous_until: previousUntil, hash: fresh.hash, display: fresh.display, version: sql`${runnerTokens.version} + 1` };
      const [row] = await db.update(runnerTokens).set(set).where(and(eq(runnerTokens.id, id), mine, isNull(runnerTokens.revoked_at))).returning();
      return row ? tokenOf(row) : null;
    },
    async revokeRunnerToken(tenantId: string | null, id: string, now: Date): Promise<RunnerToken | null> {
      const mine = tenantId === null ? undefined : eq(runnerTokens.tenant_id, tenantId);
      const [row] = await db.update(runnerTokens).set({ revoked_at: sql`coalesce(${runnerTokens.revoked_at}, ${now.toISOString()}::timestamptz)`, version: sql`${runnerTokens.version} + 1` }).where(and(eq(runnerTokens.id, id), mine)).returning();
      return row ? tokenOf(row) : null;
    },
  };
}
