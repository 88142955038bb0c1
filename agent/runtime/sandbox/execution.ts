/** Owns one command from start to end: its two streams with backpressure, its time limit, its abort, and knowing that it ended although a child of it still holds the streams. */

import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { MAX_TIMER_MS } from "../timers.ts";
import { MAX_COMMAND_BYTES, WorkspaceError, type ExecEnd, type ExecEvent, type ExecOptions } from "./contracts.ts";

/** The variable by which a command's processes are found again, however they have been forked. */
export const MARK = "MARCO_EXEC";
/** How long the streams of a killed command are read on, in milliseconds. */
const DRAIN_MS = 2_000;
const MAX_ENV_BYTES = 128 * 1024;
/** Pieces of output that wait for a slow reader before the command itself waits. */
const QUEUED = 8;

/**
 * Runs a command below a shell that says on both streams when it is done, and how: a program left in the background keeps the streams open, and is not waited for.
 * $1 the command, $2 the line that says so, $3 `-` where stdin is to be passed on.
 */
export const WRAPPER = `if command -v bash >/dev/null 2>&1; then set -- "$1" "$2" "$3" bash; else set -- "$1" "$2" "$3" sh; fi
if [ "$3" = - ]; then "$4" -c "$1"; else "$4" -c "$1" </dev/null; fi
code=$?
printf '\\036%s %s\\036' "$2" "$code" 2>/dev/null
printf '\\036%s %s\\036' "$2" "$code" >&2 2>/dev/null
exit "$code"`;

/** A command that a provider has started. */
export interface Started {
  stdout: Readable;
  stderr: Readable;
  /** Resolves when its own process has ended, with its code where it is known. */
  ended: Promise<{ code: number | null }>;
  /** Kills it with all that it started; resolves when nothing is left. */
  kill(): Promise<void>;
}

export interface Launch {
  /** For `MARCO_EXEC`. */
  id: string;
  argv: string[];
  env: Record<string, string>;
  stdin: Uint8Array | null;
}

/** Runs `command` through what `start` makes of it. The last event is `exit`, always and once, unless the start itself fails, which throws. */
export async function* execution(command: string, options: ExecOptions, start: (launch: Launch) => Promise<Started>): AsyncGenerator<ExecEvent, void, undefined> {
  checkCommand(command, options);
  const { signal, timeout_ms: limit } = options;
  const began = performance.now();
  const took = () => Math.round(performance.now() - began);
  if (signal?.aborted) {
    yield { type: "exit", code: null, end: "aborted", duration_ms: 0 };
    return;
  }
  const nonce = randomBytes(12).toString("hex");
  const id = randomBytes(9).toString("hex");
  const stdin = options.stdin ?? null;
  const started = await start({ id, argv: ["sh", "-c", WRAPPER, "marco-exec", command, nonce, stdin === null ? "" : "-"], env: { ...options.env, [MARK]: id }, stdin });

  let end: ExecEnd = "exit";
  const killing: Promise<void>[] = [];
  let drained: NodeJS.Timeout | undefined;
  const kill = (why: ExecEnd) => {
    if (killing.length > 0) return;
    end = why;
    killing.push(started.kill().catch(() => {}));
    // What could not be killed must not hold the caller.
    drained = setTimeout(() => close(started), DRAIN_MS);
  };
  const aborted = () => kill("aborted");
  const timer = limit === undefined ? undefined : setTimeout(() => kill("timeout"), limit);
  signal?.addEventListener("abort", aborted, { once: true });
  if (signal?.aborted) aborted();
  let code: number | null = null;
  let whole = false;
  const merged = merge(started, `\x1e${nonce} `);
  try {
    for await (const event of merged) {
      if (event.type === "marker") code = event.code;
      else yield event;
    }
    whole = true;
    clearTimeout(timer);
    if (killing.length > 0) {
      await Promise.all(killing);
      code = null;
    } else code ??= (await Promise.race([started.ended, killedAfter(kill)])).code;
    yield { type: "exit", code, end, duration_ms: took() };
  } finally {
    clearTimeout(timer);
    clearTimeout(drained);
    signal?.removeEventListener("abort", aborted);
    if (!whole) await started.kill().catch(() => {});
    close(started);
  }
}

/** Streams that are closed and a process that stays: it closed them itself, and has some time to end. */
function killedAfter(kill: (why: ExecEnd) => void): Promise<{ code: null }> {
  return new Promise((resolve) => {
    setTimeout(() => {
      kill("exit");
      resolve({ code: null });
    }, DRAIN_MS).unref();
  });
}

function close(started: Started): void {
  started.stdout.destroy();
  started.stderr.destroy();
}

