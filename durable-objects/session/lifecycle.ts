/** Owns the session's own life in the machine: create, update, terminate. */

import type { SessionArchive } from "../../sdk/protocol/index.ts";
import { keepOnly, NO_APPROVALS } from "./approvals.ts";
import { discard, requestLease, stopRunner } from "./attachment.ts";
import { setCaps } from "./budget.ts";
import { orderOf } from "./capsules.ts";
import { setStatus } from "./session.ts";
import { NO_USAGE, type Input, type SessionRecord } from "./state.ts";
import { abandonRun, cancelQueued, dropInterruption } from "./tasks.ts";
import type { Work } from "./work.ts";

export function createSession(work: Work, { actor, id, workspace_id, input, env_names, has_api_key, origin }: Extract<Input, { type: "session.create" }>): void {
  if (work.state.session) return;
  const { agent, labels, pool, runner_lifecycle, edit_mode, rules, keep_raw, lifecycle_mode, idle_timeout_seconds, suspend_after_seconds, retention_days } = input;
  const capsule = origin && "capsule" in origin ? origin.capsule : null;
  const session: SessionRecord = {
    id, tenant_id: actor.tenant_id, name: input.name ?? null, agent, model: input.model ?? null, labels,
    status: "pending", status_reason: null, pool, provider: input.provider ?? null, selector: input.selector ?? null,
    workspace_id, directory: input.directory ?? null, host_id: input.directory?.host_id ?? null, runner_lifecycle, edit_mode, env_names, has_api_key, base_url: input.base_url ?? null, agent_config_id: input.agent_config ?? null, keep_raw,
    lifecycle_mode, idle_timeout_seconds, suspend_after_seconds, suspend_strategy: input.suspend_strategy ?? null, workspace_quota_mb: input.workspace_quota_mb ?? null, retention_days,
    capsule_id: null, forked_from: capsule ? { session_id: capsule.session_id, capsule_id: capsule.id, seq: capsule.seq } : null, last_run_id: null,
    created_at: work.at, updated_at: work.at, ended_at: null, version: 0, conversation: capsule?.conversation ?? null,
  };
  work.set({ session, rules, usage: NO_USAGE });
  if (input.budget) setCaps(work, input.budget);
  work.log("session.status", { status: "pending", reason: capsule ? `forked from ${capsule.session_id} as of event ${capsule.seq}` : null });
  if (capsule) {
    const { id: capsule_id, workspace, state } = capsule;
    const latest = { id: capsule_id, covers: null, workspace_manifest_id: workspace.manifest_id, state_manifest_id: state?.manifest_id ?? null, files: workspace.files, bytes: workspace.bytes, left_out: [] };
    work.set({ capsule: latest, restore: orderOf(latest, "exact"), before: { how: "forked", strategy: null, host_id: null, trouble: null, interrupted: false } });
  }
  if (origin && "manifest_id" in origin) work.set({ restore: { capsule_id: null, workspace_manifest_id: origin.manifest_id, state_manifest_id: null, mode: "exact" } });
  // A schedule's first run may be days away.
  if (lifecycle_mode !== "scheduled") requestLease(work);
}

/** The workspace was set back by hand: whatever the next runner's host has, it begins with this manifest, and with the conversation as it is. */
export function chooseManifest(work: Work, manifestId: string): void {
  const { session, attachment, capsule } = work.state;
  if (!session || session.status === "terminated") return;
  if (session.directory) return work.refuse("conflict", `the session works in ${session.directory.path}, a directory of its host's own: nothing is ever restored over that`, { directory: session.directory });
  if (attachment && attachment.state !== "leasing" && attachment.state !== "queued") return work.refuse("conflict", "the session has a runner; suspend it first without holding the runner, then restore its workspace", { status: session.status, instead: ["suspend"] });
  dropInterruption(work, "its workspace was set back");
  work.set({ restore: { capsule_id: null, workspace_manifest_id: manifestId, state_manifest_id: capsule?.state_manifest_id ?? null, mode: "exact" } });
}

export function updateSession(work: Work, { patch }: Extract<Input, { type: "session.update" }>): void {
  const { session } = work.state;
  if (!session) return;
  if (session.status === "terminated") return work.refuse("conflict", "the session has ended", { status: "terminated" });
  const { rules, approvals, has_api_key, budget, agent_config, ...given } = patch;
  if (given.lifecycle_mode !== undefined && session.lifecycle_mode === "scheduled") return work.refuse("conflict", "the session lives by its schedule; delete that and keep the session to change this", { lifecycle_mode: "scheduled", schedule_id: work.state.schedule?.id ?? null });
  if (budget !== undefined) setCaps(work, budget);
  const { edit_mode } = given;
  work.set({
    session: {
      ...session,
      ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<SessionRecord>),
      // A key of one's own and a config are two ways to the same: the later word holds.
      ...(has_api_key && { has_api_key, agent_config_id: null }),
      ...(agent_config !== undefined && { agent_config_id: agent_config, has_api_key: agent_config === null ? session.has_api_key : false }),
    },
    ...(rules !== undefined && { rules }),
  });
  const takenBack = approvals !== undefined && keepOnly(work, approvals);
  if ((edit_mode !== undefined || rules !== undefined || takenBack) && work.state.attachment?.met) work.command({ kind: "settings" });
  // A runner gets the key when it starts, so the one that is there is replaced as soon as nothing runs.
  if (has_api_key && work.state.attachment?.runner_id) work.attach({ retire: "the session was given a new model key" });
}

/** Ends the session at once for everyone who looks; what still runs is stopped, then destroyed. */
export function terminateSession(work: Work, by: string): void {
  const { session, attachment } = work.state;
  if (!session || session.status === "terminated") return;
  const error = { code: "canceled", message: `the session was terminated by ${by}` } as const;
  const wasRunning = work.state.running;
  cancelQueued(work, error);
  if (wasRunning) {
    if (attachment) work.command({ kind: "task.cancel", run_id: wasRunning.run.id, why: "canceled", grace_seconds: 2 });
    abandonRun(work, "canceled", error);
  }
  work.set({ approvals: NO_APPROVALS });
  setStatus(work, "terminated", `terminated by ${by}`);
  if (work.state.session) work.set({ session: { ...work.state.session, ended_at: work.at } });
  if (work.state.suspending) work.set({ suspending: null });
  if (attachment?.met && attachment.state !== "disconnected" && attachment.state !== "held") {
    if (attachment.state !== "stopping") stopRunner(work, "the session was terminated");
  } else if (attachment) discard(work, "the session was terminated");
  if (session.host_id) work.call(`forget:${session.host_id}`, { kind: "host.forget", host_id: session.host_id });
}

/** The events of an ended session have gone where `archive` says. */
export function archiveSession(work: Work, archive: SessionArchive): void {
  const { session } = work.state;
  if (session?.status === "terminated" && !session.archive) work.set({ session: { ...session, archive } });
}
