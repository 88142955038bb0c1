/** Owns a stand-in for the session's object: it speaks the runner's link over real sockets, keeps the log, and does what a test says. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { CLOSE, newChildId, newId, PING, PONG, runnerFrame, type Command, type CommandBody, type EventData, type Hello, type RunnerEventType, type RunnerItem, type RunnerSettings } from "../../sdk/protocol/index.ts";

export interface LoggedItem {
  seq: number;
  task_id: string | null;
  run_id: string | null;
  item: RunnerItem;
}

export interface SessionServerOptions {
  settings?: RunnerSettings;
  /** Version in the welcome. */
  version?: number;
  /** A Unix socket to listen on instead of a port. */
  socket?: string;
}

/** One session's side of the link. `log` grows in order; a gap or a double in the runner's numbers is a fault that `faults` tells. */
export class SessionServer {
  readonly session_id = newId("session", Date.now());
  readonly runner_id = newId("runner", Date.now());
  readonly epoch = 1;
  readonly run_token = "gtok_test";
  readonly log: LoggedItem[] = [];
  readonly hellos: Hello[] = [];
  readonly faults: string[] = [];
  /** Close codes of the runner's sockets, as the runner gave them. */
  readonly closes: number[] = [];
  /** How many frames came in each message. */
  readonly messages: number[] = [];
  /** Frames of events that came, by their length. */
  readonly frames: number[] = [];
  settings: RunnerSettings;
  /** While true, events are taken in but not acknowledged. */
  silent = false;
  /** While true, the upgrade is refused with this status. */
  refuse: number | null = null;
  /** Does not answer pings, nor hellos. */
  dead = false;
  last = 0;
  ackedCommand = 0;
  #commands: Command[] = [];
  #nextCommand = 1;
  #socket: WebSocket | null = null;
  readonly #version: number;
  readonly #http: Server;
  readonly #server: WebSocketServer;
  #watchers = new Set<() => void>();

  private constructor(options: SessionServerOptions) {
    this.settings = options.settings ?? { edit_mode: "off", rules: [] };
    this.#version = options.version ?? 2;
    this.#http = createServer();
    this.#server = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    this.#http.on("upgrade", (request, socket, head) => {
      const status = this.refuse ?? (request.headers.authorization === `Bearer ${this.run_token}` && request.url === `/links/runner/${this.session_id}` ? null : 401);
      if (status !== null) socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      else this.#server.handleUpgrade(request, socket, head, (accepted) => this.#accept(accepted));
    });
  }

  static async start(options: SessionServerOptions = {}): Promise<SessionServer> {
    const server = new SessionServer(options);
    await new Promise<void>((resolve) => (options.socket === undefined ? server.#http.listen(0, "127.0.0.1", resolve) : server.#http.listen(options.socket, resolve)));
    return server;
  }

  get url(): string {
    const address = this.#http.address();
    return typeof address === "string" ? "http://relay" : `http://127.0.0.1:${(address as AddressInfo).port}`;
  }
  get connected(): boolean {
    return this.#socket !== null;
  }

  /** Journals a command and sends it, now or after the next welcome. */
  command(body: CommandBody): number {
    const command: Command = { type: "command", id: this.#nextCommand++, epoch: this.epoch, body };
    this.#commands.push(command);
    this.send(command);
    return command.id;
  }

  /** Starts a task and gives its ids. */
  task(prompt: string, more: Partial<Extract<CommandBody, { kind: "task.start" }>> = {}): { task_id: string; run_id: string } {
    const ids = { task_id: newChildId("task", this.session_id, Date.now()), run_id: newChildId("run", this.session_id, Date.now()) };
    this.command({ kind: "task.start", ...ids, attempt: 1, prompt, timeout_seconds: 60, conversation: null, ...more });
    return ids;
  }

  /** Sends anything, also what no session would. */
  send(frame: unknown): void {
    this.#socket?.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  close(code: number, reason = ""): void {
    this.#socket?.close(code, reason);
  }
  /** Cuts the connection without a word. */
  cut(): void {
    this.#socket?.terminate();
  }

  /** Acknowledges what came while it was silent. */
  acknowledge(): void {
    this.send({ type: "events.ack", up_to: this.last });
  }

  of<T extends RunnerEventType>(type: T, runId?: string): EventData<T>[] {
    return this.log.flatMap(({ item, run_id }) => (item.type === type && (runId === undefined || run_id === runId) ? [item.data as EventData<T>] : []));
  }

  /** Resolves with the first value that `look` finds, looking after everything that happens. */
  until<T>(what: string, look: () => T | undefined | null | false, limitMs = 15_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(check);
        const tail = JSON.stringify(this.log.slice(-5));
        reject(new Error(`waited in vain until ${what}; faults: ${this.faults.join("; ") || "none"}; last: ${tail}`));
      }, limitMs);
      const check = () => {
        const found = look();
        if (found === undefined || found === null || found === false) return;
        clearTimeout(timer);
        this.#watchers.delete(check);
        resolve(found);
      };
      this.#watchers.add(check);
      check();
    });
  }

  /** The last word on a run. */
  ended(runId: string) {
    return this.until(`${runId} ends`, () => this.of("run.status", runId).find(({ status }) => status !== "running"));
  }

  async stop(): Promise<void> {
    this.#socket?.terminate();
    this.#server.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #accept(socket: WebSocket): void {
    const before = this.#socket;
    this.#socket = socket;
    before?.close(CLOSE.replaced);
    socket.on("message", (data) => {
      if (socket !== this.#socket) return;
      this.#received((data as Buffer).toString());
      this.#notify();
    });
    socket.on("close", (code) => {
      this.closes.push(code);
      if (socket === this.#socket) this.#socket = null;
      this.#notify();
    });
    this.#notify();
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  #received(text: string): void {
    if (this.dead) return;
    if (text === PING) return this.send(PONG);
    const value = JSON.parse(text) as unknown;
    const frames: unknown[] = Array.isArray(value) ? value : [value];
    this.messages.push(frames.length);
    for (const each of frames) {
      const parsed = runnerFrame.safeParse(each);
      if (!parsed.success) {
        this.faults.push(`${JSON.stringify(parsed.error.issues[0])}: ${JSON.stringify(each).slice(0, 300)}`);
        return this.close(CLOSE.protocol, "bad frame");
      }
      const frame = parsed.data;
      if (frame.type === "hello") {
        this.hellos.push(frame);
        this.send({ type: "welcome", version: this.#version, epoch: this.epoch, last: this.last, settings: this.settings });
        for (const command of this.#commands) if (command.id > this.ackedCommand) this.send(command);
      } else if (frame.type === "command.ack") this.ackedCommand = Math.max(this.ackedCommand, frame.up_to);
      else {
        this.frames.push(frame.items.length);
        if (frame.from > this.last + 1) this.faults.push(`gap: ${this.last} then ${frame.from}`);
        for (const [i, item] of frame.items.entries()) {
          if (frame.from + i <= this.last) continue;
          this.last = frame.from + i;
          this.log.push({ seq: this.last, task_id: frame.task_id, run_id: frame.run_id, item });
        }
        if (!this.silent) this.acknowledge();
      }
    }
  }
}
