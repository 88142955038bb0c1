/** Owns the attachment in the machine: lease, spawn, link, stop and loss of the one runner that serves the session. */

import type { RunError, Runner } from "../../sdk/protocol/index.ts";
import { CLOSE, PLAIN_OFFER, RUNNER_LINK_VERSION } from "../../sdk/protocol/index.ts";
import { backoff } from "../base/deadlines.ts";
import { giveUpCapsule, restoreFor } from "./capsules.ts";
import { activate, writeReceipt } from "./resume.ts";
import { setStatus } from "./session.ts";
import type { Attachment, Call, Input } from "./state.ts";
import { failHead, loseRun } from "./tasks.ts";
import type { Work } from "./work.ts";

/** A queued lease is asked for again after this long, should the pool have forgotten it. */
const QUEUED_MS = 300_000;
/** From the grant of a lease to the runner's hello. */
const SPAWN_MS = 120_000;
/** A runner whose link broke may come back within this. */
export const RECONNECT_MS = 30_000;
/** From the stop command to the end of the link. */
const STOP_MS = 15_000;
/** From the hello of a runner to its word that the files are restored. */
const RESTORE_MS = 1_800_000;
/** The first version of the runner's link that knows capsules. */
export const CAPSULE_VERSION = 3;
const LEASE_BACKOFF = { base_ms: 1_000, cap_ms: 300_000 };
/** Runners in a row that did not come up before the task that waits is failed. */
const MAX_FAILURES = 5;

/** Begins a new attachment; the old one must be over. */
export function requestLease(work: Work): void {
  const epoch = work.state.counters.epoch + 1;
  work.counters({ epoch, retry_at: null, idle_since: null });
  work.set({
    attachment: {
      epoch, state: "leasing", reason: null, host_id: null, runner_id: null, token_hash: null, gateway: null, spawned: null, offer: PLAIN_OFFER, version: 0, continues: false,
      linked: false, up_at: null, idle_since: null, restore: null, notice: null, capsule: null, met: false, announced: false, retire: null,
      idle: false, next_command: 1, deadline: null, runner: null,
    },
    position: 0,
    commands: [],
  });
  work.do({ kind: "commands.drop", up_to: Number.MAX_SAFE_INTEGER });
  work.call(`request:${epoch}`, { kind: "lease.request", epoch });
}

/** The attachment of this epoch; null where the epoch is over, and then its lease is given back. */
function current(work: Work, epoch: number): Attachment | null {
  const { attachment } = work.state;
  return attachment?.epoch === epoch ? attachment : null;
}

export function leaseGranted(work: Work, { epoch, host_id, runner_id, token_hash, gateway }: Extract<Input, { type: "lease.granted" }>): void {
  const attachment = current(work, epoch);
  const { session } = work.state;
  work.called(`request:${epoch}`);
  if (!attachment || !session) return epoch <= work.state.counters.epoch ? work.call(`release:${epoch}`, { kind: "lease.release", epoch }) : undefined;
  if (attachment.state !== "leasing" && attachment.state !== "queued") return;
  const runner: Runner = {
    id: runner_id, tenant_id: session.tenant_id, session_id: session.id, host_id, pool: session.pool, provider: session.provider ?? "default", sandbox: null, isolation: null,
    epoch, status: "starting", status_reason: null, created_at: work.at, ended_at: null, version: 0,
  };
  work.attach({ state: "spawning", reason: null, host_id, runner_id, token_hash, gateway: gateway ?? null, deadline: work.now + SPAWN_MS, restore: restoreFor(work.state, host_id), runner });
  work.putRunner({});
  work.call(`spawn:${runner_id}`, { kind: "host.spawn", epoch, host_id, runner_id });
}

export function leaseQueued(work: Work, epoch: number, reason: string): void {
  const attachment = current(work, epoch);
  work.called(`request:${epoch}`);
  if (attachment?.state === "leasing" || attachment?.state === "queued") work.attach({ state: "queued", reason, deadline: work.now + QUEUED_MS });
}

/** No host will ever do: the task that waits fails, and the next one asks again. */
export function leaseRefused(work: Work, epoch: number, message: string): void {
  const attachment = current(work, epoch);
  work.called(`request:${epoch}`);
  if (attachment?.state !== "leasing" && attachment?.state !== "queued") return;
  const trouble: RunError = { code: "host_unavailable", message };
  end(work, message);
  giveUp(work, trouble);
}

