/**
 * Owns a shell that stays in a container for small programs of ours: an engine takes 50 ms to start one, the shell takes two. Requests go one after the other;
 * each ends with a mark on both streams. A shell that broke is replaced by the next request.
 */

import { randomBytes } from "node:crypto";
import type Docker from "dockerode";
import { WorkspaceError } from "./contracts.ts";
import { startProgram } from "./docker-engine.ts";
import { Turns } from "./turns.ts";

const TAIL_BYTES = 200;

type Shell = Awaited<ReturnType<typeof startProgram>> & { mark: string };

export class DockerChannel {
  readonly #container: Docker.Container;
  readonly #user: string | undefined;
  readonly #turns = new Turns();
  #shell: Shell | null = null;

  constructor(container: Docker.Container, user: string | undefined) {
    this.#container = container;
    this.#user = user;
  }

  /** Runs `sh -c script name args…`. Its output is cut off beyond `limit` bytes by an error. */
  run(script: string, args: readonly string[], stdin: Uint8Array | null, limit: number, signal: AbortSignal | undefined): Promise<{ code: number; stdout: Buffer; stderr: Buffer }> {
    return this.#turns.run("", async () => {
      signal?.throwIfAborted();
      const shell = this.#shell ?? (await this.#open());
      this.#shell = shell;
      const broken = () => this.#drop(shell);
      signal?.addEventListener("abort", broken, { once: true });
      shell.hold(true);
      try {
        const end = `code=$?; printf '${shell.mark}%s\\036' "$code"; printf '${shell.mark}%s\\036' "$code" >&2`;
        const input = stdin === null ? "" : `printf %s ${quoted(Buffer.from(stdin).toString("base64"))} | base64 -d | `;
        const answers = Promise.all([answer(shell.stdout, shell.mark, limit), answer(shell.stderr, shell.mark, limit)]);
        shell.send(`${input}( set -- ${args.map(quoted).join(" ")}\n${script}\n)${stdin === null ? " </dev/null" : ""}\n${end}\n`);
        const [out, err] = await answers;
        return { code: out.code, stdout: out.bytes, stderr: err.bytes };
      } catch (error) {
        this.#drop(shell);
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener("abort", broken);
        shell.hold(false);
      }
    });
  }

  close(): void {
    if (this.#shell !== null) this.#drop(this.#shell);
  }

  async #open(): Promise<Shell> {
    const started = await startProgram(this.#container, ["sh"], { env: {}, cwd: "/", stdin: "open", user: this.#user });
    const shell = { ...started, mark: `\x1e${randomBytes(12).toString("hex")} ` };
    // Nobody waits for it while nothing is asked: the container may be stopped at any time.
    const gone = () => this.#drop(shell);
    shell.stdout.once("close", gone);
    shell.stdout.once("end", gone);
    return shell;
  }

  #drop(shell: Shell): void {
    if (this.#shell === shell) this.#shell = null;
    shell.stdout.destroy();
    shell.stderr.destroy();
    shell.close();
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** One stream's bytes up to its mark, and the code behind it. */
function answer(stream: NodeJS.ReadableStream, mark: string, limit: number): Promise<{ bytes: Buffer; code: number }> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    let tail: Buffer = Buffer.alloc(0);
    const take = (bytes: Buffer) => {
      parts.push(bytes);
      size += bytes.length;
      if (size > limit + TAIL_BYTES) return done(() => reject(new WorkspaceError("too_large", `more than ${limit} bytes of output`)));
      // The mark is at the end, in however many pieces it comes; only the end is looked at.
      tail = Buffer.concat([tail, bytes.subarray(-TAIL_BYTES)]).subarray(-TAIL_BYTES);
      if (tail.at(-1) !== 0x1e) return;
      const at = tail.lastIndexOf(mark);
      if (at < 0) return;
      const whole = Buffer.concat(parts);
      done(() => resolve({ bytes: whole.subarray(0, whole.length - (tail.length - at)), code: Number(tail.toString("latin1", at + mark.length, tail.length - 1)) }));
    };
    const left = () => done(() => reject(new WorkspaceError("unavailable", "the sandbox was stopped or removed in the middle of this; materialize it again")));
    const done = (settle: () => void) => {
      stream.off("data", take);
      stream.off("end", left);
      stream.off("close", left);
      stream.pause();
      settle();
    };
    stream.on("data", take);
    stream.once("end", left);
    stream.once("close", left);
    stream.resume();
  });
}
