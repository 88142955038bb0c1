/** Owns suspension in the machine: which strategy, capsule, freeze or stop, demotion, and when idleness or silence brings it about. */

import { PLAIN_OFFER, SUSPEND_STRATEGIES, type Resumed, type Suspended, type SuspendCause, type SuspendOffer, type SuspendStrategy } from "../../sdk/protocol/index.ts";
import { CAPSULE_VERSION, discard, stopRunner, thawed } from "./attachment.ts";
import { covered, giveUpCapsule, goBackTo } from "./capsules.ts";
import { setStatus } from "./session.ts";
import type { Input, State, Suspending } from "./state.ts";
import { dropInterruption, suspendRun } from "./tasks.ts";
import type { Work } from "./work.ts";

/** Longest wait for a capsule. */
const CAPSULE_MS = 300_000;
/** A host that could not even be asked is given up after so many tries. */
const MAX_HOST_CALLS = 4;

/** The runner stays, frozen or saved. */
const holds = (strategy: SuspendStrategy) => strategy === "pause" || strategy === "snapshot";
/** The host's copy of the files goes. */
const discards = (strategy: SuspendStrategy) => strategy === "terminate" || strategy === "release_to_pool";

/** Suspends an active session; refused in words where it cannot be. `strategy` null: as the session or its provider says. */
export function suspend(work: Work, { strategy: asked, cause, reason }: { strategy: SuspendStrategy | null; cause: SuspendCause; reason: string | null }): void {
  const { session, attachment, suspending } = work.state;
  if (!session) return;
  if (session.status !== "active" && (session.status !== "resuming" || suspending?.phase === "thawing")) return refuseSuspend(work);
  const offer = attachment?.met ? attachment.offer : PLAIN_OFFER;
  if (asked !== null && !offer.strategies.includes(asked)) {
    const name = attachment?.spawned?.provider;
    return work.refuse("conflict", `${name ? `provider '${name}' cannot` : "a session without a runner cannot be"} ${asked}; use ${offer.strategies.join(" or ")}`, { strategies: offer.strategies, strategy: asked });
  }
  const wished = asked ?? session.suspend_strategy ?? offer.strategy;
  const strategy = offer.strategies.includes(wished) ? wished : offer.strategy;
  const trouble = strategy === wished ? null : `its provider cannot ${wished}`;
  const draft = { strategy, fallback: offer.fallback, cause, reason, since: work.at, capsule: null, deadline: null, wake: false, trouble, from_host_id: attachment?.met ? attachment.host_id : session.host_id };
  setStatus(work, "suspending", reason);
  if (!attachment?.met || attachment.restore !== null) {
    work.set({ suspending: { ...draft, phase: "ending" } });
    return discard(work, "the session was suspended before its runner was ready");
  }
  if (attachment.state === "stopping" || attachment.version < CAPSULE_VERSION) {
    work.set({ suspending: { ...draft, phase: "capsule" } });
    return proceed(work);
  }
  giveUpCapsule(work, "the session is being suspended, with a capsule of its own");
  const id = work.freshCapsule;
  work.set({ suspending: { ...draft, phase: "capsule", capsule: { id, outcome: "waiting", message: null }, deadline: work.now + CAPSULE_MS } });
  // The memory goes, except where the runner is frozen: the agent's conversation is to be whole on disk before it is read.
  work.command({ kind: "capsule", capsule_id: id, why: "suspend", stop_agent: strategy !== "pause" });
}

function refuseSuspend(work: Work): void {
  const { session, suspending } = work.state;
  if (!session) return;
  const details = { status: session.status, ...(suspending && { strategy: suspending.strategy, cause: suspending.cause }) };
  if (session.status === "terminated") return work.refuse("conflict", "the session has ended; fork it to go on from one of its capsules", { ...details, instead: ["fork"] });
  if (session.status === "pending") return work.refuse("conflict", "the session has not had a runner yet; wait until it is active, or end it", { ...details, instead: ["terminate"] });
  if (session.status === "resuming") return work.refuse("conflict", "the session is being resumed; suspend it when it is active", { ...details, instead: ["wait"] });
  work.refuse("conflict", `the session is ${session.status} already; resume it to go on`, { ...details, instead: ["resume"] });
}

