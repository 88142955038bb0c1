/** Owns the lists of copied resources: what each noun can be filtered by. */

import { eq, ne, sql, type SQL } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import type { Host, Page, PageQuery, Permission, PermissionStatus, Runner, RunnerStatus, Schedule, ScheduleStatus, Session, SessionStatus, Task, TaskStatus } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { readPage } from "./page.ts";
import { hosts, permissions, runners, schedules, sessions, tasks } from "./schema.ts";

type SessionFilter = PageQuery & { status?: SessionStatus | undefined; labels?: Record<string, string> | undefined };
type TaskFilter = PageQuery & { status?: TaskStatus | undefined; session_id?: string | undefined; labels?: Record<string, string> | undefined };
type PermissionFilter = PageQuery & { status?: PermissionStatus | undefined; session_id?: string | undefined };
type RunnerFilter = PageQuery & { status?: RunnerStatus | undefined; pool?: string | undefined; session_id?: string | undefined };
type ScheduleFilter = PageQuery & { status?: ScheduleStatus | undefined; session_id?: string | undefined; labels?: Record<string, string> | undefined };
type HostFilter = PageQuery & { status?: Host["status"] | undefined; pool?: string | undefined };

function where(...conditions: [AnyPgColumn, string | undefined][]): SQL[] {
  return conditions.flatMap(([column, value]) => (value === undefined ? [] : [eq(column, value)]));
}
function having(column: AnyPgColumn, labels: Record<string, string> | undefined): SQL[] {
  return labels && Object.keys(labels).length > 0 ? [sql`${column} @> ${JSON.stringify(labels)}::jsonb`] : [];
}

/** Lists of one tenant's resources, newest first. */
export function resourcesOf(db: Database) {
  return {
    sessions: (tenantId: string, filter: SessionFilter): Promise<Page<Session>> =>
      readPage(db, sessions, [...where([sessions.tenant_id, tenantId], [sessions.status, filter.status]), ...having(sessions.labels, filter.labels)], filter),
    session: async (tenantId: string, id: string): Promise<Session | null> =>
      (await readPage<Session>(db, sessions, where([sessions.tenant_id, tenantId], [sessions.id, id]), { limit: 1 })).items[0] ?? null,
    tasks: (tenantId: string, filter: TaskFilter): Promise<Page<Task>> =>
      readPage(db, tasks, [...where([tasks.tenant_id, tenantId], [tasks.status, filter.status], [tasks.session_id, filter.session_id]), ...having(tasks.labels, filter.labels)], filter),
    permissions: (tenantId: string, filter: PermissionFilter): Promise<Page<Permission>> =>
      readPage(db, permissions, where([permissions.tenant_id, tenantId], [permissions.status, filter.status], [permissions.session_id, filter.session_id]), filter),
    runners: (tenantId: string, filter: RunnerFilter): Promise<Page<Runner>> =>
      readPage(db, runners, where([runners.tenant_id, tenantId], [runners.status, filter.status], [runners.pool, filter.pool], [runners.session_id, filter.session_id]), filter),
    runner: async (tenantId: string, id: string): Promise<Runner | null> =>
      (await readPage<Runner>(db, runners, where([runners.tenant_id, tenantId], [runners.id, id]), { limit: 1 })).items[0] ?? null,
    /** Without the deleted. */
    schedules: (tenantId: string, filter: ScheduleFilter): Promise<Page<Schedule>> =>
      readPage(db, schedules, [...where([schedules.tenant_id, tenantId], [schedules.status, filter.status], [schedules.session_id, filter.session_id]), ne(schedules.status, "deleted"), ...having(schedules.labels, filter.labels)], filter),
    hosts: (tenantId: string, filter: HostFilter): Promise<Page<Host>> =>
      readPage(db, hosts, where([hosts.tenant_id, tenantId], [hosts.status, filter.status], [hosts.pool, filter.pool]), filter),
  };
}
