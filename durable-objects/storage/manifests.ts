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
] as const;

/** Numbers in one row: a megabyte. */
const PART = 250_000;

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

  /** True where a manifest's bytes lie under this key. */
  hasKey(key: string): boolean {
    return this.#sql.exec("select 1 from manifests where key = ?", key).toArray().length > 0;
  }

  /** Forgets what belongs to a workspace, its sessions' states too; answers how many, which keys no manifest has any more, and whose scopes they were. */
  drop(workspaceId: string): { count: number; keys: string[]; scopes: Scope[] } {
    const rows = this.#sql.exec<Row>("select * from manifests where scope = ?1 or workspace_id = ?1", workspaceId).toArray();
    // What a fork of it adopted stays the fork's.
    const own = rows.filter(({ scope, kind }) => scope === workspaceId || kind === "state");
    for (const { n } of own) {
      this.#sql.exec("delete from refs where manifest = ?", n);
      this.#sql.exec("delete from manifests where n = ?", n);
    }
    this.#sql.exec("delete from heads where workspace_id = ?", workspaceId);
    return { count: own.length, keys: [...new Set(own.map(({ key }) => key))].filter((key) => !this.hasKey(key)), scopes: [...new Set([workspaceId, ...own.map(({ scope }) => scope)])] };
  }
}

function summary(row: Row, head: string | null): ManifestSummary {
  const { id, kind, session_id, parent, created_at, entries, files, bytes, chunks, stored_bytes, torn } = row;
  return { id, workspace_id: row.scope.startsWith("ws_") ? row.scope : row.workspace_id, kind, session_id, parent, created_at, entries, files, bytes, chunks, stored_bytes, torn: torn === 1, current: id === head };
}
