import { neon, neonConfig } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostgres, type Postgres } from "./postgres.ts";

const behind = [
  { name: "PGlite", options: {} },
  ...(process.env.DATABASE_URL ? [{ name: "PostgreSQL", options: { databaseUrl: process.env.DATABASE_URL } }] : []),
];

describe.each(behind)("the Neon driver in front of $name", ({ options }) => {
  let postgres: Postgres;
  let sql: ReturnType<typeof neon<false, true>>;
  const table = `endpoint_${process.pid}`;

  beforeAll(async () => {
    postgres = await startPostgres(options);
    neonConfig.fetchEndpoint = () => `${postgres.endpoint}/sql`;
    neonConfig.disableWarningInBrowsers = true;
    sql = neon(postgres.url, { fullResults: true });
    await postgres.query(`CREATE TABLE ${table} (id int PRIMARY KEY, name text, at timestamptz, data jsonb, big bigint, tags text[], flag boolean, bytes bytea)`);
  });
  afterAll(async () => {
    await postgres.query(`DROP TABLE ${table}`);
    await postgres.close();
  });

  it("gives back what was written, each type as the driver reads PostgreSQL's text", async () => {
    const at = new Date("2026-01-02T03:04:05.678Z");
    const values = [1, "Ünïcode 'quoted'\n", at, { a: [1, null] }, "9007199254740993", ["x", "y,z"], true, Buffer.from([0, 255])];
    const insert = await sql.query(`INSERT INTO ${table} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, values);
    expect(insert).toMatchObject({ command: "INSERT", rowCount: 1, rows: [] });
    const { rows, rowCount, fields } = await sql.query(`SELECT * FROM ${table} WHERE id = $1`, [1]);
    expect(rowCount).toBe(1);
    expect(rows[0]).toEqual({ id: 1, name: values[1], at, data: { a: [1, null] }, big: "9007199254740993", tags: ["x", "y,z"], flag: true, bytes: Buffer.from([0, 255]) });
    expect(fields[2]).toMatchObject({ name: "at", dataTypeID: 1184 });
  });

  it("runs a batch as one transaction: a failure undoes all of it", async () => {
    const insert = (id: number) => sql.query(`INSERT INTO ${table} (id) VALUES ($1)`, [id]);
    await expect(sql.transaction([insert(10), insert(11), insert(10)])).rejects.toMatchObject({ code: "23505", table, constraint: `${table}_pkey` });
    const count = () => sql.query(`SELECT count(*)::int AS n FROM ${table} WHERE id >= 10`);
    expect((await count()).rows).toEqual([{ n: 0 }]);
    const results = await sql.transaction([insert(10), insert(11), count()]);
    expect(results[2]?.rows).toEqual([{ n: 2 }]);
  });

  it("honours isolation level and read-only of a batch, and neither outlives it", async () => {
    const level = () => sql.query("SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS read_only");
    const [inside] = await sql.transaction([level()], { isolationLevel: "Serializable", readOnly: true });
    expect(inside?.rows).toEqual([{ level: "serializable", read_only: "on" }]);
    await expect(sql.transaction([sql.query(`DELETE FROM ${table}`)], { readOnly: true })).rejects.toMatchObject({ code: "25006" });
    expect((await level()).rows).toEqual([{ level: "read committed", read_only: "off" }]);
  });

  it("answers a wrong statement with PostgreSQL's own code and goes on", async () => {
    await expect(sql.query("SELEC 1")).rejects.toMatchObject({ code: "42601", position: "1", severity: "ERROR" });
    await expect(sql.query("SELECT $1::int", ["x"])).rejects.toMatchObject({ code: "22P02" });
    await expect(sql.query("SELECT 1; SELECT 2")).rejects.toMatchObject({ code: "42601" });
    expect((await sql.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });

  it("never lets one request's session state reach the next", async () => {
    await sql.query("BEGIN");
    await sql.query("SET statement_timeout = 1234");
    await Promise.all(Array.from({ length: 12 }, async () => {
      expect((await sql.query("SELECT current_setting('statement_timeout') AS t, current_setting('timezone') AS z")).rows).toEqual([{ t: "0", z: "UTC" }]);
    }));
    await sql.query(`INSERT INTO ${table} (id) VALUES (50)`);
    expect((await sql.query(`DELETE FROM ${table} WHERE id = 50`)).rowCount).toBe(1);
  });

  it("keeps concurrent batches apart", async () => {
    await sql.query(`INSERT INTO ${table} (id, big) VALUES (100, 0)`);
    const add = () => sql.transaction([sql.query(`UPDATE ${table} SET big = big + 1 WHERE id = 100`), sql.query(`SELECT big FROM ${table} WHERE id = 100`)]);
    const seen = await Promise.all(Array.from({ length: 30 }, add));
    expect(new Set(seen.map((results) => results[1]?.rows[0]?.big)).size).toBe(30);
  });

  it("refuses who does not know the connection string, and bodies that are no query", async () => {
    const post = (body: string, key = postgres.url) => fetch(`${postgres.endpoint}/sql`, { method: "POST", body, headers: { "neon-connection-string": key } });
    expect(await (await post('{"query":"SELECT 1"}', "postgresql://a:b@c/d")).json()).toMatchObject({ code: "28P01" });
    for (const body of ["", "{", "[]", '{"query":1}', '{"queries":[{}]}']) expect((await post(body)).status).toBe(400);
    expect((await fetch(`${postgres.endpoint}/`)).status).toBe(404);
  });

  it("answers as a database that is down while it is set unavailable", async () => {
    postgres.setAvailable(false);
    await expect(sql.query("SELECT 1")).rejects.toThrow("503");
    postgres.setAvailable(true);
    expect((await sql.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });
});
