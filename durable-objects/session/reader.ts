/** Owns the reading of a session's history: pages of its log and blocks of its chain, wherever the events are. */

import { Failure, fail, MAX_PAGE, ok, TASK_ENDED, type LogQuery, type Result, type Session, type SessionHistory } from "../../sdk/protocol/index.ts";
import type { Actor, LogPage, SessionRpc } from "../rpc.ts";
import type { Engine } from "./engine.ts";
import { filterOf } from "./log-filter.ts";
import { expandSeen, type Log } from "./log.ts";
import type { Shelf } from "./shelf.ts";

/** A page ends after about so many characters, however few its events are. */
const PAGE_CHARS = 4 * 1024 * 1024;
const DEFAULT_PAGE = 100;
const UNKNOWN_SESSION = fail("not_found", "no session of that id");
const UNKNOWN_TASK = fail("not_found", "no task of that id");

export class Reader {
  readonly #engine: Engine;
  readonly #shelf: Shelf;

  constructor(engine: Engine, shelf: Shelf) {
    this.#engine = engine;
    this.#shelf = shelf;
  }

  async page(actor: Actor, query: LogQuery): Promise<Result<LogPage>> {
    const { log, tasks } = this.#engine;
    const session = this.#owned(actor);
    if (!session) return UNKNOWN_SESSION;
    const task = query.task_id === undefined ? null : tasks.get(query.task_id);
    if (query.task_id !== undefined && !task) return UNKNOWN_TASK;
    const source: Log | Shelf = session.archive ? this.#shelf : log;
    const filter = filterOf(query);
    const limit = Math.min(MAX_PAGE, query.limit ?? query.tail ?? DEFAULT_PAGE);
    return attempt(async () => {
      // What is in this object is read in one go.
      const begun = query.tail === undefined ? (query.after ?? 0) : source.tail(query.tail, filter);
      const after = typeof begun === "number" ? begun : await begun;
      const found = limit === 0 ? { seen: [], through: log.last } : source.read(after, filter, PAGE_CHARS, limit);
      const { seen, through } = found instanceof Promise ? await found : found;
      const more = through < log.last;
      const ended = !more && (session.status === "terminated" || (task !== null && TASK_ENDED.has(task.status)));
      return { events: seen.flatMap((view) => expandSeen(session.id, view)), last_seq: log.last, next: through, more, ended };
    });
  }

  history(actor: Actor): Result<Omit<SessionHistory, "recorded">> {
    const session = this.#owned(actor);
    if (!session) return UNKNOWN_SESSION;
    return ok({ session_id: session.id, last_seq: this.#engine.log.last, pinned: this.#engine.history.head, archive: session.archive ?? null });
  }

  async block(actor: Actor, block: number): ReturnType<SessionRpc["readBlock"]> {
    const { history, log } = this.#engine;
    const session = this.#owned(actor);
    if (!session) return UNKNOWN_SESSION;
    return attempt(async () => {
      const row = session.archive ? history.row(block) : null;
      if (row) return { text: await this.#shelf.text(row), last: row.block === session.archive?.blocks };
      if (session.archive) return null;
      const made = await history.make(block, session.id, false);
      return made && { text: made.bytes, last: made.row.first_seq + made.row.count > log.last };
    });
  }

  #owned(actor: Actor): Session | null {
    const { session } = this.#engine;
    return session?.tenant_id === actor.tenant_id ? session : null;
  }
}

/** What comes out, or the failure as data. */
async function attempt<T>(work: () => Promise<T>): Promise<Result<T>> {
  try {
    return ok(await work());
  } catch (error) {
    if (error instanceof Failure) return { ok: false, error: error.toBody() };
    throw error;
  }
}
