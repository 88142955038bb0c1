/** Owns one connection of a daemon: its Cap'n Web session, the parsing of all that it says, and calls that end the link when they fail. */

import { newWebSocketRpcSession, RpcStub, RpcTarget } from "capnweb";
import * as z from "zod";
import {
  CLOSE, hostHello, hostInfo, HOST_LINK_VERSION, runnerReport, understands,
  type Daemon, type HostHello, type HostInfo, type HostWelcome, type RunnerReport,
} from "../../sdk/protocol/index.ts";

/** Starting a sandbox may take so long; a daemon that does not answer by then is not there. */
export const SPAWN_TIMEOUT_MS = 30_000;
/** Saving a sandbox's files may take so long. */
const SUSPEND_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 10_000;
const HELLO_TIMEOUT_MS = 10_000;
/** How often a daemon may promise to be heard, and how many of these times it may miss. */
const ALIVE_EVERY_MS = z.number().int().min(50).max(300_000);
const ALIVE_MISSED = 4;
/** A listing of 10,000 entries, or 1 MiB of a file in base64. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** What a connection tells its object. `hello` answers the welcome. */
export interface LinkListener {
  hello(link: DaemonLink, hello: HostHello): HostWelcome;
  report(link: DaemonLink, report: RunnerReport): void;
  update(link: DaemonLink, info: HostInfo): void;
  closed(link: DaemonLink): void;
}

type Method = Exclude<keyof Daemon, symbol>;
const PATIENCE: Readonly<Partial<Record<Method, number>>> = { spawn: SPAWN_TIMEOUT_MS, destroy: SPAWN_TIMEOUT_MS, suspend: SUSPEND_TIMEOUT_MS, resume: SPAWN_TIMEOUT_MS, discardFiles: SUSPEND_TIMEOUT_MS };

export class DaemonLink {
  readonly #socket: WebSocket;
  readonly #listener: LinkListener;
  readonly #helloTimer: ReturnType<typeof setTimeout>;
  #daemon: RpcStub<Daemon> | null = null;
  #silence: ReturnType<typeof setTimeout> | null = null;
  #open = true;

  /** Takes over the server's end of a socket pair. */
  constructor(socket: WebSocket, listener: LinkListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.accept();
    for (const type of ["close", "error"] as const) socket.addEventListener(type, () => this.#end());
    newWebSocketRpcSession(socket, new Door(this), { limits: { maxMessageSize: MAX_MESSAGE_BYTES } });
    this.#helloTimer = setTimeout(() => this.close(CLOSE.protocol, "no hello"), HELLO_TIMEOUT_MS);
  }

  /** Closes the connection; the listener is told, if it was not. */
  close(code: number, reason: string): void {
    if (!this.#open) return;
    try {
      this.#socket.close(code, reason.slice(0, 100));
    } catch {
      // The other side was first.
    }
    this.#end();
  }

  #end(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#helloTimer);
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#daemon?.[Symbol.dispose]();
    this.#daemon = null;
    this.#listener.closed(this);
  }

  /**
   * Calls the daemon and parses its answer. No answer in time, a strange one or a failed order ends the link, and throws; a file
   * that cannot be read throws and no more.
   */
  async call<T>(method: Method, args: readonly unknown[], answer: z.ZodType<T>): Promise<T> {
    const daemon = this.#daemon;
    if (!daemon) throw new Error("the daemon is not connected");
    const orders = method === "spawn" || method === "destroy" || method === "forget" || method === "suspend" || method === "resume";
    let timer: ReturnType<typeof setTimeout> | null = null;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.close(CLOSE.protocol, `no answer to ${method}`);
        reject(new Error(`no answer to ${method}`));
      }, PATIENCE[method] ?? CALL_TIMEOUT_MS);
    });
    try {
      const invoke = daemon[method] as unknown as (...args: readonly unknown[]) => PromiseLike<unknown>;
      const said = await Promise.race([invoke(...args), late]);
      const parsed = answer.safeParse(said);
      if (typeof said === "object" && said !== null && Symbol.dispose in said) (said as Disposable)[Symbol.dispose]();
      if (parsed.success) return parsed.data;
      this.close(CLOSE.protocol, `a strange answer to ${method}`);
      throw parsed.error;
    } catch (error) {
      if (orders) this.close(CLOSE.again, `${method} failed`);
      throw error;
    } finally {
      if (timer !== null) clearTimeout(timer);
    }
  }

  /** For the door: what the daemon says first. */
  greet(said: unknown, daemon: unknown): HostWelcome {
    const offered = z.object({ version: z.number() }).safeParse(said);
    if (offered.success && !understands(HOST_LINK_VERSION, offered.data.version)) {
      return this.#refuse(CLOSE.version, `version ${offered.data.version} of the host link is not understood here, where it is ${HOST_LINK_VERSION}: update the older side`);
    }
    const hello = hostHello.safeParse(said);
    if (!hello.success) return this.#refuse(CLOSE.protocol, `hello: ${complaint(hello.error)}`);
    if (this.#daemon) return this.#refuse(CLOSE.protocol, "hello: said twice");
    if (!(daemon instanceof RpcStub)) return this.#refuse(CLOSE.protocol, "hello: came without the daemon's stub");
    if (!this.#open) throw new Error("the link is closed");
    clearTimeout(this.#helloTimer);
    this.#daemon = (daemon as RpcStub<Daemon>).dup();
    return this.#listener.hello(this, hello.data);
  }

  /** For the door: a runner changed. */
  reported(said: unknown): void {
    const report = runnerReport.safeParse(said);
    if (!this.#daemon || !report.success) return this.#refuse(CLOSE.protocol, report.success ? "report: before hello" : `report: ${complaint(report.error)}`);
    this.#listener.report(this, report.data);
  }

  /** For the door: the machine changed. */
  updated(said: unknown): void {
    const info = hostInfo.safeParse(said);
    if (!this.#daemon || !info.success) return this.#refuse(CLOSE.protocol, info.success ? "update: before hello" : `update: ${complaint(info.error)}`);
    this.#listener.update(this, info.data);
  }

  /** For the door: the daemon lives, and will be heard again. */
  heard(everyMs: unknown): void {
    const every = ALIVE_EVERY_MS.safeParse(everyMs);
    if (!this.#daemon || !every.success) return this.#refuse(CLOSE.protocol, every.success ? "alive: before hello" : `alive: ${complaint(every.error)}`);
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.close(CLOSE.again, "the daemon has been silent for too long"), every.data * ALIVE_MISSED);
  }

  /** Says why, then closes: the refusal is on its way before the socket goes. */
  #refuse(code: number, why: string): never {
    setTimeout(() => this.close(code, why), 0);
    throw new Error(why);
  }
}

function complaint(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue ? `${issue.path.map(String).join(".")}: ${issue.message}` : "not valid";
}

/** What a daemon may call; only these methods are reachable over the link. */
class Door extends RpcTarget {
  readonly #link: DaemonLink;
  constructor(link: DaemonLink) {
    super();
    this.#link = link;
  }
  hello(said: unknown, daemon: unknown): HostWelcome {
    return this.#link.greet(said, daemon);
  }
  report(said: unknown): void {
    this.#link.reported(said);
  }
  update(said: unknown): void {
    this.#link.updated(said);
  }
  alive(everyMs: unknown): void {
    this.#link.heard(everyMs);
  }
}
