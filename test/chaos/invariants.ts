/** Owns what must hold of every session whatever happened to it, seen from outside: from the API alone. */

import { isDeepStrictEqual } from "node:util";
import type { Event, Marionette, Run, Task } from "../../sdk/index.ts";
import { RUN_ENDED, TASK_ENDED } from "../../sdk/protocol/index.ts";
import { linesOf, storedLog } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import type { Trace } from "../support/line-agent.ts";
import type { Subject } from "./subject.ts";
import { keptAsWritten, keptTraces } from "./synced.ts";

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

/** Claims about one session; those that do not hold are kept in words. */
export class Claims {
  readonly broken: string[] = [];
  readonly #of: string;
  constructor(of: string) {
    this.#of = of;
  }
  same(what: string, is: unknown, should: unknown): void {
    if (!isDeepStrictEqual(is, should)) this.broken.push(`${this.#of}: ${what}: ${short(is)}, not ${short(should)}`);
  }
  holds(what: string, does: boolean): void {
    if (!does) this.broken.push(`${this.#of}: ${what}`);
  }
}
const short = (value: unknown) => (JSON.stringify(value) ?? "nothing").slice(0, 200);

export interface Verdict {
  runs: Run[];
  events: number;
  /** What does not hold, in words. */
  broken: string[];
}

/** Reads a session's whole history and tells what of it does not hold. The session ends with it. `lines`: what every task was to write. */
export async function verdictOn(client: Marionette, subject: Subject, lines: number): Promise<Verdict> {
  const { session, tasks, sse, socket } = subject;
  const claims = new Claims(session.id);
  const read: Task[] = [];
  for (const id of tasks) read.push(await client.tasks.get(id));
  const text = await traceText(client, session.id);
  const trace = traceOf(text);
  const kept = await keptTraces(client, session.id);
  await client.sessions.terminate(session.id);
  await Promise.all([sse.ended, socket.ended]);
  const events = await storedLog(client, session.id);

  oneLog(claims, events, { sse: sse.events, socket: socket.events });
  const runs: Run[] = [];
  for (const task of read) runs.push(...(await oneEnd(client, claims, events, task, lines)));
  for (const run of runs) wholeRun(claims, events, run, lines);
  oneAtATime(claims, runs, trace, lines);
  keptAsWritten(claims, events, runs, kept, text, lines);
  await answeredAsAnswered(client, claims, events, subject, runs, trace);
  claims.broken.push(...subject.problems.map((problem) => `${session.id}: ${problem}`));
  return { runs, events: events.length, broken: claims.broken };
}

/** What the agents wrote into the workspace, as the API gives it. */
function traceText(client: Marionette, sessionId: string): Promise<string> {
  return eventually("the workspace can be read", () => client.sessions.files.text(sessionId, "trace.jsonl"), 60_000);
}
function traceOf(text: string): Trace[] {
  // A full disk, or a kill, may have cut an agent off in the middle of a record: what is whole counts.
  return [...text.matchAll(/\{[^{}]*\}/g)].map(([record]) => JSON.parse(record) as Trace);
}

/** Every event once and in order, the same for whoever looked. */
function oneLog(claims: Claims, events: readonly Event[], readers: Record<string, readonly Event[]>): void {
  claims.same("the log is numbered without gap or double", events.map(({ seq }) => seq), upTo(events.length));
  for (const [name, seen] of Object.entries(readers)) claims.holds(`what came over ${name} (${seen.length} events) is the log (${events.length})`, isDeepStrictEqual(seen, events));
}

/** The task ended, once, in one way; its attempts are numbered, and only the last one completed. */
async function oneEnd(client: Marionette, claims: Claims, events: readonly Event[], task: Task, lines: number): Promise<Run[]> {
  claims.same(`${task.id} ended as it should`, { status: task.status, result: task.result }, { status: "completed", result: `wrote ${lines} lines` });
  const ends = events.filter((event) => event.type === "task.status" && event.task_id === task.id && TASK_ENDED.has(event.data.status));
  claims.same(`${task.id} is told to have ended once`, ends.length, 1);
  const attempts: Run[] = [];
  for await (const run of client.tasks.runs(task.id)) attempts.push(run);
  claims.holds(`attempts of ${task.id} are numbered`, attempts.every(({ attempt }, i) => i === 0 || attempt > (attempts[i - 1]?.attempt ?? 0) || attempts[i - 1]?.error?.code === "suspended"));
  claims.same(`only the last attempt of ${task.id} completed`, attempts.map(({ status }) => status === "completed"), attempts.map((_, i) => i === attempts.length - 1));
  return attempts;
}

