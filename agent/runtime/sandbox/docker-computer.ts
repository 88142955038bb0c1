/** Owns one container as a computer: its files by scripts, its commands and jobs by the engine, its identity by a container that lives for a moment. */

import { randomBytes } from "node:crypto";
import type Docker from "dockerode";
import { IDENTITY, WORKSPACE, WorkspaceError, type AgentImage, type AgentWorkspace, type ExecEvent, type ExecOptions, type ImageContents, type ReadOptions, type SandboxCapabilities, type SecretValue, type WriteOptions } from "./contracts.ts";
import type { DockerChannel } from "./docker-channel.ts";
import { engineFailure, startDetachedProgram, startProgram } from "./docker-engine.ts";
import { hydratorOptions, LABELS, type ContainerNames } from "./docker-options.ts";
import { collected, execution, MARK, type Launch, type Started } from "./execution.ts";
import { Jobs, type JobHost } from "./jobs.ts";
import { identityPath, placeOf, writablePlace, type Place } from "./paths.ts";
import { ShellFiles, type RunProgram } from "./shell-files.ts";
import { HYDRATE, hydration, MARKED } from "./shell-processes.ts";

export const DOCKER_CAPABILITIES: SandboxCapabilities = { exec: true, write: true, jobs: true, installs: true, isolation: "container" };
const SHORT_OUTPUT = 1024 * 1024;
/** Larger ones go to a program of their own: their base64 would be an argument too long. */
const CHANNEL_BYTES = 64 * 1024;
const VERSION_FILE = ".version";

export interface DockerComputerParts {
  key: string;
  docker: Docker;
  container: Docker.Container;
  /** Shared by all who open this computer through one provider. */
  channel: DockerChannel;
  names: ContainerNames;
  image: string;
  user: string | undefined;
  env: Readonly<Record<string, string>>;
}

export class DockerComputer implements AgentWorkspace, AgentImage, JobHost {
  readonly key: string;
  readonly capabilities = DOCKER_CAPABILITIES;
  readonly root = WORKSPACE;
  readonly identity = IDENTITY;
  readonly jobsDirectory = "/var/lib/marco/jobs";
  readonly #parts: DockerComputerParts;
  readonly #files: ShellFiles;
  readonly #jobs: Jobs;
  readonly #channel: DockerChannel;
  #secrets: Readonly<Record<string, SecretValue>> = {};
  /** What this process has hydrated: nobody else writes it but another process of the same agent. */
  #version: string | null = null;

  constructor(parts: DockerComputerParts) {
    this.key = parts.key;
    this.#parts = parts;
    this.#files = new ShellFiles(this.#program, ({ area }) => (area === "workspace" ? WORKSPACE : IDENTITY));
    this.#jobs = new Jobs(this);
    this.#channel = parts.channel;
  }

  async version(): Promise<string | null> {
    try {
      const { bytes } = await this.#files.read(placeOf(`${IDENTITY}/${VERSION_FILE}`));
      return Buffer.from(bytes).toString();
    } catch (error) {
      if (error instanceof WorkspaceError && error.code === "not_found") return null;
      throw error;
    }
  }

  async hydrate({ version, files, secrets = {} }: ImageContents): Promise<boolean> {
    const contents = Object.entries(files).map(([path, value]) => ({ path: identityPath(path), contents: Buffer.from(value) }));
    if (contents.some(({ path }) => path === VERSION_FILE || path.startsWith(".next"))) throw new WorkspaceError("invalid", `identity files may not be called ${VERSION_FILE} or .next`);
    this.#secrets = secrets;
    if (this.#version === version) return false;
    if ((await this.version()) !== version) await this.#hydrated(version, hydration(contents));
    else {
      this.#version = version;
      return false;
    }
    this.#version = version;
    return true;
  }

  async #hydrated(version: string, stream: Buffer): Promise<void> {
    const { docker, names, image, key } = this.#parts;
    try {
      const container = await docker.createContainer(hydratorOptions(names, image, { [LABELS.key]: key }, ["sh", "-c", HYDRATE, "marco-hydrate", "/identity", version]));
      try {
        const stdin = await container.attach({ stream: true, stdin: true, hijack: true });
        stdin.on("error", () => {});
        // Not "not-running", which it is already.
        const ended = container.wait({ condition: "next-exit" }) as Promise<{ StatusCode: number }>;
        ended.catch(() => {});
        await container.start();
        stdin.end(stream);
        const { StatusCode: code } = await ended;
        if (code !== 0) throw new WorkspaceError("unavailable", `the identity files could not be put into the sandbox (code ${code}); its disk may be full`);
      } finally {
        await container.remove({ force: true }).catch(() => {});
      }
    } catch (error) {
      throw engineFailure(error, image);
    }
  }

