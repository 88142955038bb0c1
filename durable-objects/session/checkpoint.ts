/** Owns the capsule that somebody asks for in the machine: whether the runner can take one now, and the order to it. */

import { CAPSULE_VERSION } from "./attachment.ts";
import { giveUpCapsule } from "./capsules.ts";
import type { Work } from "./work.ts";

/** Asks the runner for a capsule; what runs goes on meanwhile. Refused in words where no runner can take one. */
export function takeCapsule(work: Work, id: string): void {
  const { session, attachment, suspending } = work.state;
  if (!session || attachment?.capsule === id) return;
  const refuse = (why: string, instead: string) => work.refuse("conflict", why, { status: session.status, capsule_id: session.capsule_id, instead: [instead] });
  const latest = session.capsule_id === null ? "" : `; its latest capsule is ${session.capsule_id}`;
  if (session.status === "terminated") return refuse(`the session has ended${latest}`, "fork");
  if (session.status === "suspended") return refuse(`the session is suspended, and had a capsule taken for that${latest}`, "resume");
  if (session.status !== "active" || suspending) return refuse(`the session is ${session.status}; ask again when it is active`, "wait");
  if (!attachment) return refuse(`the session has no runner, and so nothing new${latest}`, "wait");
  if (attachment.state !== "connected" || attachment.restore !== null || attachment.version < CAPSULE_VERSION) return refuse(`the session's runner cannot take one now${latest}`, "wait");
  giveUpCapsule(work, `a newer one was asked for: ${id}`);
  work.attach({ capsule: id });
  work.command({ kind: "capsule", capsule_id: id, why: "manual", stop_agent: false });
}
