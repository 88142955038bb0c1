/** Owns the parts of one machine and their order: database, control plane, tenant with its key, host; and their end, the other way round. */

import { createWriteStream, existsSync, mkdirSync, renameSync, statSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { migrate } from "../../migrations/migrate.ts";
import { ALL_SCOPES, host as hostSchema, type Host } from "../../sdk/protocol/index.ts";
import { adminOf } from "./admin.ts";
import { bundleAgent } from "./bundle.ts";
import { startControlPlane, type ControlPlane } from "./control-plane.ts";
import type { DataDirectory, Secrets } from "./data.ts";
import { startHostProcess, type HostProcess } from "./host.ts";
import { noteOf } from "./leftovers.ts";
import { startPostgres, type Postgres } from "./postgres.ts";

export interface MachineOptions {
  data: DataDirectory;
  port: number;
  /** A real PostgreSQL instead of PGlite. */
  databaseUrl?: string | undefined;
  /** Each part as it comes up, and what goes wrong later. */
  say: (line: string) => void;
}

/** What a person is told once everything runs. */
export interface Ready {
  url: string;
  apiKey: string;
  database: Postgres["kind"];
  /** The host as the control plane sees it; null where it has not come online. */
  host: Host | null;
}

export interface Machine {
  /** Rejects where a part cannot start; the parts before it have then been ended. */
  ready: Promise<Ready>;
  /** Ends all parts in order: the host with its sandboxes, the control plane, the database. Also while they still start. */
  stop(): Promise<void>;
  /** Ends all processes now. */
  kill(): void;
}

/** Directories that the machine opens, limits and agents of its own: `marionette.yaml` beside the data, unless MARIONETTE_CONFIG names another, which the daemon reads itself. */
function ownConfig(root: string): string[] {
  const file = join(root, "marionette.yaml");
  return process.env.MARIONETTE_CONFIG === undefined && existsSync(file) ? ["--config", file] : [];
}

/** Creations a minute on one's own machine: a limit that only a loop gone wild meets. */
const LIMITS = { sessions_per_minute: 10_000, tasks_per_minute: 100_000, open_streams: 10_000 };
const MAX_LOG_BYTES = 10 * 1024 * 1024;
const HOST_ONLINE_MS = 20_000;
/** Six hours: one's own machine is not up all day. */
const COLLECT_EVERY_MS = 6 * 3_600_000;
/** Pause before an ended daemon is started again. */
const HOST_RESTART_MS = 1_000;

/** What a person should see at once of a log line: errors, in one line and without their stacks; null for all else. */
function faultOf(line: string): string | null {
  if (!line.startsWith("{")) return /^(\S+ )?(ERROR|Uncaught|Error)\b/.test(line) ? line.slice(0, 500) : null;
  if (!/"level":"(error|fatal)"/.test(line)) return null;
  try {
    const { event, error, path } = JSON.parse(line) as Record<string, unknown>;
    return [event, path, error].filter((part) => typeof part === "string").join(": ").split("\n")[0]?.slice(0, 500) ?? null;
  } catch {
    return line.slice(0, 500);
  }
}

/** A part's log file; the last run's is kept beside it once it has grown large. Lines at level error are passed on to `show`. */
function logOf(dir: string, name: string, show: (line: string) => void): { write: (line: string) => void; path: string; end: () => void } {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `${name}.log`);
  if (existsSync(path) && statSync(path).size > MAX_LOG_BYTES) renameSync(path, `${path}.old`);
  const stream: WriteStream = createWriteStream(path, { flags: "a", mode: 0o600 });
  let last: string | null = null;
  return {
    path,
    write: (line) => {
      stream.write(`${line}\n`);
      const fault = faultOf(line);
      // One that repeats is shown once.
      if (fault && fault !== last) show(`${name}: ${fault} (more in ${path})`);
      last = fault ?? last;
    },
    end: () => void stream.end(),
  };
}

/** The tenant, key and runner token of this machine: those that it has, as far as the control plane still knows them, else new ones. */
async function ensureAccess(url: string, data: DataDirectory, secrets: Secrets): Promise<{ apiKey: string; runnerToken: string }> {
  const admin = adminOf(url, secrets.master_key);
  const kept = await data.context();
  const known = kept !== null && (await fetch(`${url}/api/v1/sessions?limit=1`, { headers: { authorization: `Bearer ${kept.api_key}` } })).status !== 401;
  if (known && secrets.tenant_id && secrets.runner_token) {
    if (kept.url !== url) await data.saveContext({ ...kept, url });
    return { apiKey: kept.api_key, runnerToken: secrets.runner_token };
  }
  const tenantId = known && secrets.tenant_id ? secrets.tenant_id : (await admin.createTenant("local", LIMITS)).id;
  const { token } = await admin.createRunnerToken(tenantId, "this machine");
  const { key } = await admin.createKey(tenantId, "first key", [...ALL_SCOPES]);
  await data.saveSecrets({ ...secrets, tenant_id: tenantId, runner_token: token });
  await data.saveContext({ url, api_key: key });
  return { apiKey: key, runnerToken: token };
}

