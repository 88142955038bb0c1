/** Owns the session's record in the machine: its status, its version, and how clients see it. */

import type { AttachedRunner, Session, Suspension } from "../../sdk/protocol/index.ts";
import { approvalsOf } from "./approvals.ts";
import { sessionBudget } from "./budget.ts";
import type { Attachment, SessionRecord, State } from "./state.ts";
import type { Work } from "./work.ts";

/** Changes status or reason, and logs it where it is news. */
export function setStatus(work: Work, status: Session["status"], reason: string | null): void {
  const { session } = work.state;
  if (!session || (session.status === status && session.status_reason === reason)) return;
  work.set({ session: { ...session, status, status_reason: reason } });
  if (session.status !== status || reason !== null) work.log("session.status", { status, reason });
}

/** Something wants the session to work: where it is suspended, or on its way there, it is resumed. */
export function wake(work: Work): void {
  const { suspending, session } = work.state;
  if (suspending && !suspending.wake && (session?.status === "suspending" || session?.status === "suspended")) work.set({ suspending: { ...suspending, wake: true } });
}

function suspensionOf({ suspending, attachment, session }: State): Suspension | null {
  if (!suspending || !session) return null;
  const { strategy, cause, since, deadline, phase } = suspending;
  const held = attachment?.state === "held" ? attachment : null;
  return {
    strategy, cause, since, demoted_at: held && phase === "over" && deadline !== null ? new Date(deadline).toISOString() : null, runner_id: held?.runner_id ?? null, host_id: held?.host_id ?? null,
    capsule_id: session.capsule_id,
  };
}

const SHOWN = { leasing: "starting", queued: "starting", spawning: "starting", connected: "connected", disconnected: "disconnected", stopping: "stopping", held: "held" } as const;

function runnerOf(session: SessionRecord, attachment: Attachment | null): AttachedRunner | null {
  if (!attachment?.runner_id || !attachment.host_id) return null;
  const { runner_id: id, host_id, epoch, spawned, state } = attachment;
  const provider = spawned?.provider ?? session.provider ?? "default";
  return { id, host_id, epoch, provider, sandbox: spawned?.sandbox ?? null, isolation: spawned?.isolation ?? null, state: SHOWN[state] };
}

/** The session as clients see it. */
export function sessionOf(state: State, lastSeq: number): Session | null {
  if (!state.session) return null;
  const { conversation: _, last_run_id: __, ...session } = state.session;
  return {
    ...session,
    rules: [...state.rules],
    approvals: approvalsOf(state),
    schedule_id: session.lifecycle_mode === "scheduled" ? (state.schedule?.id ?? null) : null,
    suspension: suspensionOf(state),
    interrupted: (state.queue[0]?.interrupted ?? null) !== null,
    runner: session.status === "terminated" ? null : runnerOf(state.session, state.attachment),
    task_id: state.running?.task.id ?? null,
    queued_tasks: state.queue.length,
    pending_permissions: state.permissions.length,
    usage: state.usage,
    budget: sessionBudget(state),
    last_seq: lastSeq,
  };
}

/** Raises the session's version where a step changed what clients see of it (but for `last_seq`). */
export function versionSession(before: State, work: Work): void {
  const { state } = work;
  if (!state.session) return;
  const changed =
    before.session !== state.session || before.rules !== state.rules || before.approvals !== state.approvals || before.usage !== state.usage || before.queue.length !== state.queue.length ||
    before.running?.task.id !== state.running?.task.id || before.permissions.length !== state.permissions.length ||
    before.gateway.caps !== state.gateway.caps || before.suspending !== state.suspending || before.attachment?.runner_id !== state.attachment?.runner_id || before.attachment?.state !== state.attachment?.state || before.attachment?.spawned !== state.attachment?.spawned;
  if (!changed) return;
  work.set({ session: { ...state.session, updated_at: work.at, version: state.session.version + 1 } });
  work.do({ kind: "put.session" });
}