/** Others wait for a runner: it is given back where nothing runs or is queued. */
export function leaseWanted(work: Work, epoch: number): void {
  const attachment = current(work, epoch);
  if (!attachment) return work.call(`release:${epoch}`, { kind: "lease.release", epoch });
  if (work.state.session?.lifecycle_mode === "always_on" || work.state.suspending || work.state.running || work.state.queue.length > 0 || attachment.state === "stopping") return;
  if (attachment.state === "connected") {
    if (work.state.session?.last_run_id) work.set({ before: { how: "given_back", strategy: null, host_id: attachment.host_id, trouble: null, interrupted: false } });
    stopRunner(work, "another session needs the runner");
  } else if (attachment.state !== "leasing" && attachment.state !== "queued") discard(work, "another session needs the runner");
}

export function spawnAnswered(work: Work, { runner_id, answer }: Extract<Input, { type: "spawn.answered" }>): void {
  work.called(`spawn:${runner_id}`);
  const { attachment } = work.state;
  if (attachment?.runner_id !== runner_id) return;
  if (answer.ok) {
    const { provider, sandbox, isolation } = answer;
    work.attach({ spawned: { provider, sandbox, isolation }, offer: answer.suspend ?? PLAIN_OFFER });
    work.putRunner({ provider, sandbox, isolation });
    return announce(work);
  }
  if (attachment.state !== "spawning") return;
  end(work, answer.error.message);
  if (answer.retryable) failed(work, answer.error);
  else giveUp(work, answer.error);
}

/** Starts over with a new token: the old runner, should it run, is not let in any more. */
export function spawnRenewed(work: Work, { runner_id, new_runner_id, token_hash, gateway }: Extract<Input, { type: "spawn.renewed" }>): void {
  const { attachment } = work.state;
  if (attachment?.runner_id !== runner_id || attachment.state !== "spawning" || !attachment.runner || !attachment.host_id) return;
  const { host_id, epoch, runner } = attachment;
  work.called(`spawn:${runner_id}`);
  work.putRunner({ status: "destroyed", status_reason: "started anew", ended_at: work.at });
  work.call(`destroy:${runner_id}`, { kind: "host.destroy", host_id, runner_id, reason: "started anew" });
  work.attach({ runner_id: new_runner_id, token_hash, gateway: gateway ?? null, deadline: work.now + SPAWN_MS, runner: { ...runner, id: new_runner_id, created_at: work.at, version: 0 } });
  work.putRunner({});
  work.call(`spawn:${new_runner_id}`, { kind: "host.spawn", epoch, host_id, runner_id: new_runner_id });
}

export function linkUp(work: Work, { epoch, last_command, version = RUNNER_LINK_VERSION, continues = false }: Extract<Input, { type: "link.up" }>): void {
  const attachment = current(work, epoch);
  if (!attachment?.runner_id) return;
  acknowledge(work, epoch, last_command);
  const { state, met } = attachment;
  const restore = attachment.restore?.mode === "exact" && version >= CAPSULE_VERSION ? attachment.restore : null;
  work.attach({ met: true, linked: true, version, continues, restore });
  work.counters({ failures: 0, retry_at: null, trouble: null });
  if (state === "stopping") return work.putRunner({ status_reason: null });
  if (state === "held") return work.state.suspending?.phase === "thawing" ? thawed(work) : undefined;
  // Until the files are restored it is not certain that this host has them.
  work.attach({ state: "connected", deadline: restore ? work.now + RESTORE_MS : null, reason: null });
  work.putRunner({ status: work.state.running ? "busy" : "idle", status_reason: null });
  if (restore) return announce(work);
  // A runner that cannot restore has begun with what its host has.
  if (attachment.restore?.mode === "exact") work.set({ restore: null });
  arrive(work);
  if (met) return;
  activate(work);
  announce(work);
  writeReceipt(work, attachment.restore?.mode === "exact");
}

/** This host has the session's files. */
function arrive(work: Work): void {
  const { session, attachment } = work.state;
  if (session && attachment) work.set({ session: { ...session, host_id: attachment.host_id } });
}

