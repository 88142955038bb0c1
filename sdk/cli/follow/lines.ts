/** Owns reading lines from a person: one question at a time, none lost, each abortable. */

import { createInterface, type Interface } from "node:readline";
import type { Readable } from "node:stream";

/** Lines of stdin. The terminal stays in its own line mode, so that Ctrl-C remains a signal. */
export class LineReader {
  readonly #input: Readable;
  #lines: Interface | null = null;
  #queue: string[] = [];
  #ended = false;
  #wake: (() => void) | null = null;
  constructor(input: Readable) {
    this.#input = input;
  }

  /** The next line; null at the end of input or when aborted. What was typed before the question was asked is not taken for its answer. */
  async next(signal: AbortSignal, fresh = false): Promise<string | null> {
    this.#open();
    if (fresh) this.#queue = [];
    while (this.#queue.length === 0 && !this.#ended && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    return signal.aborted ? null : (this.#queue.shift() ?? null);
  }

  get ended(): boolean {
    return this.#ended;
  }

  close(): void {
    this.#lines?.close();
    this.#input.pause();
  }

  #open(): void {
    if (this.#lines || this.#ended) return;
    this.#lines = createInterface({ input: this.#input, terminal: false });
    this.#lines.on("line", (line) => {
      this.#queue.push(line);
      this.#wake?.();
    });
    this.#lines.on("close", () => {
      this.#ended = true;
      this.#wake?.();
    });
  }
}
