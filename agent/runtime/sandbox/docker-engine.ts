/** Owns talking to a Docker engine: programs in containers with their streams apart, and what its errors mean. */

import type { Socket } from "node:net";
import { PassThrough, type Duplex } from "node:stream";
import type Docker from "dockerode";
import { WorkspaceError } from "./contracts.ts";
import type { Started } from "./execution.ts";

/** The engine's library, or an error that says how to get it. */
export async function openEngine(options: Docker.DockerOptions | undefined): Promise<Docker> {
  const library = await import("dockerode").catch((error: unknown) => {
    throw new WorkspaceError("unavailable", "the Docker sandbox needs the package dockerode: npm install dockerode", { cause: error });
  });
  return new library.default(options);
}

export interface ProgramOptions {
  env: Record<string, string>;
  cwd: string;
  /** `open`: stays open for `send`. */
  stdin: Uint8Array | "open" | null;
  user: string | undefined;
}

/** Starts a program in a running container. `kill` is the caller's matter: an engine cannot end one program. */
export async function startProgram(container: Docker.Container, argv: string[], { env, cwd, stdin, user }: ProgramOptions): Promise<Omit<Started, "kill"> & { send(text: string): void; close(): void; hold(busy: boolean): void }> {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const exec = await container.exec({ Cmd: argv, Env: variables, WorkingDir: cwd, AttachStdin: stdin !== null, AttachStdout: true, AttachStderr: true, Tty: false, ...(user !== undefined && { User: user }) });
  const socket = await exec.start({ hijack: true, stdin: stdin !== null });
  // Who does not read its stdin breaks the pipe, and may.
  socket.on("error", () => {});
  if (stdin !== null && stdin !== "open") socket.end(stdin);
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const ended = demultiplex(socket, stdout, stderr).then(async () => ({ code: (await exec.inspect()).ExitCode ?? null }));
  // It may be that nobody asks.
  ended.catch(() => {});
  // A socket of the network or a file; whatever it is, an idle one must not keep the process.
  const hold = (busy: boolean) => void (busy ? (socket as Partial<Socket>).ref?.() : (socket as Partial<Socket>).unref?.());
  return { stdout, stderr, ended, hold, send: (text) => void socket.write(text), close: () => void socket.destroy() };
}

/** Begins a program that nobody waits for. */
export async function startDetachedProgram(container: Docker.Container, argv: string[], { env, cwd, user }: Omit<ProgramOptions, "stdin">): Promise<void> {
  const exec = await container.exec({ Cmd: argv, Env: Object.entries(env).map(([name, value]) => `${name}=${value}`), WorkingDir: cwd, AttachStdout: false, AttachStderr: false, ...(user !== undefined && { User: user }) });
  await exec.start({ Detach: true });
}

/** Blocks with a header of eight bytes: the stream's number first, the length in the last four. A slow reader of either stops both. */
async function demultiplex(socket: Duplex, stdout: PassThrough, stderr: PassThrough): Promise<void> {
  let rest: Buffer = Buffer.alloc(0);
  let open: { to: PassThrough; left: number } | null = null;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (;;) {
        if (open === null) {
          if (rest.length < 8) break;
          open = { to: rest[0] === 2 ? stderr : stdout, left: rest.readUInt32BE(4) };
          rest = rest.subarray(8);
        }
        const piece = rest.subarray(0, open.left);
        rest = rest.subarray(piece.length);
        open.left -= piece.length;
        if (piece.length > 0 && !(await passed(open.to, piece))) return;
        if (open.left > 0) break;
        open = null;
      }
    }
  } catch {
    // The engine went away, or the socket was closed: the program's end tells.
  } finally {
    socket.destroy();
    stdout.end();
    stderr.end();
  }
}

/** Writes and waits until there is room again; false where nobody reads any more. */
async function passed(to: PassThrough, piece: Buffer): Promise<boolean> {
  if (to.destroyed) return false;
  if (to.write(piece)) return true;
  await new Promise<void>((resolve) => {
    const done = () => {
      to.off("drain", done);
      to.off("close", done);
      resolve();
    };
    to.once("drain", done);
    to.once("close", done);
  });
  return !to.destroyed;
}

export function statusOf(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === "number" ? status : null;
}

/** The engine's error in words that can be acted on. */
export function engineFailure(error: unknown, image: string): Error {
  if (error instanceof WorkspaceError || (error instanceof Error && error.name === "AbortError")) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const cause = { cause: error };
  if (code === "EACCES") return new WorkspaceError("unavailable", "this user may not use the Docker engine; add it to the group docker", cause);
  if (["ECONNREFUSED", "ENOENT", "ECONNRESET", "ENOTFOUND", "EPIPE"].includes(code ?? "")) return new WorkspaceError("unavailable", "no Docker engine answers; start it (systemctl start docker) or install it (Debian, Ubuntu: apt-get install docker.io)", cause);
  if (statusOf(error) === 404 && /no such image/i.test(message)) return new WorkspaceError("unavailable", `Docker has no image ${image}; get it with: docker pull ${image}`, cause);
  if (statusOf(error) === 404 || (statusOf(error) === 409 && /not running|is paused|is stopped/i.test(message))) return new WorkspaceError("unavailable", "the sandbox was stopped or removed; materialize it again", cause);
  return new WorkspaceError("unavailable", `the Docker engine refused: ${message.slice(0, 500)}`, cause);
}
