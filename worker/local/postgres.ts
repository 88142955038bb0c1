/** Owns the local database: PGlite, or a real PostgreSQL, behind an endpoint that the worker's Neon driver speaks to. */

import { randomBytes } from "node:crypto";
import pg from "pg";
import { openPglite } from "./pglite.ts";
import { leavesTraces, serveSql, sqlErrorOf, type Batch, type Database, type Statement, type StatementResult } from "./sql-endpoint.ts";

export interface PostgresOptions {
  /** Directory of PGlite's data; absent: in memory. */
  dir?: string;
  /** A real PostgreSQL to stand in front of, instead of PGlite. */
  databaseUrl?: string;
  /** Port of the endpoint; any free one by default. */
  port?: number;
}

export interface Postgres {
  /** Connection string for `MARIONETTE_DATABASE_URL`: the key to this endpoint, not to the database behind it. */
  url: string;
  /** `http://host:port` for `MARIONETTE_DATABASE_ENDPOINT`. */
  endpoint: string;
  /** What runs behind the endpoint, in words. */
  kind: "PGlite" | "PostgreSQL";
  /** Runs one statement and answers its rows, values as PostgreSQL's text. */
  query(statement: string): Promise<Record<string, unknown>[]>;
  /** Runs all statements, or none. */
  transaction(statements: string[]): Promise<void>;
  /** While false, requests are answered as by a database that is down. */
  setAvailable(available: boolean): void;
  close(): Promise<void>;
}

/** Connections to a real PostgreSQL that one endpoint holds at most. */
const MAX_CONNECTIONS = 10;

/** Opens the database and serves it; throws where the database cannot be reached. */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const database = options.databaseUrl === undefined ? await openPglite(options.dir ?? null) : await openPool(options.databaseUrl);
  // Any process of this machine can reach the port; only who knows this string is served.
  const url = `postgresql://marionette:${randomBytes(24).toString("base64url")}@localhost/marionette`;
  const endpoint = await serveSql(database, { url, port: options.port ?? 0 });
  return {
    url,
    endpoint: `http://127.0.0.1:${endpoint.port}`,
    kind: options.databaseUrl === undefined ? "PGlite" : "PostgreSQL",
    query: async (statement) => {
      const [result] = await database.run([{ query: statement, params: [] }], null);
      return result ? result.rows.map((row) => Object.fromEntries(result.fields.map(({ name }, i) => [name, row[i]]))) : [];
    },
    transaction: async (statements) => {
      await database.run(statements.map((query) => ({ query, params: [] })), { begin: "BEGIN" });
    },
    setAvailable: (available) => {
      endpoint.available = available;
    },
    close: async () => {
      await endpoint.close();
      await database.close();
    },
  };
}

const raw = { getTypeParser: () => (value: string) => value };

async function openPool(connectionString: string): Promise<Database> {
  const pool = new pg.Pool({ connectionString, max: MAX_CONNECTIONS, options: "-c timezone=UTC", types: raw });
  // An idle connection that breaks is replaced by the next request; unheard, its error would end the process.
  pool.on("error", () => {});
  (await pool.connect()).release();

  async function one(client: pg.PoolClient, { query, params }: Statement): Promise<StatementResult> {
    const config: pg.QueryArrayConfig & { queryMode: "extended" } = { text: query, values: params, rowMode: "array", queryMode: "extended" };
    const { fields, rows, command, rowCount } = await client.query<(string | null)[]>(config);
    return {
      fields: fields.map((f) => ({
        name: f.name, dataTypeID: f.dataTypeID, tableID: f.tableID, columnID: f.columnID, dataTypeSize: f.dataTypeSize, dataTypeModifier: f.dataTypeModifier, format: "text",
      })),
      rows,
      command,
      rowCount,
    };
  }

  async function run(statements: Statement[], batch: Batch | null): Promise<StatementResult[]> {
    const client = await pool.connect();
    const results: StatementResult[] = [];
    let clean = false;
    try {
      if (batch) await client.query(batch.begin);
      for (const statement of statements) results.push(await one(client, statement));
      if (batch) await client.query("COMMIT");
      clean = !leavesTraces(results);
      return results;
    } catch (error) {
      const failure = sqlErrorOf(error);
      // A failed statement leaves the connection good once its transaction is closed; a lost connection stays lost.
      if (failure) clean = await client.query("ROLLBACK").then(() => true, () => false);
      throw failure ?? error;
    } finally {
      client.release(!clean);
    }
  }

  return { run, close: () => pool.end() };
}
