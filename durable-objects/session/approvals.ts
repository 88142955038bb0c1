/** Owns approvals with a scope in the machine: what people allowed for the turn or for the session, wherever its next runner is. */

import { grantOfRequest, keepGrants, type Approval, type Grant, type Permission } from "../../sdk/protocol/index.ts";
import type { Actor } from "../rpc.ts";
import type { State } from "./state.ts";
import type { Work } from "./work.ts";

/** An approval with what it covers. */
export type Granted = Grant & Omit<Approval, "scope" | keyof Grant>;

/** `turn`: of the turn that runs, or of the interrupted one that goes on with the next runner. */
export interface Approvals {
  turn: readonly Granted[];
  session: readonly Granted[];
}
export const NO_APPROVALS: Approvals = { turn: [], session: [] };

/** What clients are shown of the call that was approved. */
const SUMMARY_CHARS = 300;

/** A person approved more than the one call. */
export function remember(work: Work, { id, summary, ...request }: Permission, scope: "turn" | "session", actor: Actor): void {
  const grant = grantOfRequest(request);
  if (grant === null) return;
  const { approvals } = work.state;
  const granted: Granted = { ...grant, permission_id: id, summary: summary.slice(0, SUMMARY_CHARS), by: actor.key_id, by_name: actor.key_name, at: work.at };
  work.set({ approvals: { ...approvals, [scope]: keepGrants([...approvals[scope], granted]) } });
}

/** The turn has ended, and with it what was approved for it. */
export function endTurnApprovals(work: Work): void {
  const { approvals } = work.state;
  if (approvals.turn.length > 0) work.set({ approvals: { ...approvals, turn: [] } });
}

/** Takes back all but these; true where that was any. */
export function keepOnly(work: Work, ids: readonly string[]): boolean {
  const { turn, session } = work.state.approvals;
  const kept = (each: Granted) => ids.includes(each.permission_id);
  if (turn.every(kept) && session.every(kept)) return false;
  work.set({ approvals: { turn: turn.filter(kept), session: session.filter(kept) } });
  return true;
}

/** As the runner's gate needs them. */
export function grantsOf(granted: readonly Granted[]): Grant[] {
  return granted.map(({ tool, risk, keys, input }) => ({ tool, risk, keys, input }));
}

/** As clients see them. */
export function approvalsOf({ approvals }: State): Approval[] {
  const shown = (scope: Approval["scope"]) => ({ permission_id, tool, risk, keys, summary, by, by_name, at }: Granted): Approval => ({ permission_id, scope, tool, risk, keys, summary, by, by_name, at });
  return [...approvals.session.map(shown("session")), ...approvals.turn.map(shown("turn"))];
}
