/** Owns the `local` provider: a workspace is a directory of this machine, and commands run on it unconfined. For tests, and where the machine already is a sandbox. */

import { createHash, randomBytes } from "node:crypto";
import { access, chmod, mkdir, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { WorkspaceError, workspaceKey, type AgentImage, type AgentWorkspace, type ExecEvent, type ExecOptions, type ImageContents, type MaterializeOptions, type OpenSandbox, type ReadOptions, type Sandbox, type SandboxCapabilities, type SandboxStatus, type SecretValue, type WriteOptions } from "./contracts.ts";
import { collected, execution } from "./execution.ts";
import { HostFiles } from "./host-files.ts";
import { killMarked, livesMarked, startDetached, startProcess } from "./host-processes.ts";
import { Jobs, type JobHost } from "./jobs.ts";
import { identityPath, placeOf, writablePlace } from "./paths.ts";

export interface LocalSandboxOptions {
  /** Where computers lie, one directory a key. Made where it is missing. */
  directory: string;
  /** A workspace that is there already, such as a session's: the only one, whatever the key; `destroy` leaves its files. */
  workspace?: string | undefined;
  /** Environment of every command, beside the few variables of this process that programs need to work at all. */
  env?: Readonly<Record<string, string>> | undefined;
}

const CAPABILITIES: SandboxCapabilities = { exec: true, write: true, jobs: true, installs: true, isolation: "none" };
/** What programs need; nothing that could be a key. */
const PASSED = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "NODE_USE_ENV_PROXY"];
const SANDBOX_MARK = "MARCO_SANDBOX";
const SHORT_OUTPUT = 32 * 1024 * 1024;

export function createLocalSandboxProvider(options: LocalSandboxOptions): Sandbox {
  return new LocalSandbox(options);
}

class LocalSandbox implements Sandbox {
  readonly name = "local";
  readonly capabilities = CAPABILITIES;
  readonly #options: LocalSandboxOptions;
  /** Computers of this process, so that a key has one and `stop` reaches whoever holds it. */
  readonly #open = new Map<string, Promise<Computer>>();

  constructor(options: LocalSandboxOptions) {
    this.#options = { ...options, directory: resolve(options.directory), ...(options.workspace !== undefined && { workspace: resolve(options.workspace) }) };
  }

