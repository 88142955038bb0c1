/** Owns what may be said of the Docker sandbox. Names nothing of dockerode, which who does without Docker has not installed. */

export interface DockerResources {
  /** Bytes; 4 GiB where absent. */
  memory?: number | undefined;
  /** Processors; 2 where absent. */
  cpus?: number | undefined;
  /** Processes and threads; 512 where absent. */
  pids?: number | undefined;
}

/** As dockerode takes it. */
export interface DockerEngine {
  socketPath?: string | undefined;
  host?: string | undefined;
  port?: number | string | undefined;
  protocol?: "https" | "http" | "ssh" | undefined;
  username?: string | undefined;
  headers?: Record<string, string>;
  ca?: string | string[] | undefined;
  cert?: string | string[] | undefined;
  key?: string | string[] | undefined;
  timeout?: number | undefined;
  version?: string | undefined;
}

export interface DockerSandboxOptions {
  /** For computers that are made from now on; needs GNU coreutils, findutils and a shell. `debian:bookworm-slim` where absent; the bundled one is built with `npm run image:marco`. */
  image?: string | undefined;
  /** Keeps computers of one engine apart: the same key in another namespace is another computer. */
  namespace?: string | undefined;
  /** A Docker network; `none` for no network. `bridge` where absent. */
  network?: string | undefined;
  resources?: DockerResources | undefined;
  /** `uid:gid` that commands run as. The image's own where absent: for Debian's that is root, without the capabilities that reach the machine, so that packages can be installed. */
  user?: string | undefined;
  /** Environment of every command. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Pull an image that the engine does not have; true where absent. */
  pull?: boolean | undefined;
  /** Where the engine is; what the environment says (`DOCKER_HOST`), else its own socket, where absent. */
  engine?: DockerEngine | undefined;
}
