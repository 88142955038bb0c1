/** Owns the one line that says how far something is: drawn over itself on a terminal, and not at all elsewhere. */

import type { Io } from "../io.ts";
import { count } from "./table.ts";

const WIDTH = 24;
const EVERY_MS = 80;

/** `total` null: nobody knows how much there is. */
export class Progress {
  readonly #io: Io;
  readonly #shown: boolean;
  readonly #unit: string;
  readonly #total: number | null;
  #drawn = 0;

  constructor(io: Io, quiet: boolean, unit: string, total: number | null) {
    this.#io = io;
    this.#shown = io.stderr.isTTY === true && !quiet;
    this.#unit = unit;
    this.#total = total;
  }

  /** So much is done; `more` is said behind it. */
  at(done: number, more = ""): void {
    const now = this.#io.now();
    if (!this.#shown || (now - this.#drawn < EVERY_MS && done !== this.#total)) return;
    this.#drawn = now;
    const part = this.#total ? Math.min(1, done / this.#total) : 0;
    const bar = this.#total ? `[${"█".repeat(Math.round(part * WIDTH)).padEnd(WIDTH, "░")}] ${Math.floor(part * 100)} %  ` : "";
    this.#io.stderr.write(`\r\x1b[2K${bar}${count(done)}${this.#total ? ` of ${count(this.#total)}` : ""} ${this.#unit}${more && `, ${more}`}`);
  }
  /** Takes the line away. */
  end(): void {
    if (this.#shown && this.#drawn > 0) this.#io.stderr.write("\r\x1b[2K");
  }
}
