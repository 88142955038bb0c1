/** Owns what the daemon says of its machine: size, providers, agents, and which provider is used unless told otherwise. */

import { arch, availableParallelism, hostname, platform, totalmem } from "node:os";
import type { HostInfo, HostProvider } from "../../sdk/protocol/index.ts";
import type { Provider } from "../providers/provider.ts";
import { agentReport, type AgentHost } from "./agents.ts";

const MEBIBYTE = 1_048_576;
const LEAST_RUNNERS = 4;

/** Runners at once that a machine of that size is good for: agents wait for their model most of the time, but each holds memory. */
export function defaultRunners(cpus: number, memoryMb: number): number {
  return Math.max(LEAST_RUNNERS, Math.min(cpus * 8, Math.floor((memoryMb / 1_024) * 2)));
}

/** The provider for sessions that name none: the configured one, else Docker where it can work, else processes. */
export function chooseProvider(configured: string | undefined, providers: readonly HostProvider[]): string {
  if (configured !== undefined) return configured;
  return providers.find(({ available }) => available)?.name ?? providers.at(-1)?.name ?? "process";
}

/** Probes every provider; those come first that isolate best. */
export function probeAll(providers: readonly Provider[]): Promise<HostProvider[]> {
  return Promise.all(
    providers.map(async (provider) => {
      const { available, detail, sandbox } = await provider.probe();
      return { name: provider.name, available, detail: detail.slice(0, 1_000), sandbox, capabilities: provider.capabilities, suspend: provider.suspend };
    }),
  );
}

export interface CapacityOptions {
  name: string | undefined;
  version: string;
  pool: string;
  labels: Record<string, string>;
  maxRunners: number | undefined;
  defaultProvider: string | undefined;
  agents: AgentHost;
  browseRoots: readonly string[];
  /** Where the example agent and Node lie on the host. */
  view: { node: string; bundle: string };
}

/** The whole report; agents are looked up, not run. */
export async function hostInfo(options: CapacityOptions, providers: readonly Provider[]): Promise<HostInfo> {
  const [probed, agents] = await Promise.all([probeAll(providers), agentReport(options.agents, options.view)]);
  const cpus = availableParallelism();
  const memory = Math.max(1, Math.floor(totalmem() / MEBIBYTE));
  return {
    name: (options.name ?? hostname()).slice(0, 120) || "host",
    version: options.version,
    os: platform(),
    arch: arch(),
    cpus,
    memory_mb: memory,
    labels: { os: platform(), arch: arch(), ...options.labels },
    pool: options.pool,
    max_runners: options.maxRunners ?? defaultRunners(cpus, memory),
    default_provider: chooseProvider(options.defaultProvider, probed),
    providers: probed,
    agents: agents.slice(0, 128),
    browse_roots: [...options.browseRoots],
  };
}