async function onlineHost(url: string, apiKey: string, stopping: () => boolean): Promise<Host | null> {
  const end = Date.now() + HOST_ONLINE_MS;
  while (Date.now() < end && !stopping()) {
    const response = await fetch(`${url}/api/v1/hosts?limit=200`, { headers: { authorization: `Bearer ${apiKey}` } }).catch(() => null);
    const body = response?.ok ? ((await response.json()) as { items: unknown[] }) : { items: [] };
    const online = body.items.map((item) => hostSchema.parse(item)).find(({ status }) => status === "online");
    if (online) return online;
    await delay(50);
  }
  return null;
}

/** Starts everything. */
export function startMachine({ data, port, databaseUrl, say }: MachineOptions): Machine {
  const ends: (() => Promise<unknown>)[] = [];
  const state: { stopping: boolean; controlPlane: ControlPlane | null; host: HostProcess | null } = { stopping: false, controlPlane: null, host: null };
  const url = `http://127.0.0.1:${port}`;

  async function endAll(): Promise<void> {
    for (const end of ends.splice(0).reverse()) await end().catch((error: unknown) => say(String(error)));
    await data.saveRunning(null);
  }

  /** Notes what runs, so that the next start finds what this one may leave behind. */
  async function note(): Promise<void> {
    // The host first: it is asked to end its sandboxes while the rest may already be gone.
    const parts = await Promise.all([noteOf("host", state.host?.pid ?? null), noteOf("control plane", state.controlPlane?.pid ?? null), noteOf("npm start", process.pid)]);
    if (!state.stopping) await data.saveRunning({ url, processes: parts.flat() });
  }

  function assertGoingOn(): void {
    if (state.stopping) throw new Error("stopped while starting");
  }

  async function keepHost(program: string, token: string, log: { write: (line: string) => void; path: string }): Promise<void> {
    const child = await startHostProcess({ program, server: url, token, dir: data.part("host"), args: ["--on-exit", "stop", "--hide", data.root, ...ownConfig(data.root)], log: log.write });
    state.host = child;
    await note();
    void child.exited.then(async ({ code, signal }) => {
      if (state.stopping) return;
      say(`The host's daemon ended (${signal ?? code}) and is started again. Its log: ${log.path}`);
      await delay(HOST_RESTART_MS);
      if (!state.stopping) await keepHost(program, token, log);
    });
  }

  async function start(): Promise<Ready> {
    await note();
    const secrets = await data.secrets();
    const programs = bundleAgent(data.part("build"));
    // Awaited below; until then a failure must not end the process unheard.
    programs.catch(() => {});

    const postgres = await startPostgres(databaseUrl ? { databaseUrl } : { dir: data.part("postgres") });
    ends.push(() => postgres.close());
    const applied = await migrate(postgres);
    say(`database       ${postgres.kind}${applied.length > 0 ? `, migrations applied: ${applied.length}` : ""}`);
    assertGoingOn();

    const workerLog = logOf(data.part("logs"), "control-plane", say);
    ends.push(async () => workerLog.end());
    const controlPlane = await startControlPlane({
      port,
      dir: data.part("state"),
      databaseUrl: postgres.url,
      databaseEndpoint: postgres.endpoint,
      masterKey: secrets.master_key,
      encryptionKey: secrets.encryption_key,
      vars: { MARIONETTE_GATEWAY_PRIVATE: "1", MARIONETTE_LOG_LEVEL: process.env.MARIONETTE_LOG_LEVEL ?? "info" },
      log: workerLog.write,
      onRestart: () => void note(),
    });
    ends.push(() => controlPlane.close());
    state.controlPlane = controlPlane;
    await note();
    say(`control plane  ${url}`);
    // What a deployment's cron does: workspaces whose time is over, and chunks that nothing needs.
    const collecting = setInterval(() => void adminOf(url, secrets.master_key).collect().catch((error: unknown) => workerLog.write(`collection failed: ${String(error)}`)), COLLECT_EVERY_MS);
    ends.push(async () => clearInterval(collecting));
    const { apiKey, runnerToken } = await ensureAccess(url, data, secrets);
    const program = await programs;
    assertGoingOn();

    const hostLog = logOf(data.part("logs"), "host", say);
    ends.push(async () => hostLog.end());
    ends.push(async () => state.host?.stop());
    await keepHost(program, runnerToken, hostLog);
    const host = await onlineHost(url, apiKey, () => state.stopping);
    say(host ? `host           ${host.name}, ${host.max_runners} runners at once` : `The host has not come online within ${HOST_ONLINE_MS / 1_000} s. Its log: ${hostLog.path}`);
    return { url, apiKey, database: postgres.kind, host };
  }

  const ready = start().catch(async (error: unknown) => {
    state.stopping = true;
    await endAll();
    throw error;
  });
  return {
    ready,
    stop: async () => {
      state.stopping = true;
      await ready.catch(() => {});
      await endAll();
    },
    kill: () => {
      state.stopping = true;
      for (const pid of [state.host?.pid, state.controlPlane?.pid]) if (pid) process.kill(pid, "SIGKILL");
    },
  };
}
