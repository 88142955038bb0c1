/** Owns the words of suspension: strategies, what a provider offers of them, and how a session lives when it has nothing to do. */

import * as z from "zod";

/**
 * What becomes of a runner when its session is suspended.
 * - `pause`: memory and files stay; the sandbox is frozen on its host.
 * - `snapshot`: saved and released; Docker saves the files of its own layer only and says so.
 * - `terminate_preserve_storage`: the runner ends, the files stay on the host (and are in the capsule).
 * - `release_to_pool`: the runner ends, the files are in the capsule, the host keeps nothing it has to.
 * - `terminate`: the runner ends, the host's copy is removed; what was not in a capsule is lost.
 */
export const SUSPEND_STRATEGIES = ["pause", "snapshot", "terminate_preserve_storage", "release_to_pool", "terminate"] as const;
export const suspendStrategy = z.enum(SUSPEND_STRATEGIES);
export type SuspendStrategy = z.infer<typeof suspendStrategy>;

/** What a provider can do and what it is configured to do; travels with its host's info and with every spawn's answer. */
export const suspendOffer = z.object({
  strategies: z.array(suspendStrategy).max(5),
  /** Used where neither the session nor the request names one. */
  strategy: suspendStrategy,
  /** Tried when the strategy fails. */
  fallback: suspendStrategy.nullable(),
  /** A runner is not suspended by idleness sooner than this after it came up or was resumed. */
  min_duration_seconds: z.number().int().min(0),
  /** A paused or saved runner is demoted to the next cheaper strategy when it has been suspended for so long; null: never. */
  max_duration_seconds: z.number().int().min(1).nullable(),
});
export type SuspendOffer = z.infer<typeof suspendOffer>;

/** What every provider has, also one that says nothing. */
export const PLAIN_OFFER: SuspendOffer = {
  strategies: ["terminate_preserve_storage", "terminate"],
  strategy: "terminate_preserve_storage",
  fallback: null,
  min_duration_seconds: 0,
  max_duration_seconds: null,
};

/**
 * `on_demand`: suspended after `idle_timeout_seconds` without work; `always_on`: never suspended by idleness;
 * `scheduled`: runs by its cron schedule, suspended between runs.
 */
export const lifecycleMode = z.enum(["on_demand", "always_on", "scheduled"]);
export type LifecycleMode = z.infer<typeof lifecycleMode>;

/** Why a session is suspended. */
export const suspendCause = z.enum(["requested", "idle", "permission", "budget", "runner_lost", "schedule"]);
export type SuspendCause = z.infer<typeof suspendCause>;

/** A suspension as clients see it. */
export const suspension = z.object({
  strategy: suspendStrategy,
  cause: suspendCause,
  since: z.string(),
  /** When it is demoted to a cheaper strategy; null where it is not. */
  demoted_at: z.string().nullable(),
  /** The frozen or saved runner and the host that has it; null where nothing is held. */
  runner_id: z.string().nullable(),
  host_id: z.string().nullable(),
  capsule_id: z.string().nullable(),
});
export type Suspension = z.infer<typeof suspension>;

export const sessionSuspend = z.strictObject({ strategy: suspendStrategy.optional(), reason: z.string().max(1_000).optional() });
export type SessionSuspend = z.infer<typeof sessionSuspend>;

/** `api_key`: a session's own key does not outlive its attachment; without it a session that had one resumes, and its tasks fail with `key_missing`. */
export const sessionResume = z.strictObject({
  api_key: z.string().min(1).max(4_096).optional(),
  /** Resume with this provider, or on a host that this selector names, instead of the session's own. */
  provider: z.string().max(63).optional(),
  selector: z.string().min(1).max(500).optional(),
  /** Go on from this capsule instead of the latest state: files and conversation as they were then. */
  capsule_id: z.string().max(64).optional(),
});
export type SessionResume = z.infer<typeof sessionResume>;
