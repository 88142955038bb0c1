/** Owns the session's machine: one pure step from state and input to state and effects, what follows from every step, and the next deadline. */

import { earliest } from "../base/deadlines.ts";
import {
  acknowledge, attachmentOverdue, drainRunner, leaseGranted, leaseQueued, leaseRefused, leaseWanted, linkDown, linkUp, loseRunner, requestLease, restored, restoreFailed, spawnAnswered,
  spawnRenewed, stopRunner,
} from "./attachment.ts";
import { BUDGET_WAIT, callsOverdue, deniedHead, gatewayDeadline, isMetered, keepCall, openCall, refusedAbove, settleCall } from "./budget.ts";
import { capsuleFailed, capsuleRead, capsuleSynced } from "./capsules.ts";
import { takeCapsule } from "./checkpoint.ts";
import { archiveSession, chooseManifest, createSession, terminateSession, updateSession } from "./lifecycle.ts";
import { permissionAnswered, permissionRequested, permissionWithdrawn, stopClock } from "./permissions.ts";
import { followSchedule, scheduleAsked, scheduleDeadline, scheduleOverdue } from "./schedule.ts";
import { setStatus, versionSession } from "./session.ts";
import type { Effect, Input, State } from "./state.ts";
import { demote, followSuspension, hostCallFailed, hostResumed, hostSuspended, resume, suspend, suspensionDeadlines, suspensionOverdue } from "./suspend.ts";
import { cancelTask, countUsage, createTask, dispatch, endHead, executeTask, headDue, replaceQueued, retryTask, runReported, taskOverdue } from "./tasks.ts";
import { Work } from "./work.ts";

/** A spawn that could not even be asked for is given up after so many tries, and another lease is sought. */
const MAX_SPAWN_CALLS = 4;

/**
 * One step. `freshRun` is an unused run's id, for the one run that a step may start. Inputs of an epoch that is over change nothing
 * but, where a lease came with them, its release.
 */
export function step(state: State, input: Input, now: number, freshRun: string): { state: State; effects: Effect[] } {
  const work = new Work(state, now, freshRun);
  take(work, input);
  follow(work);
  followSchedule(state, work);
  versionSession(state, work);
  return { state: work.state, effects: work.effects };
}

function take(work: Work, input: Input): void {
  switch (input.type) {
    case "session.create": return createSession(work, input);
    case "session.update": return updateSession(work, input);
    case "session.suspend": return suspend(work, input);
    case "session.resume": return resume(work, input);
    case "workspace.chosen": return chooseManifest(work, input.manifest_id);
    case "capsule.take": return takeCapsule(work, input.id);
    case "session.terminate": return terminateSession(work, input.by);
    case "session.archived": return archiveSession(work, input.archive);
    case "task.create": return createTask(work, input);
    case "task.cancel": return cancelTask(work, input);
    case "task.retry": return retryTask(work, input);
    case "task.execute": return executeTask(work, input);
    case "permission.answer": return permissionAnswered(work, input);
    case "lease.granted": return leaseGranted(work, input);
    case "lease.queued": return leaseQueued(work, input.epoch, input.reason);
    case "lease.refused": return leaseRefused(work, input.epoch, input.message);
    case "lease.wanted": return work.state.suspending && work.state.attachment?.epoch === input.epoch ? demote(work, "another session needs the runner's place") : leaseWanted(work, input.epoch);
    case "host.suspended": return hostSuspended(work, input.runner_id, input.answer);
    case "host.resumed": return hostResumed(work, input.runner_id, input.answer);
    case "spawn.answered": return spawnAnswered(work, input);
    case "spawn.renewed": return spawnRenewed(work, input);
    case "runner.drain": return drainRunner(work, input.by);
    case "runner.gone": return work.state.attachment?.runner_id === input.runner_id ? loseRunner(work, input.epoch, input.reason) : undefined;
    case "call.done": return work.called(input.key);
    case "call.failed": return callFailed(work, input);
    case "link.up": return linkUp(work, input);
    case "link.down": return linkDown(work, input.epoch, input.stopped);
    case "link.broken": return loseRunner(work, input.epoch, input.reason);
    case "journal": return journal(work, input);
    case "command.ack": return acknowledge(work, input.epoch, input.up_to);
    case "model.open": return asking(work, () => openCall(work, input));
    case "model.keep": return keepCall(work, input);
    case "model.settle": return settleCall(work, input);
    case "model.refused": return asking(work, () => refusedAbove(work, input));
    case "schedule.create":
    case "schedule.update":
    case "schedule.pause":
    case "schedule.resume":
    case "schedule.trigger":
    case "schedule.delete": return scheduleAsked(work, input);
    case "woken": return woken(work, input.linked);
    case "tick": return tick(work);
  }
}

