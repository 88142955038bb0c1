/** Owns hosts, runners and pools as clients see them, and the capability words of providers. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { sandboxKind } from "./session.ts";
import { suspendOffer } from "./suspend.ts";
import { labels, slug, timestamp } from "./values.ts";
import { hostVoice } from "./voice.ts";

/** What a provider can do; a missing capability is refused in words, never emulated in silence. */
export const providerCapabilities = z.object({
  isolation: z.enum(["container", "namespace", "none"]),
  pause: z.boolean(),
  snapshot: z.boolean(),
  limits: z.boolean(),
  network_policy: z.boolean(),
});
export type ProviderCapabilities = z.infer<typeof providerCapabilities>;

export const hostProvider = z.object({
  name: slug,
  sandbox: sandboxKind.nullable(),
  available: z.boolean(),
  /** What it runs in, or why it is not available and what to do. */
  detail: z.string().max(1_000),
  capabilities: providerCapabilities,
  /** Absent: what every provider has. */
  suspend: suspendOffer.optional(),
});
export type HostProvider = z.infer<typeof hostProvider>;

export const hostAgent = z.object({ name: slug, available: z.boolean(), detail: z.string().max(1_000) });
export type HostAgent = z.infer<typeof hostAgent>;

/** What a daemon says of its machine. */
export const hostInfo = z.object({
  name: z.string().min(1).max(120),
  version: z.string().max(40),
  os: z.string().max(40),
  arch: z.string().max(40),
  cpus: z.number().int().min(1).max(65_536),
  memory_mb: z.number().int().min(1),
  labels,
  pool: slug,
  /** Runners at once. */
  max_runners: z.number().int().min(0).max(100_000),
  default_provider: slug,
  providers: z.array(hostProvider).max(32),
  agents: z.array(hostAgent).max(128),
  /** The engine that turns speech into text there; absent: none. */
  voice: hostVoice.optional(),
  /** Directories of the machine that its configuration opens to browsing and to sessions, as written there. Absent: none. */
  browse_roots: z.array(z.string().max(4_096)).max(64).optional(),
});
export type HostInfo = z.infer<typeof hostInfo>;

export const runnerStatus = z.enum(["starting", "idle", "busy", "cleaning", "paused", "offline", "tainted", "destroyed"]);
export type RunnerStatus = z.infer<typeof runnerStatus>;

export const runner = z.object({
  id: idOf("runner"),
  tenant_id: idOf("tenant"),
  session_id: idOf("session"),
  host_id: idOf("host"),
  pool: z.string(),
  provider: z.string(),
  sandbox: z.string().nullable(),
  isolation: z.string().nullable(),
  epoch: z.number().int(),
  status: runnerStatus,
  status_reason: z.string().nullable(),
  created_at: timestamp,
  ended_at: timestamp.nullable(),
  version: z.number().int(),
});
export type Runner = z.infer<typeof runner>;

export const host = z.object({
  id: idOf("host"),
  tenant_id: idOf("tenant"),
  status: z.enum(["online", "offline", "draining"]),
  ...hostInfo.shape,
  /** The daemon's release; `version` is the row's. Absent of hosts that have not joined since it was there. */
  daemon_version: z.string().max(40).optional(),
  runners: z.number().int(),
  /** How far the machine's clock was ahead of the control plane's when its daemon last connected; negative: behind. */
  clock_skew_ms: z.number().int().optional(),
  created_at: timestamp,
  last_seen_at: timestamp,
  version: z.number().int(),
});
export type Host = z.infer<typeof host>;
