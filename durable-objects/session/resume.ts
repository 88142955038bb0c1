/** Owns the last step of every change of runner in the machine: the session is active again, and a receipt says what was kept and lost. */

import { receiptOf } from "./receipt.ts";
import { setStatus } from "./session.ts";
import type { Work } from "./work.ts";

/** The runner may work now. */
export function activate(work: Work): void {
  const { session, attachment, suspending, running } = work.state;
  if (!session || !attachment || session.status === "terminated") return;
  work.attach({ up_at: work.now, idle_since: running ? null : work.now });
  if (suspending) {
    work.uncall((call) => call.kind === "host.resume");
    work.set({ suspending: null });
  }
  if (session.status === "pending" || session.status === "resuming") setStatus(work, "active", null);
}

/** Says what the change of runner kept and lost, where there was one. `restored`: its files came from a capsule. */
export function writeReceipt(work: Work, restored: boolean): void {
  const { session, attachment, before, capsule, permissions, queue, running } = work.state;
  if (!session || !attachment || !before || session.status === "terminated") return;
  const receipt = receiptOf({
    before, to_host_id: attachment.host_id, restored, directory: session.directory?.path ?? null, capsule,
    uncovered: before.how !== "forked" && (before.interrupted || capsule?.covers !== session.last_run_id),
    conversation: (running?.conversation ?? queue[0]?.interrupted?.conversation ?? session.conversation) !== null,
    pending_permissions: permissions.length, queued_tasks: queue.length,
  });
  work.log("session.receipt", receipt);
  work.attach({ notice: receipt.text });
  work.set({ before: null });
}
