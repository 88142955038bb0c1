/** Owns the way to Postgres: Neon's driver over HTTP, one request a statement or batch, and what its errors mean. */

import { neon, neonConfig, NeonDbError } from "@neondatabase/serverless";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import { Failure } from "../../sdk/protocol/index.ts";

export type Database = NeonHttpDatabase;

/** Longest that a statement may take before the database counts as unreachable. */
const TIMEOUT_MS = 10_000;

/**
 * Opens a database. `endpoint` (`http://host:port`) is given where the database is not Neon's own but stands behind an endpoint
 * that speaks its protocol; without it the driver derives Neon's from the URL.
 */
export function openDatabase(url: string, endpoint?: string): Database {
  if (endpoint) neonConfig.fetchEndpoint = `${endpoint.replace(/\/+$/, "")}/sql`;
  neonConfig.fetchFunction = async (to: string, init: RequestInit) => {
    const answer = await fetch(to, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
    // Read here: the driver counts only what fails before the answer's head as a lost connection, and one that breaks behind it is no less lost.
    return new Response(await answer.arrayBuffer(), answer);
  };
  return drizzle({ client: clientOf(url) });
}

/** A URL that is no connection string must not take the doors down that need no database: every statement fails instead. */
function clientOf(url: string): ReturnType<typeof neon<false, false>> {
  try {
    return neon(url);
  } catch {
    neonConfig.fetchFunction = () => Promise.reject(new Error("MARIONETTE_DATABASE_URL is not set, or no connection string"));
    return neon("postgresql://nobody:nothing@unset.invalid/unset");
  }
}

/** SQLSTATE classes that say "not now": connection, resources, operator, and a transaction to be tried again. */
const PASSING = /^(08|53|57|40)/;

function databaseError(error: unknown): NeonDbError | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof NeonDbError) return at;
  }
  return null;
}

/** `unavailable` where the error says that Postgres cannot be reached now; null where it is a fault of ours or no database error. */
export function databaseFailure(error: unknown): Failure | null {
  const cause = databaseError(error);
  if (!cause || (cause.code && !PASSING.test(cause.code))) return null;
  return new Failure("unavailable", "The database cannot be reached; sessions go on, lists and keys wait", {
    hint: "Try again in a few seconds",
    details: { retry_after_seconds: 5 },
  });
}
