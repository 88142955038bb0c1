import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFile, chmod, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { drizzle as overPg } from "drizzle-orm/node-postgres";
import { drizzle as overPglite } from "drizzle-orm/pglite";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createJsonlPersistence } from "./jsonl.ts";
import { createMemoryPersistence } from "./memory.ts";
import { createMarcoTables, createPostgresPersistence } from "./postgres.ts";
import { persistenceSuite } from "./suite.ts";

persistenceSuite("memory", async () => {
  const adapter = createMemoryPersistence();
  return { adapter, again: () => adapter };
});
persistenceSuite("JSONL files", async () => {
  const directory = await mkdtemp(join(tmpdir(), "marco-jsonl-"));
  const make = () => createJsonlPersistence({ directory });
  return { adapter: make(), again: make, end: () => rm(directory, { recursive: true, force: true }) };
});
persistenceSuite("PGlite", async () => {
  const db = await PGlite.create();
  await createMarcoTables(overPglite({ client: db }));
  const make = () => createPostgresPersistence({ db: overPglite({ client: db }) });
  return { adapter: make(), again: make, end: () => db.close() };
});
const real = process.env["DATABASE_URL"];
if (real) {
  persistenceSuite("PostgreSQL", async () => {
    const schema = `marco_${randomBytes(6).toString("hex")}`;
    const admin = new pg.Client({ connectionString: real });
    await admin.connect();
    await admin.query(`create schema ${schema}`);
    const pool = new pg.Pool({ connectionString: real, options: `-c search_path=${schema}` });
    await createMarcoTables(overPg({ client: pool }));
    const make = () => createPostgresPersistence({ db: overPg({ client: pool }) });
    return {
      adapter: make(),
      again: make,
      async end() {
        await pool.end();
        await admin.query(`drop schema ${schema} cascade`);
        await admin.end();
      },
    };
  });
}

describe("JSONL files", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "marco-jsonl-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));
  const fileOf = async (id: string, name: string) => join(directory, (await readdir(directory)).find((each) => each.startsWith(`${id}-`)) ?? "", name);

  it("lose half a line that a death left, and nothing else", async () => {
    const adapter = createJsonlPersistence({ directory });
    await adapter.append("torn", ["whole"]);
    await appendFile(await fileOf("torn", "archive.jsonl"), '{"at":"2026-11-21T00:00:00.000Z","mess');
    expect((await adapter.archive("torn")).map(({ message }) => message)).toEqual(["whole"]);
    expect(await adapter.append("torn", ["next"])).toBe(1);
    expect((await readFile(await fileOf("torn", "archive.jsonl"), "utf8")).split("\n")).toHaveLength(3);
  });
  it("say that a file is not theirs", async () => {
    const adapter = createJsonlPersistence({ directory });
    await adapter.save("broken", 1);
    await adapter.append("broken", [1]);
    await writeFile(await fileOf("broken", "state.json"), "{}");
    await writeFile(await fileOf("broken", "archive.jsonl"), "nonsense\n");
    await expect(adapter.load("broken")).rejects.toMatchObject({ code: "corrupt" });
    await expect(adapter.archive("broken")).rejects.toMatchObject({ code: "corrupt" });
  });
  it("take over the lock of a process that died", async () => {
    const adapter = createJsonlPersistence({ directory });
    await adapter.append("locked", [1]);
    const dead = spawn("true");
    await new Promise((resolve) => dead.once("exit", resolve));
    await writeFile(await fileOf("locked", "lock"), `${dead.pid} x`);
    expect(await adapter.append("locked", [2])).toBe(1);
    const lock = await fileOf("locked", "lock");
    await writeFile(lock, "");
    await utimes(lock, new Date(0), new Date(0));
    expect(await adapter.append("locked", [3])).toBe(2);
  });
  it("say that they cannot be written", async () => {
    await writeFile(join(directory, "file"), "");
    await expect(createJsonlPersistence({ directory: join(directory, "file") }).save("x", 1)).rejects.toMatchObject({ code: "unavailable" });
    await chmod(join(directory, "file"), 0o600);
  });
});

describe("Postgres", () => {
  it("says that it cannot be reached", async () => {
    const pool = new pg.Pool({ connectionString: "postgresql://x:y@127.0.0.1:1/none" });
    await expect(createPostgresPersistence({ db: overPg({ client: pool }) }).load("x")).rejects.toMatchObject({ code: "unavailable" });
    await pool.end();
  });
});