  async read(path: string, options?: ReadOptions) {
    return this.#files.read(placeOf(path), options);
  }
  async write(path: string, contents: string | Uint8Array, options?: WriteOptions) {
    return this.#files.write(writablePlace(path), Buffer.from(contents), options);
  }
  async list(path: string, { signal }: { signal?: AbortSignal | undefined } = {}) {
    const place = placeOf(path);
    const entries = await this.#files.list(place, signal);
    return place.shown === IDENTITY ? entries.filter(({ name }) => name !== VERSION_FILE) : entries;
  }
  async stat(path: string, { signal }: { signal?: AbortSignal | undefined } = {}) {
    return this.#files.stat(placeOf(path), signal);
  }
  async delete(path: string, { recursive, signal }: { recursive?: boolean | undefined; signal?: AbortSignal | undefined } = {}) {
    return this.#files.delete(writablePlace(path), recursive, signal);
  }

  async *exec(command: string, options: ExecOptions = {}): AsyncGenerator<ExecEvent, void, undefined> {
    const cwd = await this.#directory(options.cwd);
    yield* execution(command, options, (launch) => this.#start({ ...launch, env: this.#environment(launch.env) }, cwd));
  }
  async startJob(command: string, options?: Pick<ExecOptions, "cwd" | "env">) {
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

  async run(argv: string[], stdin?: Uint8Array) {
    return this.#program(argv, { limit: SHORT_OUTPUT, ...(stdin !== undefined && { stdin }) });
  }
  async launch(argv: string[], { cwd, env = {} }: Pick<ExecOptions, "cwd" | "env">) {
    const { container, image, user } = this.#parts;
    const directory = await this.#directory(cwd);
    await startDetachedProgram(container, argv, { env: this.#environment(env), cwd: directory, user }).catch((error: unknown) => Promise.reject(engineFailure(error, image)));
  }
  async lives(mark: string) {
    return (await this.run(["sh", "-c", MARKED, "marco-look", mark, "look"])).code === 0;
  }
  async kill(mark: string) {
    const { code } = await this.run(["sh", "-c", MARKED, "marco-kill", mark, "kill"]);
    if (code !== 0) throw new WorkspaceError("unavailable", `processes of ${mark} do not end`);
  }

  /** A program of ours, as files and jobs need it: its streams end with it. */
  readonly #program: RunProgram = async (argv, { stdin, limit, signal }) => {
    signal?.throwIfAborted();
    const [shell, flag, script = "", , ...args] = argv;
    if (shell === "sh" && flag === "-c" && (stdin?.byteLength ?? 0) <= CHANNEL_BYTES) {
      return this.#channel.run(script, args, stdin ?? null, limit, signal).catch((error: unknown) => Promise.reject(engineFailure(error, this.#parts.image)));
    }
    const id = randomBytes(9).toString("hex");
    const started = await this.#start({ id, argv, env: { [MARK]: id }, stdin: stdin ?? null }, "/");
    const stop = () => void started.kill().catch(() => {});
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await collected(streams(started), limit);
    } finally {
      signal?.removeEventListener("abort", stop);
      started.stdout.destroy();
      started.stderr.destroy();
    }
  };

  async #start({ id, argv, env, stdin }: Launch, cwd: string): Promise<Started> {
    const { container, image, user } = this.#parts;
    try {
      const started = await startProgram(container, argv, { env, cwd, stdin, user });
      return { ...started, kill: () => this.kill(`${MARK}=${id}`) };
    } catch (error) {
      throw engineFailure(error, image);
    }
  }

  #environment(env: Readonly<Record<string, string>>): Record<string, string> {
    const secrets = Object.fromEntries(Object.entries(this.#secrets).map(([name, value]) => [name, value.reveal()]));
    return { TERM: "dumb", LANG: "C.UTF-8", ...this.#parts.env, ...secrets, MARCO_WORKSPACE: WORKSPACE, MARCO_IDENTITY: IDENTITY, ...env };
  }

  async #directory(cwd = ""): Promise<string> {
    if (cwd === "" || cwd === WORKSPACE) return WORKSPACE;
    const place: Place = placeOf(cwd);
    const stat = await this.#files.stat(place);
    if (stat === null) throw new WorkspaceError("not_found", `cwd: ${place.shown} does not exist`);
    if (stat.kind !== "directory") throw new WorkspaceError("not_a_directory", `cwd: ${place.shown} is not a directory`);
    return place.shown;
  }
}

/** Both streams to their ends, then the code. */
async function* streams({ stdout, stderr, ended }: Started): AsyncGenerator<ExecEvent, void, undefined> {
  const errors: Buffer[] = [];
  stderr.on("data", (bytes: Buffer) => errors.length < 64 && errors.push(bytes));
  for await (const bytes of stdout as AsyncIterable<Buffer>) yield { type: "output", stream: "stdout", bytes };
  const { code } = await ended;
  yield { type: "output", stream: "stderr", bytes: Buffer.concat(errors) };
  yield { type: "exit", code, end: "exit", duration_ms: 0 };
}
