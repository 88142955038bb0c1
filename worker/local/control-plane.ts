/** Owns the worker in workerd on this machine: its bindings as `wrangler.toml` names them, its port, its life. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Miniflare, Log, LogLevel } from "miniflare";
import { bundleWorker } from "./bundle.ts";

const run = promisify(execFile);

export const COMPATIBILITY = { date: "2026-10-01", flags: ["nodejs_compat", "enable_request_signal"] };
export const BUCKET = "marionette";
/** The way to addresses that tenants give: workerd refuses to connect to private ones, whatever name led there. */
export const PUBLIC_NETWORK = { type: "network" as const, allow: ["public"], tlsOptions: { trustBrowserCas: true } };
/** Binding → class of the objects. */
export const OBJECTS = { SESSIONS: "SessionObject", HOSTS: "HostObject", POOLS: "PoolObject", TENANTS: "TenantObject", STORAGE: "StorageObject" };

export interface ControlPlaneOptions {
  /** Port that workerd itself listens on; any free one by default. */
  port?: number;
  /** Where objects and sealed bytes are kept. */
  dir: string;
  /** What keeps sealed bytes: a directory, or workerd's simulation of R2, which is some thirty times slower and is what earlier data lies in. By default what `dir` has begun with. */
  objectStore?: "disk" | "r2";
  databaseUrl: string;
  databaseEndpoint: string;
  masterKey: string;
  /** 32 bytes, hex. */
  encryptionKey: string;
  /** Plain settings beside those. */
  vars?: Record<string, string>;
  /** The worker's and the runtime's lines; printed to stderr by default. */
  log?: (line: string) => void;
  /** Called when workerd has come back by itself, with another pid. */
  onRestart?: () => void;
}

export interface ControlPlane {
  url: string;
  /** Of workerd; changes when it is restarted. */
  readonly pid: number | null;
  /** Ends workerd with SIGKILL, in the midst of whatever it does; resolves when it serves again, on the same port and data. */
  kill(): Promise<void>;
  /** Ends workerd and keeps it down until `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Pids of workerd that belong to a control plane of this process. */
const owned = new Set<number>();
let starting: Promise<unknown> = Promise.resolve();

/** miniflare does not tell its workerd's pid: it is the child of that name that nobody here owns yet. */
async function newWorkerd(): Promise<number | null> {
  const { stdout } = await run("ps", ["-ax", "-o", "pid=,ppid=,comm="]).catch(() => ({ stdout: "" }));
  for (const [, pid, parent] of stdout.matchAll(/^\s*(\d+)\s+(\d+)\s+(?:.*\/)?workerd\S*$/gm)) {
    if (Number(parent) === process.pid && !owned.has(Number(pid))) return Number(pid);
  }
  return null;
}

/** What `dir` has begun with: the simulation of R2 where that has kept bytes in it. */
export function objectStoreIn(dir: string): "disk" | "r2" {
  return existsSync(join(dir, "r2", BUCKET)) ? "r2" : "disk";
}

/** Opens the directory of sealed bytes, without what a workerd that was killed had half written beside its place. */
async function openDisk(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const partial = (await readdir(path, { recursive: true })).filter((name) => /(^|\/)\.[^/]+\.\d+\.\d+\.tmp$/.test(name));
  await Promise.all(partial.map((name) => rm(join(path, name), { force: true })));
}

/** Makes a Miniflare without its signal handlers, which would end this process at once: what a signal means here is the caller's to say. */
function quietly(make: () => Miniflare): Miniflare {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const before = new Set(signals.flatMap((signal) => process.listeners(signal)));
  const made = make();
  for (const signal of signals) for (const listener of process.listeners(signal)) if (!before.has(listener)) process.removeListener(signal, listener);
  return made;
}

/** Bundles the worker and starts it. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const bundle = await bundleWorker();
  const write = options.log ?? ((line: string) => void process.stderr.write(`${line}\n`));
  class Lines extends Log {
    override log(message: string): void {
      write(message);
    }
  }
  const state: { miniflare: Miniflare | null; pid: number | null; port: number; restarted: () => void } = {
    miniflare: null, pid: null, port: options.port ?? 0, restarted: () => {},
  };

  const objectStore = options.objectStore ?? objectStoreIn(options.dir);
  const disk = join(options.dir, "objects");
  const text = (value: string) => ({ type: "text" as const, value });
  const instance = () =>
    new Miniflare({
      host: "127.0.0.1",
      cf: false,
      enableDevRegistry: false,
      telemetry: { enabled: false },
      logRequests: false,
      log: new Lines(LogLevel.WARN),
      handleStructuredLogs: ({ message }) => write(message),
      resourcePersistencePath: options.dir,
      unsafeHandleRuntimeRestart: async () => {
        await adopt();
        state.restarted();
        options.onRestart?.();
      },
      workers: [
        {
          config: {
            name: "marionette",
            compatibilityDate: COMPATIBILITY.date,
            compatibilityFlags: COMPATIBILITY.flags,
            manifest: { mainModule: "index.js", modulesRoot: options.dir, modules: { "index.js": { type: "esm", contents: bundle } } },
            env: {
              ...(objectStore === "r2" ? { BUCKET: { type: "r2", name: BUCKET } } : { DISK: { type: "disk", path: disk, writable: true } }),
              MARIONETTE_OBJECT_STORE: text(objectStore),
              PUBLIC_NETWORK,
              ...Object.fromEntries(Object.entries(OBJECTS).map(([binding, exportName]) => [binding, { type: "durable-object" as const, worker: "marionette", exportName }])),
              ...Object.fromEntries(Object.entries(options.vars ?? {}).map(([name, value]) => [name, text(value)])),
              MARIONETTE_DATABASE_URL: text(options.databaseUrl),
              MARIONETTE_DATABASE_ENDPOINT: text(options.databaseEndpoint),
              MARIONETTE_MASTER_KEY: text(options.masterKey),
              MARIONETTE_ENCRYPTION_KEY: text(options.encryptionKey),
            },
            exports: Object.fromEntries(Object.values(OBJECTS).map((name) => [name, { type: "durable-object" as const, storage: "sqlite" as const }])),
          },
          dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port: state.port }] },
        },
      ],
    });

  async function adopt(): Promise<void> {
    if (state.pid !== null) owned.delete(state.pid);
    state.pid = await newWorkerd();
    if (state.pid !== null) owned.add(state.pid);
  }

  async function start(): Promise<void> {
    if (objectStore === "disk") await openDisk(disk);
    const turn = starting.then(async () => {
      const miniflare = quietly(instance);
      try {
        await miniflare.ready;
        state.port = Number((await miniflare.unsafeGetDirectURL()).port);
      } catch (error) {
        await miniflare.dispose().catch(() => {});
        throw error;
      }
      state.miniflare = miniflare;
      await adopt();
    });
    starting = turn.catch(() => {});
    await turn;
  }

  async function stop(): Promise<void> {
    const { miniflare, pid } = state;
    state.miniflare = null;
    state.pid = null;
    await miniflare?.dispose();
    if (pid !== null) owned.delete(pid);
  }

  async function kill(): Promise<void> {
    const { pid } = state;
    if (pid === null) throw new Error("workerd's pid is not known here");
    const back = new Promise<void>((resolve) => {
      state.restarted = resolve;
    });
    process.kill(pid, "SIGKILL");
    await back;
  }

  await start();
  return {
    url: `http://127.0.0.1:${state.port}`,
    get pid() {
      return state.pid;
    },
    kill,
    stop,
    start,
    close: stop,
  };
}
