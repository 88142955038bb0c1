/** Owns the interrupted turn in the machine: how a run gives its task back to the queue, and how the next run takes up what was asked and answered. */

import type { Run, RunError } from "../../sdk/protocol/index.ts";
import type { Interrupted, State, TaskRecord } from "./state.ts";
import type { Work } from "./work.ts";

/** Most questions and answers that a run takes over from the one before. */
const MAX_CARRIED = 100;

/**
 * Ends the current run without its task: the task is the queue's first again, has used up no retry, and its questions go on waiting. `host_id`: the
 * only host that has the turn so far.
 */
export function interruptRun(work: Work, status: "canceled" | "lost", error: RunError, host_id: string | null, conversation: string | null): void {
  const { running, permissions, commands, queue } = work.state;
  if (!running) return;
  const run: Run = { ...running.run, status, error, ended_at: work.at, version: running.run.version + 1 };
  const interrupted: Interrupted = { run_id: run.id, conversation: conversation ?? running.conversation, host_id, permissions: carriedOf(permissions, commands, run.id) };
  const reason = `attempt ${run.attempt} was interrupted: ${error.message}`.slice(0, 4_000);
  const task: TaskRecord = {
    ...running.task, status: "pending", error: null, interrupted, interruptions: running.task.interruptions + 1, losses: running.task.losses + (status === "lost" && host_id !== null ? 1 : 0),
    waiting_for: reason, next_attempt_at: null, version: running.task.version + 1,
  };
  work.withdrawStart(run.id);
  work.set({ running: null, queue: [task, ...queue] });
  work.do({ kind: "put.run", value: run });
  work.do({ kind: "put.task", value: task });
  work.putRunner({ status: "idle" });
  work.log("task.status", { status: "pending", attempt: task.attempts, error: null, reason }, { task_id: task.id, run_id: run.id });
}

/** Questions that wait, and answers that are not in the runner's journal. Where not even the task was, all that it carried. */
function carriedOf(permissions: State["permissions"], commands: State["commands"], runId: string): string[] {
  const ids = new Set<string>();
  for (const { body } of commands) {
    if (body.kind === "task.start" && body.run_id === runId) for (const id of body.carried ?? []) ids.add(id);
    if (body.kind === "permission.answer" && body.run_id === runId) ids.add(body.permission_id);
  }
  for (const { id, run_id } of permissions) if (run_id === runId) ids.add(id);
  return [...ids].slice(0, MAX_CARRIED);
}

/** True where the turn can be gone on with on this host. */
export function continuable(interrupted: Interrupted, hostId: string | null): boolean {
  return interrupted.host_id === null || interrupted.host_id === hostId;
}

/** The questions that wait are from now on those of the task's next run. */
export function takeOver(work: Work, run: Run): void {
  const { permissions } = work.state;
  if (permissions.length === 0) return;
  for (const { id } of permissions) work.do({ kind: "move.permission", id, run_id: run.id });
  work.set({ permissions: permissions.map((pending) => ({ ...pending, run_id: run.id })) });
}
