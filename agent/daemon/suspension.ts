/** Owns carrying out a suspension on one host: which ways are tried in which order, and the words of their answers. */

import type { RunError, Suspended, SuspendStrategy } from "../../sdk/protocol/index.ts";
import { ProviderError, type Provider } from "../providers/provider.ts";

/** How long a runner may take to tell what it has and to leave. */
const GRACE_SECONDS = 5;

/** What is held of a runner now: its frozen sandbox, a saved one, or one that runs. */
export type Held = "frozen" | "saved" | "running";
export interface Outcome {
  strategy: SuspendStrategy;
  held: Held | "nothing";
  detail: string;
}

/** Strategies after which the host still has the runner. */
export const HOLDING: ReadonlySet<SuspendStrategy> = new Set(["pause", "snapshot"]);

/** The ways to try, in order: not what the provider lacks, and never back to a dearer one than what is held already. */
export function waysOf(offered: readonly SuspendStrategy[], strategy: SuspendStrategy, fallback: SuspendStrategy | null): SuspendStrategy[] {
  return [strategy, ...(fallback === null || fallback === strategy ? [] : [fallback])].filter((way) => offered.includes(way) || !HOLDING.has(way));
}

/** Carries one way out; what a way that was carried out before has kept already is left as it is. Throws `ProviderError`. */
export async function carryOut(provider: Provider, runnerId: string, way: SuspendStrategy, held: Held): Promise<Outcome> {
  if (way === "pause") {
    if (held === "saved") return { strategy: "snapshot", held, detail: "it was saved before, and its memory is lost" };
    await provider.freeze(runnerId);
    return { strategy: way, held: "frozen", detail: `all its processes are stopped and stay in memory (${provider.name})` };
  }
  if (way === "snapshot") {
    if (held === "saved") return { strategy: way, held, detail: "it was saved before" };
    return { strategy: way, held: "saved", detail: await provider.save(runnerId, GRACE_SECONDS) };
  }
  const inOrder = held === "saved" || (await provider.stop(runnerId, GRACE_SECONDS));
  await provider.destroy(runnerId);
  return { strategy: way, held: "nothing", detail: `the runner has ended${inOrder ? "" : " and did not do so in order"}; memory and processes are lost, the session's files stay on the host${way === "terminate_preserve_storage" ? "" : " until they are discarded"}` };
}

/** Why none of the ways could be gone. */
export function cannot(provider: string, offered: readonly SuspendStrategy[], strategy: SuspendStrategy, faults: readonly string[]): Suspended {
  const why = faults.length === 0 ? `the ${provider} provider cannot ${strategy}` : faults.join("; ");
  return { ok: false, error: { code: "provider_failed", message: why.slice(0, 4_096), hint: `it can ${offered.join(", ")}` } };
}

/** There is nothing of the runner here: to end it is done, to keep it is too late. */
export function missing(strategy: SuspendStrategy): Suspended {
  if (HOLDING.has(strategy)) return { ok: false, error: { code: "provider_failed", message: "this host has nothing of the runner any more", hint: "it goes on from its capsule" } };
  return { ok: true, strategy, detail: "it had ended already" };
}

/** A provider's refusal in the words of a task's error. */
export function errorOf(error: unknown): RunError {
  if (error instanceof ProviderError) return error.run;
  return { code: "provider_failed", message: (error instanceof Error ? error.message : String(error)).slice(0, 4_096) };
}
