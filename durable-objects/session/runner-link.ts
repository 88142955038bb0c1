/** Owns the runner's hibernatable socket: who may open it, its hello, its journal in, commands and acknowledgements out. */

import {
  CLOSE, equalConstantTime, fail, Failure, hashToken, PING, PONG, RUNNER_LINK_VERSION, understands, type CarriedPermission, type ErrorBody, type Hello, type ObjectFrame, type RunnerFrame, type RunnerSettings,
} from "../../sdk/protocol/index.ts";
import { grantsOf } from "./approvals.ts";
import { CAPSULE_VERSION } from "./attachment.ts";
import type { Engine } from "./engine.ts";
import { Hostile, hostile, Intake } from "./intake.ts";
import { parseMessage } from "./runner-frames.ts";
import type { CommandRecord } from "./state.ts";
import { isDeaf } from "./suspend.ts";

export const RUNNER_TAG = "runner";
/** Frames of this many characters together travel in one message. */
const MESSAGE_CHARS = 1_000_000;

/** While a task runs, a runner that has said nothing for so long, not even `ping`, has lost its link without a word. */
const SILENCE_MS = 60_000;

/** What a socket remembers through hibernation. */
interface Memory {
  epoch: number;
  /** 0 until the hello. */
  version: number;
  /** Highest command that was sent on this socket. */
  sent: number;
  /** Closed by us: what it still says is not heard, its end means nothing. */
  over: boolean;
}

export class RunnerLink {
  readonly #ctx: DurableObjectState;
  readonly #engine: Engine;
  readonly #memories = new WeakMap<WebSocket, Memory>();
  readonly #heard = new WeakMap<WebSocket, number>();
  readonly #intake: Intake;

