/** Owns holding a workspace to its quota while an agent works in it: it is measured again and again, and a run that takes more ends in that word. */

import { setTimeout as pause } from "node:timers/promises";
import type { RunError } from "../../sdk/protocol/task.ts";
import type { Measured } from "../../sdk/workspace/measure.ts";

/** Between two measurements: at first soon, for an agent that writes at once; longer where one takes long, so that they cost a twentieth of a processor at most. */
const FIRST_MS = 1_000;
const EVERY_MS = 5_000;
const SHARE = 20;
/** A machine that is slow for another reason does not put the next one off for ever. */
const MOST = 6;

export interface QuotaParts {
  /** Bytes that the workspace may have. */
  bytes: number;
  measure: (signal: AbortSignal) => Promise<Measured>;
  log: (line: string) => void;
  firstMs?: number;
}

export class QuotaWatch {
  readonly #parts: QuotaParts;
  constructor(parts: QuotaParts) {
    this.#parts = parts;
  }

  /**
   * Measures once, then goes on until it is told to end. A workspace that is over its quota before the run is its agent's to tidy up: it may
   * have what it had, and no more. `over` is told once. Never rejects.
   */
  async begin(over: (error: RunError) => void): Promise<() => void> {
    const stop = new AbortController();
    const before = await this.#measured(stop.signal);
    void this.#watch(before.measured?.bytes ?? 0, before.took, over, stop.signal);
    return () => stop.abort();
  }

  async #watch(before: number, took: number, over: (error: RunError) => void, signal: AbortSignal): Promise<void> {
    const { bytes, firstMs = FIRST_MS } = this.#parts;
    let allowed = Math.max(bytes, before);
    for (let last = took, wait = firstMs; ; wait = Math.min(EVERY_MS, 2 * wait)) {
      await pause(Math.min(MOST * wait, Math.max(wait, last * SHARE)), undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const { measured, took: now } = await this.#measured(signal);
      last = now;
      if (signal.aborted) return;
      if (measured && measured.bytes > allowed) return over(exceeded(measured, bytes));
      // What was tidied up does not come back.
      if (measured) allowed = Math.max(bytes, measured.bytes);
    }
  }

  async #measured(signal: AbortSignal): Promise<{ measured: Measured | null; took: number }> {
    const began = performance.now();
    try {
      return { measured: await this.#parts.measure(signal), took: performance.now() - began };
    } catch (error) {
      if (!signal.aborted) this.#parts.log(`the workspace cannot be measured: ${error instanceof Error ? error.message : String(error)}`);
      return { measured: null, took: performance.now() - began };
    }
  }
}

function exceeded({ bytes, largest }: Measured, limit: number): RunError {
  const most = largest.map(([name, size]) => `${name} (${size})`).join(", ");
  return {
    code: "quota_exceeded",
    message: `the workspace has ${bytes} bytes, its quota is ${limit}: the agent was ended before it wrote more. Nothing was deleted, and the last capsule is as it was. Most of it: ${most}`.slice(0, 4_096),
    hint: "give it a task that deletes what is not needed, name it in .marionetteignore, or raise workspace_quota_mb",
  };
}