/** After the capsule: the runner is frozen, or stopped. */
function proceed(work: Work): void {
  const { suspending, attachment } = work.state;
  if (!suspending || !attachment?.runner_id || !attachment.host_id) return;
  const { strategy, fallback } = suspending;
  if (holds(strategy) && attachment.state !== "stopping") {
    work.set({ suspending: { ...suspending, phase: "freezing", deadline: null } });
    const { host_id, runner_id } = attachment;
    return work.call(`suspend:${runner_id}`, { kind: "host.suspend", host_id, runner_id, strategy, fallback });
  }
  work.set({ suspending: { ...suspending, phase: "ending", deadline: null } });
  suspendRun(work, "the session was suspended");
  if (attachment.state === "disconnected") discard(work, "the session was suspended");
  else if (attachment.state !== "stopping") stopRunner(work, "the session was suspended");
}

/** What follows from where a step left a suspension. */
export function followSuspension(work: Work): void {
  const { suspending, attachment, session } = work.state;
  if (!suspending || !session || session.status === "terminated") return;
  const { phase, capsule } = suspending;
  if (phase === "capsule" && attachment && capsule && capsule.outcome !== "waiting") {
    if (capsule.outcome === "failed") trouble(work, `no capsule could be taken: ${capsule.message ?? "unknown"}`);
    proceed(work);
  } else if ((phase === "capsule" || phase === "freezing" || phase === "ending") && !attachment) settle(work);
  else if (phase === "over" && holds(suspending.strategy) && !attachment && session.status === "suspended") settle(work);
  else if (phase === "thawing" && !attachment) {
    // Its host has nothing of it any more: a new runner goes on from the files and the capsule.
    before(work, "terminate_preserve_storage");
    if (work.state.suspending) work.set({ suspending: { ...work.state.suspending, phase: "over" } });
  }
  if (work.state.suspending?.phase === "over" && work.state.suspending.wake && work.state.session?.status === "suspended") resume(work, { options: {}, from: null, has_api_key: false, by: "new work" });
}

function trouble(work: Work, words: string): void {
  const { suspending } = work.state;
  if (suspending) work.set({ suspending: { ...suspending, trouble: words.slice(0, 450) } });
}

function before(work: Work, strategy: SuspendStrategy): void {
  const { suspending, running, queue } = work.state;
  if (!suspending) return;
  const { from_host_id: host_id, trouble } = suspending;
  work.set({ before: { how: "suspended", strategy, host_id, trouble, interrupted: running !== null || (queue[0]?.interrupted ?? null) !== null } });
}

/** Suspended, and nothing is held. */
function settle(work: Work): void {
  const { suspending, session } = work.state;
  if (!suspending || !session) return;
  const whole = covered(work.state);
  const strategy = holds(suspending.strategy) || (discards(suspending.strategy) && !whole) ? "terminate_preserve_storage" : suspending.strategy;
  if (discards(suspending.strategy) && !whole && suspending.trouble === null) trouble(work, "the host's files were kept, because no capsule has all of them");
  work.set({ suspending: { ...(work.state.suspending ?? suspending), phase: "over", strategy, deadline: null } });
  before(work, strategy);
  if (discards(strategy) && session.host_id) {
    work.call(`discard:${session.host_id}`, { kind: "host.discard", host_id: session.host_id });
    // A directory of the host's own stays where it is, and so does the session.
    if (!session.directory) work.set({ session: { ...session, host_id: null } });
  }
  setStatus(work, "suspended", suspending.reason);
}

/** Suspended, and the runner is held; `strategy`: how. */
function hold(work: Work, strategy: SuspendStrategy): void {
  const { suspending, attachment, running } = work.state;
  if (!suspending || !attachment) return;
  const { max_duration_seconds: longest } = attachment.offer;
  if (strategy !== "pause") suspendRun(work, "the session was saved without its agent's memory");
  else if (running?.deadline) work.set({ running: { ...running, deadline: null, left_ms: Math.max(1, running.deadline - work.now) } });
  work.attach({ state: "held", deadline: null });
  work.putRunner({ status: "paused", status_reason: strategy === "pause" ? "frozen" : "saved" });
  work.set({ suspending: { ...suspending, phase: "over", strategy, deadline: longest === null ? null : work.now + longest * 1_000 } });
  before(work, strategy);
  setStatus(work, "suspended", suspending.reason);
}

