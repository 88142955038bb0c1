/** Owns the whole of Marionette for a test: database, control plane, tenant and hosts, on free ports and in a directory of its own. */

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { migrate } from "../../migrations/migrate.ts";
import { ALL_SCOPES, host as hostSchema } from "../../sdk/protocol/index.ts";
import { adminOf, type Admin } from "../../worker/local/admin.ts";
import { bundleAgent } from "../../worker/local/bundle.ts";
import { startControlPlane, type ControlPlane, type ControlPlaneOptions } from "../../worker/local/control-plane.ts";
import { startHostProcess, type HostProcess } from "../../worker/local/host.ts";
import { startPostgres, type Postgres } from "../../worker/local/postgres.ts";
import { apiOf, listOf, type Api } from "./api.ts";
import { eventually } from "./eventually.ts";

export interface StackOptions {
  /** Hosts to start with; none by default. */
  hosts?: HostOptions[];
  /** Plain settings of the worker. */
  vars?: Record<string, string>;
  /** A directory by default, as a whole Marionette on one machine has. */
  objectStore?: ControlPlaneOptions["objectStore"];
  /** Put in front of the daemon's and the runner's programs. */
  prelude?: string;
  /** A real PostgreSQL; `DATABASE_URL` by default, PGlite where that is not set. The stack makes and drops a database of its own in it. */
  databaseUrl?: string | undefined;
}

export interface HostOptions {
  pool?: string;
  labels?: Record<string, string>;
  /** Further arguments of the daemon. Unless `--on-exit` is among them, its runners end with it; `kill` leaves them, as a crash would. */
  args?: string[];
  env?: Record<string, string | undefined>;
  /** Its data; a new directory by default. Give an ended host's to start it again. */
  dir?: string;
  /** Which host it is to come back as, where others may come and go meanwhile; else the first that was not online before. */
  id?: string;
}

export interface StackHost extends HostProcess {
  id: string;
  dir: string;
  /** Its last lines. */
  log: string[];
}

export interface Stack {
  url: string;
  masterKey: string;
  tenantId: string;
  /** A key of that tenant with all scopes. */
  apiKey: string;
  dir: string;
  admin: Admin;
  postgres: Postgres;
  controlPlane: ControlPlane;
  /** The worker's and the runtime's lines. */
  log: string[];
  /** A tenant beside the first, with a key of all scopes. */
  tenant(name: string): Promise<{ tenantId: string; apiKey: string }>;
  /** Starts a daemon that joins the first tenant, or `tenantId`, and waits until it is online. */
  host(options?: HostOptions, tenantId?: string, apiKey?: string): Promise<StackHost>;
  /** The API with the first tenant's key. */
  api: Api;
  close(): Promise<void>;
}

/** Creations a minute that no test runs into. */
const LIMITS = { sessions_per_minute: 1_000_000, tasks_per_minute: 1_000_000, open_streams: 100_000 };

/** A new database inside a real PostgreSQL, and how to drop it. */
async function ownDatabase(databaseUrl: string): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `marionette_${randomBytes(6).toString("hex")}`;
  async function run(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }
  await run(`CREATE DATABASE ${name}`);
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** Starts a stack. Whatever it starts is ended by `close`, also where the start itself fails. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const ends: (() => Promise<unknown>)[] = [];
  async function close(): Promise<void> {
    for (const end of ends.splice(0).reverse()) await end();
  }
  try {
    return await start(options, ends, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(options: StackOptions, ends: (() => Promise<unknown>)[], close: () => Promise<void>): Promise<Stack> {
  const dir = await mkdtemp(join(tmpdir(), "marionette-test-"));
  ends.push(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));

  const real = "databaseUrl" in options ? options.databaseUrl : process.env.DATABASE_URL;
  const own = real ? await ownDatabase(real) : null;
  if (own) ends.push(own.drop);
  const postgres = await startPostgres(own ? { databaseUrl: own.url } : {});
  ends.push(() => postgres.close());
  await migrate(postgres);

  const log: string[] = [];
  const masterKey = randomBytes(24).toString("base64url");
  const controlPlane = await startControlPlane({
    dir: join(dir, "state"),
    ...(options.objectStore && { objectStore: options.objectStore }),
    databaseUrl: postgres.url,
    databaseEndpoint: postgres.endpoint,
    masterKey,
    encryptionKey: randomBytes(32).toString("hex"),
    vars: { MARIONETTE_GATEWAY_PRIVATE: "1", ...options.vars },
    log: (line) => void log.push(line),
  });
  ends.push(() => controlPlane.close());

  const { url } = controlPlane;
  const admin = adminOf(url, masterKey);
  async function tenant(name: string) {
    const { id } = await admin.createTenant(name, LIMITS);
    const { key } = await admin.createKey(id, "tests", [...ALL_SCOPES]);
    return { tenantId: id, apiKey: key };
  }
  const first = await tenant("first");

  const stack: Stack = { url, masterKey, ...first, dir, admin, postgres, controlPlane, log, api: apiOf(url, first.apiKey), tenant, host, close };

  let programs: Promise<string> | undefined;
  async function built(): Promise<string> {
    const program = await bundleAgent(join(dir, "build"));
    const { prelude } = options;
    if (prelude) for (const file of [program, join(dirname(program), "runner.js")]) await writeFile(file, prelude + (await readFile(file, "utf8")).replace(/^#!.*\n/, ""));
    return program;
  }
  async function host({ pool, labels, args, env, dir: data, id: known }: HostOptions = {}, tenantId = first.tenantId, key = first.apiKey): Promise<StackHost> {
    const program = await (programs ??= built());
    const { token } = await admin.createRunnerToken(tenantId, "test host", pool, labels);
    const hostDir = data ?? join(dir, `host-${randomBytes(4).toString("hex")}`);
    await mkdir(hostDir, { recursive: true, mode: 0o700 });
    const lines: string[] = [];
    const api = apiOf(url, key);
    const online = async () => (await api.get("/hosts?limit=200", listOf(hostSchema))).items.filter(({ status }) => status === "online");
    const before = new Set((await eventually("the hosts can be listed", online)).map(({ id }) => id));
    const child = await startHostProcess({ program, server: url, token, dir: hostDir, args: [...(args?.includes("--on-exit") ? [] : ["--on-exit", "stop"]), ...(args ?? [])], env: env ?? {}, log: (line) => void lines.push(line) });
    ends.push(() => child.stop(5_000));
    const id = await Promise.race([
      eventually("the host is online", async () => (await online()).find(({ id }) => (known === undefined ? !before.has(id) : id === known))?.id),
      child.exited.then(({ code, signal }) => {
        throw new Error(`the daemon ended (${signal ?? code}):\n${lines.join("\n")}`);
      }),
    ]);
    return { ...child, id, dir: hostDir, log: lines };
  }

  for (const each of options.hosts ?? []) await host(each);
  return stack;
}
