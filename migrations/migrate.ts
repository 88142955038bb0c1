/** Owns the running of the SQL files beside it: in order, each once, all of a run in one transaction. Run as a program, it migrates `MARIONETTE_DATABASE_URL`. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { neon, neonConfig } from "@neondatabase/serverless";

/** The little of a database that migrating needs. */
export interface SqlExecutor {
  /** Runs one statement and answers its rows. */
  query(statement: string): Promise<Record<string, unknown>[]>;
  /** Runs all statements, or none. */
  transaction(statements: string[]): Promise<void>;
}

export interface Migration {
  name: string;
  statements: string[];
}

/** Any number will do, as long as every migrator takes the same. */
const LOCK = 7_269_518_340;

/** The migrations, first to last. `directory` is where the SQL files lie: by default beside this file. */
export function migrations(directory = import.meta.dirname): Migration[] {
  return readdirSync(directory)
    .filter((file) => /^\d{4}_\w+\.sql$/.test(file))
    .sort()
    .map((file) => ({
      name: file.slice(0, -".sql".length),
      statements: readFileSync(join(directory, file), "utf8").split("--> statement-breakpoint").map((part) => part.trim()).filter(Boolean),
    }));
}

/**
 * Brings a database up to date and answers the names of what was applied now. A failing statement leaves everything as it was.
 * Of two migrators at once the second waits, is refused by the first one's record, and finds nothing left to do.
 */
export async function migrate(executor: SqlExecutor, all: Migration[] = migrations()): Promise<string[]> {
  const missing = async () => {
    const [table] = await executor.query("select to_regclass('schema_migrations')::text as name");
    const rows = table?.["name"] ? await executor.query("select name from schema_migrations") : [];
    const done = new Set(rows.map(({ name }) => String(name)));
    return all.filter(({ name }) => !done.has(name));
  };
  const todo = await missing();
  if (todo.length === 0) return [];
  try {
    await executor.transaction([
      `select pg_advisory_xact_lock(${LOCK})`,
      "create table if not exists schema_migrations (name text primary key, applied_at timestamptz not null default now())",
      // The names first: where another migrator was quicker, this refuses before anything is touched.
      ...todo.map(({ name }) => `insert into schema_migrations (name) values ('${name}')`),
      ...todo.flatMap(({ statements }) => statements),
    ]);
  } catch (error) {
    if ((await missing()).length > 0) throw error;
    return [];
  }
  return todo.map(({ name }) => name);
}

/** An executor over Neon's HTTP protocol; `endpoint` (`http://host:port`) where it is not Neon's own. */
export function overHttp(url: string, endpoint?: string): SqlExecutor {
  if (endpoint) neonConfig.fetchEndpoint = `${endpoint}/sql`;
  const sql = neon(url);
  return {
    query: (statement) => sql.query(statement),
    transaction: async (statements) => {
      await sql.transaction(statements.map((statement) => sql.query(statement)));
    },
  };
}

if (import.meta.main) {
  const url = process.env["MARIONETTE_DATABASE_URL"];
  if (!url) throw new Error("MARIONETTE_DATABASE_URL is not set: give the connection string of the database to migrate");
  const applied = await migrate(overHttp(url, process.env["MARIONETTE_DATABASE_ENDPOINT"]));
  process.stdout.write(applied.length > 0 ? `applied ${applied.join(", ")}\n` : "nothing to apply\n");
}
