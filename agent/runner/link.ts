/** Owns the runner's link to its session: connects, says hello, resends, acknowledges, notices silence, comes back. */

import { MAX_LINK_BYTES } from "../../sdk/protocol/limits.ts";
import { CLOSE, PING, PONG } from "../../sdk/protocol/link-words.ts";
import type { Command, RunnerSettings } from "../../sdk/protocol/runner-link.ts";
import { RUNNER_LINK_VERSION, understands } from "../../sdk/protocol/version.ts";
import type { Journal } from "./journal.ts";
import { Sender } from "./sender.ts";
import { ClientSocket } from "./socket.ts";
import type { RunnerSpec } from "./spec.ts";
import type { Received } from "./wire.ts";
import { WireError } from "./wire-error.ts";

export interface LinkTimings {
  ping_ms: number;
  /** How long a connection may take until its welcome. */
  connect_ms: number;
  backoff_min_ms: number;
  backoff_max_ms: number;
  /** The backoff's most while the link has not been down for `soon_ms`: a control plane that only restarts is to be met at once. */
  backoff_soon_ms: number;
  soon_ms: number;
}
export const LINK_TIMINGS: LinkTimings = { ping_ms: 15_000, connect_ms: 10_000, backoff_min_ms: 50, backoff_max_ms: 5_000, backoff_soon_ms: 500, soon_ms: 20_000 };

/** Why there will be no link any more. */
export type LinkEnd = { kind: "stopped" | "stale" | "version" | "refused"; reason: string };

export interface LinkOptions {
  spec: Pick<RunnerSpec, "server" | "socket" | "session_id" | "runner_id" | "epoch" | "run_token">;
  journal: Journal;
  /** The agent's adapter can go on with a turn that was interrupted. */
  continues?: boolean;
  timings?: Partial<LinkTimings>;
  runId: () => string | null;
  /** Loads what reads messages, and whatever else must be there before the first is handled; called once, when hello is on its way. */
  prepare: () => Promise<(text: string) => Received[]>;
  /** `changed`: somebody has just set them; else they are repeated in a welcome. */
  onSettings: (settings: RunnerSettings | null, changed: boolean) => void;
  /** A new command, already in the journal's memory; the file has it before it is acknowledged. */
  onCommand: (command: Command) => void;
  onEnd: (end: LinkEnd) => void;
  log: (line: string) => void;
}

/** A message of the object holds a prompt at most; JSON's escapes may double it. */
const MAX_PAYLOAD = 2 * MAX_LINK_BYTES;
/** So many closes of one kind without progress between them are not an accident. */
const MAX_REFUSALS = 5;

