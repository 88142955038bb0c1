/** Owns the HTTP door that speaks the Neon serverless driver's protocol (`POST /sql`) over any database behind it. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as z from "zod";
import { equalConstantTime } from "../../sdk/protocol/index.ts";

/** Neon's own limits, so that what passes here passes there. */
export const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
export const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** Longer than any client keeps a connection that it does not use. */
const KEEP_ALIVE_MS = 120_000;

export interface Statement {
  query: string;
  /** As text; null is SQL's NULL. */
  params: (string | null)[];
}

export interface StatementResult {
  fields: { name: string; dataTypeID: number; tableID: number; columnID: number; dataTypeSize: number; dataTypeModifier: number; format: string }[];
  /** Each value as PostgreSQL's own text. */
  rows: (string | null)[][];
  command: string;
  rowCount: number | null;
}

/** The statement that opens a batch's transaction, with its modes. */
export interface Batch {
  begin: string;
}

/** A database that runs statements: one alone, or several in one transaction. */
export interface Database {
  readonly run: (statements: Statement[], batch: Batch | null) => Promise<StatementResult[]>;
  readonly close: () => Promise<void>;
}

/** A failure that PostgreSQL itself reported; `fields` are its fields (message, code, detail …). */
export class SqlError extends Error {
  readonly fields: Record<string, string | number>;
  constructor(message: string, fields: Record<string, string | number>) {
    super(message);
    this.name = "SqlError";
    this.fields = fields;
  }
}

const FIELDS = [
  "message", "severity", "code", "detail", "hint", "position", "internalPosition", "internalQuery", "where",
  "schema", "table", "column", "dataType", "constraint", "file", "line", "routine",
] as const;

/** The failure that a driver's error carries, else null (a lost connection has no SQLSTATE). */
export function sqlErrorOf(error: unknown): SqlError | null {
  if (!(error instanceof Error) || !("code" in error) || !("severity" in error)) return null;
  const source = error as Error & Record<string, unknown>;
  const fields: Record<string, string | number> = {};
  for (const field of FIELDS) {
    const value = source[field];
    if (typeof value === "string" || typeof value === "number") fields[field] = value;
  }
  return new SqlError(error.message, fields);
}

/** Command word and row count of a completion tag: `INSERT 0 3` → INSERT, 3; `CREATE TABLE` → CREATE, null. */
export function completion(tag: string): { command: string; rowCount: number | null } {
  const count = /(\d+)$/.exec(tag);
  return { command: /^[A-Z]*/.exec(tag)?.[0] ?? "", rowCount: count ? Number(count[1]) : null };
}

/** Commands that leave a mark on their connection: after one of them it is not given to the next request as it is. */
export function leavesTraces(results: StatementResult[]): boolean {
  return results.some(({ command }) => /^(BEGIN|START|SET|RESET|PREPARE|DECLARE|LISTEN|LOAD|DISCARD)$/.test(command));
}

const param = z
  .union([z.string(), z.number(), z.boolean(), z.null(), z.record(z.string(), z.unknown())])
  .transform((value) => (value === null ? null : typeof value === "object" ? JSON.stringify(value) : String(value)));
const statement = z.object({ query: z.string(), params: z.array(param).max(65_535).default([]) });
const request = z.union([statement, z.object({ queries: z.array(statement).max(10_000) })]);

const LEVELS: Record<string, string> = {
  ReadUncommitted: "READ UNCOMMITTED", ReadCommitted: "READ COMMITTED", RepeatableRead: "REPEATABLE READ", Serializable: "SERIALIZABLE",
};

function beginOf(headers: IncomingMessage["headers"]): string {
  const level = LEVELS[String(headers["neon-batch-isolation-level"] ?? "")];
  const modes = [
    ...(level ? [`ISOLATION LEVEL ${level}`] : []),
    ...(headers["neon-batch-read-only"] === "true" ? ["READ ONLY"] : []),
    ...(headers["neon-batch-deferrable"] === "true" ? ["DEFERRABLE"] : []),
  ];
  return ["BEGIN", ...modes].join(" ");
}

/** The driver adds parameters of its own to the connection string, so only the password is compared. */
function passwordOf(connectionString: string): string {
  return URL.canParse(connectionString) ? new URL(connectionString).password : "";
}

async function bodyOf(incoming: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_REQUEST_BYTES) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

export interface Endpoint {
  port: number;
  /** While false, every request is answered 503, as by a database that is down. */
  available: boolean;
  close(): Promise<void>;
}

/** Serves `database` on 127.0.0.1 to whoever names the password in `url`; others are refused. */
export async function serveSql(database: Database, options: { url: string; port: number }): Promise<Endpoint> {
  const state = { available: true };

  async function answer(incoming: IncomingMessage): Promise<{ status: number; body: string }> {
    const refuse = (status: number, message: string, code?: string) => ({ status, body: JSON.stringify({ message, ...(code && { code }) }) });
    if (!state.available) return refuse(503, "the database is not available");
    if (incoming.method !== "POST" || incoming.url !== "/sql") return refuse(404, "only POST /sql is served here");
    if (!equalConstantTime(passwordOf(String(incoming.headers["neon-connection-string"] ?? "")), passwordOf(options.url))) return refuse(400, "password authentication failed", "28P01");
    const text = await bodyOf(incoming);
    if (text === null) return refuse(413, `request is too large (max is ${MAX_REQUEST_BYTES} bytes)`);
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      return refuse(400, "the body is not JSON");
    }
    const parsed = request.safeParse(json);
    if (!parsed.success) return refuse(400, `the body is not a query: ${parsed.error.issues[0]?.message ?? ""}`);
    const batch = "queries" in parsed.data;
    try {
      const results = await database.run("queries" in parsed.data ? parsed.data.queries : [parsed.data], batch ? { begin: beginOf(incoming.headers) } : null);
      const bodies = results.map((result) => ({ ...result, rowAsArray: true }));
      const body = JSON.stringify(batch ? { results: bodies } : bodies[0]);
      if (body.length > MAX_RESPONSE_BYTES) return refuse(507, `response is too large (max is ${MAX_RESPONSE_BYTES} bytes)`);
      return { status: 200, body };
    } catch (error) {
      if (error instanceof SqlError) return { status: 400, body: JSON.stringify({ ...error.fields, message: error.message }) };
      return refuse(503, `no answer from the database: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  const server = createServer((incoming, outgoing: ServerResponse) => {
    void answer(incoming)
      .catch((error: unknown) => ({ status: 500, body: JSON.stringify({ message: String(error) }) }))
      .then(({ status, body }) => {
        outgoing.writeHead(status, { "content-type": "application/json", ...(status === 413 && { connection: "close" }) });
        outgoing.end(body);
      });
  });
  // Node's five seconds are workerd's too: whoever uses a connection again just then would lose its request.
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    get available() {
      return state.available;
    },
    set available(value) {
      state.available = value;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