  async materialize(key: string, { signal }: MaterializeOptions = {}): Promise<OpenSandbox> {
    signal?.throwIfAborted();
    const known = this.#open.get(checked(key));
    const opening = known ?? Computer.open(key, this.#layout(key), this.#options.env ?? {});
    if (known === undefined) {
      this.#open.set(key, opening);
      opening.catch(() => this.#open.delete(key));
    }
    const computer = await opening;
    const fresh = computer.takeFresh();
    return { key, fresh, image: computer, workspace: computer };
  }

  async status(key: string): Promise<SandboxStatus> {
    const { workspace, running } = this.#layout(checked(key));
    if (!(await exists(workspace))) return "absent";
    return (await exists(running)) ? "running" : "stopped";
  }

  async stop(key: string): Promise<void> {
    const layout = this.#layout(checked(key));
    const open = this.#open.get(key);
    this.#open.delete(key);
    (await open?.catch(() => null))?.end();
    await killMarked(`${SANDBOX_MARK}=${layout.id}`, null);
    await rm(layout.running, { force: true });
  }

  async destroy(key: string): Promise<boolean> {
    const { base } = this.#layout(checked(key));
    if (!(await exists(base))) return false;
    await this.stop(key);
    await rm(base, { recursive: true, force: true });
    return true;
  }

  async close(): Promise<void> {
    this.#open.clear();
  }

  #layout(key: string): Layout {
    const base = join(this.#options.directory, key);
    const id = createHash("sha256").update(base).digest("hex").slice(0, 16);
    return { id, base, workspace: this.#options.workspace ?? join(base, "workspace"), identity: join(base, "identity"), jobs: join(base, "jobs"), running: join(base, "running") };
  }
}

interface Layout {
  /** Marks the computer's processes. */
  id: string;
  base: string;
  workspace: string;
  identity: string;
  jobs: string;
  /** Is there from `materialize` to `stop`. */
  running: string;
}

class Computer implements AgentWorkspace, AgentImage, JobHost {
  readonly key: string;
  readonly capabilities = CAPABILITIES;
  readonly #layout: Layout;
  readonly #files: { workspace: HostFiles; identity: HostFiles };
  readonly #jobs: Jobs;
  readonly #env: Readonly<Record<string, string>>;
  #secrets: Readonly<Record<string, SecretValue>> = {};
  #fresh: boolean;
  #ended = false;

  static async open(key: string, layout: Layout, env: Readonly<Record<string, string>>): Promise<Computer> {
    await mkdir(layout.base, { recursive: true, mode: 0o700 });
    const made = (await mkdir(layout.workspace, { recursive: true })) !== undefined;
    await mkdir(layout.jobs, { recursive: true });
    await writeFile(layout.running, "");
    return new Computer(key, layout, env, made);
  }

  private constructor(key: string, layout: Layout, env: Readonly<Record<string, string>>, fresh: boolean) {
    this.key = key;
    this.#layout = layout;
    this.#env = env;
    this.#fresh = fresh;
    this.#files = { workspace: new HostFiles(layout.workspace), identity: new HostFiles(layout.identity) };
    this.#jobs = new Jobs(this);
  }

  get root(): string {
    return this.#layout.workspace;
  }
  get identity(): string {
    return this.#layout.identity;
  }
  get jobsDirectory(): string {
    return this.#layout.jobs;
  }

  /** True once: whoever materializes after the first finds it made. */
  takeFresh(): boolean {
    const fresh = this.#fresh;
    this.#fresh = false;
    return fresh;
  }

  end(): void {
    this.#ended = true;
  }

  async version(): Promise<string | null> {
    return readFile(join(this.#layout.base, "version"), "utf8").catch(() => null);
  }

  async hydrate({ version, files, secrets = {} }: ImageContents): Promise<boolean> {
    this.#alive();
    this.#secrets = secrets;
    const contents = Object.entries(files).map(([path, value]) => ({ path: identityPath(path), value }));
    if ((await this.version()) === version) return false;
    const { base, identity } = this.#layout;
    // A directory for each version and a link that is swapped: readers see the one or the other.
    const name = `identity-${randomBytes(6).toString("hex")}`;
    const before = await readlink(identity).catch(() => null);
    for (const { path, value } of contents) {
      const target = join(base, name, path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, value);
      await chmod(target, 0o444);
    }
    await mkdir(join(base, name), { recursive: true });
    await symlink(name, join(base, `${name}.link`));
    await rename(join(base, `${name}.link`), identity);
    await writeFile(join(base, "version.partial"), version);
    await rename(join(base, "version.partial"), join(base, "version"));
    if (before !== null) await rm(join(base, basename(before)), { recursive: true, force: true });
    return true;
  }

  async read(path: string, options?: ReadOptions) {
    const place = this.#place(path);
    return this.#files[place.area].read(place, options);
  }
  async write(path: string, contents: string | Uint8Array, options?: WriteOptions) {
    this.#alive();
    const place = writablePlace(path, this.root, this.identity);
    return this.#files.workspace.write(place, typeof contents === "string" ? Buffer.from(contents) : contents, options);
  }
  async list(path: string) {
    const place = this.#place(path);
    return this.#files[place.area].list(place);
  }
  async stat(path: string) {
    const place = this.#place(path);
    return this.#files[place.area].stat(place);
  }
  async delete(path: string, { recursive }: { recursive?: boolean | undefined } = {}) {
    this.#alive();
    return this.#files.workspace.delete(writablePlace(path, this.root, this.identity), recursive);
  }

  async *exec(command: string, options: ExecOptions = {}): AsyncGenerator<ExecEvent, void, undefined> {
    this.#alive();
    const cwd = await this.#directory(options.cwd);
    yield* execution(command, options, (launch) => startProcess({ ...launch, env: this.#environment(launch.env) }, cwd, `MARCO_EXEC=${launch.id}`));
  }

  async startJob(command: string, options?: Pick<ExecOptions, "cwd" | "env">) {
    this.#alive();
    return this.#jobs.start(command, options);
  }
  jobs() {
    return this.#jobs.list();
  }
  readJob(id: string, options?: { offset?: number | undefined; length?: number | undefined }) {
    return this.#jobs.read(id, options);
  }
  killJob(id: string) {
    return this.#jobs.kill(id);
  }

  async run([file = "sh", ...args]: string[], stdin?: Uint8Array) {
    const { id, env } = { id: randomBytes(9).toString("hex"), env: this.#environment({}) };
    const started = await startProcess({ id, argv: [file, ...args], env, stdin: stdin ?? null }, this.#layout.base, `MARCO_EXEC=${id}`);
    const events = (async function* (): AsyncGenerator<ExecEvent> {
      started.stderr.resume();
      for await (const bytes of started.stdout as AsyncIterable<Buffer>) yield { type: "output", stream: "stdout", bytes };
      yield { type: "exit", ...(await started.ended), end: "exit", duration_ms: 0 };
    })();
    return collected(events, SHORT_OUTPUT);
  }
  async launch(argv: string[], { cwd, env = {} }: Pick<ExecOptions, "cwd" | "env">) {
    await startDetached(argv, this.#environment(env), await this.#directory(cwd));
  }
  lives(mark: string) {
    return livesMarked(mark);
  }
  kill(mark: string) {
    return killMarked(mark, null);
  }

  #environment(env: Readonly<Record<string, string>>): Record<string, string> {
    const passed = Object.fromEntries(PASSED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
    const secrets = Object.fromEntries(Object.entries(this.#secrets).map(([name, value]) => [name, value.reveal()]));
    return { ...passed, TERM: "dumb", ...this.#env, ...secrets, MARCO_WORKSPACE: this.root, MARCO_IDENTITY: this.identity, ...env, [SANDBOX_MARK]: this.#layout.id };
  }

  /** A directory inside, with links followed, for a command to begin in. */
  async #directory(cwd = ""): Promise<string> {
    const place = placeOf(cwd === "" ? "." : cwd, this.root, this.identity);
    const stat = await this.#files[place.area].stat(place);
    if (stat === null) throw new WorkspaceError("not_found", `cwd: ${place.shown} does not exist`);
    if (stat.kind !== "directory") throw new WorkspaceError("not_a_directory", `cwd: ${place.shown} is not a directory`);
    return join(place.area === "identity" ? this.identity : this.root, place.relative);
  }

  #place(path: string) {
    this.#alive();
    return placeOf(path, this.root, this.identity);
  }

  #alive(): void {
    if (this.#ended) throw new WorkspaceError("unavailable", `the sandbox of ${this.key} was stopped; materialize it again`);
  }
}

/** The key, or an error that says what one looks like. */
export function checked(key: string): string {
  const parsed = workspaceKey.safeParse(key);
  if (!parsed.success) throw new WorkspaceError("invalid", `workspace key ${JSON.stringify(key.slice(0, 100))}: ${parsed.error.issues[0]?.message ?? "not valid"}`);
  return parsed.data;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}
