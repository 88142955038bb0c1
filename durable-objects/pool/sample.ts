/** Owns sample hosts and requests for the tests of pools and hosts. */

import type { HostInfo } from "../../sdk/protocol/index.ts";
import type { LeaseRequest } from "../rpc.ts";

const CAPABILITIES = { isolation: "none", pause: false, snapshot: false, limits: false, network_policy: false } as const;

/** A host with the providers `process` (its default) and a Docker whose engine does not answer, and the agent `example`. */
export function hostInfoFor(name: string, more: Partial<HostInfo> = {}): HostInfo {
  return {
    name, version: "0.1.0", os: "linux", arch: "x64", cpus: 4, memory_mb: 8_192, labels: {}, pool: "default", max_runners: 4, default_provider: "process",
    providers: [
      { name: "process", sandbox: "process", available: true, detail: "plain process", capabilities: CAPABILITIES },
      { name: "docker", sandbox: "docker", available: false, detail: "Docker engine does not answer", capabilities: { ...CAPABILITIES, isolation: "container" } },
    ],
    agents: [{ name: "example", available: true, detail: "bundled" }],
    ...more,
  };
}

/** A number as the body of an id: 21 characters. */
export function sampleId(prefix: string, number: number): string {
  return `${prefix}_${String(number).padStart(21, "0")}`;
}

export function leaseFor(session: number, more: Partial<LeaseRequest> = {}): LeaseRequest {
  return { tenant_id: sampleId("ten", 1), session_id: sampleId("sess", session), epoch: 1, agent: "example", provider: null, selector: null, host: null, ...more };
}
