/** Owns permission requests in the machine: asked by the runner, answered by people, canceled when nobody waits for the answer any more. */

import { MAX_PENDING_PERMISSIONS, type EventData, type Permission } from "../../sdk/protocol/index.ts";
import { remember } from "./approvals.ts";
import { budgetAnswered } from "./budget.ts";
import { wake } from "./session.ts";
import type { Input, PendingPermission } from "./state.ts";
import type { Work } from "./work.ts";

/** The runner asks. One more than can wait is denied at once, in words that the agent sees. */
export function permissionRequested(work: Work, data: EventData<"permission.requested">): void {
  const { running, permissions, session } = work.state;
  const { permission_id: id, tool, input, summary, risk, reasons, keys } = data;
  if (!running || !session || permissions.some((pending) => pending.id === id)) return;
  const { run, task } = running;
  const value: Permission = {
    id, session_id: session.id, task_id: task.id, run_id: run.id, tenant_id: session.tenant_id, status: "pending", tool, input, summary, risk, reasons,
    ...(keys !== undefined && { keys }), decision: null, created_at: work.at, ended_at: null, version: 1,
  };
  work.do({ kind: "put.permission", value });
  const pending = { id, run_id: run.id, task_id: task.id };
  if (permissions.length < MAX_PENDING_PERMISSIONS) {
    work.set({ permissions: [...permissions, pending] });
    return stopClock(work);
  }
  const reason = `more than ${MAX_PENDING_PERMISSIONS} permission requests wait in this session`;
  decide(work, pending, "denied", { by: "system", by_name: null, reason, scope: "once", at: work.at });
  work.command({ kind: "permission.answer", permission_id: id, run_id: run.id, decision: "denied", reason, scope: "once" });
}

/** A person answers; whoever comes second is told what was decided. */
export function permissionAnswered(work: Work, { id, decision, actor, reason, scope, known, caps }: Extract<Input, { type: "permission.answer" }>): void {
  const pending = work.state.permissions.find((permission) => permission.id === id);
  if (!pending) {
    if (!known) return work.refuse("not_found", "no permission request of that id");
    const by = known.decision?.by_name ?? known.decision?.by;
    return work.refuse("conflict", `the request was ${known.status}${by ? ` by ${by}` : ""} before`, { status: known.status, decision: known.decision });
  }
  work.set({ permissions: work.state.permissions.filter((permission) => permission !== pending) });
  decide(work, pending, decision, { by: actor.key_id, by_name: actor.key_name, reason, scope, at: work.at });
  if (decision === "approved" && scope !== "once" && known) remember(work, known, scope, actor);
  wake(work);
  if (work.state.gateway.question?.permission_id === id) {
    budgetAnswered(work, decision, caps ?? null, reason);
    return startClock(work);
  }
  // Of an interrupted turn: the run that goes on with it takes the answer along.
  if (!work.state.running) return;
  work.command({ kind: "permission.answer", permission_id: id, run_id: pending.run_id, decision, reason, scope });
  startClock(work);
}

/** The agent took its question back. */
export function permissionWithdrawn(work: Work, id: string): void {
  const pending = work.state.permissions.find((permission) => permission.id === id);
  if (!pending) return;
  work.set({ permissions: work.state.permissions.filter((permission) => permission !== pending) });
  cancel(work, pending, "the agent took the question back");
  startClock(work);
}

/** The run that asked has ended. */
export function cancelPermissions(work: Work, reason: string): void {
  // A budget's question outlives the run that met its end: its answer decides whether the task goes on.
  const kept = work.state.permissions.filter(({ id }) => id === work.state.gateway.question?.permission_id);
  for (const pending of work.state.permissions) if (!kept.includes(pending)) cancel(work, pending, reason);
  if (work.state.permissions.length > kept.length) work.set({ permissions: kept });
}

/** The task that ran out of its budget has ended: there is nothing more to ask. */
export function dropQuestion(work: Work, taskId: string): void {
  const { gateway, permissions } = work.state;
  if (gateway.question?.task_id !== taskId) return;
  const { permission_id } = gateway.question;
  for (const pending of permissions) if (pending.id === permission_id) cancel(work, pending, "its task has ended");
  work.set({ permissions: permissions.filter(({ id }) => id !== permission_id), gateway: { ...gateway, question: null } });
}

function cancel(work: Work, { id, task_id, run_id }: PendingPermission, reason: string): void {
  work.do({ kind: "end.permission", id, status: "canceled", decision: null, at: work.at });
  work.log("permission.answered", { permission_id: id, status: "canceled", by: null, reason, scope: "once" }, { task_id, run_id });
}

function decide(work: Work, { id, task_id, run_id }: PendingPermission, status: "approved" | "denied", decision: NonNullable<Permission["decision"]>): void {
  work.do({ kind: "end.permission", id, status, decision, at: work.at });
  const { by, reason, scope } = decision;
  work.log("permission.answered", { permission_id: id, status, by, reason, scope }, { task_id, run_id });
}

/** A task's time does not run while a person is asked: a request is never denied by a timeout. */
export function stopClock(work: Work): void {
  const { running } = work.state;
  if (!running) return;
  const asked_at = running.asked_at ?? work.now;
  if (running.deadline) work.set({ running: { ...running, asked_at, deadline: null, left_ms: Math.max(1, running.deadline - work.now) } });
  else if (running.asked_at === null) work.set({ running: { ...running, asked_at } });
}

/** An answer or a withdrawal: nobody was silent, and where no question is left, the task's time runs again. */
function startClock(work: Work): void {
  const { running, permissions, attachment } = work.state;
  if (!running) return;
  const asked_at = permissions.length > 0 ? work.now : null;
  const runs = running.ending === null && running.deadline === null && permissions.length === 0 && attachment?.state !== "held";
  work.set({ running: { ...running, asked_at, ...(runs && { deadline: work.now + running.left_ms }) } });
}
