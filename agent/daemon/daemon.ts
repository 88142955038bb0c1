/** Owns the daemon: composes its parts, answers its HostObject, and says hello. */

import { randomBytes } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { RpcStub } from "capnweb";
import {
  HOST_LINK_VERSION, hostWelcome, idOf, isId, Secret, spawnSpec, suspendStrategy, understands,
  type AudioPiece, type Browsed, type Daemon, type FileAnswer, type FileContent, type FileEntry, type HostDoor, type HostInfo, type RunnerReport, type Resumed, type Spawned, type SpawnSpec, type Suspended, type SuspendStrategy, type TranscribeAnswer,
} from "../../sdk/protocol/index.ts";
import type { Config } from "../config/schema.ts";
import { makeProvider, PROVIDER_NAMES } from "../providers/registry.ts";
import type { Provider } from "../providers/provider.ts";
import type { RunnerSpec } from "../runner/spec.ts";
import { findAgent, unknownHint, type AgentHost } from "./agents.ts";
import { bundleDirectory, fillCache } from "./bundle.ts";
import { hostInfo } from "./capacity.ts";
import { browse, readBrowsed, type BrowseRoots } from "./browsing.ts";
import { Directories } from "./directories.ts";
import { listFiles, readFile as readWorkspaceFile } from "./files.ts";
import { HostCopies } from "./host-copies.ts";
import { Layout, makeDirectories } from "./layout.ts";
import { Link } from "./link.ts";
import type { Logger } from "./log.ts";
import { planWelcome } from "./reconcile.ts";
import { Records } from "./records.ts";
import { Supervisor } from "./supervisor.ts";
import { DaemonTarget } from "./target.ts";
import { Transcriber } from "../voice/transcriber.ts";

const UPDATE_MS = 30_000;
const PRUNE_MS = 600_000;

export interface DaemonOptions {
  server: string;
  token: string;
  pool: string;
  labels: Record<string, string>;
  name: string | undefined;
  maxRunners: number | undefined;
  config: Config;
  data: string;
  /** What is never shown below a browse root, beside the data: secrets of whoever starts the daemon. */
  hide?: readonly string[];
  /** A built runner.js; absent: the one beside the daemon, else built from the sources. */
  runnerBundle: string | undefined;
  /** Directory of the daemon's own file, and of the sources. */
  beside: string;
  version: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
}