/** The run's lines are in the log without gap or double, it ended once, and nothing came after its end. */
function wholeRun(claims: Claims, events: readonly Event[], run: Run, lines: number): void {
  claims.holds(`${run.id} ended in a way that a run may (${run.status})`, ["completed", "lost", "failed"].includes(run.status) || run.error?.code === "suspended");
  const written = linesOf(events, run.id);
  claims.same(`the log has the lines of ${run.id} once and in order`, written, upTo(run.status === "completed" ? lines : written.length));
  const ends = events.filter((event) => event.type === "run.status" && event.run_id === run.id && RUN_ENDED.has(event.data.status));
  claims.same(`${run.id} is told to have ended once`, ends.length, 1);
  claims.holds(`nothing is logged of ${run.id} behind its end`, !events.some((event) => event.run_id === run.id && event.type === "log" && event.seq > (ends[0]?.seq ?? 0)));
}

/** One run after the other, by the session's clock and epochs and by what the agents themselves wrote; and their files are there. */
function oneAtATime(claims: Claims, runs: readonly Run[], trace: readonly Trace[], lines: number): void {
  for (const [i, run] of runs.entries()) {
    const next = runs[i + 1];
    if (next) claims.holds(`${run.id} was over before ${next.id} began`, run.ended_at !== null && run.ended_at <= next.created_at && run.epoch <= next.epoch);
  }
  const order = trace.map(({ run_id }) => run_id).filter((id, i, all) => id !== all[i - 1]);
  claims.same("no two agents wrote at once", order, [...new Set(order)]);
  for (const run of runs) {
    if (run.status !== "completed") continue;
    const wrote = trace.flatMap((each) => ("n" in each && each.run_id === run.id ? [each.n] : []));
    claims.same(`the workspace has what ${run.id} wrote`, wrote, upTo(lines));
  }
}

/** What was answered is what is told, and what the agent heard, once. */
async function answeredAsAnswered(client: Marionette, claims: Claims, events: readonly Event[], { given }: Subject, runs: readonly Run[], trace: readonly Trace[]): Promise<void> {
  for (const event of events) {
    if (event.type !== "permission.requested") continue;
    const { permission_id: id } = event.data;
    const answer = given.get(id);
    const permission = await client.permissions.get(id);
    claims.same(`${id} is kept as it was answered`, { status: permission.status, reason: answer ? permission.decision?.reason : undefined }, { status: answer?.decision ?? "canceled", reason: answer?.reason });
    const told = events.flatMap((each) => (each.type === "permission.answered" && each.data.permission_id === id ? [each.data.status] : []));
    claims.same(`${id} is told to have been answered once`, told, [permission.status]);
    const heard = trace.flatMap((each) => ("decision" in each && each.run_id === event.run_id ? [each.decision] : []));
    const completed = runs.find((run) => run.id === event.run_id)?.status === "completed";
    claims.same(`the agent of ${event.run_id} heard the answer to ${id}`, heard, completed || heard.length > 0 ? [answer?.decision] : []);
  }
}

/** Waits until every row of the database is what its object says; answers those that never are, in words. */
export async function staleRows(client: Marionette, sessionIds: readonly string[], withinMs = 30_000): Promise<string[]> {
  const wrong = async (): Promise<string[]> => {
    const found: string[] = [];
    const compare = (row: { id: string; version: number } | undefined, truth: { id: string; version: number }) => {
      // A session's `last_seq` moves without a version: it is copied with the next change.
      const strip = (value: object | undefined) => value && { ...value, last_seq: 0, prompt: "", usage: 0 };
      if (!isDeepStrictEqual(strip(row), strip(truth))) found.push(`${truth.id}: version ${row?.version ?? "none"} in the database, ${truth.version} in the object`);
    };
    const sessions = await rowsOf(client.sessions.list({ limit: 200 }));
    for (const id of sessionIds) {
      compare(sessions.get(id), await client.sessions.get(id));
      for (const [taskId, row] of await rowsOf(client.tasks.list({ session_id: id, limit: 200 }))) compare(row, await client.tasks.get(taskId));
      for (const [permissionId, row] of await rowsOf(client.permissions.list({ session_id: id, limit: 200 }))) compare(row, await client.permissions.get(permissionId));
    }
    return found;
  };
  let last: string[] = [];
  await eventually("every row is right", async () => (last = await wrong()).length === 0, withinMs).catch(() => {});
  return last;
}
async function rowsOf<T extends { id: string; version: number }>(list: AsyncIterable<T>): Promise<Map<string, T>> {
  const rows = new Map<string, T>();
  for await (const row of list) rows.set(row.id, row);
  return rows;
}
