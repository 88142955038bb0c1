/** Owns the receipt of a resume: what a change of runner kept and what it lost, in words for people and for the agent. Pure. */

import type { Receipt } from "../../sdk/protocol/index.ts";
import type { Before, LatestCapsule } from "./state.ts";

export interface Change {
  before: Before;
  to_host_id: string | null;
  /** The files came from a capsule; else they are those of the host. */
  restored: boolean;
  /** The directory of the host's own in which the session works; absent or null: it has a workspace. */
  directory?: string | null;
  capsule: LatestCapsule | null;
  /** Something of an ended run or of an interrupted turn is in no capsule, and was on the host before. */
  uncovered: boolean;
  conversation: boolean;
  pending_permissions: number;
  queued_tasks: number;
}

const HOW: Readonly<Record<Before["how"], string>> = {
  suspended: "This session was suspended and has been resumed",
  lost: "This session's runner was lost and has been replaced",
  given_back: "This session gave its runner to another one while it was idle, and has a new one",
  forked: "This session was forked from another one",
};

const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`;

export function receiptOf(change: Change): Receipt {
  const { before, to_host_id, restored, capsule, uncovered } = change;
  const directory = change.directory ?? null;
  const frozen = before.strategy === "pause";
  const survived: string[] = [];
  const lost: string[] = [];
  if (frozen) survived.push("the runner with its memory, its processes and the agent's turn", "workspace files, as they were");
  else if (directory !== null) survived.push(`the files of ${directory}: they are its owner's and stay there, as they are now`);
  else if (restored && capsule) survived.push(`workspace files: ${count(capsule.files, "file")}, ${count(capsule.bytes, "byte")}, from capsule ${capsule.id}`);
  else survived.push("workspace files, kept on the host");
  if (change.conversation) survived.push("the agent's conversation");
  if (change.pending_permissions > 0) survived.push(`${count(change.pending_permissions, "permission request")} waiting for an answer`);
  if (change.queued_tasks > 0) survived.push(`${count(change.queued_tasks, "task")} in the queue`);
  if (frozen) lost.push("network connections that the other side gave up meanwhile");
  else lost.push("running processes, and what they held in memory", "network connections");
  if (before.interrupted && !frozen) lost.push("the tool call that was under way in the interrupted turn, if any");
  if (restored && uncovered && directory === null) lost.push("files that were written after the capsule was taken");
  if (restored && capsule && directory === null) lost.push(...capsule.left_out.map((what) => `left out of the capsule: ${what}`));
  if (before.trouble !== null) lost.push(`not as it was asked for: ${before.trouble}`.slice(0, 500));
  const kept = { survived: survived.slice(0, 50).map(cut), lost: lost.slice(0, 50).map(cut) };
  const moved = before.host_id !== null && to_host_id !== null && before.host_id !== to_host_id;
  const text = [`${HOW[before.how]}${moved ? " on another host" : ""}.`, "Kept:", ...kept.survived.map((what) => `- ${what}`), "Lost:", ...kept.lost.map((what) => `- ${what}`)].join("\n");
  return { capsule_id: capsule?.id ?? null, strategy: before.strategy, from_host_id: before.host_id, to_host_id, ...kept, text: text.slice(0, 8_000) };
}

const cut = (what: string) => what.slice(0, 500);
