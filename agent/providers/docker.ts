/** Owns the `docker` provider: a runner in a hardened container of an engine on this machine. */

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import Docker from "dockerode";
import type { ProviderCapabilities, RunError, SuspendOffer } from "../../sdk/protocol/index.ts";
import type { AgentLaunch } from "../runner/spec.ts";
import { STRATEGIES } from "../config/schema.ts";
import { INSIDE } from "./bubblewrap.ts";
import { passedEnvironment, type ProviderContext } from "./context.ts";
import { AGENTS, BUNDLE, containerName, containerOptions, LABELS, SAVED, savedImage } from "./docker-options.ts";
import { SANDBOX_OWNER } from "./owner.ts";
import { isPaused, killPaused, stopPaused } from "./docker-paused.ts";
import { offerOf } from "./suspend-offer.ts";
import { ProviderError, type Availability, type FoundAgent, type FoundFile, type HostMount, type Owner, type Provider, type RunningSandbox, type SandboxDirectories, type SandboxView, type StartRequest } from "./provider.ts";

const SOCKET = "relay.sock";
const CERTIFICATES = `${AGENTS}/host-certificates.pem`;
/** A paused container holds its memory; so long, unless the host's owner says otherwise. */
const MAX_PAUSE_SECONDS = 86_400;
/** Programs of the system belong to the image; what lies elsewhere can be shown from the host. */
const SYSTEM = /^\/(usr\/(?!local\/)|bin\/|sbin\/|lib\/|lib64\/)/;
const NODE = /^node(js)?$/;

type Exit = Awaited<RunningSandbox["exited"]>;

export class DockerProvider implements Provider {
  readonly name = "docker";
  readonly capabilities: ProviderCapabilities = { isolation: "container", pause: true, snapshot: true, limits: true, network_policy: false };
  readonly sandbox = "docker";
  readonly #context: ProviderContext;
  readonly #docker: Docker;
  #closed = false;
  #apparmor = false;
  /** Agents that the image says it has. */
  #inImage: ReadonlySet<string> = new Set();

  constructor(context: ProviderContext) {
    this.#context = context;
    this.#docker = new Docker(engineOf(context.config.docker.host));
  }

  get isolation(): string {
    const { memory, cpus, pids } = this.#context.config.docker.resources;
    const layers = `no capabilities, read-only root, system-call filter${this.#apparmor ? ", AppArmor" : ""}`;
    return `docker container: ordinary user, ${layers}; at most ${Math.round(memory / 1_048_576)} MiB memory, ${cpus} processors, ${pids} processes; network '${this.#context.config.docker.network}'`;
  }