/** The host's word on holding the runner: at first, or when it is demoted. */
export function hostSuspended(work: Work, runnerId: string, answer: Suspended): void {
  const { suspending, attachment } = work.state;
  work.called(`suspend:${runnerId}`);
  if (!suspending || attachment?.runner_id !== runnerId || (suspending.phase !== "freezing" && (suspending.phase !== "over" || attachment.state !== "held"))) return;
  if (answer.ok && answer.strategy !== suspending.strategy && suspending.phase === "freezing") trouble(work, `its host could not ${suspending.strategy}: ${answer.detail}`);
  if (answer.ok && holds(answer.strategy)) return hold(work, answer.strategy);
  if (!answer.ok) trouble(work, `its host could not ${suspending.strategy}: ${answer.error.message}`);
  release(work, answer.ok ? answer.strategy : "terminate_preserve_storage", answer.ok);
}

/** Gives the runner up without holding it; `ended`: its host has ended it already. */
function release(work: Work, strategy: SuspendStrategy, ended: boolean): void {
  const { suspending, attachment } = work.state;
  if (!suspending || !attachment) return;
  work.set({ suspending: { ...suspending, strategy, phase: suspending.phase === "over" ? "over" : "ending", deadline: null } });
  suspendRun(work, "the session is suspended without its agent's memory");
  if (!ended && attachment.state === "connected") stopRunner(work, "the session was suspended");
  else discard(work, "the session was suspended");
  if (suspending.phase === "over") settle(work);
}

/** A held runner becomes something cheaper: it has been held for too long, or another session needs its place. */
export function demote(work: Work, reason: string): void {
  const { suspending, attachment } = work.state;
  if (!suspending || suspending.phase !== "over" || attachment?.state !== "held" || !attachment.host_id || !attachment.runner_id) return;
  const { host_id, runner_id, offer } = attachment;
  work.set({ suspending: { ...suspending, deadline: null, reason } });
  if (suspending.strategy === "pause" && offer.strategies.includes("snapshot")) {
    return work.call(`suspend:${runner_id}`, { kind: "host.suspend", host_id, runner_id, strategy: "snapshot", fallback: "terminate_preserve_storage" });
  }
  release(work, cheaper(offer), true);
}

/** What a runner that is not held any more becomes: never anything that loses files. */
function cheaper({ strategies }: SuspendOffer): SuspendStrategy {
  return SUSPEND_STRATEGIES.find((strategy) => !holds(strategy) && !discards(strategy) && strategies.includes(strategy)) ?? "terminate_preserve_storage";
}

/** Resumes a suspended session; one that is active or on its way is left as it is. */
export function resume(work: Work, { options, from, has_api_key }: Omit<Extract<Input, { type: "session.resume" }>, "type">): void {
  const { session, suspending, attachment } = work.state;
  if (!session) return;
  if (session.status === "terminated") return work.refuse("conflict", "the session has ended and cannot be resumed; fork it to go on from one of its capsules", { status: session.status, instead: ["fork"] });
  if (session.directory && options.selector !== undefined) return work.refuse("conflict", `the session works in ${session.directory.path} on host ${session.directory.host_id}: it goes on there and nowhere else`, { directory: session.directory, instead: ["resume"] });
  const moves = options.provider !== undefined || options.selector !== undefined || from !== null;
  if (session.status !== "suspended" && session.status !== "suspending") {
    if (moves) work.refuse("conflict", `the session is ${session.status}; suspend it first, then resume it in another way`, { status: session.status, instead: ["suspend"] });
    return;
  }
  if (!suspending) return;
  if (session.status === "suspending") {
    if (moves) return work.refuse("conflict", "the session is being suspended; resume it in another way when it is suspended", { status: session.status, instead: ["wait"] });
    return work.set({ suspending: { ...suspending, wake: true } });
  }
  work.set({
    suspending: { ...suspending, wake: false, deadline: null },
    session: { ...session, has_api_key: session.has_api_key || has_api_key, ...(options.provider !== undefined && { provider: options.provider }), ...(options.selector !== undefined && { selector: options.selector }) },
  });
  work.counters({ failures: 0, retry_at: null, trouble: null });
  if (has_api_key && attachment?.runner_id) work.attach({ retire: "the session was given a new model key" });
  // Being demoted right now is as good as not being held.
  const demoting = work.state.chores.some(({ call }) => call.kind === "host.suspend");
  if (attachment?.state === "held" && (moves || demoting)) release(work, "terminate_preserve_storage", true);
  if (from) {
    dropInterruption(work, "the session was resumed from an older capsule");
    goBackTo(work, from);
  }
  work.uncall((call) => call.kind === "host.discard");
  setStatus(work, "resuming", null);
  const held = work.state.attachment;
  const rest = work.state.suspending;
  if (held?.state !== "held" || !held.runner_id || !held.host_id || !rest) return;
  work.set({ suspending: { ...rest, phase: "thawing" } });
  work.call(`resume:${held.runner_id}`, { kind: "host.resume", host_id: held.host_id, runner_id: held.runner_id });
}