export function checkCommand(command: string, { env, timeout_ms: limit }: Pick<ExecOptions, "env" | "timeout_ms">): void {
  if (command.trim() === "") throw new WorkspaceError("invalid", "command: is empty");
  if (command.includes("\0")) throw new WorkspaceError("invalid", "command: holds a NUL character");
  if (!command.isWellFormed()) throw new WorkspaceError("invalid", "command: is not well-formed Unicode");
  if (Buffer.byteLength(command) > MAX_COMMAND_BYTES) throw new WorkspaceError("too_large", `command: more than ${MAX_COMMAND_BYTES} bytes; write it to a file and run that`);
  // A timer of more goes off at once, and of what is no number too.
  if (limit !== undefined && !(limit >= 0 && limit <= MAX_TIMER_MS)) throw new WorkspaceError("invalid", `timeout_ms: expected 0 to ${MAX_TIMER_MS}; leave it out for no limit`);
  let bytes = 0;
  for (const [name, value] of Object.entries(env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new WorkspaceError("invalid", `env: ${JSON.stringify(name)} is no name of a variable`);
    if (value.includes("\0")) throw new WorkspaceError("invalid", `env.${name}: holds a NUL character`);
    bytes += Buffer.byteLength(value) + name.length;
  }
  if (bytes > MAX_ENV_BYTES) throw new WorkspaceError("too_large", `env: more than ${MAX_ENV_BYTES} bytes`);
}

type Merged = Extract<ExecEvent, { type: "output" }> | { type: "marker"; code: number };

/** Both streams in the order in which they can be read, until each has said its marker or ended. Reads on only as fast as the reader does. */
async function* merge({ stdout, stderr }: Started, marker: string): AsyncGenerator<Merged, void, undefined> {
  const queue: Merged[] = [];
  const writers: (() => void)[] = [];
  let wake = () => {};
  let live = 2;
  let failure: unknown = null;
  const pump = async (stream: Readable, name: "stdout" | "stderr") => {
    try {
      for await (const piece of pieces(stream, name, marker)) {
        queue.push(piece);
        wake();
        if (queue.length >= QUEUED) await new Promise<void>((resolve) => writers.push(resolve));
      }
    } catch (error) {
      failure ??= error;
    }
    live--;
    wake();
  };
  void pump(stdout, "stdout");
  void pump(stderr, "stderr");
  try {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) {
        if (queue.length < QUEUED) for (const go of writers.splice(0)) go();
        yield next;
      } else if (live === 0) {
        if (failure !== null) throw failure;
        return;
      } else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    stdout.destroy();
    stderr.destroy();
    for (const go of writers.splice(0)) go();
  }
}

/** One stream's pieces without the marker; ends with it. */
async function* pieces(stream: Readable, name: "stdout" | "stderr", marker: string): AsyncGenerator<Merged, void, undefined> {
  const needle = Buffer.from(marker);
  let held: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const at = bytes.indexOf(needle);
      const close = at < 0 ? -1 : bytes.indexOf(0x1e, at + needle.length);
      if (close >= 0) {
        if (at > 0) yield { type: "output", stream: name, bytes: bytes.subarray(0, at) };
        yield { type: "marker", code: Number(bytes.toString("latin1", at + needle.length, close)) };
        return;
      }
      const keep = at >= 0 ? bytes.length - at : beginning(bytes, needle);
      held = bytes.subarray(bytes.length - keep);
      if (keep < bytes.length) yield { type: "output", stream: name, bytes: bytes.subarray(0, bytes.length - keep) };
    }
  } catch (error) {
    // Destroyed by us, or the other side went away: what came is what there is.
    if (!["ERR_STREAM_PREMATURE_CLOSE", "ECONNRESET", "EPIPE", "ABORT_ERR"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  if (held.length > 0) yield { type: "output", stream: name, bytes: held };
}

/** Length of the longest end of `bytes` that `needle` begins with. */
function beginning(bytes: Buffer, needle: Buffer): number {
  for (let length = Math.min(bytes.length, needle.length - 1); length > 0; length--) {
    if (bytes.subarray(bytes.length - length).equals(needle.subarray(0, length))) return length;
  }
  return 0;
}

/** A command's whole output, for callers of ours that know that it is short: throws `too_large` beyond `limit` bytes of either stream. */
export async function collected(events: AsyncIterable<ExecEvent>, limit: number): Promise<{ code: number | null; end: ExecEnd; stdout: Buffer; stderr: Buffer }> {
  const parts: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] };
  const sizes = { stdout: 0, stderr: 0 };
  for await (const event of events) {
    if (event.type === "exit") return { code: event.code, end: event.end, stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) };
    sizes[event.stream] += event.bytes.byteLength;
    if (sizes[event.stream] > limit) throw new WorkspaceError("too_large", `more than ${limit} bytes of output`);
    parts[event.stream].push(event.bytes);
  }
  throw new WorkspaceError("unavailable", "the command's end was not told");
}
