/** Owns PGlite as a database behind the local endpoint: one query at a time, over PostgreSQL's own protocol, so that values stay raw text. */

import { existsSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PGlite, protocol, messages as wire } from "@electric-sql/pglite";
import { completion, leavesTraces, sqlErrorOf, type Batch, type Database, type Statement, type StatementResult } from "./sql-endpoint.ts";

// Beside the package's own files: an upgrade brings a template of its own.
const template = join(dirname(createRequire(import.meta.url).resolve("@electric-sql/pglite")), "marionette-template.tar");

/** An empty database as a tar, made once: making one anew takes ten times as long as unpacking it. */
async function emptyDatabase(): Promise<Blob> {
  if (!existsSync(template)) {
    const fresh = await PGlite.create();
    const dump = await fresh.dumpDataDir("none");
    await fresh.close();
    const bytes = new Uint8Array(await dump.arrayBuffer());
    const partial = `${template}.${process.pid}`;
    // An install that cannot be written to is no reason to fail: the next start makes it again.
    await writeFile(partial, bytes).then(() => rename(partial, template)).catch(() => {});
    return new Blob([bytes]);
  }
  return new Blob([new Uint8Array(await readFile(template))]);
}

/** Makes a data directory whole or not at all, so that a start that is cut short leaves nothing to trip over. */
async function makeDirectory(dir: string): Promise<void> {
  const partial = `${dir}.partial`;
  await rm(partial, { recursive: true, force: true });
  const db = await PGlite.create({ dataDir: partial, loadDataDir: await emptyDatabase() });
  await db.close();
  await rename(partial, dir);
}

/** Opens PGlite in `dir`, or in memory. */
export async function openPglite(dir: string | null): Promise<Database> {
  if (dir !== null && !existsSync(dir)) await makeDirectory(dir);
  const db = await PGlite.create(dir === null ? { loadDataDir: await emptyDatabase() } : { dataDir: dir });
  await db.exec("SET timezone TO 'UTC'");
  const { parse, bind, describe, execute, sync } = protocol.serialize;

  async function one({ query, params }: Statement): Promise<StatementResult> {
    const { messages } = await db.execProtocol(Buffer.concat([parse({ text: query }), bind({ values: params }), describe({ type: "P" }), execute({}), sync()]));
    const result: StatementResult = { fields: [], rows: [], command: "", rowCount: null };
    for (const message of messages) {
      if (message instanceof wire.RowDescriptionMessage) {
        result.fields = message.fields.map((f) => ({
          name: f.name, dataTypeID: f.dataTypeID, tableID: f.tableID, columnID: f.columnID, dataTypeSize: f.dataTypeSize, dataTypeModifier: f.dataTypeModifier, format: "text",
        }));
      } else if (message instanceof wire.DataRowMessage) result.rows.push(message.fields);
      else if (message instanceof wire.CommandCompleteMessage) Object.assign(result, completion(message.text));
      else if (message instanceof wire.DatabaseError) throw message;
    }
    return result;
  }

  async function reset(): Promise<void> {
    // Three calls: several statements in one would be a transaction, in which DISCARD ALL is refused.
    for (const sql of ["ROLLBACK", "DISCARD ALL", "SET timezone TO 'UTC'"]) await db.exec(sql);
  }

  async function exclusive(statements: Statement[], batch: Batch | null): Promise<StatementResult[]> {
    const results: StatementResult[] = [];
    let whole = false;
    try {
      if (batch) await db.exec(batch.begin);
      for (const statement of statements) results.push(await one(statement));
      if (batch) await db.exec("COMMIT");
      whole = true;
    } catch (error) {
      throw sqlErrorOf(error) ?? error;
    } finally {
      if (!whole) await db.exec("ROLLBACK");
      else if (leavesTraces(results)) await reset();
    }
    return results;
  }

  // PGlite is one connection: without a queue a request would see another's open transaction.
  let tail: Promise<unknown> = Promise.resolve();
  function queued<T>(work: () => Promise<T>): Promise<T> {
    const turn = tail.then(work);
    tail = turn.catch(() => {});
    return turn;
  }

  return {
    run: (statements, batch) => queued(() => exclusive(statements, batch)),
    close: () => queued(() => db.close()),
  };
}
