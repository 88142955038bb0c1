/** Owns a pretended terminal for mctl: streams that a test writes and reads, an environment, a Ctrl-C. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { onTestFinished } from "vitest";
import type { Io } from "../../sdk/cli/io.ts";
import { mctl } from "../../sdk/cli/program.ts";

export interface FakeIoOptions {
  /** Streams are a terminal. */
  tty?: boolean;
  env?: Record<string, string>;
  /** stdin, whole; without it, it stays open for `type`. */
  stdin?: string;
}

export class FakeIo implements Io {
  readonly stdin: PassThrough & { isTTY?: boolean } = new PassThrough();
  readonly stdout: Writable & { isTTY?: boolean; columns?: number } = this.#sink("out");
  readonly stderr: Writable & { isTTY?: boolean; columns?: number } = this.#sink("err");
  readonly env: Record<string, string>;
  readonly home = mkdtempSync(join(tmpdir(), "mctl-home-"));
  readonly cwd = this.home;
  out = "";
  err = "";
  readonly #handlers = new Set<() => void>();
  readonly #watchers = new Set<() => void>();
  constructor({ tty = false, env = {}, stdin }: FakeIoOptions = {}) {
    this.env = env;
    onTestFinished(() => rmSync(this.home, { recursive: true, force: true }));
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream.isTTY = tty;
    this.stdout.columns = this.stderr.columns = 100;
    if (stdin !== undefined) this.stdin.end(stdin);
  }
  now(): number {
    return Date.parse("2026-11-21T10:03:00.000Z");
  }
  onInterrupt(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }
  interrupt(): void {
    for (const handler of this.#handlers) handler();
  }
  type(line: string): void {
    this.stdin.write(`${line}\n`);
  }
  /** Resolves once the text has been printed, on either stream. */
  async printed(text: string): Promise<void> {
    while (!this.out.includes(text) && !this.err.includes(text)) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#watchers.delete(wake);
          resolve();
        };
        this.#watchers.add(wake);
      });
    }
  }
  run(...argv: string[]): Promise<number> {
    return mctl(argv, this);
  }
  #sink(stream: "out" | "err"): Writable {
    return new Writable({
      write: (chunk: Buffer, _, done) => {
        this[stream] += chunk.toString();
        for (const wake of this.#watchers) wake();
        done();
      },
    });
  }
}