export class Link {
  readonly #options: LinkOptions;
  readonly #timings: LinkTimings;
  #socket: ClientSocket | null = null;
  #sender: Sender | null = null;
  #backoff: number;
  /** By the clock that never jumps. */
  #downSince = performance.now();
  #refusals = 0;
  #retry: NodeJS.Timeout | undefined;
  #liveness: NodeJS.Timeout | undefined;
  #welcomeBy: NodeJS.Timeout | undefined;
  /** Pings since the last sign of life. */
  #missed = 0;
  #stopping = false;
  #ended = false;
  /** Highest command that this connection was told is in the file. */
  #acknowledged = 0;
  #read: ((text: string) => Received[]) | null = null;
  /** Messages that came before they could be read, and the socket that they came from. */
  #early: { socket: ClientSocket; text: string }[] = [];
  #preparing = false;
  #version: number | null = null;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#timings = { ...LINK_TIMINGS, ...options.timings };
    this.#backoff = this.#timings.backoff_min_ms;
    options.journal.onWritten = () => this.#written();
  }

  get connected(): boolean {
    return this.#sender !== null;
  }

  /** Version that the session speaks; null before its first welcome. */
  get version(): number | null {
    return this.#version;
  }

  connect(): void {
    if (this.#ended) return;
    clearTimeout(this.#retry);
    const { spec } = this.#options;
    const socket: ClientSocket = new ClientSocket(
      {
        url: new URL(`/links/runner/${spec.session_id}`, spec.server).href,
        socket: spec.socket,
        headers: { authorization: `Bearer ${spec.run_token}` },
        maxBytes: MAX_PAYLOAD,
        timeoutMs: this.#timings.connect_ms,
      },
      {
        open: () => this.#opened(socket),
        message: (text) => socket === this.#socket && this.#received(text),
        refused: (status) => socket === this.#socket && this.#refused(status),
        close: (code, reason) => socket === this.#socket && this.#closed(code, reason),
      },
    );
    this.#socket = socket;
  }

  /** Sends the rest, waits until the session has it, closes in order. `onEnd` follows. */
  finish(): void {
    this.#stopping = true;
    this.#written();
    // Nobody ever heard of this runner: there is nothing to say goodbye for.
    if (!this.#socket) this.connect();
  }

  /** The process has slept, and its connection may have died without a word meanwhile: a new one is made at once. */
  renew(): void {
    if (this.#ended) return;
    this.#drop();
    this.#again(0);
  }

  /** Lets go at once, without a goodbye. */
  abandon(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#drop();
  }

  #opened(socket: ClientSocket): void {
    if (socket !== this.#socket) return;
    const { spec, journal, runId } = this.#options;
    journal.flush();
    socket.send(
      JSON.stringify({
        type: "hello", version: RUNNER_LINK_VERSION, session_id: spec.session_id, runner_id: spec.runner_id, epoch: spec.epoch,
        journal: { first: journal.last === 0 ? 0 : journal.first, last: journal.last }, last_command: journal.lastCommand, run_id: runId(), ...(this.#options.continues !== undefined && { continues: this.#options.continues }),
      }),
    );
    if (!this.#preparing) {
      this.#preparing = true;
      setImmediate(() => void this.#prepare());
    }
    this.#missed = 0;
    this.#welcomeBy = setTimeout(() => this.#lost("the session does not welcome this runner"), this.#timings.connect_ms);
    this.#liveness = setInterval(() => {
      if (this.#missed >= 2) return this.#lost("the session does not answer");
      this.#missed++;
      socket.send(PING);
    }, this.#timings.ping_ms);
  }

  async #prepare(): Promise<void> {
    try {
      this.#read = await this.#options.prepare();
    } catch (error) {
      return this.#end({ kind: "refused", reason: `the runner cannot be loaded: ${String(error)}` });
    }
    for (const { socket, text } of this.#early.splice(0)) if (socket === this.#socket) this.#received(text);
  }

  #received(text: string): void {
    this.#missed = 0;
    if (text === PONG) return;
    const [socket, read] = [this.#socket, this.#read];
    if (!read) {
      if (socket) this.#early.push({ socket, text });
      return;
    }
    try {
      for (const frame of read(text)) this.#frame(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#options.log(`refused a message of the session: ${error.message}`);
      this.#socket?.close(CLOSE.protocol, error.message.slice(0, 100));
      this.#drop();
      this.#again(Math.max(this.#backoff, this.#timings.backoff_max_ms / 5));
    }
  }

  #frame(frame: Received): void {
    const { journal, spec, onSettings, onCommand } = this.#options;
    if (frame.type === "error") return this.#options.log(`the session says: ${frame.error.code}: ${frame.error.message}`);
    if (frame.type === "welcome") {
      if (this.#sender) throw new WireError("a second welcome");
      if (frame.epoch !== spec.epoch) throw new WireError(`welcome of epoch ${frame.epoch}, this is ${spec.epoch}`);
      if (!understands(RUNNER_LINK_VERSION, frame.version)) return this.#end({ kind: "version", reason: `the session speaks version ${frame.version} of the link, this runner ${RUNNER_LINK_VERSION}` });
      journal.meet(frame.last);
      this.#backoff = this.#timings.backoff_min_ms;
      clearTimeout(this.#welcomeBy);
      this.#version = frame.version;
      this.#sender = new Sender(journal, { last: frame.last, arrays: frame.version >= 2 }, (text) => this.#socket?.send(text));
      onSettings(frame.settings, false);
      return this.#written();
    }
    if (!this.#sender) throw new WireError(`${frame.type} before welcome`);
    if (frame.type === "events.ack") {
      if (frame.up_to > this.#sender.sent) throw new WireError(`events.ack of ${frame.up_to}, sent were ${this.#sender.sent}`);
      this.#refusals = 0;
      journal.acknowledge(frame.up_to);
      this.#sender.acknowledged(frame.up_to);
      return this.#written();
    }
    const command = frame.type === "settings.broken" ? frame.frame : frame;
    if (command.epoch !== spec.epoch) throw new WireError(`a command of epoch ${command.epoch}, this is ${spec.epoch}`);
    const taken = journal.receive(command);
    if (taken === "gap") throw new WireError(`command ${command.id} after ${journal.lastCommand}`);
    if (taken === "seen") {
      this.#acknowledged = 0;
      return this.#written();
    }
    if (command.body.kind === "settings") onSettings(frame.type === "settings.broken" ? null : command.body.settings, true);
    else onCommand(command);
  }

  /** The journal's file has everything up to here. */
  #written(): void {
    const { journal } = this.#options;
    if (this.#sender) {
      // What is not in the file is not ours to acknowledge.
      if (journal.writtenCommand > this.#acknowledged) {
        this.#acknowledged = journal.writtenCommand;
        this.#sender.acknowledgeCommand(journal.writtenCommand);
      }
      // On leaving, nothing waits for company.
      this.#sender.pump(this.#stopping);
    }
    if (this.#stopping && this.#sender && journal.drained) {
      this.#socket?.close(CLOSE.stopped, "stopped");
      // The session may be gone without an answer.
      setTimeout(() => this.#end({ kind: "stopped", reason: "stopped" }), 1_000).unref();
    }
  }

  #refused(status: number): void {
    this.#drop();
    const final = status === 401 || status === 403 || status === 404 || status === 410;
    if (final && ++this.#refusals >= MAX_REFUSALS) return this.#end({ kind: "stale", reason: `the control plane refuses this runner's token (${status})` });
    this.#again();
  }

  #closed(code: number, reason: string): void {
    const known = this.#sender !== null;
    this.#drop();
    if (this.#stopping && code === CLOSE.stopped) return this.#end({ kind: "stopped", reason: "stopped" });
    if (code === CLOSE.stale) return this.#end({ kind: "stale", reason: reason || "the attachment is over" });
    if (code === CLOSE.version) return this.#end({ kind: "version", reason: reason || "version not understood" });
    if (code === CLOSE.protocol || code === CLOSE.replaced) {
      this.#options.log(`the session closed the link: ${code} ${reason}`);
      if (++this.#refusals >= MAX_REFUSALS) return this.#end({ kind: code === CLOSE.replaced ? "stale" : "refused", reason: reason || `closed with ${code}` });
      return this.#again(Math.max(this.#backoff, this.#timings.backoff_max_ms / 5));
    }
    // A link that worked is first tried again at once.
    this.#again(known ? 0 : undefined);
  }

  #lost(reason: string): void {
    this.#options.log(`the link is lost: ${reason}`);
    this.#drop();
    this.#again();
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (this.#sender) this.#downSince = performance.now();
    this.#sender?.close();
    this.#sender = null;
    this.#acknowledged = 0;
    clearInterval(this.#liveness);
    clearTimeout(this.#welcomeBy);
    if (socket && !socket.leaving) socket.terminate();
  }

  #again(delay = this.#backoff): void {
    if (this.#ended) return;
    // Up to a half less, so that many runners do not come back in step.
    const jittered = delay * (1 - Math.random() / 2);
    const { backoff_max_ms, backoff_soon_ms, soon_ms } = this.#timings;
    const most = performance.now() - this.#downSince < soon_ms ? Math.min(backoff_soon_ms, backoff_max_ms) : backoff_max_ms;
    if (delay >= this.#backoff) this.#backoff = Math.min(this.#backoff * 2, most);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.connect(), jittered);
  }

  #end(end: LinkEnd): void {
    if (this.#ended) return;
    this.abandon();
    this.#options.onEnd(end);
  }
}