/** A budget's question stops the task's clock, as every question does. */
function asking(work: Work, body: () => void): void {
  body();
  if (work.state.gateway.question) stopClock(work);
}

function journal(work: Work, { epoch, to, task_id, run_id, items, seq }: Extract<Input, { type: "journal" }>): void {
  if (work.state.attachment?.epoch !== epoch || to <= work.state.position) return;
  work.set({ position: to });
  if (work.state.session?.status === "terminated") return;
  for (const item of items) {
    const current = run_id !== null && run_id === work.state.running?.run.id;
    if (item.type === "usage") {
      if (!isMetered(work.state, run_id)) countUsage(work, item.data);
    }
    else if (item.type === "workspace.sync_started") capsuleRead(work, item.data.capsule_id, seq);
    else if (item.type === "workspace.synced") capsuleSynced(work, item.data, { task_id, run_id });
    else if (item.type === "workspace.sync_failed") capsuleFailed(work, item.data);
    else if (item.type === "workspace.restored") restored(work);
    else if (item.type === "workspace.restore_failed") restoreFailed(work, item.data.error);
    else if (!current) continue;
    else if (item.type === "run.status") runReported(work, run_id, item.data);
    else if (item.type === "permission.requested") permissionRequested(work, item.data);
    else permissionWithdrawn(work, item.data.permission_id);
  }
}

function callFailed(work: Work, { key, message }: Extract<Input, { type: "call.failed" }>): void {
  const tries = work.callFailed(key);
  hostCallFailed(work, key, tries, message);
  const { attachment } = work.state;
  if (tries >= MAX_SPAWN_CALLS && attachment?.state === "spawning" && key === `spawn:${attachment.runner_id}`) {
    loseRunner(work, attachment.epoch, `its host does not answer: ${message}`);
  }
}

function woken(work: Work, linked: boolean): void {
  work.repeatCalls(true);
  const { attachment } = work.state;
  if (attachment?.met && !linked && attachment.linked) linkDown(work, attachment.epoch, false);
}

function tick(work: Work): void {
  const ending = work.state.running?.ending;
  if (ending && ending.deadline <= work.now && work.state.attachment) {
    loseRunner(work, work.state.attachment.epoch, `its agent did not end after it was ${ending.why === "timeout" ? "out of time" : "canceled"}`);
  }
  taskOverdue(work);
  callsOverdue(work);
  attachmentOverdue(work);
  // Before idleness: what is due now keeps the session from being suspended.
  scheduleOverdue(work);
  suspensionOverdue(work);
  work.repeatCalls(false);
}

/** What follows from where the step left things: the next task, a lease, a stop, words for those who wait. */
function follow(work: Work): void {
  const { session } = work.state;
  if (!session || session.status === "terminated") return;
  // What has come is cleared, so that no deadline lies in the past.
  const head = work.state.queue[0];
  if (head?.next_attempt_at && headDue(work)) replaceQueued(work, head, { next_attempt_at: null, waiting_for: null });
  if (work.state.counters.retry_at !== null && work.state.counters.retry_at <= work.now) work.counters({ retry_at: null });
  const denied = work.state.running ? null : deniedHead(work.state);
  if (denied) endHead(work, denied);
  followSuspension(work);
  const { attachment, running, counters, suspending } = work.state;
  if (!attachment) {
    if (counters.retry_at === null && wantsRunner(work)) requestLease(work);
  } else if (attachment.state === "connected" && !running && !suspending && attachment.restore === null) {
    if (attachment.retire !== null) stopRunner(work, attachment.retire);
    else if (headDue(work) && work.state.gateway.question === null) dispatch(work);
  }
  if (session.runner_lifecycle === "per-task" && work.state.running && work.state.attachment?.retire === null) work.attach({ retire: "every task gets a runner of its own" });
  tellIdle(work);
  explain(work);
}

