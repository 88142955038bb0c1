/** Owns the move of an ended session's events into the archive: block by block, each read back, and only then dropped here. */

import { Failure, type HistoryHead } from "../../sdk/protocol/index.ts";
import { backoff } from "../base/deadlines.ts";
import type { Archive } from "../ports.ts";
import type { Engine } from "./engine.ts";

/** Blocks that one alarm moves; then whatever else waits has its turn. */
const BLOCKS = 8;
/** Stored pieces that are dropped at once. */
const DROPPED = 500;
const BACKOFF = { base_ms: 1_000, cap_ms: 600_000 };

/**
 * Everything that it has done is in the tables, so that it goes on wherever the object died: a block that was kept but not noted is kept
 * again, with the same text under the same name. The events stay readable here until the last of them is in the archive.
 */
export class Archiver {
  readonly #engine: Engine;
  readonly #archive: () => Archive | null;
  #failures = 0;
  #working = false;
  /** When it must look again; null where there is nothing to move. */
  deadline: number | null = null;

  constructor(engine: Engine, archive: () => Archive | null) {
    this.#engine = engine;
    this.#archive = archive;
    engine.listen(() => this.#consider());
  }

  /** After the object was started anew. */
  resume(): void {
    this.#consider();
  }

  /** The alarm rang. */
  async ring(now: number): Promise<void> {
    if (this.deadline === null || this.deadline > now || this.#working) return;
    this.#working = true;
    try {
      this.deadline = (await this.#some()) ? Date.now() : null;
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      this.deadline = Date.now() + backoff(this.#failures, BACKOFF);
      console.warn(JSON.stringify({ event: "archive.failed", session: this.#engine.state.session?.id, failures: this.#failures, error: error instanceof Failure ? error.message : String(error) }));
    } finally {
      this.#working = false;
    }
  }

  #consider(): void {
    const { session } = this.#engine.state;
    const archive = this.#archive();
    if (this.deadline !== null || this.#working || !archive || session?.status !== "terminated" || (session.archive && !this.#engine.log.stored)) return;
    this.deadline = (session.ended_at === null ? Date.now() : Date.parse(session.ended_at)) + archive.after_ms;
  }

  /** A part of the work; true where more is left. */
  async #some(): Promise<boolean> {
    const { log, history, state, dirty } = this.#engine;
    const { session } = state;
    const archive = this.#archive();
    if (!session || !archive) return false;
    if (session.archive) return this.#drop();
    // What the tenant's bus has not had yet is read from here.
    if (log.bus(dirty.bus, 1).items.length > 0) throw new Failure("unavailable", "the tenant's bus has not had all events yet");
    for (let moved = 0; moved < BLOCKS; moved++) {
      const next = history.unkept?.block ?? (history.last?.block ?? 0) + 1;
      const made = await history.make(next, session.id, true);
      if (!made) return this.#moved(session.id);
      const { bytes } = await archive.put({ tenant_id: session.tenant_id, session_id: session.id, block: next }, made.bytes);
      history.kept(next, bytes);
    }
    return true;
  }

  /** All is in the archive: says so, with the head of the chain, in the session and so in its row of the database. */
  #moved(id: string): boolean {
    const { log, history } = this.#engine;
    const head: HistoryHead | null = history.head;
    if (!head || head.events !== log.last || history.unkept) throw new Error(`the archive of ${id} ends at ${head?.events ?? 0}, its log at ${log.last}`);
    this.#engine.feed({ type: "session.archived", archive: { ...head, bytes: history.bytes, archived_at: new Date().toISOString() } });
    return true;
  }

  #drop(): boolean {
    this.#engine.storage.transactionSync(() => this.#engine.log.drop(DROPPED));
    return this.#engine.log.stored;
  }
}
