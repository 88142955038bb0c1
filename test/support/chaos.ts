/** Owns what happens to a stack while its sessions work: agents of numbered lines, live readers, an answering person, processes to kill, and what must hold afterwards. */

import { readFile, readdir, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { expect } from "vitest";
import { ConflictError, Marionette, type Event, type Run, type Session, type Task } from "../../sdk/index.ts";
import { RUN_ENDED, TASK_ENDED } from "../../sdk/protocol/index.ts";
import { eventually } from "./eventually.ts";
import type { LinePrompt, Trace } from "./line-agent.ts";
import { sseReader, socketReader, type Reader } from "./readers.ts";
import type { Stack, StackHost } from "./stack.ts";

const AGENT = join(import.meta.dirname, "line-agent.ts");

/** Arguments of a daemon that knows the agent `lines` and runs it as a plain process, whose pid is the real one. */
export async function lineHostArgs(dir: string): Promise<string[]> {
  const file = join(dir, "marionette.yaml");
  await writeFile(file, stringify({ providers: { default: "process", process: { isolation: "none" } }, agents: { custom: { lines: { binary: process.execPath, args: [AGENT] } } } }));
  return ["--config", file, "--max-runners", "32"];
}

/** A client that outlasts a restart. */
export function patientClient(stack: Stack): Marionette {
  return new Marionette({ url: stack.url, apiKey: stack.apiKey, max_retries: 30 });
}

/** A session under attack: all that was asked of it and all that was seen of it. */
export interface Subject {
  session: Session;
  tasks: string[];
  /** What the person answered, by permission. */
  given: Map<string, { decision: "approved" | "denied"; reason: string }>;
  sse: Reader;
  socket: Reader;
  /** The run that works now, as its log says. */
  running(): { run_id: string; pid: number | null } | null;
  /** Gives tasks, one after the other, until told that it is enough. */
  drive(prompt: LinePrompt, enough: () => boolean): Promise<void>;
  /** The pending work of answering and of starting again. */
  settled(): Promise<void>;
}

/** Makes a session of the `lines` agent in a pool, with readers and a person who answers everything. */
export async function subject(stack: Stack, client: Marionette, pool = "default"): Promise<Subject> {
  const session = await client.sessions.create({ agent: "lines", pool });
  const given: Subject["given"] = new Map();
  const ended = new Map<string, PromiseWithResolvers<void>>();
  const errands: Promise<unknown>[] = [];
  let running: { run_id: string; pid: number | null } | null = null;

  async function answer(id: string): Promise<void> {
    const wanted = { decision: given.size % 2 === 0 ? ("denied" as const) : ("approved" as const), reason: `because of ${id}` };
    given.set(id, wanted);
    try {
      const { status, decision } = await (wanted.decision === "approved" ? client.permissions.approve(id, { reason: wanted.reason }) : client.permissions.deny(id, { reason: wanted.reason }));
      expect({ status, reason: decision?.reason }).toEqual({ status: wanted.decision, reason: wanted.reason });
    } catch (error) {
      // Its run has ended before: the question is void.
      if (!(error instanceof ConflictError) || error.details?.["status"] !== "canceled") throw error;
      given.delete(id);
    }
  }
  function seen(event: Event): void {
    if (event.type === "run.status" && event.run_id !== null) {
      if (event.data.status === "running") running = { run_id: event.run_id, pid: event.data.pid ?? null };
      else if (RUN_ENDED.has(event.data.status) && running?.run_id === event.run_id) running = null;
    } else if (event.type === "permission.requested") errands.push(answer(event.data.permission_id));
    else if (event.type === "task.status" && event.task_id !== null) {
      if (TASK_ENDED.has(event.data.status)) ended.get(event.task_id)?.resolve();
      // Nobody waits for the backoff here; it may be over before we come.
      else if (event.data.status === "pending" && event.data.attempt > 0) errands.push(client.tasks.execute(event.task_id).catch((error: unknown) => expect(error).toBeInstanceOf(ConflictError)));
    }
  }

  const place = { url: stack.url, apiKey: stack.apiKey, sessionId: session.id };
  const tasks: string[] = [];
  return {
    session, tasks, given,
    sse: sseReader({ ...place, onEvent: seen }),
    socket: socketReader(place),
    running: () => running,
    async drive(prompt, enough) {
      while (!enough()) {
        const task = await client.tasks.create(session.id, { prompt: JSON.stringify(prompt), max_retries: 100 });
        tasks.push(task.id);
        const over = Promise.withResolvers<void>();
        ended.set(task.id, over);
        // It may have ended before we listened.
        if (!TASK_ENDED.has((await client.tasks.get(task.id)).status)) await over.promise;
      }
    },
    async settled() {
      for (let done = 0; done < errands.length; ) done = (await Promise.all(errands)).length;
    },
  };
}

/** Runners of a host that live now. */
export async function runnersOf(host: StackHost): Promise<{ runner_id: string; session_id: string; epoch: number; pid: number; dir: string }[]> {
  const runners = join(host.dir, "runners");
  const found = await Promise.all(
    (await readdir(runners).catch(() => [])).map(async (name) => {
      try {
        const { runner_id, session_id, epoch, pid } = JSON.parse(await readFile(join(runners, name, "process.json"), "utf8")) as { runner_id: string; session_id: string; epoch: number; pid: number };
        return commandOf(pid).includes("runner.js") ? { runner_id, session_id, epoch, pid, dir: join(runners, name) } : null;
      } catch {
        return null;
      }
    }),
  );
  return found.filter((each) => each !== null);
}

/** A process's command line; empty where there is none. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** SIGKILL for exactly this process; false where it was gone. */
export function killed(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

/** The last line that a dead runner's journal holds of a run; 0 where it holds none. */
export function journalled(runnerDir: string, runId: string): number {
  const text = readFileSync(join(runnerDir, "state", "journal.jsonl"), "utf8");
  return Math.max(0, ...[...text.matchAll(/line (\d+) of (trun_\w+)/g)].filter(([, , run]) => run === runId).map(([, n]) => Number(n)));
}

/** The whole log, from the API alone. */
export async function storedLog(client: Marionette, sessionId: string): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of client.sessions.events(sessionId)) events.push(event);
  return events;
}

