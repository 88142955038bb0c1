/** Owns the schema of `marionette.yaml`: what a host's owner may say, with its units, and nothing else. */

import { isAbsolute } from "node:path";
import * as z from "zod";
import { belowHome } from "../runner/spec.ts";
import { voice } from "./voice.ts";
import { env, slug, SUSPEND_STRATEGIES, type SuspendStrategy } from "../../sdk/protocol/index.ts";

const UNITS = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const;
const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** Bytes, written as `512m` or `4g` (powers of 1024). */
export const size = z
  .string({ error: "expected a size like 512m or 4g" })
  .regex(/^\d+(\.\d+)?[bkmgt]$/i, "expected a size like 512m or 4g")
  .transform((text) => Math.floor(Number(text.slice(0, -1)) * UNITS[text.slice(-1).toLowerCase() as keyof typeof UNITS]));

/** Seconds, written as `60s`, `15m`, `24h` or `7d`. */
export const duration = z
  .string({ error: "expected a duration like 60s, 15m or 24h" })
  .regex(/^\d+[smhd]$/, "expected a duration like 60s, 15m or 24h")
  .transform((text) => Number(text.slice(0, -1)) * SECONDS[text.slice(-1) as keyof typeof SECONDS]);

/** Processors, written as `2` or `0.5`, quoted or not. */
const cpus = z
  .union([z.string(), z.number()], { error: "expected a number of processors like 2 or 0.5" })
  .refine((value) => /^\d+(\.\d+)?$/.test(String(value)) && Number(value) >= 0.01 && Number(value) <= 1_024, "expected a number of processors like 2 or 0.5")
  .transform(Number);

const MIN_MEMORY = 64 * UNITS.m;
const resources = z.strictObject({
  memory: size.refine((bytes) => bytes >= MIN_MEMORY, "expected at least 64m").default(4 * UNITS.g),
  cpus: cpus.default(2),
  pids: z.number().int().min(16, "expected at least 16").max(1_000_000).default(512),
  /** Size of the sandbox's /tmp, which lies in memory. */
  tmp: size.default(512 * UNITS.m),
  /** Size of the sandbox's /dev/shm. */
  shm: size.default(64 * UNITS.m),
});

/** How the providers of this machine can suspend, cheapest for the session first. */
export const STRATEGIES = {
  docker: ["pause", "snapshot", "terminate_preserve_storage", "terminate"],
  process: ["pause", "terminate_preserve_storage", "terminate"],
} as const satisfies Record<string, readonly SuspendStrategy[]>;

/** `provider` is named in the refusal of a strategy that it has not. */
function suspendConfig(provider: keyof typeof STRATEGIES) {
  const has = STRATEGIES[provider];
  const strategy = z.enum(SUSPEND_STRATEGIES, { error: `expected one of ${has.join(", ")}` }).refine((value) => (has as readonly SuspendStrategy[]).includes(value), {
    error: ({ input }) => `the ${provider} provider cannot ${String(input)}; expected one of ${has.join(", ")}`,
  });
  return z
    .strictObject({ strategy, fallback: strategy.optional(), min_duration: duration.optional(), max_duration: duration.optional() })
    .refine(({ min_duration: min, max_duration: max }) => min === undefined || max === undefined || min <= max, { path: ["max_duration"], message: "expected at least min_duration" })
    .refine(({ max_duration: max }) => max !== 0, { path: ["max_duration"], message: "expected at least 1s" })
    .refine(({ strategy, fallback }) => strategy !== fallback, { path: ["fallback"], message: "expected another strategy than the one that it stands in for" });
}

const docker = z.strictObject({
  /** `unix:///var/run/docker.sock` or `tcp://host:port`; absent: what the environment says, else the engine's own socket. */
  host: z.string().regex(/^(unix:\/\/\/|tcp:\/\/|http:\/\/|https:\/\/)\S+$/, "expected unix:///path or tcp://host:port").optional(),
  image: z.string().min(1).max(400).default("marionette-runner:latest"),
  network: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, "expected the name of a Docker network").default("bridge"),
  /** Name servers of sandboxes, such as `1.1.1.3`, which knows no malware; absent: the engine's own. */
  dns: z.array(z.union([z.ipv4(), z.ipv6()], { error: "expected an IP address" })).max(8).default([]),
  /** An AppArmor profile that the host has loaded; absent: the engine's own, where the host has AppArmor at all. */
  apparmor_profile: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,199}$/, "expected the name of an AppArmor profile").optional(),
  resources: resources.prefault({}),
  suspend_config: suspendConfig("docker").optional(),
});

const processProvider = z.strictObject({
  /** `auto`: bubblewrap where it works, else none. `bubblewrap`: that or nothing. `none`: a plain process. */
  isolation: z.enum(["auto", "bubblewrap", "none"], { error: "expected auto, bubblewrap or none" }).default("auto"),
  /** Sandboxes kept ready under bubblewrap, about 50 MB each, so that a new session starts at once. */
  warm: z.number().int().min(0).max(64).default(1),
  suspend_config: suspendConfig("process").optional(),
});

const absolute = z.string().refine(isAbsolute, "expected an absolute path");

const customAgent = z.strictObject({
  /** Looked up on PATH where it holds no slash. */
  binary: z.string().min(1).max(4_096),
  args: z.array(z.string().max(32_768)).max(256).default([]),
  env: env.default({}),
  adapter: z.enum(["custom", "acp", "claude", "codex"], { error: "expected custom, acp, claude or codex" }).default("custom"),
  how_to_get: z.string().max(1_000).optional(),
  /** It goes on with a turn in which it was killed, when it is started again with the task's `interrupted`. */
  continues: z.boolean().optional(),
  /** What of its home travels with the session to another host: its conversations and state, never its logins. */
  state_files: z.array(belowHome).max(64).optional(),
});
export type CustomAgent = z.infer<typeof customAgent>;

export const config = z.strictObject({
  providers: z
    .strictObject({
      default: z.enum(["docker", "process"], { error: "expected docker or process" }).optional(),
      docker: docker.prefault({}),
      process: processProvider.prefault({}),
    })
    .prefault({}),
  agents: z.strictObject({ custom: z.record(slug, customAgent).default({}) }).prefault({}),
  /** Directories of the host that the dashboard may browse. */
  browse_roots: z.array(absolute).max(64).default([]),
  /** Speech that is turned into text on this host. */
  voice: voice.prefault({}),
  /** How long the host keeps its copies of an ended session's files that are in a capsule. */
  retention: duration.default(7 * SECONDS.d),
  /** Runners at once; absent: from the machine's size. */
  max_runners: z.number().int().min(1, "expected at least 1").max(100_000).optional(),
});
export type Config = z.infer<typeof config>;
