/** Owns printing: data on stdout in the format asked for, progress and errors on stderr, colours where they are wanted. */

import { stringify } from "yaml";
import type { Io } from "../io.ts";
import { table, type Column } from "./table.ts";
import { oneLine, painter, wantsColour, type Paint } from "./terminal.ts";

export const FORMATS = ["table", "wide", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

/** Writes a command's output. Nothing else writes to the streams. */
export class Printer {
  readonly format: Format;
  readonly paint: Paint;
  readonly paintErr: Paint;
  readonly colour: boolean;
  readonly #io: Io;
  readonly #quiet: boolean;
  readonly #verbose: boolean;
  constructor(io: Io, settings: { output: Format; color: boolean; quiet: boolean; verbose: boolean }) {
    this.#io = io;
    this.format = settings.output;
    this.#quiet = settings.quiet;
    this.#verbose = settings.verbose;
    this.colour = settings.color && wantsColour(io.stdout, io.env);
    this.paint = painter(this.colour);
    this.paintErr = painter(settings.color && wantsColour(io.stderr, io.env));
  }
  /** True where the output is for a program. */
  get structured(): boolean {
    return this.format === "json" || this.format === "yaml";
  }
  get quiet(): boolean {
    return this.#quiet;
  }
  get verbose(): boolean {
    return this.#verbose;
  }
  /** Data, as it is. */
  write(text: string | Uint8Array): void {
    this.#io.stdout.write(text);
  }
  /** Resolves when stdout takes more; await it in loops that may write faster than somebody reads. */
  async drained(): Promise<void> {
    const { stdout } = this.#io;
    if (!stdout.writableNeedDrain || stdout.destroyed) return;
    await new Promise<void>((resolve) => {
      stdout.once("drain", resolve);
      stdout.once("close", resolve);
    });
  }
  line(text = ""): void {
    this.write(`${text}\n`);
  }
  /** Progress; silent with `-q`. */
  note(text: string): void {
    if (!this.#quiet) this.#io.stderr.write(`${text}\n`);
  }
  /** Progress that only `-v` shows. */
  debug(text: string): void {
    if (this.#verbose) this.#io.stderr.write(`${this.paintErr("dim", oneLine(text))}\n`);
  }
  /** Text for stderr, even with `-q`. */
  err(text: string): void {
    this.#io.stderr.write(text);
  }
  /** One value: JSON, YAML, or `human` lines. */
  one(value: object, human: () => readonly string[]): void {
    if (this.format === "json") this.line(JSON.stringify(value, null, 2));
    else if (this.format === "yaml") this.write(stringify(value));
    else for (const line of human()) this.line(line);
  }
  /** Rows: a JSON array, a YAML list or a table; `-q` prints `key` of each row alone. */
  many<T extends object>(rows: readonly T[], columns: readonly Column<T>[], key: (row: T) => string): void {
    if (this.format === "json") this.line(JSON.stringify(rows, null, 2));
    else if (this.format === "yaml") this.write(stringify(rows));
    else if (this.#quiet) for (const row of rows) this.line(key(row));
    else for (const line of table(columns, rows, { wide: this.format === "wide", paint: this.paint, now: this.#io.now() })) this.line(line);
  }
  /** One record for a program that reads on as they come: JSON lines, or YAML documents. */
  record(value: object): void {
    if (this.format === "yaml") this.write(`---\n${stringify(value)}`);
    else this.line(JSON.stringify(value));
  }
  /** Names and values of one thing, aligned; what is null is left out. */
  fields(pairs: readonly (readonly [name: string, value: string | number | null | undefined])[]): string[] {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    const width = Math.max(0, ...shown.map(([name]) => name.length));
    return shown.map(([name, value]) => `${this.paint("bold", `${name}:`.padEnd(width + 1))}  ${oneLine(String(value))}`);
  }
}