  constructor(ctx: DurableObjectState, engine: Engine) {
    this.#ctx = ctx;
    this.#engine = engine;
    this.#intake = new Intake(engine);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    engine.listen(({ closes }) => {
      for (const { epoch, code, reason } of closes) for (const socket of this.#sockets()) if (this.#memory(socket).epoch === epoch) this.#close(socket, code, reason);
      this.push();
    });
  }

  /** True where the current attachment's runner has a socket that said hello. */
  get linked(): boolean {
    return this.#current() !== null;
  }

  /** When to see whether the runner of a task still speaks; null while nothing runs: an idle link costs nothing. */
  get deadline(): number | null {
    const { running, attachment } = this.#engine.state;
    const socket = running && attachment?.state !== "held" ? this.#current() : null;
    return socket && this.#lastWord(socket) + SILENCE_MS;
  }
  /** The alarm rang: gives a silent link up. */
  ring(now: number): void {
    const { deadline } = this;
    const socket = this.#current();
    if (!socket || deadline === null || deadline > now) return;
    const { epoch } = this.#memory(socket);
    this.#close(socket, CLOSE.again, "nothing heard for too long");
    this.#engine.feed({ type: "link.down", epoch, stopped: false });
  }
  #lastWord(socket: WebSocket): number {
    let heard = this.#heard.get(socket);
    // After hibernation only the runtime knows, and of pings alone.
    if (heard === undefined) this.#heard.set(socket, (heard = Date.now()));
    return Math.max(heard, this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0);
  }

  /** The upgrade: only the run token of the current attachment opens it. */
  async accept(request: Request): Promise<Response> {
    const token = /^Bearer (\S+)$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    const hash = await hashToken(token);
    const { attachment } = this.#engine.state;
    if (!attachment?.token_hash || !equalConstantTime(hash, attachment.token_hash)) return Response.json({ error: fail("unauthorized", "no runner of this session has this token now").error }, { status: 401 });
    if (isDeaf(this.#engine.state)) return Response.json({ error: fail("unavailable", "the session is suspended, and its runner held").error }, { status: 503, headers: { "retry-after": "1" } });
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return Response.json({ error: fail("bad_request", "expected a WebSocket upgrade").error }, { status: 400 });
    const pair = new WebSocketPair();
    this.#ctx.acceptWebSocket(pair[1], [RUNNER_TAG]);
    this.#remember(pair[1], { epoch: attachment.epoch, version: 0, sent: 0, over: false });
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  message(socket: WebSocket, message: string | ArrayBuffer): void {
    const memory = this.#memory(socket);
    if (memory.over) return;
    this.#heard.set(socket, Date.now());
    if (isDeaf(this.#engine.state)) {
      this.#close(socket, CLOSE.again, "the session is suspended");
      if (memory.version > 0) this.#engine.feed({ type: "link.down", epoch: memory.epoch, stopped: false });
      return;
    }
    try {
      if (memory.epoch !== this.#engine.state.attachment?.epoch) throw hostile("epoch", "this attachment is over", CLOSE.stale);
      this.#frames(socket, parseMessage(message, (frames) => memory.version >= 2 || opensArray(frames)));
    } catch (error) {
      if (error instanceof Failure) this.#refuse(socket, CLOSE.protocol, error.toBody());
      else if (error instanceof Hostile) this.#refuse(socket, error.code, error.body);
      else {
        this.#close(socket, CLOSE.again, "a fault of ours");
        throw error;
      }
    }
  }

  /** The socket is closed or broken. */
  closed(socket: WebSocket, code: number): void {
    const memory = this.#memory(socket);
    const { over, version } = memory;
    this.#remember(socket, { ...memory, over: true });
    if (!over && version > 0) this.#engine.feed({ type: "link.down", epoch: memory.epoch, stopped: code === CLOSE.stopped });
  }

  /** Sends the commands that the runner's socket has not carried yet. */
  push(): void {
    const { commands } = this.#engine.state;
    if (commands.length === 0) return;
    const socket = this.#current();
    if (!socket) return;
    const memory = this.#memory(socket);
    const fresh = commands.filter(({ id }) => id > memory.sent);
    if (fresh.length === 0) return;
    this.#send(socket, fresh.map((command) => this.#frameOf(command, memory.version)));
    this.#remember(socket, { ...memory, sent: fresh.at(-1)?.id ?? memory.sent });
  }

  /** A message's frames are one turn: a bad one among them, and none has happened. */
  #frames(socket: WebSocket, frames: readonly RunnerFrame[]): void {
    const memory = this.#memory(socket);
    const first = frames[0];
    if (memory.version > 0) return this.#later(socket, frames);
    if (first?.type !== "hello") throw hostile("type", "expected hello first");
    this.#hello(socket, memory, first);
    if (frames.length > 1) this.#later(socket, frames.slice(1));
  }

  #hello(socket: WebSocket, memory: Memory, frame: Hello): void {
    const { attachment, session, position, commands } = this.#engine.state;
    if (!attachment || !session) throw hostile("epoch", "this attachment is over", CLOSE.stale);
    if (!understands(RUNNER_LINK_VERSION, frame.version)) throw hostile("version", `expected ${RUNNER_LINK_VERSION - 1} or ${RUNNER_LINK_VERSION}`, CLOSE.version);
    if (frame.session_id !== session.id) throw hostile("session_id", "another session's");
    if (frame.epoch !== attachment.epoch) throw hostile("epoch", "this attachment is over", CLOSE.stale);
    if (frame.runner_id !== attachment.runner_id) throw hostile("runner_id", "another runner's", CLOSE.stale);
    if (frame.last_command >= attachment.next_command) throw hostile("last_command", "no such command was given");
    const { first, last } = frame.journal;
    // A shorter journal only lacks what is in the log already; a gap, or commands that it acknowledged and has not, cannot be mended.
    const forgot = frame.last_command < (commands[0]?.id ?? attachment.next_command) - 1;
    if (forgot || (last >= first && first > position + 1)) {
      const reason = forgot ? "its journal lost commands that it had acknowledged" : `its journal begins at ${first}, but the log ends at ${position}`;
      this.#engine.feed({ type: "link.broken", epoch: frame.epoch, reason });
      throw hostile(forgot ? "last_command" : "journal", reason, CLOSE.stale);
    }
    for (const other of this.#sockets()) if (other !== socket) this.#close(other, CLOSE.replaced, "another connection took over");
    this.#engine.feed({ type: "link.up", epoch: frame.epoch, last_command: frame.last_command, version: frame.version, continues: frame.continues ?? false });
    this.#remember(socket, { ...memory, version: frame.version });
    this.#send(socket, [{ type: "welcome", version: frame.version, epoch: frame.epoch, last: position, settings: this.#settings(frame.version) }]);
    this.push();
  }

  #later(socket: WebSocket, frames: readonly RunnerFrame[]): void {
    let ack: number | null = null;
    this.#engine.run((turn) => {
      for (const frame of frames) {
        if (frame.type === "hello") throw hostile("type", "hello comes once");
        if (frame.type === "events") ack = this.#intake.events(turn, frame);
        else this.#intake.commandAck(turn, frame.up_to);
      }
    });
    if (ack !== null && !this.#memory(socket).over) this.#send(socket, [{ type: "events.ack", up_to: ack }]);
  }

  /** What is large is joined here; what came with version 3 is left out for a runner that would refuse it. */
  #frameOf({ id, epoch, body }: CommandRecord, version: number): ObjectFrame {
    const { approvals } = this.#engine.state;
    if (body.kind === "task.start") {
      const { notice, interrupted, carried, ...rest } = body;
      const { attachments } = this.#engine.tasks.get(body.task_id) ?? {};
      const more = version < CAPSULE_VERSION ? {} : { ...(notice !== undefined && { notice }), ...(interrupted && { interrupted }), ...(carried && { carried: this.#carried(carried) }), ...(attachments && { attachments }), ...(interrupted && approvals.turn.length > 0 && { grants: grantsOf(approvals.turn) }) };
      return { type: "command", id, epoch, body: { ...rest, ...more, prompt: this.#engine.tasks.prompt(body.task_id) } };
    }
    if (body.kind === "settings") return { type: "command", id, epoch, body: { kind: "settings", settings: this.#settings(version) } };
    return { type: "command", id, epoch, body };
  }

  #settings(version: number): RunnerSettings {
    const { session, rules, approvals } = this.#engine.state;
    return { edit_mode: session?.edit_mode ?? "off", rules: [...rules], ...(version >= CAPSULE_VERSION && { grants: grantsOf(approvals.session) }) };
  }

  #carried(ids: readonly string[]): CarriedPermission[] {
    return ids.flatMap((permission_id) => {
      const permission = this.#engine.permissions.get(permission_id);
      if (!permission || permission.status === "canceled") return [];
      const { tool, input, status, decision } = permission;
      return [{ permission_id, tool, input, status, reason: decision?.reason ?? null, scope: decision?.scope ?? "once" }];
    });
  }

  #send(socket: WebSocket, frames: readonly ObjectFrame[]): void {
    const texts = frames.map((frame) => JSON.stringify(frame));
    try {
      if (this.#memory(socket).version < 2 || texts.length === 1) return texts.forEach((text) => socket.send(text));
      for (let from = 0; from < texts.length; ) {
        let chars = 0;
        let to = from;
        do chars += texts[to++]?.length ?? 0;
        while (to < texts.length && chars + (texts[to]?.length ?? 0) < MESSAGE_CHARS);
        socket.send(`[${texts.slice(from, to).join(",")}]`);
        from = to;
      }
    } catch {
      // The socket is closing; its end will be reported, and all of this is sent again after the next hello.
    }
  }

  #refuse(socket: WebSocket, code: number, error: ErrorBody): void {
    const { epoch, version } = this.#memory(socket);
    this.#send(socket, [{ type: "error", error }]);
    this.#close(socket, code, error.message);
    if (version > 0) this.#engine.feed({ type: "link.down", epoch, stopped: false });
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    this.#remember(socket, { ...this.#memory(socket), over: true });
    try {
      socket.close(code, reason.slice(0, 100));
    } catch {
      // It is closed already.
    }
  }

  #sockets(): WebSocket[] {
    return this.#ctx.getWebSockets(RUNNER_TAG);
  }
  #current(): WebSocket | null {
    const epoch = this.#engine.state.attachment?.epoch;
    return this.#sockets().find((socket) => {
      const memory = this.#memory(socket);
      return !memory.over && memory.version > 0 && memory.epoch === epoch;
    }) ?? null;
  }
  #memory(socket: WebSocket): Memory {
    let memory = this.#memories.get(socket);
    if (!memory) {
      memory = socket.deserializeAttachment() as Memory;
      this.#memories.set(socket, memory);
    }
    return memory;
  }
  #remember(socket: WebSocket, memory: Memory): void {
    this.#memories.set(socket, memory);
    socket.serializeAttachment(memory);
  }
}

/** An array as the first message must begin with a hello of the version that knows arrays. */
function opensArray(frames: readonly unknown[]): boolean {
  const first = frames[0];
  return typeof first === "object" && first !== null && "version" in first && typeof first.version === "number" && first.version >= 2;
}
