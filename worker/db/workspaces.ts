/** Owns the records of workspaces: their names, labels and retention, and which sessions use them. */

import { and, desc, eq, isNull, sql, type SQL } from "drizzle-orm";
import type { Page, PageQuery, Session, WorkspaceCreate, WorkspacePatch } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { decodeCursor, encodeCursor } from "./page.ts";
import { sessions, workspaces } from "./schema.ts";

/** A workspace as Postgres knows it; its manifests are the storage object's. */
export type WorkspaceRow = Omit<typeof workspaces.$inferSelect, "deleted_at">;

type Filter = PageQuery & { labels?: Record<string, string> | undefined };

const columns = {
  id: workspaces.id, tenant_id: workspaces.tenant_id, name: workspaces.name, labels: workspaces.labels, quota_mb: workspaces.quota_mb, retention_days: workspaces.retention_days,
  created_at: workspaces.created_at, updated_at: workspaces.updated_at, last_used_at: workspaces.last_used_at, version: workspaces.version,
};
const own = (tenantId: string, id: string) => and(eq(workspaces.tenant_id, tenantId), eq(workspaces.id, id), isNull(workspaces.deleted_at));

export function workspacesOf(db: Database) {
  return {
    /** Idempotent by id. */
    async create(row: WorkspaceCreate & { id: string; tenant_id: string; created_at: Date }): Promise<WorkspaceRow> {
      const full = { ...row, name: row.name ?? null, updated_at: row.created_at, last_used_at: row.created_at };
      await db.insert(workspaces).values(full).onConflictDoNothing();
      const [found] = await db.select(columns).from(workspaces).where(own(row.tenant_id, row.id));
      return found ?? { ...full, version: 1 };
    },
    async read(tenantId: string, id: string): Promise<WorkspaceRow | null> {
      const [found] = await db.select(columns).from(workspaces).where(own(tenantId, id));
      return found ?? null;
    },
    async list(tenantId: string, filter: Filter): Promise<Page<WorkspaceRow>> {
      const conditions: SQL[] = [eq(workspaces.tenant_id, tenantId), isNull(workspaces.deleted_at)];
      if (filter.labels && Object.keys(filter.labels).length > 0) conditions.push(sql`${workspaces.labels} @> ${JSON.stringify(filter.labels)}::jsonb`);
      const from = filter.cursor === undefined ? null : decodeCursor(filter.cursor);
      const rest = from ? [sql`(${workspaces.created_at}, ${workspaces.id}) < (${from.at}::timestamptz, ${from.id}::text)`] : [];
      const offset = from ? 0 : (filter.offset ?? 0);
      const [count, rows] = await db.batch([
        db.select({ total: sql<number>`count(*)::int` }).from(workspaces).where(and(...conditions)),
        db.select(columns).from(workspaces).where(and(...conditions, ...rest)).orderBy(desc(workspaces.created_at), desc(workspaces.id)).limit(filter.limit + 1).offset(offset),
      ]);
      const items = rows.slice(0, filter.limit);
      const last = items.at(-1);
      return { items, total: count[0]?.total ?? 0, limit: filter.limit, offset, next_cursor: rows.length > filter.limit && last ? encodeCursor({ at: last.created_at.toISOString(), id: last.id }) : null };
    },
    async update(tenantId: string, id: string, patch: WorkspacePatch, now: Date): Promise<WorkspaceRow | null> {
      const set = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined));
      const [row] = await db.update(workspaces).set({ ...set, updated_at: now, version: sql`${workspaces.version} + 1` }).where(own(tenantId, id)).returning(columns);
      return row ?? null;
    },
    async remove(tenantId: string, id: string, now: Date): Promise<boolean> {
      return (await db.update(workspaces).set({ deleted_at: now, version: sql`${workspaces.version} + 1` }).where(own(tenantId, id)).returning({ id: workspaces.id })).length > 0;
    },
    /** Sessions in a workspace that have not ended, newest first; with `ended`, those too. */
    async sessions(tenantId: string, id: string, { ended = false, limit = 10 } = {}): Promise<Session[]> {
      const open = ended ? [] : [sql`${sessions.status} <> 'terminated'`];
      const rows = await db.select({ body: sql<string>`${sessions.data}::text` }).from(sessions).where(and(eq(sessions.tenant_id, tenantId), eq(sessions.workspace_id, id), ...open)).orderBy(desc(sessions.created_at)).limit(limit);
      return rows.map(({ body }) => JSON.parse(body) as Session);
    },
    /** Workspaces of a tenant whose last session ended longer ago than they are to be kept, and that nothing uses now. */
    async expired(tenantId: string, now: Date, limit: number): Promise<string[]> {
      const inside = sql`${sessions.workspace_id} = ${workspaces.id} and ${sessions.tenant_id} = ${workspaces.tenant_id}`;
      const rows = await db
        .select({ id: workspaces.id })
        .from(workspaces)
        .where(and(eq(workspaces.tenant_id, tenantId), isNull(workspaces.deleted_at), sql`${workspaces.last_used_at} + make_interval(days => ${workspaces.retention_days}) < ${now.toISOString()}::timestamptz`,
          sql`exists (select 1 from ${sessions} where ${inside})`,
          sql`not exists (select 1 from ${sessions} where ${inside} and ${sessions.status} <> 'terminated')`))
        .limit(limit);
      return rows.map(({ id }) => id);
    },
    /** Ids of all tenants after `after`, in order. */
    async tenants(after: string, limit: number): Promise<string[]> {
      const rows = await db.execute<{ id: string }>(sql`select id from tenants where id > ${after} order by id limit ${limit}`);
      return rows.rows.map(({ id }) => id);
    },
  };
}
