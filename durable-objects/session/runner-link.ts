/** Owns the runner's hibernatable socket: who may open it, its hello, its journal in, commands and acknowledgements out. */

import {
  CLOSE, equalConstantTime, fail, Failure, hashToken, PING, PONG, RUNNER_LINK_VERSION, sessionOf, understands,
  type ErrorBody, type EventsFrame, type Hello, type ObjectFrame, type RunnerFrame, type RunnerItem,
} from "../../sdk/protocol/index.ts";
import type { Engine, Turn } from "./engine.ts";
import { parseMessage } from "./runner-frames.ts";
import type { CommandRecord, NotableItem } from "./state.ts";

export const RUNNER_TAG = "runner";
/** Frames of this many characters together travel in one message. */
const MESSAGE_CHARS = 1_000_000;

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

/** A frame that no honest runner sends, or of an attachment that is over: the link is closed with this code. */
class Hostile extends Error {
  readonly code: number;
  readonly body: ErrorBody;
  constructor(code: number, body: ErrorBody) {
    super(body.message);
    this.code = code;
    this.body = body;
  }
}
function hostile(field: string, why: string, code: number = CLOSE.protocol): Hostile {
  return new Hostile(code, fail("bad_request", `frame: ${field}: ${why}`, { details: { [field]: why } }).error);
}

export class RunnerLink {
  readonly #ctx: DurableObjectState;
  readonly #engine: Engine;
  readonly #memories = new WeakMap<WebSocket, Memory>();
  /** Runs of this attachment that frames may name, besides the current one. */
  #known = new Map<string, string>();

  constructor(ctx: DurableObjectState, engine: Engine) {
    this.#ctx = ctx;
    this.#engine = engine;
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

  /** The upgrade: only the run token of the current attachment opens it. */
  async accept(request: Request): Promise<Response> {
    const token = /^Bearer (\S+)$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    const hash = await hashToken(token);
    const { attachment } = this.#engine.state;
    if (!attachment?.token_hash || !equalConstantTime(hash, attachment.token_hash)) return Response.json({ error: fail("unauthorized", "no runner of this session has this token now").error }, { status: 401 });
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return Response.json({ error: fail("bad_request", "expected a WebSocket upgrade").error }, { status: 400 });
    const pair = new WebSocketPair();
    this.#ctx.acceptWebSocket(pair[1], [RUNNER_TAG]);
    this.#remember(pair[1], { epoch: attachment.epoch, version: 0, sent: 0, over: false });
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  message(socket: WebSocket, message: string | ArrayBuffer): void {
    const memory = this.#memory(socket);
    if (memory.over) return;
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
    this.#send(socket, fresh.map((command) => this.#frameOf(command)));
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
    const { attachment, session, position, rules } = this.#engine.state;
    if (!attachment || !session) throw hostile("epoch", "this attachment is over", CLOSE.stale);
    if (!understands(RUNNER_LINK_VERSION, frame.version)) throw hostile("version", `expected ${RUNNER_LINK_VERSION - 1} or ${RUNNER_LINK_VERSION}`, CLOSE.version);
    if (frame.session_id !== session.id) throw hostile("session_id", "another session's");
    if (frame.epoch !== attachment.epoch) throw hostile("epoch", "this attachment is over", CLOSE.stale);
    if (frame.runner_id !== attachment.runner_id) throw hostile("runner_id", "another runner's", CLOSE.stale);
    if (frame.last_command >= attachment.next_command) throw hostile("last_command", "no such command was given");
    const { first, last } = frame.journal;
    if (last < position || (last >= first && first > position + 1)) {
      this.#engine.feed({ type: "link.broken", epoch: frame.epoch, reason: `its journal holds ${first} to ${last}, but the log goes to ${position}` });
      throw hostile("journal", `the log goes to ${position}`, CLOSE.stale);
    }
    for (const other of this.#sockets()) if (other !== socket) this.#close(other, CLOSE.replaced, "another connection took over");
    this.#engine.feed({ type: "link.up", epoch: frame.epoch, last_command: frame.last_command });
    this.#remember(socket, { ...memory, version: frame.version });
    this.#send(socket, [{ type: "welcome", version: frame.version, epoch: frame.epoch, last: position, settings: { edit_mode: session.edit_mode, rules: [...rules] } }]);
    this.push();
  }

  #later(socket: WebSocket, frames: readonly RunnerFrame[]): void {
    let ack: number | null = null;
    this.#engine.run((turn) => {
      for (const frame of frames) {
        if (frame.type === "hello") throw hostile("type", "hello comes once");
        if (frame.type === "events") ack = this.#events(turn, frame);
        else this.#commandAck(turn, frame.up_to);
      }
    });
    if (ack !== null && !this.#memory(socket).over) this.#send(socket, [{ type: "events.ack", up_to: ack }]);
  }

  #commandAck(turn: Turn, up_to: number): void {
    const { attachment } = this.#engine.state;
    if (!attachment) return;
    if (up_to >= attachment.next_command) throw hostile("up_to", "no such command was given");
    turn.input({ type: "command.ack", epoch: attachment.epoch, up_to });
  }

