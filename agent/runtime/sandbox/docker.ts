/** Owns the Docker provider: a workspace is a container that stays, with a volume for `/workspace` and a read-only one for `/.marco`. */

import type Docker from "dockerode";
import type { MaterializeOptions, OpenSandbox, Sandbox, SandboxStatus } from "./contracts.ts";
import { WorkspaceError } from "./contracts.ts";
import { DockerChannel } from "./docker-channel.ts";
import { DOCKER_CAPABILITIES, DockerComputer } from "./docker-computer.ts";
import { engineFailure, openEngine, statusOf } from "./docker-engine.ts";
import { containerOptions, LABELS, namesOf, type ContainerNames } from "./docker-options.ts";
import type { DockerSandboxOptions } from "./docker-settings.ts";
import { checked } from "./local.ts";

const DEFAULT_IMAGE = "debian:bookworm-slim";
const STOP_SECONDS = 2;
const TRIES = 5;

export function createDockerSandboxProvider(options: DockerSandboxOptions = {}): Sandbox {
  return new DockerSandbox(options);
}

class DockerSandbox implements Sandbox {
  readonly name = "docker";
  readonly capabilities = DOCKER_CAPABILITIES;
  readonly #options: DockerSandboxOptions;
  readonly #image: string;
  readonly #opening = new Map<string, Promise<{ computer: DockerComputer; fresh: boolean }>>();
  readonly #channels = new Map<string, DockerChannel>();
  #engine: Promise<Docker> | null = null;

  constructor(options: DockerSandboxOptions) {
    this.#options = options;
    this.#image = options.image ?? DEFAULT_IMAGE;
  }

  async materialize(key: string, { signal }: MaterializeOptions = {}): Promise<OpenSandbox> {
    signal?.throwIfAborted();
    const running = this.#opening.get(checked(key));
    // Callers who come together get one computer; the first of them finds it fresh.
    const opening = running ?? this.#materialize(key).finally(() => this.#opening.delete(key));
    if (running === undefined) this.#opening.set(key, opening);
    const { computer, fresh } = await opening.catch((error: unknown) => Promise.reject(engineFailure(error, this.#image)));
    return { key, fresh: fresh && running === undefined, image: computer, workspace: computer };
  }

  async status(key: string): Promise<SandboxStatus> {
    const names = this.#names(key);
    return this.#told(async (docker) => {
      const found = await absentAsNull(docker.getContainer(names.container).inspect());
      return found === null ? "absent" : found.State.Running ? "running" : "stopped";
    });
  }

  async stop(key: string): Promise<void> {
    const names = this.#names(key);
    this.#quiet(key);
    await this.#told(async (docker) => {
      // 304: it is stopped.
      await absentAsNull(docker.getContainer(names.container).stop({ t: STOP_SECONDS }).catch((error: unknown) => (statusOf(error) === 304 ? null : Promise.reject(error))));
    });
  }

  async destroy(key: string): Promise<boolean> {
    const names = this.#names(key);
    this.#quiet(key);
    return this.#told(async (docker) => {
      const container = await absentAsNull(docker.getContainer(names.container).remove({ force: true, v: true }).then(() => true));
      const volumes = await Promise.all([names.workspace, names.identity].map((name) => removeVolume(docker, name)));
      return container === true || volumes.includes(true);
    });
  }

  async close(): Promise<void> {
    for (const key of this.#channels.keys()) this.#quiet(key);
    this.#engine = null;
  }

  #quiet(key: string): void {
    this.#channels.get(key)?.close();
    this.#channels.delete(key);
  }

  async #materialize(key: string): Promise<{ computer: DockerComputer; fresh: boolean }> {
    const docker = await this.#docker();
    const names = this.#names(key);
    for (let attempt = 1; ; attempt++) {
      const found = await absentAsNull(docker.getContainer(names.container).inspect());
      try {
        const fresh = found === null && (await this.#make(docker, key, names));
        const container = docker.getContainer(names.container);
        if (found?.State.Paused) await container.unpause();
        // 304: someone else has started it.
        else if (!found?.State.Running) await container.start().catch((error: unknown) => (statusOf(error) === 304 ? null : Promise.reject(error)));
        const { user, env = {} } = this.#options;
        const channel = this.#channels.get(key) ?? new DockerChannel(container, user);
        this.#channels.set(key, channel);
        const computer = new DockerComputer({ key, docker, container, channel, names, image: found?.Config.Image ?? this.#image, user, env });
        return { computer, fresh };
      } catch (error) {
        // Made or removed by someone else at the same time: look again.
        if (![404, 409].includes(statusOf(error) ?? 0) || /no such image/i.test(String(error)) || attempt >= TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100 * attempt));
      }
    }
  }

  /** True where there was nothing of the workspace before, not even files of a container that was removed. */
  async #make(docker: Docker, key: string, names: ContainerNames): Promise<boolean> {
    const files = await absentAsNull(docker.getVolume(names.workspace).inspect());
    const { network = "bridge", resources = {}, user, namespace = "" } = this.#options;
    const options = containerOptions({ names, image: this.#image, network, resources, user, labels: { [LABELS.key]: key, [LABELS.namespace]: namespace } });
    await docker.createContainer(options).catch(async (error: unknown) => {
      if (statusOf(error) !== 404 || this.#options.pull === false) throw error;
      await this.#pull(docker);
      await docker.createContainer(options);
    });
    return files === null;
  }

  async #pull(docker: Docker): Promise<void> {
    const failed = (error: unknown) => new WorkspaceError("unavailable", `Docker has no image ${this.#image} and cannot pull it: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`, { cause: error });
    const progress = await docker.pull(this.#image).catch((error: unknown) => Promise.reject(failed(error)));
    await new Promise<void>((resolve, reject) => docker.modem.followProgress(progress, (error) => (error === null ? resolve() : reject(failed(error)))));
  }

  #names(key: string): ContainerNames {
    return namesOf(this.#options.namespace ?? "", checked(key));
  }

  #docker(): Promise<Docker> {
    this.#engine ??= openEngine(this.#options.engine);
    return this.#engine;
  }

  async #told<T>(work: (docker: Docker) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#docker());
    } catch (error) {
      throw engineFailure(error, this.#image);
    }
  }
}

async function absentAsNull<T>(promise: Promise<T>): Promise<T | null> {
  return promise.catch((error: unknown) => (statusOf(error) === 404 ? null : Promise.reject(error)));
}

async function removeVolume(docker: Docker, name: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await docker.getVolume(name).remove();
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      // In use for the moment that its container takes to leave.
      if (statusOf(error) !== 409 || attempt >= TRIES * 4) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50 * attempt));
    }
  }
}
