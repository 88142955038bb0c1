/** Owns the `process` provider: a runner under bubblewrap where that works, else as a plain process that nothing isolates. */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { open, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import * as z from "zod";
import type { ProviderCapabilities, SandboxKind, SuspendOffer } from "../../sdk/protocol/index.ts";
import type { AgentLaunch } from "../runner/spec.ts";
import { STRATEGIES } from "../config/schema.ts";
import { bubblewrapArguments, INSIDE, shownMounts } from "./bubblewrap.ts";
import { FILE_VARIABLES, passedEnvironment, type ProviderContext } from "./context.ts";
import { SANDBOX_OWNER } from "./owner.ts";
import { freezeTree, members, thawTree, type Tree } from "./freezer.ts";
import { identify, lives, openFiles, signal, stateOf, type ProcessIdentity } from "./proc.ts";
import { killTree, markOf, ownPids, runnerPid } from "./process-tree.ts";
import { offerOf } from "./suspend-offer.ts";
import { WarmPool } from "./warm.ts";
import { ProviderError, type Availability, type FoundAgent, type HostMount, type Owner, type Provider, type RunningSandbox, type SandboxDirectories, type SandboxView, type StartRequest } from "./provider.ts";

const run = promisify(execFile);
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ADOPTED_LOOK_MS = 500;

/** Elsewhere nobody tells which processes are a runner's. */
const PAUSES = process.platform === "linux";
const FROZEN = "frozen.json";

type Mode = "bubblewrap" | "process";
interface Launched {
  child: ChildProcess;
  exited: Promise<Exit>;
}
type Exit = Awaited<RunningSandbox["exited"]>;

const record = z.object({ runner_id: z.string(), session_id: z.string(), epoch: z.number(), mark: z.string(), mode: z.enum(["bubblewrap", "process"]), pid: z.number().int(), started: z.string() });
type Record = z.infer<typeof record>;

export class ProcessProvider implements Provider {
  readonly name = "process";
  readonly #context: ProviderContext;
  readonly #node = realpathSync(process.execPath);
  #chosen: Promise<{ mode: Mode | null; detail: string }> | undefined;
  #mode: Mode | null = null;
  readonly #exits = new Map<string, Promise<Exit>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #children = new Set<ChildProcess>();

  readonly #warm: WarmPool<Launched>;

  constructor(context: ProviderContext) {
    this.#context = context;
    this.#warm = new WarmPool<Launched>({
      root: context.warm,
      size: context.config.process.warm,
      owner: () => this.owner,
      launch: (directories, kind, mark) => this.#launch("bubblewrap", directories, JSON.parse(kind) as HostMount[], mark),
      waits: (launched) => this.#waits(launched),
      discard: (launched, mark) => this.#discard(launched, mark),
      alive: ({ child }) => child.exitCode === null && child.signalCode === null,
      failed: (error) => context.log.warn("provider.warm_failed", { error: String(error) }),
    });
  }

  /** Sandboxes that wait to be used. */
  get ready(): number {
    return this.#warm.ready;
  }

  get sandbox(): SandboxKind | null {
    return this.#mode;
  }
  get capabilities(): ProviderCapabilities {
    return { isolation: this.#mode === "bubblewrap" ? "namespace" : "none", pause: PAUSES, snapshot: false, limits: false, network_policy: false };
  }
  get suspend(): SuspendOffer {
    const has = STRATEGIES.process.filter((strategy) => strategy !== "pause" || PAUSES);
    return offerOf(has, this.#context.config.process.suspend_config, { strategy: "terminate_preserve_storage", max_duration_seconds: null });
  }
  get isolation(): string {
    return this.#mode === "bubblewrap"
      ? "bubblewrap: own processes, files, temporary directory and user; no limits of memory or processors; the host's network"
      : "none: a plain process of the daemon's user, which can see and change all that this user can";
  }
  get owner(): Owner | null {
    return this.#mode === "bubblewrap" && process.getuid?.() === 0 ? SANDBOX_OWNER : null;
  }

  async probe(): Promise<Availability> {
    this.#chosen ??= this.#choose();
    const { mode, detail } = await this.#chosen;
    this.#mode = mode;
    return { available: mode !== null, detail, sandbox: mode };
  }

  async #choose(): Promise<{ mode: Mode | null; detail: string }> {
    const wanted = this.#context.config.process.isolation;
    if (wanted === "none") return { mode: "process", detail: "plain process, as the configuration says: nothing isolates the agent" };
    const why = await bubblewrapFault();
    if (why === null) return { mode: "bubblewrap", detail: "bubblewrap: own processes, files and user; the host's network" };
    if (wanted === "bubblewrap") return { mode: null, detail: `bubblewrap does not work here: ${why}` };
    return { mode: "process", detail: `plain process, nothing isolates the agent: bubblewrap does not work here: ${why}` };
  }

  view(directories: SandboxDirectories): SandboxView {
    const places = this.#mode === "bubblewrap" ? INSIDE : directories;
    return { workspace: places.workspace, home: places.home, state: places.state, node: this.#node, bundle: this.#context.bundle };
  }

  place(agent: FoundAgent): { launch: AgentLaunch; mounts: HostMount[] } {
    const launch = agent.binary === null ? agent.launch : { ...agent.launch, binary: agent.binary.path };
    if (this.#mode !== "bubblewrap" || agent.binary === null) return { launch, mounts: [] };
    const shown = [agent.binary, ...agent.files].flatMap((file) => [file.shown, file.realShown]);
    return { launch, mounts: [...new Set(shown)].map((path) => ({ source: path, target: path })) };
  }

  async start(request: StartRequest): Promise<RunningSandbox> {
    const { mode, detail } = await (this.#chosen ??= this.#choose());
    this.#mode = mode;
    if (mode === null) throw new ProviderError({ code: "provider_failed", message: detail }, false);
    const { directories, runner_id, session_id, epoch } = request;
    // Started again: what the last one left behind must not work beside the new one.
    if (await this.#read(runner_id)) await this.destroy(runner_id);
    const kind = JSON.stringify(shownMounts(request.mounts));
    const warm = mode === "bubblewrap" && request.fresh && !directories.foreign ? await this.#warm.take(kind, directories) : null;
    const mark = warm?.mark ?? runner_id;
    const { child, exited } = warm?.launched ?? (await this.#launch(mode, directories, request.mounts, mark, request.owner));
    if (mode === "bubblewrap") this.#warm.want(kind);
    this.#exits.set(runner_id, exited);
    child.stdin?.end();
    const identity = child.pid === undefined ? null : await identify(child.pid);
    // A process that has already ended needs no record: its exit tells the rest.
    if (identity) await writeFile(join(directories.record, "process.json"), JSON.stringify({ runner_id, session_id, epoch, mode, mark, ...identity } satisfies Record), { mode: 0o600 });
    return { runner_id, session_id, epoch, exited };
  }

  prepare(): void {
    if (this.#mode === "bubblewrap") this.#warm.want("[]", 0);
  }

  async #launch(mode: Mode, directories: SandboxDirectories, mounts: readonly HostMount[], mark: string, owner: Owner | null = this.owner): Promise<Launched> {
    const view = this.view(directories);
    const command = [view.node, join(view.bundle, "runner.js"), join(view.state, "runner.json")];
    const [output, status] = await Promise.all([open(join(directories.record, "output.log"), "a", 0o600), open(join(directories.record, "status"), "w", 0o600)]);
    try {
      const [file = "", ...args] =
        mode === "process" ? command : ["bwrap", ...bubblewrapArguments({ directories, mounts: [...this.#ownMounts(), ...mounts], owner, statusFd: 3, command })];
      const env = this.#environment(mode, mark, view);
      const child = spawn(file, args, { cwd: mode === "process" ? directories.workspace : "/", env, detached: true, stdio: ["pipe", output.fd, output.fd, status.fd] });
      const exited = new Promise<Exit>((resolve) => child.once("exit", (code, name) => resolve({ code, signal: name, reason: null })));
      this.#children.add(child);
      child.once("exit", () => this.#children.delete(child));
      child.stdin?.on("error", () => {});
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (error) => reject(new ProviderError({ code: "provider_failed", message: `cannot start ${file}: ${error.message}` }, true)));
      });
      return { child, exited };
    } finally {
      await Promise.all([output.close(), status.close()]);
    }
  }

  async #waits({ child }: Launched): Promise<boolean> {
    const identity = child.pid === undefined ? null : await identify(child.pid);
    const pid = identity && (await runnerPid(identity, true));
    return pid !== null && (await openFiles(pid)).includes(`${INSIDE.state}/runner.json`);
  }

  async #discard({ child }: Launched, mark: string): Promise<void> {
    await killTree(child.pid === undefined ? null : await identify(child.pid), true, markOf(mark).mark);
  }

  #ownMounts(): HostMount[] {
    const { bundle, cache, env } = this.#context;
    const certificates = FILE_VARIABLES.flatMap((name) => env[name] ?? []);
    const own = [dirname(this.#node), bundle, ...(cache === null ? [] : [cache]), ...certificates].filter((path) => existsSync(path));
    return own.map((path) => ({ source: path, target: path }));
  }

  #environment(mode: Mode, mark: string, view: SandboxView): NodeJS.ProcessEnv {
    const { env, cache } = this.#context;
    const { name, value } = markOf(mark);
    return {
      ...passedEnvironment(env),
      PATH: [mode === "bubblewrap" ? SYSTEM_PATH : (env["PATH"] ?? SYSTEM_PATH), dirname(view.node)].join(delimiter),
      HOME: view.home,
      TMPDIR: mode === "bubblewrap" ? "/tmp" : (env["TMPDIR"] ?? "/tmp"),
      [name]: value,
      ...(cache !== null && { NODE_COMPILE_CACHE: cache }),
    };
  }

  async adopt(): Promise<RunningSandbox[]> {
    await this.#warm.clear((mark) => killTree(null, true, markOf(mark).mark));
    const names = await readdir(this.#context.runners).catch(() => []);
    const found = await Promise.all(names.map((name) => this.#read(name)));
    const alive = await Promise.all(found.map(async (entry) => (entry && (await lives(entry)) ? entry : null)));
    const frozen = await Promise.all(alive.map(async (entry) => entry !== null && (await isFrozen(entry))));
    return alive.flatMap((entry, index) => {
      if (!entry) return [];
      let exited = this.#exits.get(entry.runner_id);
      if (!exited) this.#exits.set(entry.runner_id, (exited = this.#watch(entry)));
      return [{ runner_id: entry.runner_id, session_id: entry.session_id, epoch: entry.epoch, frozen: frozen[index] === true, exited }];
    });
  }

  async freeze(runnerId: string): Promise<void> {
    const entry = await this.#read(runnerId);
    if (!entry || !(await lives(entry))) throw new ProviderError({ code: "provider_failed", message: "there is no such process any more" }, false);
    if (!PAUSES) throw new ProviderError({ code: "provider_failed", message: "processes can be paused on Linux only" }, false);
    try {
      const stay = await freezeTree(treeOf(entry));
      // Of one that is frozen already, everything looks as if it had stopped by itself.
      await writeFile(join(this.#context.runners, runnerId, FROZEN), JSON.stringify(stay), { mode: 0o600, flag: "wx" }).catch(() => {});
    } catch (error) {
      throw new ProviderError({ code: "provider_failed", message: `the processes cannot be stopped: ${error instanceof Error ? error.message : String(error)}` }, true);
    }
  }

  async thaw(runnerId: string): Promise<boolean> {
    const entry = await this.#read(runnerId);
    if (!entry || !(await lives(entry))) return false;
    const path = join(this.#context.runners, runnerId, FROZEN);
    const stay = await readFile(path, "utf8").then((text) => z.array(z.number()).parse(JSON.parse(text)), () => []);
    await thawTree(treeOf(entry), stay);
    await rm(path, { force: true });
    return true;
  }

  async save(): Promise<string> {
    throw new ProviderError({ code: "provider_failed", message: "a process cannot be saved" }, false);
  }

  async #read(runnerId: string): Promise<Record | null> {
    const text = await readFile(join(this.#context.runners, runnerId, "process.json"), "utf8").catch(() => null);
    if (text === null) return null;
    try {
      return record.parse(JSON.parse(text));
    } catch {
      return null;
    }
  }

  /** Not our child: the system tells us nothing, so we look; bubblewrap has written down the exit code. */
  #watch(entry: Record): Promise<Exit> {
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        void lives(entry).then(async (alive) => {
          if (alive || !this.#timers.delete(timer)) return;
          clearInterval(timer);
          const text = await readFile(join(this.#context.runners, entry.runner_id, "status"), "utf8").catch(() => "");
          const code = /"exit-code"\s*:\s*(\d+)/.exec(text)?.[1];
          resolve({ code: code === undefined ? null : Number(code), signal: null, reason: null });
        });
      }, ADOPTED_LOOK_MS);
      this.#timers.add(timer);
    });
  }

  async stop(runnerId: string, graceSeconds: number): Promise<boolean> {
    const entry = await this.#read(runnerId);
    if (!entry) return true;
    const until = Date.now() + graceSeconds * 1_000;
    let asked = false;
    if (await isFrozen(entry)) {
      // Its agents do not take another step; the runner wakes up to the signal, tells what it has and goes.
      const own = await ownPids(entry, entry.mode === "bubblewrap");
      for (const { pid } of await members(treeOf(entry))) if (!own.includes(pid)) signal(pid, "SIGKILL");
      const pid = own.at(-1);
      asked = pid !== undefined && signal(pid, "SIGTERM");
      await this.thaw(runnerId);
    }
    do {
      if (!(await lives(entry))) return true;
      // Just started, bubblewrap has not come to the runner yet.
      const pid = asked ? null : await runnerPid(entry, entry.mode === "bubblewrap");
      if (pid !== null) asked = signal(pid, "SIGTERM");
      await pause(10);
    } while (Date.now() < until);
    return false;
  }

  async destroy(runnerId: string): Promise<boolean> {
    const entry = await this.#read(runnerId);
    const identity: ProcessIdentity | null = entry && { pid: entry.pid, started: entry.started };
    await killTree(identity, entry?.mode === "bubblewrap", markOf(entry?.mark ?? runnerId).mark);
    if (!entry) return false;
    await Promise.all(["process.json", FROZEN].map((name) => rm(join(this.#context.runners, runnerId, name), { force: true })));
    this.#exits.delete(runnerId);
    return true;
  }

  async output(runnerId: string, characters: number): Promise<string> {
    const text = await readFile(join(this.#context.runners, runnerId, "output.log"), "utf8").catch(() => "");
    return text.slice(-characters);
  }

  async close(): Promise<void> {
    await this.#warm.close();
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    for (const child of this.#children) child.unref();
  }
}

function treeOf({ pid, started, mode, mark }: Record): Tree {
  return { identity: { pid, started }, namespaced: mode === "bubblewrap", mark: markOf(mark).mark };
}

/** The runner's own process is stopped. */
async function isFrozen(entry: Record): Promise<boolean> {
  const pid = await runnerPid(entry, entry.mode === "bubblewrap");
  return (pid === null ? null : await stateOf(pid)) === "T";
}

/** Why bubblewrap cannot be used, found by running it once the way it will be run; null where it can. */
async function bubblewrapFault(): Promise<string | null> {
  if (process.platform !== "linux") return "it needs Linux";
  const root = process.getuid?.() === 0;
  const namespaces = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--cap-drop", "ALL"];
  const user = root ? ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] : ["--unshare-user"];
  const become = root ? ["setpriv", "--reuid", String(SANDBOX_OWNER.uid), "--regid", String(SANDBOX_OWNER.gid), "--clear-groups", "--inh-caps=-all", "--"] : [];
  try {
    await run("bwrap", [...namespaces, ...user, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", ...become, "true"], { timeout: 10_000 });
    return null;
  } catch (error) {
    const fault = error as NodeJS.ErrnoException & { stderr?: string };
    if (fault.code === "ENOENT") return "it is not installed (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)";
    return fault.stderr?.trim().split("\n")[0] || fault.message;
  }
}
