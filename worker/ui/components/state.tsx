/** Owns the honest word for what a session does right now. */

import type { Session } from "../../../sdk/index.ts";
import type { Now } from "../store/transcript.ts";
import { plain, until } from "./format.ts";

/** An agent that has said nothing for this long, and does not wait for anyone, is called stuck: 3 minutes. */
const STUCK_MS = 180_000;

export interface StateWord {
  word: string;
  tone: "plain" | "good" | "warn" | "bad" | "accent";
  /** Something is under way: the badge moves. */
  moving: boolean;
}

/** `now` of the transcript makes it finer, where it is known. */
export function stateOf(session: Session, now: Now | null, clock: number): StateWord {
  const { status, runner, task_id, pending_permissions, queued_tasks } = session;
  if (status === "terminated") return { word: "Ended", tone: "plain", moving: false };
  if (pending_permissions > 0) return { word: "Waiting for you", tone: "warn", moving: false };
  if (status === "suspended") {
    const held = session.suspension?.demoted_at;
    return { word: held ? `Suspended, ${until(held, clock)}` : "Suspended", tone: "plain", moving: false };
  }
  if (status === "suspending") return { word: "Suspending", tone: "accent", moving: true };
  if (status === "resuming") return { word: "Resuming", tone: "accent", moving: true };
  if (task_id === null) {
    if (queued_tasks === 0) return status === "pending" && !runner ? { word: "New", tone: "plain", moving: false } : { word: "Idle", tone: "good", moving: false };
    if (!runner) return { word: session.status_reason ? `Waiting: ${session.status_reason}` : "Waiting for a host", tone: "warn", moving: true };
    return { word: runner.state === "starting" ? "Starting the sandbox" : "Starting the agent", tone: "accent", moving: true };
  }
  if (runner?.state === "disconnected") return { word: "Runner out of reach", tone: "warn", moving: true };
  const last = now?.lastAt ? Date.parse(now.lastAt) : null;
  if (last !== null && clock - last > STUCK_MS) return { word: `Stuck? Silent for ${Math.floor((clock - last) / 60_000)} min`, tone: "bad", moving: false };
  if (now?.doing?.what === "tool") return { word: `Running ${plain(now.doing.tool ?? "a tool")}`, tone: "accent", moving: true };
  if (now?.doing?.what === "writing") return { word: "Writing", tone: "accent", moving: true };
  if (now?.doing?.what === "starting") return { word: "Starting the agent", tone: "accent", moving: true };
  return { word: "Thinking", tone: "accent", moving: true };
}

export function StateBadge({ state }: { state: StateWord }) {
  return <span class={`badge ${state.tone}`}>{state.moving && <i class="spinner" aria-hidden="true" />}<span title={state.word}>{state.word}</span></span>;
}
