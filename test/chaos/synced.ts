/** Owns what must hold of the files that were kept: every capsule has what its session's agents had written by then, and the last one has all of it. */

import { NotFoundError, type Capsule, type Event, type Marionette, type Run } from "../../sdk/index.ts";
import { linesOf } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import type { Claims } from "./invariants.ts";

/** So many of a session's capsules are read, the newest. */
const READ = 12;

/** A session's newest capsules once one stands for its last run's end, each with the trace in its workspace. Its last run's sandbox must still be there. */
export async function keptTraces(client: Marionette, sessionId: string): Promise<{ capsule: Capsule; text: string }[]> {
  const newest = async (): Promise<Capsule[]> => {
    const found: Capsule[] = [];
    for await (const each of client.sessions.capsules(sessionId, { limit: READ })) if (found.push(each) === READ) break;
    return found;
  };
  const settled = async () => {
    const [last] = await newest();
    const { runner } = await client.sessions.get(sessionId);
    let ended = 0;
    for await (const event of client.sessions.events(sessionId, { tail: 200 })) if (event.type === "run.status" && event.data.status === "completed") ended = event.seq;
    // Nobody is left who could take it: its files are those of the host.
    return runner === null || (last?.seq ?? 0) >= ended;
  };
  await eventually("the last task's files are kept", settled, 60_000).catch(() => {});
  const decoder = new TextDecoder();
  return Promise.all((await newest()).map(async (capsule) => {
    const read = client.workspaces.read(capsule.workspace_id, "trace.jsonl", { manifest_id: capsule.workspace.manifest_id }).catch((error: unknown) => {
      // Taken before its agent wrote anything.
      if (error instanceof NotFoundError) return new Uint8Array();
      throw error;
    });
    return { capsule, text: decoder.decode(await read) };
  }));
}

/** `live`: the trace in the workspace as it is now, when nothing works any more. */
export function keptAsWritten(claims: Claims, events: readonly Event[], runs: readonly Run[], kept: readonly { capsule: Capsule; text: string }[], live: string, lines: number): void {
  const completed = new Map(events.flatMap((event) => (event.type === "run.status" && event.data.status === "completed" && event.run_id !== null ? [[event.run_id, event.seq] as const] : [])));
  for (const { capsule, text } of kept) {
    const has = (run: string) => new Set([...text.matchAll(new RegExp(`"run_id":"${run}","n":(\\d+)`, "g"))].map(([, n]) => Number(n)));
    for (const { id } of runs) {
      const wrote = has(id);
      const ended = (completed.get(id) ?? Number.POSITIVE_INFINITY) <= capsule.seq;
      // Its own run's lines are logged after they are written; those of earlier runs that did not end well may have gone with their sandbox.
      const should = ended ? lines : id === capsule.run_id ? Math.max(0, ...linesOf(events.filter(({ seq }) => seq <= capsule.seq), id)) : 0;
      claims.holds(`${capsule.id} (${capsule.why}, ${capsule.seq}) has the first ${should} lines of ${id}`, Array.from({ length: should }, (_, i) => i + 1).every((n) => wrote.has(n)));
    }
  }
  const [last] = kept;
  const end = Math.max(0, ...completed.values());
  if (last && last.capsule.seq >= end) claims.holds(`${last.capsule.id}, the last, has the files as they are (${last.text.length} characters of trace, not ${live.length})`, last.text === live);
}
