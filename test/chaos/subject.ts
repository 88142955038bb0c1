/** Owns a session under attack: the tasks that it is given, the readers that watch it, the person who answers it, and all that was seen of it. */

import { ConflictError, type Event, type Marionette, type Session } from "../../sdk/index.ts";
import { RUN_ENDED, TASK_ENDED } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import type { LinePrompt } from "../support/line-agent.ts";
import { sseReader, socketReader, type Reader } from "../support/readers.ts";
import type { Stack } from "../support/stack.ts";

export interface Given {
  decision: "approved" | "denied";
  reason: string;
}

/** What it waits for to see that a session works again. */
interface Wait {
  /** A run that does not count: it was killed. */
  not: string | null;
  resolve(): void;
}

export interface Subject {
  session: Session;
  tasks: string[];
  /** What the person answered, by permission. */
  given: Map<string, Given>;
  sse: Reader;
  socket: Reader;
  /** What no client should ever have met. */
  problems: string[];
  /** The run that works now, as its log says. */
  running(): { run_id: string; pid: number | null } | null;
  /** Resolves when an agent's next line is seen, of another run than `not`. */
  works(not?: string | null): Promise<void>;
  /** Gives tasks, one after the other, until told that it is enough. */
  drive(prompt: LinePrompt, enough: () => boolean): Promise<void>;
  /** The pending work of answering and of starting again. */
  settled(): Promise<void>;
}

/** Makes a session of the `lines` agent, with readers over both kinds of stream and a person who answers everything. */
export async function subject(stack: Stack, client: Marionette, params: { pool?: string; provider?: string } = {}): Promise<Subject> {
  const session = await client.sessions.create({ agent: "lines", pool: "default", ...params });
  const given: Subject["given"] = new Map();
  const ended = new Map<string, PromiseWithResolvers<void>>();
  const errands: Promise<unknown>[] = [];
  const problems: string[] = [];
  const waits = new Set<Wait>();
  let running: { run_id: string; pid: number | null } | null = null;

  const errand = (what: string, work: Promise<unknown>) => {
    errands.push(work.catch((error: unknown) => void problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)));
  };
  async function answer(id: string): Promise<void> {
    const wanted: Given = { decision: given.size % 2 === 0 ? "denied" : "approved", reason: `because of ${id}` };
    given.set(id, wanted);
    try {
      const { status, decision } = await (wanted.decision === "approved" ? client.permissions.approve(id, { reason: wanted.reason }) : client.permissions.deny(id, { reason: wanted.reason }));
      if (status !== wanted.decision || decision?.reason !== wanted.reason) problems.push(`${id} was ${wanted.decision} because "${wanted.reason}" and answered as ${status} because "${decision?.reason}"`);
    } catch (error) {
      // Its run has ended before: the question is void.
      if (!(error instanceof ConflictError) || error.details?.["status"] !== "canceled") throw error;
      given.delete(id);
    }
  }
  /** Nobody waits for the backoff here; it may be over before we come. */
  async function hurry(taskId: string): Promise<void> {
    await client.tasks.execute(taskId).catch((error: unknown) => {
      if (!(error instanceof ConflictError)) throw error;
    });
  }
  function seen(event: Event): void {
    if (event.type === "run.status" && event.run_id !== null) {
      if (event.data.status === "running") running = { run_id: event.run_id, pid: event.data.pid ?? null };
      else if (RUN_ENDED.has(event.data.status) && running?.run_id === event.run_id) running = null;
    } else if (event.type === "permission.requested") errand("answering", answer(event.data.permission_id));
    else if (event.type === "task.status" && event.task_id !== null) {
      if (TASK_ENDED.has(event.data.status)) ended.get(event.task_id)?.resolve();
      else if (event.data.status === "pending" && event.data.attempt > 0) errand("starting again", hurry(event.task_id));
    } else if (event.type === "log") {
      for (const wait of waits) {
        if (wait.not === event.run_id) continue;
        waits.delete(wait);
        wait.resolve();
      }
    }
  }

  const place = { url: stack.url, apiKey: stack.apiKey, sessionId: session.id };
  const tasks: string[] = [];
  return {
    session, tasks, given, problems,
    sse: sseReader({ ...place, onEvent: seen }),
    socket: socketReader(place),
    running: () => running,
    works: (not = null) => new Promise((resolve) => void waits.add({ not, resolve })),
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

/** Waits until one of the sessions works, and answers it. */
export function working(subjects: readonly Subject[], pick: (from: readonly Subject[]) => Subject): Promise<Subject> {
  return eventually("some session works", () => {
    const busy = subjects.filter((each) => each.running() !== null);
    return busy.length > 0 && pick(busy);
  }, 60_000);
}
