/** Owns what the daemon does with the runners that it finds, at its start and at every welcome. Pure. */

import type { RunnerReport } from "../../sdk/protocol/index.ts";

export interface Found {
  runner_id: string;
}

/** At the start: records of earlier runners against sandboxes that run. */
export interface StartPlan {
  /** Both: watched again. */
  adopt: string[];
  /** A record that says that the sandbox was saved: it waits to be resumed. */
  saved: string[];
  /** A record without a sandbox: it died while nobody watched, and is started again on its journal. */
  restart: string[];
  /** A sandbox without a record: nobody knows what it works for. */
  destroy: string[];
}

export function planStart(records: readonly (Found & { saved?: boolean | undefined })[], running: readonly Found[]): StartPlan {
  const alive = new Set(running.map(({ runner_id }) => runner_id));
  const known = new Set(records.map(({ runner_id }) => runner_id));
  const saved = new Set(records.filter(({ runner_id, saved }) => saved === true && !alive.has(runner_id)).map(({ runner_id }) => runner_id));
  return {
    adopt: [...known].filter((id) => alive.has(id)),
    saved: [...saved],
    restart: [...known].filter((id) => !alive.has(id) && !saved.has(id)),
    destroy: [...alive].filter((id) => !known.has(id)),
  };
}

/** After a welcome: what must go, and which reports of ended runners have arrived and may be forgotten. */
export interface WelcomePlan {
  destroy: string[];
  forget: string[];
}

export function planWelcome(reported: readonly RunnerReport[], destroy: readonly string[]): WelcomePlan {
  const unwanted = new Set(destroy);
  return {
    destroy: reported.filter(({ runner_id, state }) => state !== "exited" && unwanted.has(runner_id)).map(({ runner_id }) => runner_id),
    forget: reported.filter(({ state }) => state === "exited").map(({ runner_id }) => runner_id),
  };
}

/** Runners that a new one displaces: older attachments of the same session, which must not work beside it. */
export function displaced(existing: readonly { runner_id: string; session_id: string; epoch: number }[], next: { runner_id: string; session_id: string; epoch: number }): string[] {
  return existing.filter((runner) => runner.session_id === next.session_id && runner.runner_id !== next.runner_id && runner.epoch < next.epoch).map(({ runner_id }) => runner_id);
}