export class HostDaemon implements Daemon {
  readonly #options: DaemonOptions;
  readonly #layout: Layout;
  readonly #providers: Provider[] = [];
  readonly #supervisor: Supervisor;
  readonly #copies: HostCopies;
  readonly #link: Link;
  readonly #agents: AgentHost;
  readonly #roots: BrowseRoots;
  readonly #directories: Directories;
  readonly #voice: Transcriber;
  #bundle = "";
  #hostId: string | null = null;
  #info: HostInfo | null = null;
  #timer: NodeJS.Timeout | undefined;
  #pruning: NodeJS.Timeout | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#layout = new Layout(options.data);
    this.#agents = { custom: options.config.agents.custom, path: options.env["PATH"] ?? "", hidden: [options.data] };
    this.#roots = { roots: options.config.browse_roots, hidden: [options.data, ...(options.hide ?? [])].map(withoutLinks) };
    this.#directories = new Directories(this.#layout, () => this.#roots);
    this.#voice = new Transcriber({ config: options.config.voice, directory: join(options.data, "voice"), env: options.env });
    this.#supervisor = new Supervisor({
      layout: this.#layout,
      records: new Records(this.#layout),
      provider: async (name) => this.#provider(name),
      server: options.server,
      log: options.log,
      onEnd: (report) => this.#tell(report),
      onGone: (record) => this.#copies.left(record.session_id, this.#layout.directories(record).state),
    });
    this.#copies = new HostCopies({ layout: this.#layout, retentionSeconds: options.config.retention, uses: (sessionId, workspaceId) => this.#supervisor.uses(sessionId, workspaceId), log: options.log });
    this.#link = new Link({
      server: options.server,
      token: new Secret(options.token),
      hostId: () => this.#hostId,
      onConnect: (door) => this.#hello(door),
      log: options.log,
    });
  }

  /** Takes up what runs, then connects and stays connected. Resolves when the daemon is ready to, not when it is connected. */
  async start(): Promise<void> {
    const { config, runnerBundle, beside, env, log } = this.#options;
    await this.#layout.make();
    await this.#voice.start();
    const [dataId, hostId, bundle] = await Promise.all([ownName(this.#layout.dataId), readFile(this.#layout.hostId, "utf8").catch(() => ""), bundleDirectory(this.#layout.bundle, runnerBundle, beside, beside)]);
    this.#hostId = isId("host", hostId.trim()) ? hostId.trim() : null;
    this.#bundle = bundle;
    const cache = join(this.#layout.cache, basename(bundle));
    const context = { config: config.providers, runners: this.#layout.runners, warm: this.#layout.warm, dataId, hostId: () => this.#hostId, bundle, cache, env, log };
    for (const name of PROVIDER_NAMES) {
      const made = await makeProvider(name, context).catch((error: unknown) => {
        log.warn("provider.missing", { provider: name, error: String(error) });
        return null;
      });
      if (made) this.#providers.push(made);
    }
    const info = await this.#look();
    for (const { name, available, detail } of info.providers) log.info("provider", { provider: name, available, detail, default: name === info.default_provider });
    const local = this.#providers.find(({ name }) => name === "process");
    // Only the first start on a new build waits for it: a few dozen milliseconds that every later runner saves.
    await fillCache(cache, bundle, local?.owner ?? null);
    await this.#supervisor.resume(this.#providers.filter(({ name }) => info.providers.some((provider) => provider.name === name && provider.available)));
    this.#link.open();
    for (const provider of this.#providers) if (provider.name === info.default_provider) provider.prepare?.();
    this.#timer = setInterval(() => void this.#refresh(), UPDATE_MS);
    this.#pruning = setInterval(() => void this.#prune(), PRUNE_MS);
    void this.#prune();
  }

  /** Leaves the control plane; runners live on (`keep`) or are stopped in order (`stop`). */
  async close(runners: "keep" | "stop"): Promise<void> {
    clearInterval(this.#timer);
    clearInterval(this.#pruning);
    await (runners === "stop" ? this.#supervisor.stop(3) : this.#supervisor.close());
    await this.#link.close();
    await this.#voice.close();
    await Promise.all(this.#providers.map((provider) => provider.close()));
  }

  /** Whether the HostObject knows of this daemon now. */
  get connected(): boolean {
    return this.#link.door !== null;
  }

  #provider(name: string): Provider {
    const provider = this.#providers.find((other) => other.name === name);
    if (!provider) throw new Error(`this host has no provider '${name}'`);
    return provider;
  }

  async #look(): Promise<HostInfo> {
    const { name, version, pool, labels, maxRunners, config } = this.#options;
    const view = { node: process.execPath, bundle: this.#bundle };
    const voice = await this.#voice.look();
    const info = await hostInfo(
      { name, version, pool, labels, maxRunners: maxRunners ?? config.max_runners, defaultProvider: config.providers.default, agents: this.#agents, view, browseRoots: config.browse_roots },
      this.#providers,
    );
    return (this.#info = { ...info, ...(voice && { voice }) });
  }

  /** Engines start, images get built and agents installed while the daemon runs. */
  async #refresh(): Promise<void> {
    const before = JSON.stringify(this.#info);
    const info = await this.#look().catch((error: unknown) => {
      this.#options.log.warn("host.look_failed", { error: String(error) });
      return null;
    });
    if (info && JSON.stringify(info) !== before) await this.#link.door?.update(info).catch(() => {});
  }

  async #prune(): Promise<void> {
    await this.#copies.prune().catch((error: unknown) => this.#options.log.warn("files.prune_failed", { error: String(error) }));
  }

  async #hello(door: RpcStub<HostDoor>): Promise<void> {
    const info = await this.#look();
    const runners = this.#supervisor.reports();
    const welcome = hostWelcome.parse(await door.hello({ version: HOST_LINK_VERSION, info, runners, clock: new Date().toISOString() }, new DaemonTarget(this)));
    if (!understands(HOST_LINK_VERSION, welcome.version)) throw new Error(`the control plane speaks version ${welcome.version} of the host link, this daemon ${HOST_LINK_VERSION}: update the older one`);
    if (welcome.host_id !== this.#hostId) {
      this.#hostId = welcome.host_id;
      await writeFile(this.#layout.hostId, `${welcome.host_id}\n`, { mode: 0o600 });
    }
    this.#options.log.info("link.welcome", { host: welcome.host_id, server: this.#options.server, runners: runners.length, destroy: welcome.destroy.length });
    const plan = planWelcome(runners, welcome.destroy);
    // Not awaited by the link: ending a sandbox may take longer than being connected.
    void Promise.all([...plan.destroy.map((id) => this.#supervisor.destroy(id, "not wanted by the control plane")), ...plan.forget.map((id) => this.#supervisor.forget(id))]).catch((error: unknown) =>
      this.#options.log.error("host.reconcile_failed", { error: String(error) }),
    );
  }

  /** Tells the object of an ended runner; unheard, the next hello says it again. */
  async #tell(report: RunnerReport): Promise<void> {
    const door = this.#link.door;
    if (!door) return;
    try {
      await door.report(report);
      await this.#supervisor.forget(report.runner_id);
    } catch (error) {
      this.#options.log.warn("link.report_failed", { runner: report.runner_id, error: String(error) });
    }
  }

  /** See `Daemon.spawn`. */
  async spawn(input: SpawnSpec): Promise<Spawned> {
    const parsed = spawnSpec.safeParse(input);
    if (!parsed.success) return { ok: false, retryable: false, error: { code: "internal", message: `the host cannot read the order: ${parsed.error.issues[0]?.path.join(".") ?? ""}: ${parsed.error.issues[0]?.message ?? ""}` } };
    const spec = parsed.data;
    const name = spec.provider ?? this.#info?.default_provider ?? "process";
    const provider = this.#providers.find((other) => other.name === name);
    if (!provider) return { ok: false, retryable: false, error: { code: "provider_failed", message: `this host has no provider '${name}'`, hint: `It has ${this.#providers.map((other) => other.name).join(" and ")}.` } };
    const own = spec.directory === undefined ? null : await this.#directories.claim(spec.directory, provider);
    if (own && !own.ok) return { ok: false, retryable: false, error: { code: "provider_failed", message: own.message.slice(0, 4_096) } };
    const directory = own ? { path: own.path, owner: own.owner } : undefined;
    const directories = this.#layout.directories({ ...spec, directory });
    const view = provider.view(directories);
    const found = await findAgent(spec.agent, this.#agents, view);
    const placed = found ? provider.place(found) : { launch: null, mounts: [] };
    const runner: RunnerSpec = {
      runner_id: spec.runner_id, session_id: spec.session_id, epoch: spec.epoch, run_token: spec.run_token, server: this.#options.server,
      ...(view.socket !== undefined && { socket: view.socket }),
      agent: placed.launch, agent_name: spec.agent, ...(found === null && { agent_hint: unknownHint(spec.agent, this.#agents) }),
      model: spec.model, env: spec.env, keep_raw: spec.keep_raw, needs_key: spec.needs_key, ...(spec.gateway !== undefined && { gateway: spec.gateway }), workspace: view.workspace, home: view.home, state: view.state,
      workspace_id: spec.workspace_id, ...(spec.restore && { restore: spec.restore }), ...(spec.workspace_quota_mb && { workspace_quota_mb: spec.workspace_quota_mb }),
      ...(own && { directory: { path: own.path, identity: own.identity } }),
    };
    const { runner_id, session_id, tenant_id, workspace_id, epoch } = spec;
    return this.#supervisor.spawn(
      { runner_id, session_id, tenant_id, workspace_id, epoch, provider: name, sandbox: provider.sandbox, isolation: own?.notice ? `${provider.isolation}; ${own.notice}` : provider.isolation, mounts: placed.mounts, ...(directory && { directory }) },
      async () => {
        const made = await makeDirectories(directories, directory ? directory.owner : provider.owner, { "runner.json": JSON.stringify(runner) });
        await Promise.all([this.#copies.begin(session_id, workspace_id), this.#directories.settle(workspace_id, session_id, directory?.path ?? null)]);
        return made;
      },
    );
  }

  /** See `Daemon.destroy`. */
  async destroy(runnerId: string, reason: string): Promise<void> {
    await this.#supervisor.destroy(idOf("runner").parse(runnerId), reason.slice(0, 500));
  }

  /** See `Daemon.forget`. */
  async forget(sessionId: string): Promise<void> {
    const id = idOf("session").parse(sessionId);
    await Promise.all([this.#copies.ended(id), this.#directories.ended(id)]);
  }

  /** See `Daemon.suspend`. */
  async suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Suspended> {
    return this.#supervisor.suspend(idOf("runner").parse(runnerId), suspendStrategy.parse(strategy), suspendStrategy.nullable().parse(fallback));
  }

  /** See `Daemon.resume`. */
  async resume(runnerId: string): Promise<Resumed> {
    return this.#supervisor.resumeOne(idOf("runner").parse(runnerId));
  }

  /** See `Daemon.discardFiles`. */
  async discardFiles(sessionId: string, workspaceId: string): Promise<void> {
    await this.#copies.discard(idOf("session").parse(sessionId), idOf("workspace").parse(workspaceId));
  }

  /** See `Daemon.listFiles`. */
  async listFiles(workspaceId: string, path: string): Promise<FileAnswer<FileEntry[]>> {
    const { root, options } = await this.#directories.filesOf(idOf("workspace").parse(workspaceId));
    return listFiles(root, path, options);
  }

  /** See `Daemon.readFile`. */
  async readFile(workspaceId: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
    const { root, options } = await this.#directories.filesOf(idOf("workspace").parse(workspaceId));
    return readWorkspaceFile(root, path, offset, length, options);
  }

  /** See `Daemon.transcribe`. */
  async transcribe(piece: AudioPiece): Promise<TranscribeAnswer> {
    return this.#voice.transcribe(piece);
  }

  /** See `Daemon.browse`. */
  async browse(root: string, path: string, offset: number, limit: number): Promise<FileAnswer<Browsed>> {
    return browse(this.#roots, root, path, offset, limit);
  }

  /** See `Daemon.readBrowsed`. */
  async readBrowsed(root: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
    return readBrowsed(this.#roots, root, path, offset, length);
  }
}

/** The path as the system has it; one that is not there yet stays as it is. */
function withoutLinks(path: string): string {
  return existsSync(path) ? realpathSync(path) : resolve(path);
}

/** A random name for the data directory, made once. */
async function ownName(path: string): Promise<string> {
  const kept = await readFile(path, "utf8").catch(() => "");
  if (/^[0-9a-f]{16}$/.test(kept.trim())) return kept.trim();
  const made = randomBytes(8).toString("hex");
  await writeFile(path, `${made}\n`, { mode: 0o600 });
  return made;
}
