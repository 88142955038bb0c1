/** Owns the copying of live resources into Postgres: idempotent by version, so that late and repeated rows do no harm. */

import { getTableColumns, sql, type SQL } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import type { AnyPgColumn, AnyPgTable } from "drizzle-orm/pg-core";
import type { Projection, Row } from "../../durable-objects/index.ts";
import type { Database } from "./client.ts";
import { hosts, permissions, runners, schedules, sessions, taskRuns, tasks, workspaces } from "./schema.ts";

/** Rows and characters of one statement: well below 65,535 parameters and the endpoint's largest request. */
const MAX_ROWS = 500;
const MAX_CHARS = 4 * 1024 * 1024;

type Copied = AnyPgTable & { id: AnyPgColumn; version: AnyPgColumn; tenant_id: AnyPgColumn };

/** The `set` and `where` of an upsert that only a higher version of the same tenant's row passes. */
function newer(table: Copied) {
  const columns = Object.entries(getTableColumns(table)).filter(([name]) => name !== "id");
  const set: Record<string, SQL> = Object.fromEntries(columns.map(([name, column]) => [name, sql`excluded.${sql.identifier(column.name)}`]));
  return { target: table.id, set, setWhere: sql`excluded.version > ${table.version} and excluded.tenant_id = ${table.tenant_id}` };
}

interface Value {
  id: string;
  tenant_id: string;
  created_at: string;
  version: number;
}
function base<T extends Value>(value: T) {
  return { id: value.id, tenant_id: value.tenant_id, created_at: new Date(value.created_at), version: value.version, size: JSON.stringify(value).length, data: value };
}

/** The newest of each id, in groups that one statement can carry. */
function groups<T extends Value>(values: T[]): T[][] {
  const newest = new Map<string, T>();
  for (const value of values) {
    const known = newest.get(value.id);
    if (!known || value.version > known.version) newest.set(value.id, value);
  }
  const all: T[][] = [];
  let group: T[] = [];
  let chars = 0;
  for (const value of newest.values()) {
    const size = JSON.stringify(value).length;
    if (group.length > 0 && (group.length >= MAX_ROWS || chars + size > MAX_CHARS)) {
      all.push(group);
      group = [];
      chars = 0;
    }
    group.push(value);
    chars += size;
  }
  if (group.length > 0) all.push(group);
  return all;
}

type ValueOf<R extends Row["resource"]> = Extract<Row, { resource: R }>["value"];
function of<R extends Row["resource"]>(rows: Row[], resource: R): ValueOf<R>[] {
  return rows.filter((row) => row.resource === resource).map((row) => row.value as ValueOf<R>);
}

/** Every session has a workspace: one that nobody made by name gets its row here, and each hears when it was last used. */
function usedWorkspaces(db: Database, group: ValueOf<"session">[]): BatchItem<"pg"> {
  const latest = new Map<string, ValueOf<"session">>();
  for (const session of group) if ((latest.get(session.workspace_id)?.updated_at ?? "") < session.updated_at) latest.set(session.workspace_id, session);
  const values = [...latest.values()].map((v) => ({
    id: v.workspace_id, tenant_id: v.tenant_id, labels: {}, quota_mb: v.workspace_quota_mb, retention_days: v.retention_days, created_at: new Date(v.created_at), updated_at: new Date(v.created_at), last_used_at: new Date(v.updated_at),
  }));
  const used = sql`excluded.last_used_at`;
  return db.insert(workspaces).values(values).onConflictDoUpdate({ target: workspaces.id, set: { last_used_at: used }, setWhere: sql`${used} > ${workspaces.last_used_at} and excluded.tenant_id = ${workspaces.tenant_id}` });
}

function statements(db: Database, rows: Row[]): BatchItem<"pg">[] {
  return [
    ...groups(of(rows, "session")).map((group) => db.insert(sessions).values(group.map((v) => ({ ...base(v), status: v.status, agent: v.agent, labels: v.labels, workspace_id: v.workspace_id }))).onConflictDoUpdate(newer(sessions))),
    ...groups(of(rows, "session")).map((group) => usedWorkspaces(db, group)),
    ...groups(of(rows, "task")).map((group) => db.insert(tasks).values(group.map((v) => ({ ...base(v), status: v.status, session_id: v.session_id, labels: v.labels }))).onConflictDoUpdate(newer(tasks))),
    ...groups(of(rows, "run")).map((group) => db.insert(taskRuns).values(group.map((v) => ({ ...base(v), status: v.status, session_id: v.session_id, task_id: v.task_id }))).onConflictDoUpdate(newer(taskRuns))),
    ...groups(of(rows, "permission")).map((group) => db.insert(permissions).values(group.map((v) => ({ ...base(v), status: v.status, session_id: v.session_id, task_id: v.task_id, risk: v.risk }))).onConflictDoUpdate(newer(permissions))),
    ...groups(of(rows, "runner")).map((group) => db.insert(runners).values(group.map((v) => ({ ...base(v), status: v.status, session_id: v.session_id, host_id: v.host_id, pool: v.pool }))).onConflictDoUpdate(newer(runners))),
    ...groups(of(rows, "schedule")).map((group) => db.insert(schedules).values(group.map((v) => ({ ...base(v), status: v.status, session_id: v.session_id, labels: v.labels }))).onConflictDoUpdate(newer(schedules))),
    ...groups(of(rows, "host")).map((group) => db.insert(hosts).values(group.map((v) => ({ ...base(v), status: v.status, pool: v.pool }))).onConflictDoUpdate(newer(hosts))),
  ];
}

/** Copies rows into `db`, all of a call in one transaction. */
export function projectionOf(db: Database): Projection {
  return {
    async apply(rows) {
      const [first, ...rest] = statements(db, rows);
      if (first) await db.batch([first, ...rest]);
    },
  };
}