/** The runner has its files: it may work now. */
export function restored(work: Work): void {
  const { attachment } = work.state;
  if (!attachment?.restore) return;
  work.attach({ restore: null, deadline: attachment.state === "connected" ? null : attachment.deadline });
  work.set({ restore: null });
  arrive(work);
  activate(work);
  writeReceipt(work, true);
}

/** The files could not be restored: the task that waited for them fails, and the session is suspended again until it is resumed in another way. */
export function restoreFailed(work: Work, error: RunError): void {
  if (!work.state.attachment?.restore) return;
  discard(work, "its files could not be restored");
  failHead(work, error);
  layDown(work, `its files could not be restored: ${error.message}`);
}

/** A held runner goes on: its host thawed it. */
export function thawed(work: Work): void {
  const { attachment, running, permissions } = work.state;
  if (attachment?.state !== "held") return;
  work.attach({ state: attachment.linked ? "connected" : "disconnected", deadline: attachment.linked ? null : work.now + RECONNECT_MS });
  if (running) {
    const asked = permissions.length > 0;
    work.set({ running: { ...running, asked_at: asked ? work.now : null, deadline: asked || running.ending ? null : work.now + running.left_ms } });
  }
  work.putRunner({ status: running ? "busy" : "idle", status_reason: null });
  activate(work);
  writeReceipt(work, false);
}

/** Back to suspended: what was tried to resume the session did not work. */
function layDown(work: Work, why: string): void {
  const { suspending, session } = work.state;
  if (!session || session.status === "terminated") return;
  const nothing = { strategy: "terminate_preserve_storage", fallback: null, cause: "requested", since: work.at, capsule: null, from_host_id: session.host_id } as const;
  work.set({ suspending: { ...(suspending ?? nothing), phase: "over", reason: why.slice(0, 1_000), deadline: null, wake: false, trouble: null } });
  setStatus(work, "suspended", why.slice(0, 1_000));
}

function announce(work: Work): void {
  const { attachment } = work.state;
  if (!attachment?.met || !attachment.spawned || attachment.announced || !attachment.runner_id || !attachment.host_id) return;
  work.attach({ announced: true });
  const { runner_id, host_id, epoch, spawned } = attachment;
  if (work.state.session?.status !== "terminated") work.log("runner.attached", { runner_id, host_id, epoch, ...spawned });
}

export function linkDown(work: Work, epoch: number, stopped: boolean): void {
  const attachment = current(work, epoch);
  if (!attachment?.met) return;
  work.attach({ linked: false });
  // Frozen, or on its way there: its link tells nothing.
  if (attachment.state === "held" || work.state.suspending?.phase === "freezing") return;
  if (stopped && !work.state.running) end(work, "stopped");
  else if (attachment.state === "stopping") discard(work, "its link broke while it stopped");
  else if (stopped) loseRunner(work, epoch, "the runner stopped while its task ran");
  else if (attachment.state === "connected") {
    work.attach({ state: "disconnected", deadline: work.now + RECONNECT_MS });
    work.putRunner({ status: "offline", status_reason: "the link broke" });
  }
}

/** The runner is gone for good: its run is lost, its lease goes back. */
export function loseRunner(work: Work, epoch: number, reason: string): void {
  const attachment = current(work, epoch);
  if (!attachment) return;
  const { met, runner_id, host_id, state } = attachment;
  const { running, suspending } = work.state;
  if (state === "stopping" && !running) return discard(work, reason);
  if (runner_id && work.state.session?.status !== "terminated") work.log("runner.lost", { runner_id, epoch, reason: reason.slice(0, 1_000) });
  loseRun(work, { code: "runner_lost", message: `the runner was lost: ${reason}`.slice(0, 4_000) });
  discard(work, reason);
  if (met && !suspending && (running || work.state.session?.last_run_id)) work.set({ before: { how: "lost", strategy: null, host_id, trouble: null, interrupted: running !== null } });
  if (suspending && met) work.set({ suspending: { ...suspending, trouble: `the runner was lost: ${reason}`.slice(0, 450) } });
  if (!met) failed(work, { code: "host_unavailable", message: reason });
}

