/** Owns how a list is read: newest first, by offset or by cursor, with a total, and never more bytes than a page may have. */

import { sql, type SQL } from "drizzle-orm";
import type { AnyPgColumn, AnyPgTable } from "drizzle-orm/pg-core";
import { Failure, type Page, type PageQuery } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";

/** Most characters of resources in one page; a page that would be larger ends earlier and goes on at `next_cursor`. */
const MAX_PAGE_CHARS = 8 * 1024 * 1024;

type Listed = AnyPgTable & { id: AnyPgColumn; created_at: AnyPgColumn; data: AnyPgColumn; size: AnyPgColumn };

/** Where a page ended: the creation time and id of its last row. */
interface Position {
  at: string;
  id: string;
}

export function encodeCursor(position: Position): string {
  return btoa(`${position.at} ${position.id}`).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Throws `bad_request` where the cursor is not one that a list gave. */
export function decodeCursor(cursor: string): Position {
  let text = "";
  try {
    text = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    // falls through to the refusal below
  }
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([a-z]+_[0-9A-Za-z]+)$/.exec(text);
  if (!parts?.[1] || !parts[2] || Number.isNaN(Date.parse(parts[1]))) throw new Failure("bad_request", "cursor: not a cursor of a list", { details: { cursor: "not a cursor of a list" } });
  return { at: parts[1], id: parts[2] };
}

/** One page of what `where` selects (all of it must hold), in a single round trip. */
export async function readPage<T extends { id: string; created_at: string }>(db: Database, table: Listed, where: SQL[], query: PageQuery): Promise<Page<T>> {
  const all = sql.join(where, sql` and `);
  const from = query.cursor === undefined ? null : decodeCursor(query.cursor);
  const rest = from ? sql`${all} and (${table.created_at}, ${table.id}) < (${from.at}::timestamptz, ${from.id}::text)` : all;
  const offset = from ? 0 : (query.offset ?? 0);
  const [count, page] = await db.batch([
    db.execute<{ total: number }>(sql`select count(*)::int as total from ${table} where ${all}`),
    db.execute<{ body: string; found: number }>(sql`
      select body, found from (
        select body, chars, count(*) over ()::int as found, sum(chars) over (order by at desc, key desc) as so_far from (
          select ${table.data}::text as body, ${table.size} as chars, ${table.created_at} as at, ${table.id} as key
          from ${table} where ${rest} order by ${table.created_at} desc, ${table.id} desc limit ${query.limit + 1} offset ${offset}
        ) chosen
      ) measured where so_far - chars <= ${MAX_PAGE_CHARS} order by so_far`),
  ]);
  const items = page.rows.slice(0, query.limit).map(({ body }) => JSON.parse(body) as T);
  const last = items.at(-1);
  const more = (page.rows[0]?.found ?? 0) > items.length;
  return {
    items,
    total: count.rows[0]?.total ?? 0,
    limit: query.limit,
    offset,
    next_cursor: more && last ? encodeCursor({ at: last.created_at, id: last.id }) : null,
  };
}
