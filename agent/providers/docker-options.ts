/** Owns what a container of a runner may do: its limits, its user, its file systems, its system calls. */

import type { ContainerCreateOptions } from "dockerode";
import type { Config } from "../config/schema.ts";
import seccomp from "../image/seccomp.json" with { type: "json" };
import { INSIDE } from "./bubblewrap.ts";
import type { HostMount, Owner, StartRequest } from "./provider.ts";

/** Where the daemon's programs and a host's agents are shown inside. */
export const BUNDLE = "/opt/marionette";
export const AGENTS = "/opt/host-agents";

export const LABELS = {
  runner: "marionette.runner",
  session: "marionette.session",
  tenant: "marionette.tenant",
  epoch: "marionette.epoch",
  host: "marionette.host",
  /** The data directory that its directories lie in: by this a daemon knows its own containers again. */
  data: "marionette.data",
} as const;

export interface ContainerPlan {
  request: StartRequest;
  config: Config["providers"]["docker"];
  user: Owner;
  labels: Record<string, string>;
  bundle: string;
  env: Record<string, string>;
}

/** The name by which a runner's container is found. */
export function containerName(runnerId: string): string {
  return `marionette-${runnerId}`;
}

/** Repository of the images that suspended containers are saved as. */
export const SAVED = "marionette-saved";

/** The image that a runner's container was saved as. */
export function savedImage(runnerId: string): string {
  return `${SAVED}:${runnerId}`;
}

/**
 * Nothing is writable but the workspace, the home, the state and bounded temporary file systems in memory; no capability, no new privileges, an allow-list of
 * system calls, bounded memory, processors and processes, an ordinary user. `/tmp` may execute: the workspace may too, and builds do it.
 */
export function containerOptions({ request, config, user, labels, bundle, env }: ContainerPlan): ContainerCreateOptions {
  const { memory, cpus, pids, tmp, shm } = config.resources;
  const { directories } = request;
  const bind = (mount: HostMount, mode: "ro" | "rw") => ({ Type: "bind" as const, Source: mount.source, Target: mount.target, ReadOnly: mode === "ro", BindOptions: { Propagation: "rprivate" as const } });
  return {
    name: containerName(request.runner_id),
    Image: config.image,
    Cmd: ["node", `${BUNDLE}/runner.js`, `${INSIDE.state}/runner.json`],
    Entrypoint: [],
    User: `${user.uid}:${user.gid}`,
    WorkingDir: INSIDE.workspace,
    Hostname: "sandbox",
    Env: Object.entries({ HOME: INSIDE.home, TMPDIR: "/tmp", ...env }).map(([name, value]) => `${name}=${value}`),
    Labels: labels,
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      Mounts: [
        bind({ source: directories.workspace, target: INSIDE.workspace }, "rw"),
        bind({ source: directories.home, target: INSIDE.home }, "rw"),
        bind({ source: directories.state, target: INSIDE.state }, "rw"),
        bind({ source: bundle, target: BUNDLE }, "ro"),
        ...request.mounts.map((mount) => bind(mount, "ro")),
      ],
      Tmpfs: { "/tmp": `rw,exec,nosuid,nodev,size=${tmp},mode=1777`, "/var/tmp": "rw,nosuid,nodev,size=67108864,mode=1777" },
      ShmSize: shm,
      Memory: memory,
      // No swap beyond it: a limit that swaps is none.
      MemorySwap: memory,
      NanoCpus: Math.round(cpus * 1e9),
      PidsLimit: pids,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      Privileged: false,
      SecurityOpt: ["no-new-privileges", `seccomp=${JSON.stringify(seccomp)}`, ...(config.apparmor_profile === undefined ? [] : [`apparmor=${config.apparmor_profile}`])],
      IpcMode: "private",
      NetworkMode: config.network,
      ...(config.dns.length > 0 && { Dns: config.dns }),
      Init: true,
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "1" } },
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
    },
  };
}