/** Numbers of the lines that the log has of a run, in its order. */
export function linesOf(events: readonly Event[], runId: string): number[] {
  return events.flatMap((event) => (event.type === "log" && event.run_id === runId ? [...event.data.text.matchAll(/line (\d+) of/g)].map(([, n]) => Number(n)) : []));
}

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

/** Sees that a session's history is whole and tells one story; answers its runs. The session ends with it. */
export async function holds(client: Marionette, { session, tasks, given, sse, socket }: Subject, host: StackHost, lines: number): Promise<Run[]> {
  const read: Task[] = [];
  for (const id of tasks) read.push(await client.tasks.get(id));
  await client.sessions.terminate(session.id);
  await Promise.all([sse.ended, socket.ended]);
  const events = await storedLog(client, session.id);

  // One log, without gap or double, the same for whoever looked.
  expect(events.map(({ seq }) => seq)).toEqual(upTo(events.length));
  expect(sse.events).toEqual(events);
  expect(socket.events).toEqual(events);

  const runs: Run[] = [];
  for (const task of read) {
    expect(task).toMatchObject({ status: "completed", result: `wrote ${lines} lines` });
    const ends = events.filter((event) => event.type === "task.status" && event.task_id === task.id && TASK_ENDED.has(event.data.status));
    expect(ends.map(({ task_id }) => task_id)).toEqual([task.id]);
    const attempts: Run[] = [];
    for await (const run of client.tasks.runs(task.id)) attempts.push(run);
    expect(attempts.map(({ attempt }) => attempt)).toEqual(upTo(task.attempts));
    expect(attempts.map(({ status }) => status === "completed")).toEqual(attempts.map((_, i) => i === attempts.length - 1));
    runs.push(...attempts);
  }
  for (const run of runs) {
    expect(["completed", "lost", "failed"]).toContain(run.status);
    const written = linesOf(events, run.id);
    expect({ run: run.id, written }).toEqual({ run: run.id, written: upTo(run.status === "completed" ? lines : written.length) });
    const ends = events.filter((event) => event.type === "run.status" && event.run_id === run.id && RUN_ENDED.has(event.data.status));
    expect(ends.map(({ run_id }) => run_id)).toEqual([run.id]);
    const late = events.filter((event) => event.run_id === run.id && event.type === "log" && event.seq > (ends[0]?.seq ?? 0));
    expect(late).toEqual([]);
  }
  // One after the other, by the session's clock and epochs, and by what the agents themselves wrote.
  for (const [i, run] of runs.entries()) {
    const next = runs[i + 1];
    expect(run.ended_at).not.toBeNull();
    if (next) expect({ run: run.id, before: (run.ended_at ?? "") <= next.created_at && run.epoch <= next.epoch }).toEqual({ run: run.id, before: true });
  }
  const trace = (await readFile(join(host.dir, "workspaces", session.workspace_id, "trace.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Trace);
  const order = trace.map(({ run_id }) => run_id).filter((id, i, all) => id !== all[i - 1]);
  expect(order).toEqual([...new Set(order)]);

  // What was answered is what is told, and what the agent heard, once.
  for (const event of events) {
    if (event.type !== "permission.requested") continue;
    const { permission_id: id } = event.data;
    const answer = given.get(id);
    const permission = await client.permissions.get(id);
    expect(permission).toMatchObject(answer ? { status: answer.decision, decision: { reason: answer.reason } } : { status: "canceled" });
    const told = events.flatMap((each) => (each.type === "permission.answered" && each.data.permission_id === id ? [each.data.status] : []));
    expect(told).toEqual([permission.status]);
    const heard = trace.flatMap((each) => ("decision" in each && each.run_id === event.run_id ? [each.decision] : []));
    const completed = runs.find((run) => run.id === event.run_id)?.status === "completed";
    expect(heard).toEqual(completed || heard.length > 0 ? [answer?.decision] : []);
  }
  return runs;
}

/** Waits until one of the sessions works, and answers it. */
export function working(subjects: readonly Subject[], pick: (from: readonly Subject[]) => Subject): Promise<Subject> {
  return eventually("some session works", () => {
    const busy = subjects.filter((each) => each.running() !== null);
    return busy.length > 0 && pick(busy);
  });
}
