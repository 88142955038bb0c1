/** Owns the sending of chunks: asks in batches which are missing, sends those once, and keeps no more in memory than it may. */

import { MAX_MISSING_IDS } from "../protocol/manifest.ts";
import { pack } from "./codec.ts";
import type { Door } from "./door.ts";
import { Allowance, Background } from "./flow.ts";
import type { Slot } from "./read.ts";

/** Chunks asked for at once while they wait in memory. */
const BATCH = 64;

export class ChunkSender {
  sentBytes = 0;
  sentChunks = 0;
  private readonly door: Door;
  private readonly signal: AbortSignal;
  private readonly memory: Allowance;
  private readonly puts: Allowance;
  private readonly background = new Background();
  private readonly taken = new Set<string>();
  private queue: { id: string; answer: (missing: boolean) => void; fail: (error: unknown) => void }[] = [];
  private asking = false;

  constructor(options: { door: Door; signal: AbortSignal; memory: number; parallel: number }) {
    this.door = options.door;
    this.signal = options.signal;
    this.memory = new Allowance(options.memory);
    this.puts = new Allowance(options.parallel);
  }

  /** Compresses and, where it is missing, sends a chunk in the background; waits while too much is on its way. `slot` learns its id. */
  async emit(raw: Buffer, slot: Slot): Promise<void> {
    await this.memory.take(raw.length);
    this.background.check();
    this.background.run(async () => {
      try {
        const { id, bytes } = await pack(raw);
        slot.id = id;
        slot.stored = bytes.length;
        if (this.taken.has(id)) return;
        this.taken.add(id);
        if (!(await this.isMissing(id))) return;
        await this.puts.take(1);
        try {
          await this.door.putChunk(id, bytes, this.signal);
        } finally {
          this.puts.give(1);
        }
        this.sentBytes += bytes.length;
        this.sentChunks += 1;
      } finally {
        this.memory.give(raw.length);
      }
    });
  }

  /** Waits for all that is on its way; throws the first failure. */
  async settled(): Promise<void> {
    await this.background.settled();
  }

  /** Ids of which the store has nothing any more. */
  async gone(ids: readonly string[]): Promise<Set<string>> {
    const missing = new Set<string>();
    for (let at = 0; at < ids.length; at += MAX_MISSING_IDS) for (const id of await this.door.missing(ids.slice(at, at + MAX_MISSING_IDS), this.signal)) missing.add(id);
    return missing;
  }

  /** The store has said that it lacks these after all. */
  forget(ids: Iterable<string>): void {
    for (const id of ids) this.taken.delete(id);
  }

  private isMissing(id: string): Promise<boolean> {
    return new Promise((answer, fail) => {
      this.queue.push({ id, answer, fail });
      if (!this.asking) void this.ask();
    });
  }

  /** While one question is under way the next gathers. */
  private async ask(): Promise<void> {
    this.asking = true;
    while (this.queue.length > 0) {
      const batch = this.queue.splice(0, BATCH);
      try {
        const missing = new Set(await this.door.missing(batch.map(({ id }) => id), this.signal));
        for (const { id, answer } of batch) answer(missing.has(id));
      } catch (error) {
        for (const { fail } of batch) fail(error);
      }
    }
    this.asking = false;
  }
}