/** A session that is suspended or about to be wants none; one that lost its runner wants another before its task is due again. */
function wantsRunner(work: Work): boolean {
  const { session, queue } = work.state;
  if (session?.status === "resuming") return true;
  if (!session || (session.status !== "pending" && session.status !== "active")) return false;
  return headDue(work) || queue[0]?.error?.code === "runner_lost" || (session.status === "active" && session.lifecycle_mode === "always_on");
}

/** Tells the pool whether the runner has nothing to do, one call at a time so that they cannot overtake each other. */
function tellIdle(work: Work): void {
  const { attachment, running, queue, chores, session, suspending } = work.state;
  if (!attachment || (attachment.state !== "connected" && attachment.state !== "spawning" && attachment.state !== "held")) return;
  // A held runner works for nobody, whatever it holds; an `always_on` one is not given away.
  const idle = attachment.state === "held" ? suspending?.phase === "over" : running === null && queue.length === 0 && !suspending && session?.lifecycle_mode !== "always_on";
  const key = `idle:${attachment.epoch}`;
  if (attachment.idle === idle || chores.some((chore) => chore.key === key)) return;
  work.attach({ idle });
  work.call(key, { kind: "lease.idle", epoch: attachment.epoch, idle });
}

/** Why the first task of the queue waits, in words; null where it is about to start. */
function wait(work: Work): string | null {
  const { attachment, counters, queue, session } = work.state;
  const head = queue[0];
  if (head && !headDue(work)) return head.waiting_for;
  if (work.state.gateway.question) return BUDGET_WAIT;
  if (attachment?.state === "connected" && attachment.restore !== null) return "its files are being restored";
  if (!attachment && !head && session?.status === "pending" && session.lifecycle_mode === "scheduled") return "gets its runner with the first run";
  if (!attachment) return counters.trouble && counters.retry_at !== null ? `${counters.trouble}; tries again at ${new Date(counters.retry_at).toISOString()}` : counters.trouble;
  if (attachment.state === "queued") return attachment.reason;
  return head && attachment.state === "disconnected" ? "the runner's link broke; it may come back" : null;
}

function explain(work: Work): void {
  const { queue, running, session } = work.state;
  if (!session) return;
  // A suspension has said why itself.
  const quiet = session.status === "suspended" || session.status === "suspending";
  const reason = quiet ? session.status_reason : running ? null : wait(work);
  const head = queue[0];
  if (head && !running && head.waiting_for !== reason && !quiet) {
    replaceQueued(work, head, { waiting_for: reason });
    if (reason !== null) work.log("task.status", { status: "pending", attempt: head.attempts, error: null, reason }, { task_id: head.id, run_id: null });
  }
  setStatus(work, session.status, reason);
}

/** When the state must be looked at again without any input; null where nothing is due. */
export function nextDeadline(state: State): number | null {
  const { session, running, attachment, queue, counters, chores } = state;
  const live = session !== null && session.status !== "terminated";
  const head = queue[0];
  let first = earliest(running?.deadline, running?.ending?.deadline, attachment?.deadline, ...(live ? [scheduleDeadline(state), ...suspensionDeadlines(state)] : []));
  if (live && !running && head?.next_attempt_at) first = earliest(first, Date.parse(head.next_attempt_at));
  if (live && !attachment) first = earliest(first, counters.retry_at);
  first = earliest(first, gatewayDeadline(state));
  for (const chore of chores) first = earliest(first, chore.at);
  return first;
}