/** The runner that serves the session takes no new task, and is given back when it has none; what comes after gets another. */
export function drainRunner(work: Work, by: string): void {
  const { attachment, suspending } = work.state;
  if (!attachment?.runner_id) return;
  if (attachment.state === "held" || suspending) return work.refuse("conflict", "the runner is paused, or about to be: it takes no task as it is; resume it first", { status: work.state.session?.status, instead: ["resume"] });
  if (attachment.state === "stopping" || attachment.retire !== null) return;
  work.attach({ retire: `drained by ${by}` });
  work.putRunner({ status_reason: "takes no new task" });
}

/** Asks the runner to stop in order. */
export function stopRunner(work: Work, reason: string): void {
  work.command({ kind: "stop", reason });
  work.attach({ state: "stopping", deadline: work.now + STOP_MS });
}

/** Ends the attachment and makes sure that its runner is gone. */
export function discard(work: Work, reason: string): void {
  const { attachment } = work.state;
  if (!attachment) return;
  const { host_id, runner_id, epoch } = attachment;
  if (host_id && runner_id) work.call(`destroy:${runner_id}`, { kind: "host.destroy", host_id, runner_id, reason });
  work.do({ kind: "close", epoch, code: CLOSE.stale, reason: "the attachment is over" });
  end(work, reason);
}

/** Ends the attachment: nothing of its epoch is heard any more, and the lease is given back until the pool has taken it. */
function end(work: Work, reason: string): void {
  giveUpCapsule(work, `the runner that was to take it is gone: ${reason}`);
  const { attachment } = work.state;
  if (!attachment) return;
  const { epoch, runner_id } = attachment;
  if (runner_id) work.putRunner({ status: "destroyed", status_reason: reason.slice(0, 1_000), ended_at: work.at });
  work.uncall((call: Call) => {
    if (call.kind === "host.suspend" || call.kind === "host.resume") return call.runner_id === runner_id;
    return (call.kind === "lease.request" || call.kind === "lease.idle" || call.kind === "host.spawn") && call.epoch === epoch;
  });
  work.set({ attachment: null, commands: [], position: 0 });
  work.counters({ idle_since: attachment.idle_since ?? work.now });
  work.do({ kind: "commands.drop", up_to: Number.MAX_SAFE_INTEGER });
  work.call(`release:${epoch}`, { kind: "lease.release", epoch });
}

/** A runner did not come up: the next lease waits a while, and after some such failures the task that waits for it fails. */
function failed(work: Work, error: RunError): void {
  const failures = work.state.counters.failures + 1;
  if (failures >= MAX_FAILURES) return giveUp(work, error);
  work.counters({ failures, retry_at: work.now + backoff(failures, LEASE_BACKOFF), trouble: error.message });
}

function giveUp(work: Work, error: RunError): void {
  const { session } = work.state;
  // With nothing that would fail, an `always_on` session tries again after a while.
  const retry_at = session?.lifecycle_mode === "always_on" && work.state.queue.length === 0 ? work.now + LEASE_BACKOFF.cap_ms : null;
  work.counters({ failures: 0, retry_at, trouble: error.message });
  failHead(work, error);
  if (session?.status === "resuming") layDown(work, `it could not be resumed: ${error.message}`);
}

/** Commands up to this one are in the runner's journal. */
export function acknowledge(work: Work, epoch: number, upTo: number): void {
  const { commands, attachment } = work.state;
  if (attachment?.epoch !== epoch || (commands[0]?.id ?? Number.POSITIVE_INFINITY) > upTo) return;
  work.set({ commands: commands.filter(({ id }) => id > upTo) });
  work.do({ kind: "commands.drop", up_to: upTo });
}

/** What happens when the state that the attachment is in has lasted too long. */
export function attachmentOverdue(work: Work): void {
  const { attachment } = work.state;
  if (!attachment || attachment.deadline === null || attachment.deadline > work.now) return;
  const { epoch, state } = attachment;
  if (state === "queued") {
    work.attach({ deadline: work.now + QUEUED_MS });
    work.call(`request:${epoch}`, { kind: "lease.request", epoch });
  } else if (state === "connected") loseRunner(work, epoch, `its files were not restored within ${RESTORE_MS / 60_000} min`);
  else if (state === "spawning") loseRunner(work, epoch, `no word from the runner within ${SPAWN_MS / 1_000} s of its lease`);
  else if (state === "disconnected") loseRunner(work, epoch, `its link did not come back within ${RECONNECT_MS / 1_000} s`);
  else if (state === "stopping") discard(work, "it did not stop in time");
}
