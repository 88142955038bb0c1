/** Owns the records of a tenant's manifests: whose they are, which chunks they refer to, and which one each workspace goes on from. */

import type { ManifestSummary, PageQuery } from "../../sdk/protocol/index.ts";
import { migrate, type Sql } from "../base/sql.ts";
import { groupsOf } from "./chunks.ts";
import type { Holdings, ManifestPage, NewManifest, Scope } from "./rpc.ts";

const VERSIONS = [
  [
    `create table manifests (n integer primary key, id text not null, scope text not null, workspace_id text not null, kind text not null, session_id text, parent text, key text not null, created_at text not null,
      at integer not null, entries integer not null, files integer not null, bytes integer not null, chunks integer not null, stored_bytes integer not null, torn integer not null, unique (scope, id))`,
    "create index manifests_workspace on manifests (workspace_id, kind, n desc)",
    "create index manifests_key on manifests (key)",
    // Numbers of chunks, four bytes each, in parts that a row can hold.
    "create table refs (manifest integer not null, part integer not null, numbers blob not null, primary key (manifest, part)) without rowid",
    "create table heads (workspace_id text primary key, manifest_id text not null) without rowid",
  ],
  ["alter table manifests add column used_at integer not null default 0"],
] as const;

/** Numbers in one row: a megabyte. */
const PART = 250_000;
/** A use is written down no more often than this. */
const USED_MS = 3_600_000;
/** What scopes have of their own, the newest of each in the first place: not what they adopted, which they may have to begin from. */
const RANKED = `select n, id, key, workspace_id, at, used_at, row_number() over (partition by scope order by n desc) as place, (select manifest_id from heads h where h.workspace_id = m.scope) as head
  from manifests m where kind = 'workspace' and scope = workspace_id or kind = 'state' and scope = session_id`;

interface Row {
  [column: string]: SqlStorageValue;
  n: number;
  id: string;
  scope: string;
  workspace_id: string;
  kind: "workspace" | "state";
  session_id: string | null;
  parent: string | null;
  key: string;
  created_at: string;
  entries: number;
  files: number;
  bytes: number;
  chunks: number;
  stored_bytes: number;
  torn: number;
  at: number;
  used_at: number;
}

/** Which of a workspace's manifests stay: the newest `newest` of each scope, those recorded or used since `since`, and those named. */
export interface Keep {
  newest: number;
  /** Epoch milliseconds. */
  since: number;
  named: readonly string[];
}