export function hostResumed(work: Work, runnerId: string, answer: Resumed): void {
  const { suspending, attachment } = work.state;
  work.called(`resume:${runnerId}`);
  if (attachment?.runner_id !== runnerId || suspending?.phase !== "thawing") return;
  if (answer.ok) return thawed(work);
  fallBack(work, answer.error.message);
}

/** The held runner cannot go on: a new one does, from the files and the capsule. */
function fallBack(work: Work, why: string): void {
  trouble(work, `the held runner could not go on: ${why}`);
  suspendRun(work, "the held runner could not go on");
  discard(work, why);
}

/** A call to the host failed so often. */
export function hostCallFailed(work: Work, key: string, tries: number, message: string): void {
  const { attachment, suspending } = work.state;
  if (tries < MAX_HOST_CALLS || !attachment?.runner_id || !suspending) return;
  const { runner_id } = attachment;
  if (key === `resume:${runner_id}`) fallBack(work, `its host does not answer: ${message}`);
  else if (key === `suspend:${runner_id}`) {
    work.called(key);
    trouble(work, `its host does not answer: ${message}`);
    release(work, "terminate_preserve_storage", suspending.phase === "over");
  }
}

/**
 * From the order to hold the runner until it may go on, nothing that it says counts: it is frozen, or its host is ending it and its last words would
 * undo what the capsule has. What it had to say before is in its journal, and is said again when it is back.
 */
export function isDeaf({ suspending, attachment }: State): boolean {
  return suspending?.phase === "freezing" || (suspending?.phase === "over" && attachment?.state === "held");
}

export function idleDeadline({ session, attachment, suspending, running, queue, counters, schedule }: State): number | null {
  if (session?.status !== "active" || session.lifecycle_mode === "always_on" || suspending || running || queue.length > 0) return null;
  const since = attachment ? (attachment.state === "connected" ? attachment.idle_since : null) : counters.idle_since;
  if (since === null) return null;
  const patience = session.idle_timeout_seconds * 1_000;
  const at = Math.max(since + patience, (attachment?.up_at ?? 0) + (attachment?.offer.min_duration_seconds ?? 0) * 1_000);
  // A run that is due so soon finds its runner as it is.
  const soon = schedule?.status === "active" && schedule.next_at !== null && schedule.next_at - at <= patience;
  return session.lifecycle_mode === "scheduled" && soon ? null : at;
}

function silenceDeadline({ session, suspending, running, permissions }: State): number | null {
  if (session?.status !== "active" || suspending || !running || running.asked_at === null || running.ending || permissions.length === 0) return null;
  return running.asked_at + session.suspend_after_seconds * 1_000;
}

/** When a suspension must be begun, hurried or demoted. */
export function suspensionDeadlines(state: State): (number | null)[] {
  return [idleDeadline(state), silenceDeadline(state), state.suspending?.deadline ?? null];
}

export function suspensionOverdue(work: Work): void {
  const { session, suspending } = work.state;
  if (!session || session.status === "terminated") return;
  const due = (deadline: number | null) => deadline !== null && deadline <= work.now;
  if (due(idleDeadline(work.state))) {
    const scheduled = session.lifecycle_mode === "scheduled";
    suspend(work, { strategy: null, cause: scheduled ? "schedule" : "idle", reason: scheduled ? "until its next run" : `nothing to do for ${session.idle_timeout_seconds} s` });
  }
  else if (due(silenceDeadline(work.state))) suspend(work, { strategy: null, cause: "permission", reason: `a permission request has had no answer for ${session.suspend_after_seconds} s` });
  else if (suspending && due(suspending.deadline)) overdue(work, suspending);
}

function overdue(work: Work, { phase, capsule }: Suspending): void {
  const { suspending, attachment } = work.state;
  if (!suspending) return;
  if (phase === "capsule" && capsule) work.set({ suspending: { ...suspending, deadline: null, capsule: { ...capsule, outcome: "failed", message: `the runner has not taken one within ${CAPSULE_MS / 1_000} s` } } });
  else if (phase === "over") demote(work, `held for ${attachment?.offer.max_duration_seconds ?? 0} s, the longest that its provider allows`);
}
