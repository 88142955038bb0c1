/** Owns what a provider offers of suspension: its strategies, and what marionette.yaml says of them. */

import type { SuspendOffer, SuspendStrategy } from "../../sdk/protocol/index.ts";
import type { Config } from "../config/schema.ts";

type SuspendConfig = NonNullable<Config["providers"]["docker"]["suspend_config"]>;

/** What a provider has where `marionette.yaml` says nothing: its first strategy, then the cheapest way that keeps the files. */
export function offerOf(strategies: readonly SuspendStrategy[], configured: SuspendConfig | undefined, otherwise: Pick<SuspendOffer, "strategy" | "max_duration_seconds">): SuspendOffer {
  const has = (strategy: SuspendStrategy | undefined) => (strategy !== undefined && strategies.includes(strategy) ? strategy : undefined);
  const strategy = has(configured?.strategy) ?? has(otherwise.strategy) ?? "terminate_preserve_storage";
  const fallback = has(configured?.fallback) ?? "terminate_preserve_storage";
  return {
    strategies: [...strategies],
    strategy,
    fallback: fallback === strategy ? null : fallback,
    min_duration_seconds: configured?.min_duration ?? 0,
    max_duration_seconds: configured?.max_duration ?? otherwise.max_duration_seconds,
  };
}
