/** Owns the harmless part of chaos: what `mctl doctor --chaos` does to sessions of its own on somebody's deployment, and what must survive it. */

import { ApiError, ConflictError } from "../../core/errors.ts";
import type { Check } from "../../protocol/doctor.ts";
import type { Event, Session, Task } from "../../protocol/index.ts";
import { TASK_ENDED } from "../../protocol/task.ts";
import type { Context } from "../context.ts";

export interface ChaosPlace {
  pool: string;
  agent: string;
}

const LABELS = { "mctl-doctor": "chaos" };
const WAIT_MS = 120_000;
const MISSING = "Is a host of this pool online, and does it have the agent? The lines above say";

class Broken extends Error {}
function must(holds: boolean, words: string): void {
  if (!holds) throw new Broken(words);
}

/** One by one; the session is ended whatever happened. */
export async function* chaosChecks(context: Context, place: ChaosPlace): AsyncGenerator<Check> {
  const { client } = context;
  const made: string[] = [];
  const trial = async (name: string, work: () => Promise<string>): Promise<Check> => {
    try {
      return { name: `chaos: ${name}`, status: "ok", detail: await work() };
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      const hint = error instanceof Broken ? "This is a defect of Marionette: please report it with these words" : error instanceof DOMException ? MISSING : undefined;
      return { name: `chaos: ${name}`, status: "failed", detail: (error instanceof DOMException ? `not done within ${WAIT_MS / 1_000} s` : words).slice(0, 1_000), ...(hint && { hint }) };
    }
  };
  try {
    let session: Session | null = null;
    yield await trial("a create that is sent three times", async () => {
      const key = crypto.randomUUID();
      const create = () => client.sessions.create({ agent: place.agent, pool: place.pool, labels: LABELS, name: "mctl doctor --chaos" }, { idempotency_key: key });
      const all = await Promise.all([create(), create(), create()]);
      made.push(...new Set(all.map(({ id }) => id)));
      session = all[0] ?? null;
      must(new Set(all.map(({ id }) => id)).size === 1, `made ${new Set(all.map(({ id }) => id)).size} sessions`);
      return `made one session, ${all[0]?.id}`;
    });
    if (!session) return;
    const { id } = session as Session;
    yield await trial("a stream that is cut at every third event", () => cutStream(context, id));
    yield await trial("a task that is canceled in mid-run", () => canceled(context, id));
    yield await trial("a session suspended while its agent asks, resumed by the answer", () => napped(context, id));
    yield await trial("the log of all this", () => wholeLog(context, id));
  } finally {
    for (const id of made) await client.sessions.terminate(id).catch(() => {});
  }
}

/** Asks, and two answer at once; the stream that is followed meanwhile is cut again and again. */
async function cutStream({ client }: Context, id: string): Promise<string> {
  const task = await client.tasks.create(id, { prompt: "doctor: a cut stream" });
  const signal = AbortSignal.timeout(WAIT_MS);
  const seen: Event[] = [];
  let cuts = 0;
  for (let over = false; !over; cuts++) {
    signal.throwIfAborted();
    let count = 0;
    for await (const event of client.sessions.events(id, { follow: true, after: seen.at(-1)?.seq ?? 0 }, { signal })) {
      seen.push(event);
      if (event.type === "permission.requested") await twoAnswers(client, event.data.permission_id);
      over = event.type === "task.status" && event.task_id === task.id && TASK_ENDED.has(event.data.status);
      if (over || ++count === 3) break;
    }
  }
  must(seen.every(({ seq }, i) => seq === i + 1), "events were missed or came twice");
  const end = await client.tasks.get(task.id);
  must(end.status === "completed", `the task ended ${end.status}: ${end.error?.message ?? ""}`);
  return `${seen.length} events once and in order over ${cuts} connections; of two answers at once one was taken`;
}

async function twoAnswers(client: Context["client"], permissionId: string): Promise<void> {
  const answers = await Promise.allSettled([client.permissions.approve(permissionId, { reason: "first" }), client.permissions.approve(permissionId, { reason: "second" })]);
  const taken = answers.filter(({ status }) => status === "fulfilled");
  const refused = answers.filter((answer) => answer.status === "rejected" && answer.reason instanceof ConflictError);
  must(taken.length === 1 && refused.length === 1, `of two answers at once ${taken.length} were taken`);
}

async function canceled({ client }: Context, id: string): Promise<string> {
  const key = crypto.randomUUID();
  const create = () => client.tasks.create(id, { prompt: "doctor: to be canceled" }, { idempotency_key: key });
  const [task, again] = await Promise.all([create(), create()]);
  must(task.id === again.id, "a task that was given twice became two");
  await asked(client, task);
  const [once, twice] = await Promise.all([client.tasks.cancel(task.id), client.tasks.cancel(task.id).catch((error: unknown) => error)]);
  must(once !== null && !(twice instanceof ApiError && twice.status >= 500), "a second cancel broke something");
  const end = await client.tasks.wait(task.id, { signal: AbortSignal.timeout(WAIT_MS) });
  must(end.status === "canceled", `it ended ${end.status}`);
  return "given twice and canceled twice, it is one task and ended once";
}

/** The id of the first question of a task. */
async function asked(client: Context["client"], task: Task): Promise<string> {
  for await (const event of client.tasks.logs(task.id, { follow: true, types: ["permission.requested"] }, { signal: AbortSignal.timeout(WAIT_MS) })) {
    if (event.type === "permission.requested") return event.data.permission_id;
  }
  throw new Broken("the task ended without a question");
}

async function napped({ client }: Context, id: string): Promise<string> {
  const task = await client.tasks.create(id, { prompt: "doctor: a nap" });
  const question = await asked(client, task);
  const signal = AbortSignal.timeout(WAIT_MS);
  await client.sessions.suspend(id, { reason: "mctl doctor --chaos" });
  for await (const event of client.sessions.events(id, { follow: true, types: ["session.status"] }, { signal })) if (event.type === "session.status" && event.data.status === "suspended") break;
  const { suspension } = await client.sessions.get(id);
  await client.permissions.approve(question, { reason: "after a nap" });
  // An agent that was started anew may ask again.
  for await (const event of client.tasks.logs(task.id, { follow: true }, { signal })) {
    if (event.type === "permission.requested" && event.data.permission_id !== question) await client.permissions.approve(event.data.permission_id).catch(() => {});
  }
  const end = await client.tasks.get(task.id);
  must(end.status === "completed", `the task ended ${end.status}: ${end.error?.message ?? ""}`);
  return `suspended (${suspension?.strategy ?? "?"}) and resumed; the task went on and completed`;
}

async function wholeLog({ client }: Context, id: string): Promise<string> {
  const events: Event[] = [];
  for await (const event of client.sessions.events(id)) events.push(event);
  must(events.every(({ seq }, i) => seq === i + 1), "the log has gaps or doubles");
  const ends = new Map<string, number>();
  for (const event of events) if (event.type === "task.status" && event.task_id !== null && TASK_ENDED.has(event.data.status)) ends.set(event.task_id, (ends.get(event.task_id) ?? 0) + 1);
  must([...ends.values()].every((count) => count === 1), "a task is told to have ended more than once");
  return `${events.length} events without gap or double; ${ends.size} tasks, each ended once`;
}
