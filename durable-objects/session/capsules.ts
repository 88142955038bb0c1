/** Owns capsules in the machine: what a runner's word on one changes, what the next runner restores, and which host it should be on. */

import type { Capsule, EventData, RestoreOrder, RunError } from "../../sdk/protocol/index.ts";
import type { LeaseRequest } from "../rpc.ts";
import type { LatestCapsule, State } from "./state.ts";
import { replaceQueued } from "./tasks.ts";
import type { Work } from "./work.ts";

/** Most reasons why something was left out that are remembered for the next receipt. */
const MAX_LEFT_OUT = 20;

/** The files are read from here on: of what ends meanwhile, the capsule may have anything. */
export function capsuleRead(work: Work, capsule_id: string, seq: number): void {
  work.set({ reading: { capsule_id, seq, covers: work.state.session?.last_run_id ?? null } });
}

/** A capsule was taken: it is recorded, and is from now on what a new runner elsewhere goes on from. */
export function capsuleSynced(work: Work, data: EventData<"workspace.synced">, of: { task_id: string | null; run_id: string | null }): void {
  const { session, running, queue, permissions } = work.state;
  if (!session) return;
  const reading = work.state.reading?.capsule_id === data.capsule_id ? work.state.reading : null;
  const { capsule_id: id, why, workspace, state, torn, left_out } = data;
  const { id: session_id, tenant_id, workspace_id, agent, model, env_names } = session;
  const interrupted = queue[0]?.interrupted ?? null;
  const turn = running?.run.id === of.run_id ? running.conversation : interrupted?.run_id === of.run_id ? interrupted.conversation : null;
  work.do({
    kind: "put.capsule",
    value: {
      id, session_id, tenant_id, ...of, why, workspace_id, workspace, state, torn, left_out, agent, model, env_names, pending_permissions: permissions.map((pending) => pending.id), created_at: work.at,
    },
    conversation: why === "task_end" ? null : (turn ?? session.conversation),
    seq: reading?.seq ?? null,
  });
  work.set({
    session: { ...session, capsule_id: id },
    capsule: {
      ...latest(id, { workspace, state, left_out }),
      covers: why === "task_end" ? of.run_id : (reading ? reading.covers : session.last_run_id),
    },
    ...(reading && { reading: null }),
  });
  // What was interrupted on another host is there and nowhere else; and another capsule may have been read before.
  if (why === "suspend" && interrupted && interrupted.host_id === work.state.attachment?.host_id) {
    const [head] = queue;
    if (head) replaceQueued(work, head, { interrupted: { ...interrupted, host_id: null } });
  }
  settle(work, id, "synced", null);
}

export function capsuleFailed(work: Work, { capsule_id, error }: { capsule_id: string; error: RunError }): void {
  settle(work, capsule_id, "failed", error.message);
}

function settle(work: Work, id: string, outcome: "synced" | "failed", message: string | null): void {
  const { suspending, attachment } = work.state;
  if (attachment?.capsule === id) work.attach({ capsule: null });
  if (suspending?.capsule?.id === id && suspending.capsule.outcome === "waiting") work.set({ suspending: { ...suspending, capsule: { id, outcome, message } } });
}

/** The capsule that somebody has asked for, if any, is not waited for any more, and the log says why. */
export function giveUpCapsule(work: Work, why: string): void {
  const { attachment, session } = work.state;
  if (!attachment?.capsule) return;
  work.attach({ capsule: null });
  if (session?.status !== "terminated") work.log("workspace.sync_failed", { capsule_id: attachment.capsule, why: "manual", error: { code: "sync_failed", message: why.slice(0, 4_000) } });
}

function latest(id: string, { workspace, state, left_out }: Pick<Capsule, "workspace" | "state" | "left_out">): Omit<LatestCapsule, "covers"> {
  return {
    id, workspace_manifest_id: workspace.manifest_id, state_manifest_id: state?.manifest_id ?? null, files: workspace.files, bytes: workspace.bytes,
    left_out: left_out.slice(0, MAX_LEFT_OUT).map(({ path, why }) => `${path}: ${why}`.slice(0, 400)),
  };
}

/** From now on this capsule is the latest state, whatever came after it. */
export function goBackTo(work: Work, capsule: Capsule): void {
  const { session } = work.state;
  if (!session) return;
  const value: LatestCapsule = { ...latest(capsule.id, capsule), covers: session.last_run_id };
  work.set({ capsule: value, restore: orderOf(value, "exact"), session: { ...session, conversation: capsule.conversation } });
}

export function orderOf(capsule: Pick<LatestCapsule, "id" | "workspace_manifest_id" | "state_manifest_id">, mode: RestoreOrder["mode"]): RestoreOrder {
  return { capsule_id: capsule.id, workspace_manifest_id: capsule.workspace_manifest_id, state_manifest_id: capsule.state_manifest_id, mode };
}

/** What a runner on this host restores before its first task; null where there is nothing to restore. */
export function restoreFor({ restore, capsule, session }: State, hostId: string): RestoreOrder | null {
  if (restore) return restore;
  return capsule && orderOf(capsule, session?.host_id === hostId ? "if_missing" : "exact");
}

/** True where nothing that an ended run or an interrupted turn wrote is on its host alone. */
export function covered({ capsule, session, queue }: State): boolean {
  if ((queue[0]?.interrupted?.host_id ?? null) !== null) return false;
  return capsule !== null && capsule.covers === session?.last_run_id;
}

/** Where the next runner should be: the host that has the files, and no other where it alone has what an ended run wrote. */
export function hostWish(state: State): LeaseRequest["host"] {
  const { session, restore, capsule } = state;
  if (session?.directory) return { host_id: session.directory.host_id, must: true };
  if (!session?.host_id || restore) return null;
  return { host_id: session.host_id, must: session.last_run_id !== null && capsule?.covers !== session.last_run_id };
}