export class Manifests {
  readonly #sql: Sql;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
    migrate(storage, "manifests", VERSIONS);
  }

  find(scopes: Scope[], id: string): Row | null {
    return this.#sql.exec<Row>("select * from manifests where id = ? and scope in (select value from json_each(?))", id, JSON.stringify(scopes)).toArray()[0] ?? null;
  }

  /** Somebody asked for it: it is not thinned out while that is young. */
  use({ n, used_at }: Row, now: number): void {
    if (used_at + USED_MS <= now) this.#sql.exec("update manifests set used_at = ? where n = ?", now, n);
  }

  add(scope: Scope, { id, workspace_id, kind, session_id, parent, key, created_at, entries, files, bytes, torn }: NewManifest, numbers: readonly number[], storedBytes: number, now: number): void {
    const { n } = this.#sql
      .exec<{ n: number }>(
        "insert into manifests (id, scope, workspace_id, kind, session_id, parent, key, created_at, at, entries, files, bytes, chunks, stored_bytes, torn) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning n",
        id, scope, workspace_id, kind, session_id, parent, key, created_at, now, entries, files, bytes, numbers.length, storedBytes, torn ? 1 : 0,
      )
      .one();
    let part = 0;
    for (const group of groupsOf(numbers, PART)) this.#sql.exec("insert into refs (manifest, part, numbers) values (?, ?, ?)", n, part++, Uint32Array.from(group).buffer);
  }

  /** Numbers of the chunks that a manifest refers to. */
  refs(n: number): number[] {
    return this.#sql.exec<{ numbers: ArrayBuffer }>("select numbers from refs where manifest = ? order by part", n).toArray().flatMap(({ numbers }) => [...new Uint32Array(numbers)]);
  }
  /** Numbers that any manifest refers to, part by part. */
  *allRefs(): Generator<Uint32Array> {
    for (const { numbers } of this.#sql.exec<{ numbers: ArrayBuffer }>("select numbers from refs")) yield new Uint32Array(numbers);
  }

  head(workspaceId: string): string | null {
    return this.#sql.exec<{ manifest_id: string }>("select manifest_id from heads where workspace_id = ?", workspaceId).toArray()[0]?.manifest_id ?? null;
  }
  setHead(workspaceId: string, manifestId: string): void {
    this.#sql.exec("insert or replace into heads (workspace_id, manifest_id) values (?, ?)", workspaceId, manifestId);
  }

  /** Newest first; `cursor` is the number of the last row seen. */
  page(workspaceId: string, { limit, offset = 0, cursor }: PageQuery): ManifestPage {
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
    const rows = this.#sql
      .exec<Row>("select * from manifests where scope = ? and kind = 'workspace' and n < ? order by n desc limit ? offset ?", workspaceId, before, limit + 1, cursor === undefined ? offset : 0)
      .toArray();
    const { total } = this.#sql.exec<{ total: number }>("select count(*) as total from manifests where scope = ? and kind = 'workspace'", workspaceId).one();
    const head = this.head(workspaceId);
    const shown = rows.slice(0, limit);
    return { items: shown.map((row) => summary(row, head)), total, next: rows.length > limit ? String(shown.at(-1)?.n) : null };
  }

  holdings(workspaceIds: string[]): Record<string, Holdings> {
    const counts = new Map(
      this.#sql.exec<{ scope: string; manifests: number }>("select scope, count(*) as manifests from manifests where scope in (select value from json_each(?)) group by scope", JSON.stringify(workspaceIds)).toArray().map(({ scope, manifests }) => [scope, manifests]),
    );
    return Object.fromEntries(
      workspaceIds.map((id) => {
        const manifest_id = this.head(id);
        const row = manifest_id === null ? null : this.find([id], manifest_id);
        return [id, { manifest_id, manifests: counts.get(id) ?? 0, files: row?.files ?? 0, bytes: row?.bytes ?? 0 }];
      }),
    );
  }

  /** Workspaces with manifests that could be thinned out, whatever is named; in order, those after `after`. */
  crowded({ newest, since }: Omit<Keep, "named">, after: string, limit: number): string[] {
    return this.#sql
      .exec<{ workspace_id: string }>(`select distinct workspace_id from (${RANKED}) where place > ? and at < ? and used_at < ? and id is not head and workspace_id > ? order by workspace_id limit ?`, newest, since, since, after, limit)
      .toArray().map(({ workspace_id }) => workspace_id);
  }

  /** Forgets what need not stay of a workspace and of its sessions' states; answers how many, and which keys no manifest has any more. */
  thin(workspaceId: string, { newest, since, named }: Keep, dryRun: boolean): { count: number; keys: string[] } {
    const rows = this.#sql
      .exec<{ n: number; key: string }>(
        `select n, key from (${RANKED}) where workspace_id = ? and place > ? and at < ? and used_at < ? and id is not head and id not in (select value from json_each(?))`,
        workspaceId, newest, since, since, JSON.stringify(named),
      )
      .toArray();
    if (dryRun) return { count: rows.length, keys: [] };
    this.#forget(rows);
    return { count: rows.length, keys: this.#free(rows) };
  }

  #forget(rows: readonly { n: number }[]): void {
    for (const group of groupsOf(rows)) {
      const numbers = JSON.stringify(group.map(({ n }) => n));
      this.#sql.exec("delete from refs where manifest in (select value from json_each(?))", numbers);
      this.#sql.exec("delete from manifests where n in (select value from json_each(?))", numbers);
    }
  }
  /** Keys of forgotten manifests under which no other one lies. */
  #free(rows: readonly { key: string }[]): string[] {
    return [...new Set(rows.map(({ key }) => key))].filter((key) => !this.hasKey(key));
  }

  /** True where a manifest's bytes lie under this key. */
  hasKey(key: string): boolean {
    return this.#sql.exec("select 1 from manifests where key = ?", key).toArray().length > 0;
  }

  /** Forgets what belongs to a workspace, its sessions' states too; answers how many, which keys no manifest has any more, and whose scopes they were. */
  drop(workspaceId: string): { count: number; keys: string[]; scopes: Scope[] } {
    const rows = this.#sql.exec<Row>("select * from manifests where scope = ?1 or workspace_id = ?1", workspaceId).toArray();
    // What a fork of it adopted stays the fork's; what it adopted itself goes.
    const states = new Set(rows.filter(({ kind, scope, session_id }) => kind === "state" && scope === session_id).map(({ scope }) => scope));
    const adopted = this.#sql.exec<Row>("select * from manifests where scope in (select value from json_each(?)) and workspace_id <> ?", JSON.stringify([...states]), workspaceId).toArray();
    const own = [...rows.filter(({ scope }) => scope === workspaceId || states.has(scope)), ...adopted];
    this.#forget(own);
    this.#sql.exec("delete from heads where workspace_id = ?", workspaceId);
    return { count: own.length, keys: this.#free(own), scopes: [...new Set([workspaceId, ...own.map(({ scope }) => scope)])] };
  }
}

function summary(row: Row, head: string | null): ManifestSummary {
  const { id, kind, session_id, parent, created_at, entries, files, bytes, chunks, stored_bytes, torn } = row;
  return { id, workspace_id: row.scope.startsWith("ws_") ? row.scope : row.workspace_id, kind, session_id, parent, created_at, entries, files, bytes, chunks, stored_bytes, torn: torn === 1, current: id === head };
}
