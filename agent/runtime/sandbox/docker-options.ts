/** Owns what a container of the Docker sandbox is: its limits, its capabilities, its volumes. */

import { createHash } from "node:crypto";
import type { ContainerCreateOptions } from "dockerode";
import { IDENTITY, WORKSPACE } from "./contracts.ts";
import type { DockerResources } from "./docker-settings.ts";
import seccomp from "./image/seccomp.json" with { type: "json" };

export interface ContainerNames {
  container: string;
  workspace: string;
  identity: string;
}

export const LABELS = { key: "marco.workspace", namespace: "marco.namespace" } as const;

/** The engine's names for a workspace. The key is hashed: the engine's alphabet is smaller, and its names are of one machine. */
export function namesOf(namespace: string, key: string): ContainerNames {
  const container = `marco-${createHash("sha256").update(`${namespace}\0${key}`).digest("hex").slice(0, 24)}`;
  return { container, workspace: `${container}-workspace`, identity: `${container}-identity` };
}

/**
 * What root of the container may do: what package managers need to install, and nothing of the machine's. Not NET_RAW, SYS_CHROOT, MKNOD, SETPCAP,
 * SYS_ADMIN (so `/.marco` cannot be mounted anew), SYS_PTRACE.
 */
const CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "KILL", "NET_BIND_SERVICE"];

/** The root is writable, because what is installed shall stay; the identity files are a volume that is read-only inside. */
export function containerOptions(request: { names: ContainerNames; image: string; labels: Record<string, string>; network: string; resources: DockerResources; user: string | undefined }): ContainerCreateOptions {
  const { names, image, labels, network, user, resources: { memory = 4 * 1024 ** 3, cpus = 2, pids = 512 } } = request;
  return {
    name: names.container,
    Image: image,
    Entrypoint: [],
    Cmd: ["sleep", "infinity"],
    WorkingDir: WORKSPACE,
    Hostname: "marco",
    Labels: labels,
    ...(user !== undefined && { User: user }),
    HostConfig: {
      Mounts: [
        { Type: "volume", Source: names.workspace, Target: WORKSPACE, ReadOnly: false, VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: "local", Options: {} }, Subpath: "" } },
        { Type: "volume", Source: names.identity, Target: IDENTITY, ReadOnly: true, VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: "local", Options: {} }, Subpath: "" } },
      ],
      Memory: memory,
      // No swap beyond it: a limit that swaps is none.
      MemorySwap: memory,
      NanoCpus: Math.round(cpus * 1e9),
      PidsLimit: pids,
      ShmSize: 64 * 1024 * 1024,
      CapDrop: ["ALL"],
      CapAdd: CAPABILITIES,
      Privileged: false,
      SecurityOpt: ["no-new-privileges", `seccomp=${JSON.stringify(seccomp)}`],
      IpcMode: "private",
      NetworkMode: network,
      // Reaps what commands leave behind.
      Init: true,
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "none", Config: {} },
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
    },
  };
}

/** A container that lives for one hydration: the only one that may write the identity files. */
export function hydratorOptions(names: ContainerNames, image: string, labels: Record<string, string>, command: string[]): ContainerCreateOptions {
  return {
    Image: image, Entrypoint: [], Cmd: command, Labels: labels, User: "0:0", OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: false, AttachStderr: false,
    HostConfig: {
      Mounts: [{ Type: "volume", Source: names.identity, Target: "/identity", ReadOnly: false, VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: "local", Options: {} }, Subpath: "" } }],
      CapDrop: ["ALL"], CapAdd: ["DAC_OVERRIDE", "FOWNER"], SecurityOpt: ["no-new-privileges"], NetworkMode: "none", ReadonlyRootfs: true, Memory: 256 * 1024 * 1024, PidsLimit: 64, LogConfig: { Type: "none", Config: {} },
    },
  };
}
