/** Owns conversations in Postgres, through drizzle over whichever driver the caller has. Every change is one statement, so drivers without transactions will do. */

import { and, asc, eq, gte, sql } from "drizzle-orm";
import { integer, json, pgTable, primaryKey, text, timestamp, type PgDatabase, type PgQueryResultHKT } from "drizzle-orm/pg-core";
import { appendedSince, batchTexts, checkedId, checkedPage, jsonText, MAX_JSON_BYTES, PersistenceError, savedSince, type Archived, type Json, type LiveState, type PersistenceAdapter } from "./adapter.ts";

/** `json`, not `jsonb`: what models and tools write may hold NUL, which `jsonb` refuses. */
export const marcoConversations = pgTable("marco_conversations", {
  id: text().primaryKey(),
  revision: integer().notNull(),
  state: json().$type<Json>().notNull(),
  updated_at: timestamp({ withTimezone: true }).notNull(),
});
export const marcoArchive = pgTable(
  "marco_archive",
  { conversation_id: text().notNull(), seq: integer().notNull(), message: json().$type<Json>().notNull(), at: timestamp({ withTimezone: true }).notNull() },
  (table) => [primaryKey({ columns: [table.conversation_id, table.seq] })],
);

/** For those who run migrations of their own. */
export const MARCO_TABLES = [
  "create table if not exists marco_conversations (id text primary key, revision integer not null, state json not null, updated_at timestamptz not null)",
  "create table if not exists marco_archive (conversation_id text not null, seq integer not null, message json not null, at timestamptz not null, primary key (conversation_id, seq))",
] as const;

type Db = PgDatabase<PgQueryResultHKT>;

export interface PostgresPersistenceOptions {
  /** From `drizzle()` of any of its Postgres drivers. */
  db: Db;
  now?: (() => Date) | undefined;
}

const UNIQUE_VIOLATION = "23505";
const TRIES = 50;

/** Makes the tables where they are missing. */
export async function createMarcoTables(db: Db): Promise<void> {
  for (const statement of MARCO_TABLES) await told(async () => db.execute(sql.raw(statement)));
}

export function createPostgresPersistence({ db, now = () => new Date() }: PostgresPersistenceOptions): PersistenceAdapter {
  const load = async (id: string): Promise<LiveState | null> => {
    const [row] = await db.select().from(marcoConversations).where(eq(marcoConversations.id, id));
    return row === undefined ? null : { state: row.state, revision: row.revision, updated_at: row.updated_at };
  };
  const next = async (id: string): Promise<number> => {
    const [row] = await db.select({ next: sql<number>`coalesce(max(${marcoArchive.seq}) + 1, 0)`.mapWith(Number) }).from(marcoArchive).where(eq(marcoArchive.conversation_id, id));
    return row?.next ?? 0;
  };
  /** The rows are numbered by the statement that looks which comes next: none, where that is not `seq`. */
  const insert = async (id: string, seq: number, texts: readonly string[]): Promise<boolean> => {
    const rows = sql`select ${id}, ${seq}::integer + part.n::integer - 1, part.message, ${now().toISOString()}::timestamptz from json_array_elements(${`[${texts.join(",")}]`}::json) with ordinality as part(message, n)
      where coalesce((select max(seq) + 1 from marco_archive where conversation_id = ${id}), 0) = ${seq}::integer`;
    const inserted = await db.insert(marcoArchive).select(rows).returning({ seq: marcoArchive.seq }).catch((error: unknown) => {
      // Another has inserted the same seq between this statement's look and its rows.
      if (sqlStateOf(error) === UNIQUE_VIOLATION) return [];
      throw error;
    });
    return inserted.length > 0;
  };
  return {
    load: (id) => told(() => load(checkedId(id))),
    save: (id, state, { revision } = {}) => told(async () => {
      const text = jsonText(state, "state");
      const values = { id: checkedId(id), state: sql`${text}::json`, updated_at: now() };
      const insert = db.insert(marcoConversations).values({ ...values, revision: 1 });
      const set = { state: values.state, updated_at: values.updated_at, revision: sql`${marcoConversations.revision} + 1` };
      const where = eq(marcoConversations.revision, revision ?? 0);
      const [row] =
        revision === undefined ? await insert.onConflictDoUpdate({ target: marcoConversations.id, set }).returning()
        : revision === 0 ? await insert.onConflictDoNothing().returning()
        : await db.update(marcoConversations).set(set).where(and(eq(marcoConversations.id, id), where)).returning();
      if (row === undefined) throw savedSince(id, revision ?? 0, (await load(id))?.revision ?? 0);
      return { state: row.state, revision: row.revision, updated_at: row.updated_at };
    }),
    append: (id, messages, { seq } = {}) => told(async () => {
      const texts = batchTexts(messages);
      const bytes = texts.reduce((sum, each) => sum + Buffer.byteLength(each), 0);
      if (bytes > 8 * MAX_JSON_BYTES) throw new PersistenceError("too_large", `messages: ${bytes} bytes at once, more than ${8 * MAX_JSON_BYTES}`);
      for (let attempt = 1; ; attempt++) {
        const at = seq ?? (await next(checkedId(id)));
        if (texts.length === 0 && at === (await next(checkedId(id)))) return at;
        if (texts.length > 0 && (await insert(checkedId(id), at, texts))) return at;
        if (seq !== undefined || attempt >= TRIES) throw appendedSince(id, at, await next(id));
      }
    }),
    archive: (id, options = {}) => told(async (): Promise<Archived[]> => {
      const { seq, limit } = checkedPage(options);
      const rows = await db.select().from(marcoArchive).where(and(eq(marcoArchive.conversation_id, checkedId(id)), gte(marcoArchive.seq, seq))).orderBy(asc(marcoArchive.seq)).limit(limit);
      return rows.map(({ seq, message, at }) => ({ seq, message, at }));
    }),
    remove: (id) => told(async () => {
      const states = await db.delete(marcoConversations).where(eq(marcoConversations.id, checkedId(id))).returning({ id: marcoConversations.id });
      const messages = await db.delete(marcoArchive).where(eq(marcoArchive.conversation_id, id)).returning({ seq: marcoArchive.seq });
      return states.length + messages.length > 0;
    }),
    // The connection is the caller's.
    async close() {},
  };
}

/** The code of the database's own error, below drizzle's. */
function sqlStateOf(error: unknown): string | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if ("code" in at && typeof at.code === "string" && /^[0-9A-Z]{5}$/.test(at.code)) return at.code;
  }
  return null;
}

async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PersistenceError) throw error;
    const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new PersistenceError("unavailable", `the conversation's database: ${inner instanceof Error ? inner.message.slice(0, 500) : String(inner)}`, { cause: error });
  }
}