  /** Takes what is new of a frame; returns the journal number up to which all is in the log. */
  #events(turn: Turn, { from, task_id, run_id, items }: EventsFrame): number {
    const { position, attachment, session } = this.#engine.state;
    const last = from + items.length - 1;
    if (!attachment || !session) return last;
    if (from > position + 1) throw hostile("from", `expected at most ${position + 1}`);
    this.#checkRun(task_id, run_id);
    let at = Math.max(0, position + 1 - from);
    // Cut behind every item that changes more than the log, so that what follows from it is logged right after it.
    for (let to = at; to < items.length; to++) {
      const item = items[to] as RunnerItem;
      if (!isNotable(item)) continue;
      checkPermission(item, session.id, to);
      const stays = this.#stays(item, run_id);
      if (!stays && to > at) this.#append(turn, task_id, run_id, items.slice(at, to));
      if (stays) this.#append(turn, task_id, run_id, items.slice(at, to + 1));
      turn.input({ type: "journal", epoch: attachment.epoch, to: from + to, task_id, run_id, items: [item] });
      at = to + 1;
    }
    if (at < items.length) {
      this.#append(turn, task_id, run_id, at === 0 ? items : items.slice(at));
      turn.input({ type: "journal", epoch: attachment.epoch, to: last, task_id, run_id, items: [] });
    }
    return Math.max(last, position);
  }

  #append(turn: Turn, task_id: string | null, run_id: string | null, items: readonly RunnerItem[]): void {
    if (this.#engine.state.session?.status !== "terminated") turn.append(task_id, run_id, items);
  }

  /** A second end of a run, or a question of one that has ended, is not logged: it would contradict what was told. */
  #stays(item: NotableItem, runId: string | null): boolean {
    return item.type === "usage" || runId === this.#engine.state.running?.run.id;
  }

  #checkRun(taskId: string | null, runId: string | null): void {
    const { running, attachment } = this.#engine.state;
    if (runId === null) {
      if (taskId !== null) throw hostile("run_id", "missing beside task_id");
      return;
    }
    if (running?.run.id === runId && running.task.id === taskId) return;
    let known = this.#known.get(runId);
    if (known === undefined) {
      const run = this.#engine.runs.get(runId);
      if (!run || run.epoch !== attachment?.epoch) throw hostile("run_id", "no run of this runner");
      known = run.task_id;
      if (this.#known.size > 100) this.#known = new Map();
      this.#known.set(runId, known);
    }
    if (known !== taskId) throw hostile("task_id", "not the task of this run");
  }

  #frameOf({ id, epoch, body }: CommandRecord): ObjectFrame {
    const { session, rules } = this.#engine.state;
    if (body.kind === "task.start") return { type: "command", id, epoch, body: { ...body, prompt: this.#engine.tasks.prompt(body.task_id) } };
    if (body.kind === "settings") return { type: "command", id, epoch, body: { kind: "settings", settings: { edit_mode: session?.edit_mode ?? "off", rules: [...rules] } } };
    return { type: "command", id, epoch, body };
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

function isNotable(item: RunnerItem): item is NotableItem {
  return item.type === "run.status" || item.type === "permission.requested" || item.type === "permission.withdrawn" || item.type === "usage";
}

/** An array as the first message must begin with a hello of the version that knows arrays. */
function opensArray(frames: readonly unknown[]): boolean {
  const first = frames[0];
  return typeof first === "object" && first !== null && "version" in first && typeof first.version === "number" && first.version >= 2;
}

function checkPermission(item: NotableItem, sessionId: string, i: number): void {
  if (item.type === "permission.requested" && sessionOf(item.data.permission_id) !== sessionId) throw hostile(`items.${i}.data.permission_id`, "of another session");
}

