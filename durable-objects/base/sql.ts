/** Owns versioned tables in an object's SQLite: migrations run once, in order, and a row's text stays below what one row may hold. */

export type Sql = SqlStorage;

/** Most characters of one text column: a row holds 2 MB, and a character takes three bytes at most. */
export const MAX_COLUMN_CHARS = 600_000;

/**
 * Brings the tables called `name` to the last of `versions`; each version is a list of statements, and what has been released never
 * changes. Call it inside `blockConcurrencyWhile` or a constructor: it is synchronous.
 */
export function migrate(storage: DurableObjectStorage, name: string, versions: readonly (readonly string[])[]): void {
  const { sql } = storage;
  sql.exec("create table if not exists versions (name text primary key, version integer not null)");
  const at = sql.exec<{ version: number }>("select version from versions where name = ?", name).toArray()[0]?.version ?? 0;
  if (at === versions.length) return;
  if (at > versions.length) throw new Error(`tables "${name}" are at version ${at}, newer than this code (${versions.length})`);
  storage.transactionSync(() => {
    for (const statements of versions.slice(at)) for (const statement of statements) sql.exec(statement);
    sql.exec("insert or replace into versions values (?, ?)", name, versions.length);
  });
}

/** Cuts a long text into parts that fit a column, never through a surrogate pair. */
export function columns(text: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + MAX_COLUMN_CHARS);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last <= 0xdbff) to--;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}