  get suspend(): SuspendOffer {
    return offerOf(STRATEGIES.docker, this.#context.config.docker.suspend_config, { strategy: "pause", max_duration_seconds: MAX_PAUSE_SECONDS });
  }

  /** Where the daemon is root, the sandbox's own user; else the daemon's, whose directories they are. */
  get owner(): Owner | null {
    return process.getuid?.() === 0 ? SANDBOX_OWNER : null;
  }

  async probe(): Promise<Availability> {
    const { image, host } = this.#context.config.docker;
    const no = (detail: string): Availability => ({ available: false, detail, sandbox: null });
    if (process.platform !== "linux") return no("Docker is used on Linux only so far: elsewhere its machine cannot reach the daemon's sockets");
    if (host !== undefined && !host.startsWith("unix:") && !["localhost", "127.0.0.1", "::1"].includes(new URL(host).hostname)) {
      return no(`the engine at ${host} is another machine's: workspaces lie on this one, where its containers cannot see them`);
    }
    try {
      const info = (await this.#docker.info()) as { ServerVersion?: string; SecurityOptions?: string[] };
      const options = info.SecurityOptions ?? [];
      const remapped = options.find((option) => /name=(rootless|userns)/.test(option));
      if (remapped !== undefined) return no(`the engine runs with ${remapped.replace("name=", "")}: its containers' users are not this machine's, so they could not write a workspace`);
      this.#apparmor = options.some((option) => option.includes("name=apparmor"));
      const found = await this.#docker.getImage(image).inspect();
      this.#inImage = new Set((found.Config.Labels?.["marionette.agents"] ?? "").split(",").filter(Boolean));
      return { available: true, detail: `Docker Engine ${info.ServerVersion ?? ""}, image ${image}${this.#apparmor ? ", AppArmor" : ""}`, sandbox: "docker" };
    } catch (error) {
      const { run } = failure(error, image);
      return no(`${run.message}${run.hint === undefined ? "" : `: ${run.hint}`}`);
    }
  }

  view(_directories: SandboxDirectories): SandboxView {
    return { ...INSIDE, socket: `${INSIDE.state}/${SOCKET}`, node: "node", bundle: BUNDLE };
  }

  place({ launch, binary, files }: FoundAgent): { launch: AgentLaunch; mounts: HostMount[] } {
    // The image's own comes first: it is made for it.
    if (binary === null || NODE.test(launch.binary) || this.#inImage.has(launch.name)) return placed(launch, files);
    if (SYSTEM.test(binary.real)) return placed(launch, files);
    const rest = placed(launch, files);
    const shown = mountOf(binary, "binary");
    return { launch: { ...rest.launch, binary: shown.inside }, mounts: [shown.mount, ...rest.mounts] };
  }

  async start(request: StartRequest): Promise<RunningSandbox> {
    const { runner_id, session_id, epoch } = request;
    try {
      const container = await this.#create(request);
      const stdin = await container.attach({ stream: true, stdin: true, hijack: true });
      stdin.on("error", () => {});
      const ended = container.wait({ condition: "next-exit" });
      // Handled at once, or a failure during the start would count as unhandled.
      const exited = this.#exit(runner_id, ended);
      await container.start();
      stdin.end();
      return { runner_id, session_id, epoch, exited };
    } catch (error) {
      throw failure(error, this.#context.config.docker.image);
    }
  }

  async #create(request: StartRequest): Promise<Docker.Container> {
    const { config, bundle, dataId, hostId, env } = this.#context;
    const { runner_id, session_id, tenant_id, epoch } = request;
    const certificates = env["NODE_EXTRA_CA_CERTS"];
    const user = request.owner ?? this.owner ?? { uid: process.getuid?.() ?? SANDBOX_OWNER.uid, gid: process.getgid?.() ?? SANDBOX_OWNER.gid };
    const mounts = [...request.mounts, ...(certificates === undefined ? [] : [{ source: certificates, target: CERTIFICATES }]), ...(request.owner ? [await passwdFor(request.directories.record, user)] : [])];
    const options = containerOptions({
      request: { ...request, mounts },
      config: request.saved ? { ...config.docker, image: savedImage(runner_id) } : config.docker,
      user,
      bundle,
      labels: {
        [LABELS.runner]: runner_id, [LABELS.session]: session_id, [LABELS.tenant]: tenant_id, [LABELS.epoch]: String(epoch), [LABELS.host]: hostId() ?? "", [LABELS.data]: dataId,
      },
      env: environment(env),
    });
    try {
      return await this.#docker.createContainer(options);
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
      // It ran before: the same container again, with what it has in its own layer.
      const container = this.#docker.getContainer(containerName(runner_id));
      await container.kill().catch((fault: unknown) => {
        if (statusOf(fault) !== 409) throw fault;
      });
      return container;
    }
  }

  /** Waits for the end, also across restarts of the engine. */
  async #exit(runnerId: string, ended: Promise<{ StatusCode: number }>): Promise<Exit> {
    let wait: Promise<unknown> = ended;
    for (;;) {
      const failed = await wait.then(() => false, () => true);
      if (this.#closed) return await new Promise<never>(() => {});
      const state = await this.#docker.getContainer(containerName(runnerId)).inspect().then(({ State }) => State, statusOf);
      if (state === 404) return { code: null, signal: null, reason: "its container was removed" };
      if (typeof state === "object" && state !== null && !state.Running && state.Status !== "created") {
        const memory = state.ExitCode === 137 && state.OOMKilled ? "it went over its memory limit" : null;
        return { code: state.ExitCode, signal: null, reason: memory ?? (state.Error ? state.Error.slice(0, 300) : null) };
      }
      if (failed) await pause(500, undefined, { ref: false });
      wait = this.#docker.getContainer(containerName(runnerId)).wait();
    }
  }

  async adopt(): Promise<RunningSandbox[]> {
    const listed = await this.#docker.listContainers({ all: true, filters: { label: [`${LABELS.data}=${this.#context.dataId}`] } });
    const dead = listed.filter(({ State: state }) => state !== "running" && state !== "paused");
    // Ended ones wait to be started again, unless nobody remembers them.
    await Promise.all(dead.map(({ Labels: labels }) => labels[LABELS.runner]).filter((id) => id !== undefined && !existsSync(join(this.#context.runners, id))).map((id) => this.destroy(id ?? "")));
    await this.#forgetSaved();
    return listed.flatMap(({ Labels: labels, State: state }) => {
      if (state !== "running" && state !== "paused") return [];
      const runnerId = labels[LABELS.runner];
      const sessionId = labels[LABELS.session];
      const epoch = Number(labels[LABELS.epoch]);
      if (runnerId === undefined || sessionId === undefined || !Number.isInteger(epoch)) return [];
      const exited = this.#exit(runnerId, this.#docker.getContainer(containerName(runnerId)).wait());
      return [{ runner_id: runnerId, session_id: sessionId, epoch, frozen: state === "paused", exited }];
    });
  }

  /** Saved containers of runners that nobody remembers. */
  async #forgetSaved(): Promise<void> {
    const images = await this.#docker.listImages({ filters: { label: [`${LABELS.data}=${this.#context.dataId}`] } });
    const left = images.map(({ Labels: labels }) => labels?.[LABELS.runner]).filter((id) => id !== undefined && !existsSync(join(this.#context.runners, id)));
    await Promise.all(left.map((id) => this.#docker.getImage(savedImage(id ?? "")).remove({ force: true }).catch(() => {})));
  }

  async freeze(runnerId: string): Promise<void> {
    const container = this.#docker.getContainer(containerName(runnerId));
    try {
      await container.pause();
    } catch (error) {
      if (await isPaused(container)) return;
      throw failure(error, this.#context.config.docker.image);
    }
  }

  async thaw(runnerId: string): Promise<boolean> {
    const container = this.#docker.getContainer(containerName(runnerId));
    try {
      await container.unpause();
    } catch (error) {
      const state = await container.inspect().then(({ State }) => State, () => null);
      if (!state?.Running) return false;
      if (state.Paused) throw failure(error, this.#context.config.docker.image);
    }
    // It may have slept for days: its link is looked at before its next ping would.
    await container.kill({ signal: "SIGCONT" }).catch(() => {});
    return true;
  }

  async save(runnerId: string, graceSeconds: number): Promise<string> {
    const container = this.#docker.getContainer(containerName(runnerId));
    try {
      await container.commit({ repo: SAVED, tag: runnerId, comment: "saved by marionette", pause: true });
      await this.stop(runnerId, graceSeconds);
      await this.#remove(runnerId);
    } catch (error) {
      throw failure(error, this.#context.config.docker.image);
    }
    return `the container's own file system was saved as ${savedImage(runnerId)}, the session's directories stay on the host; memory, processes and temporary files are lost: a new container starts from it`;
  }

  async stop(runnerId: string, graceSeconds: number): Promise<boolean> {
    const container = this.#docker.getContainer(containerName(runnerId));
    if (await isPaused(container)) return stopPaused(container, graceSeconds);
    const signalled = await container.kill({ signal: "SIGTERM" }).then(() => true, () => false);
    if (!signalled) return true;
    const ended = container.wait().then(() => true, () => true);
    return Promise.race([ended, pause(graceSeconds * 1_000, false, { ref: false })]);
  }

  async destroy(runnerId: string): Promise<boolean> {
    const existed = await this.#remove(runnerId);
    const saved = await this.#docker.getImage(savedImage(runnerId)).remove({ force: true }).then(() => true, () => false);
    return existed || saved;
  }

  async #remove(runnerId: string): Promise<boolean> {
    const container = this.#docker.getContainer(containerName(runnerId));
    if (await isPaused(container)) await killPaused(container);
    try {
      await this.#docker.getContainer(containerName(runnerId)).remove({ force: true, v: true });
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      // Someone else removes it already: what we want, but not yet done.
      if (statusOf(error) !== 409) throw failure(error, this.#context.config.docker.image);
      await this.#docker.getContainer(containerName(runnerId)).wait({ condition: "removed" }).catch(() => {});
      return true;
    }
  }

  async output(runnerId: string, characters: number): Promise<string> {
    const options = { stdout: true, stderr: true, follow: false, tail: 200 } as const;
    const raw = await this.#docker.getContainer(containerName(runnerId)).logs(options).catch(() => Buffer.alloc(0));
    return demultiplexed(raw).slice(-characters);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

/** Names a user that the image does not know: programs that ask who they are would fail. */
async function passwdFor(record: string, { uid, gid }: Owner): Promise<HostMount> {
  const source = join(record, "passwd");
  await writeFile(source, `root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:${uid}:${gid}:agent:${INSIDE.home}:/bin/sh\n`, { mode: 0o644 });
  return { source, target: "/etc/passwd" };
}

/** Shows the arguments' files, and puts their places inside in their stead. */
function placed(launch: AgentLaunch, files: readonly FoundFile[]): { launch: AgentLaunch; mounts: HostMount[] } {
  const shown = files.filter((file) => !SYSTEM.test(file.real)).map((file, index) => ({ file, ...mountOf(file, String(index)) }));
  const args = launch.args.map((arg) => shown.find(({ file }) => file.path === arg)?.inside ?? arg);
  return { launch: { ...launch, args }, mounts: shown.map(({ mount }) => mount) };
}

function mountOf(file: FoundFile, name: string): { mount: HostMount; inside: string } {
  const alone = file.realShown === file.real;
  const target = `${AGENTS}/${name}${alone ? `/${file.real.slice(file.real.lastIndexOf("/") + 1)}` : ""}`;
  return { mount: { source: file.realShown, target }, inside: target + file.real.slice(file.realShown.length) };
}

/** The host's language, certificates and proxies; the paths of certificates are the image's own. */
function environment(env: NodeJS.ProcessEnv): Record<string, string> {
  const passed = Object.entries(passedEnvironment(env)).filter(([name]) => !/CERT|_CA_|CAINFO/.test(name));
  return { ...Object.fromEntries(passed), ...(env["NODE_EXTRA_CA_CERTS"] !== undefined && { NODE_EXTRA_CA_CERTS: CERTIFICATES }) };
}

function engineOf(host: string | undefined): Docker.DockerOptions | undefined {
  if (host === undefined) return undefined;
  if (host.startsWith("unix://")) return { socketPath: host.slice("unix://".length) };
  const url = new URL(host.replace(/^tcp:/, "http:"));
  return { protocol: url.protocol === "https:" ? "https" : "http", host: url.hostname, port: Number(url.port || "2375") };
}

function statusOf(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === "number" ? status : null;
}

/** What a person can do about it. */
function failure(error: unknown, image: string): ProviderError {
  if (error instanceof ProviderError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const said = (run: RunError, retryable: boolean) => new ProviderError({ ...run, message: run.message.slice(0, 4_096) }, retryable);
  if (statusOf(error) === 404 && /no such image/i.test(message)) return said({ code: "image_missing", message: `Docker answers, but has no image ${image}`, hint: "npm run image" }, false);
  if (code === "EACCES") return said({ code: "host_unavailable", message: "this user may not use the Docker engine", hint: "add the user to the group docker, or run the daemon as root" }, true);
  if (code === "ECONNREFUSED" || code === "ENOENT" || code === "ECONNRESET" || code === "ENOTFOUND") {
    return said({ code: "host_unavailable", message: "no Docker engine answers", hint: "start it (systemctl start docker), or install it (Debian, Ubuntu: apt-get install docker.io)" }, true);
  }
  return said({ code: "provider_failed", message: `the Docker engine refused: ${message}` }, (statusOf(error) ?? 500) >= 500);
}

/** The engine's log stream: blocks with a header of eight bytes, whose last four are the length. */
function demultiplexed(raw: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= raw.length; ) {
    const length = raw.readUInt32BE(at + 4);
    parts.push(raw.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString("utf8");
}
