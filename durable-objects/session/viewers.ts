/** Owns the viewers' hibernatable sockets: history in bounded pieces, then live, without gap or double, within a window where it is asked for. */

import { CLOSE, Failure, TASK_ENDED, VIEWER_UNCHECKED_CHARS, VIEWER_WINDOW_CHARS, viewerAck, fail, type ErrorBody, type EventItem, type LogQuery } from "../../sdk/protocol/index.ts";
import type { Done, Engine } from "./engine.ts";
import { bitsOf, filterOf, type LogFilter } from "./log-filter.ts";
import { look, type Block, type Seen } from "./log.ts";
import type { Shelf } from "./shelf.ts";

export const VIEWER_TAG = "viewer";
/** Characters of history that are sent before others get a turn. */
const PIECE_CHARS = 256 * 1024;
const MAX_ACK_CHARS = 1_000;
const ENDS = bitsOf(["task.status", "session.status"]);

interface Viewer {
  readonly socket: WebSocket;
  readonly filter: LogFilter;
  readonly flow: boolean;
  /** Everything up to here was considered and, where it passed, sent. */
  cursor: number;
  /** Gets every block as it is stored; else it reads the log, or waits for an acknowledgement. */
  live: boolean;
  /** `caught_up` was sent. */
  told: boolean;
  /** Characters on their way, by the `seq` whose acknowledgement frees them. */
  window: { seq: number; chars: number }[];
  /** Characters that a viewer without flow control was sent. */
  unchecked: number;
  /** The stream that the worker counts for this socket. */
  readonly stream: string | null;
  pumping: boolean;
  over: boolean;
}
type Memory = Pick<Viewer, "filter" | "flow" | "cursor" | "live" | "told" | "unchecked" | "stream"> & {
  unacknowledged: number;
  /** Last number that was sent and is not acknowledged. */
  sent: number;
};

export class Viewers {
  readonly #ctx: DurableObjectState;
  readonly #engine: Engine;
  readonly #shelf: Shelf;
  readonly #viewers = new Map<WebSocket, Viewer>();
  readonly #left: (stream: string) => void;

  /** `left` is told of every counted stream that has ended. */
  constructor(ctx: DurableObjectState, engine: Engine, shelf: Shelf, left: (stream: string) => void) {
    this.#ctx = ctx;
    this.#engine = engine;
    this.#shelf = shelf;
    this.#left = left;
    for (const socket of ctx.getWebSockets(VIEWER_TAG)) this.#recall(socket);
    engine.listen((done) => this.#deliver(done));
  }

  /** After hibernation: whoever had not seen all goes on. */
  resume(): void {
    for (const viewer of this.#viewers.values()) this.#pump(viewer);
  }

  /** The upgrade of a viewer whose query is valid and whose tenant is the session's. */
  async accept(query: LogQuery, flow: boolean, stream: string | null): Promise<Response> {
    const filter = filterOf(query);
    const { log, state } = this.#engine;
    const from = query.tail === undefined ? (query.after ?? 0) : state.session?.archive ? await this.#shelf.tail(query.tail, filter) : log.tail(query.tail, filter);
    const cursor = Math.min(log.last, from);
    const pair = new WebSocketPair();
    this.#ctx.acceptWebSocket(pair[1], [VIEWER_TAG]);
    const viewer: Viewer = { socket: pair[1], filter, flow, cursor, live: false, told: false, window: [], unchecked: 0, stream, pumping: false, over: false };
    this.#viewers.set(pair[1], viewer);
    this.#remember(viewer);
    this.#pump(viewer);
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  /** A viewer may say one thing only: how far it is. */
  message(socket: WebSocket, message: string | ArrayBuffer): void {
    const viewer = this.#viewers.get(socket) ?? this.#recall(socket);
    if (viewer.over) return;
    const error = this.#acknowledge(viewer, message);
    if (error) {
      this.#send(viewer, JSON.stringify({ type: "error", error }));
      this.#close(viewer, CLOSE.protocol, error.message);
    }
  }

  closed(socket: WebSocket): void {
    const viewer = this.#viewers.get(socket) ?? this.#recall(socket);
    this.#viewers.delete(socket);
    if (viewer.over) return;
    viewer.over = true;
    if (viewer.stream !== null) this.#left(viewer.stream);
    socket.serializeAttachment({ ...memoryOf(viewer), stream: null } satisfies Memory);
  }

  #acknowledge(viewer: Viewer, message: string | ArrayBuffer): ErrorBody | null {
    if (typeof message !== "string" || message.length > MAX_ACK_CHARS) return fail("payload_too_large", "frame: a viewer's frame is a short text").error;
    let value: unknown;
    try {
      value = JSON.parse(message);
    } catch {
      return fail("bad_request", "frame: not JSON", { details: { frame: "not JSON" } }).error;
    }
    const parsed = viewerAck.safeParse(value);
    if (!parsed.success) return fail("bad_request", "frame: expected {type: \"ack\", seq}", { details: { frame: "expected an ack" } }).error;
    if (!viewer.flow) return fail("bad_request", "frame: no acknowledgements were asked for (flow=1)", { details: { frame: "unexpected ack" } }).error;
    const { seq } = parsed.data;
    if (seq > viewer.cursor) return fail("bad_request", "frame: seq: has not been sent", { details: { seq: "has not been sent" } }).error;
    viewer.window = viewer.window.filter((part) => part.seq > seq);
    this.#remember(viewer);
    this.#pump(viewer);
    return null;
  }

  /** Sends a turn's blocks to everyone who is live; each distinct view of a block is written once. */
  #deliver({ blocks }: Done): void {
    if (blocks.length === 0 || this.#viewers.size === 0) return;
    for (const { block, items } of blocks) {
      const texts = new Map<string, string | null>();
      for (const viewer of this.#viewers.values()) if (viewer.live) this.#deliverTo(viewer, block, items, texts);
    }
    if (blocks.some(({ block }) => (block.kinds & ENDS) !== 0)) for (const viewer of this.#viewers.values()) this.#finish(viewer);
  }

  #deliverTo(viewer: Viewer, block: Block, items: readonly EventItem[], texts: Map<string, string | null>): void {
    const { filter } = viewer;
    if (viewer.flow && full(viewer)) {
      viewer.live = false;
      return this.#remember(viewer);
    }
    const key = `${filter.kinds}/${filter.raw ? 1 : 0}/${filter.task_id ?? ""}`;
    let text = texts.get(key);
    if (text === undefined) {
      const seen = look(block, filter, 0, Number.POSITIVE_INFINITY, items);
      text = seen && frameOf(seen);
      texts.set(key, text);
    }
    viewer.cursor = block.from + block.count - 1;
    if (text === null) return;
    this.#send(viewer, text);
    if (viewer.flow) {
      viewer.window.push({ seq: viewer.cursor, chars: text.length });
      this.#remember(viewer);
    }
  }

  #pump(viewer: Viewer): void {
    if (viewer.pumping || viewer.live || viewer.over || (viewer.flow && full(viewer))) return;
    viewer.pumping = true;
    this.#ctx.waitUntil(this.#replay(viewer));
  }

  async #replay(viewer: Viewer): Promise<void> {
    // The upgrade is answered first.
    await breath();
    try {
      while (!viewer.over && !(viewer.flow && full(viewer))) {
        // From here to `live` nothing else runs: no block can be stored in between. Nothing is stored any more where all is archived.
        const read = this.#engine.state.session?.archive ? await this.#shelf.read(viewer.cursor, viewer.filter, PIECE_CHARS) : this.#engine.log.read(viewer.cursor, viewer.filter, PIECE_CHARS);
        if (this.#piece(viewer, read)) break;
        await breath();
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#send(viewer, JSON.stringify({ type: "error", error: error.toBody() }));
      this.#close(viewer, error.code === "unavailable" ? CLOSE.again : CLOSE.ended, error.message);
    } finally {
      viewer.pumping = false;
    }
  }

  /** Sends the next piece of history; true where that was all, and the viewer is live. */
  #piece(viewer: Viewer, { seen, through }: { seen: Seen[]; through: number }): boolean {
    const { log } = this.#engine;
    for (const view of seen) {
      const text = frameOf(view);
      this.#send(viewer, text);
      if (viewer.flow) viewer.window.push({ seq: view.seqs?.at(-1) ?? view.from + view.count - 1, chars: text.length });
    }
    viewer.cursor = through;
    viewer.live = through >= log.last;
    if (viewer.live && !viewer.told) {
      viewer.told = true;
      this.#send(viewer, JSON.stringify({ type: "caught_up", seq: through }));
    }
    this.#remember(viewer);
    this.#finish(viewer);
    return viewer.live;
  }

  /** Nothing will follow and all was sent: says so and closes. */
  #finish(viewer: Viewer): void {
    if (!viewer.live || viewer.over) return;
    const reason = this.#ended(viewer.filter.task_id);
    if (reason === null) return;
    this.#send(viewer, JSON.stringify({ type: "end", seq: viewer.cursor, reason }));
    this.#close(viewer, CLOSE.ended, reason);
  }

  #ended(taskId: string | null): string | null {
    const { state, tasks } = this.#engine;
    if (taskId !== null && state.running?.task.id !== taskId) {
      const task = tasks.get(taskId);
      if (task && TASK_ENDED.has(task.status)) return `the task has ended: ${task.status}`;
    }
    return state.session?.status === "terminated" ? "the session has ended" : null;
  }

  #send(viewer: Viewer, text: string): void {
    if (viewer.over) return;
    try {
      viewer.socket.send(text);
    } catch {
      return this.closed(viewer.socket);
    }
    if (viewer.flow) return;
    // Nobody can see how much of it lies in the runtime's memory.
    viewer.unchecked += text.length;
    if (viewer.unchecked > VIEWER_UNCHECKED_CHARS) this.#close(viewer, CLOSE.again, "much was sent without a word: go on with after=, or ask for flow=1");
  }
  #close(viewer: Viewer, code: number, reason: string): void {
    this.closed(viewer.socket);
    viewer.over = true;
    try {
      viewer.socket.close(code, reason.slice(0, 100));
    } catch {
      // It is closed already.
    }
  }

  #remember(viewer: Viewer): void {
    if (!viewer.over) viewer.socket.serializeAttachment(memoryOf(viewer));
  }
  /** An object hibernates only after it has sent all that it had, so a live viewer has seen everything. */
  #recall(socket: WebSocket): Viewer {
    const { unacknowledged, sent, ...memory } = socket.deserializeAttachment() as Memory;
    const cursor = memory.live ? this.#engine.log.last : memory.cursor;
    const window = unacknowledged > 0 ? [{ seq: sent, chars: unacknowledged }] : [];
    const viewer: Viewer = { ...memory, socket, cursor, window, pumping: false, over: false };
    this.#viewers.set(socket, viewer);
    return viewer;
  }
}

function memoryOf(viewer: Viewer): Memory {
  const { filter, flow, cursor, live, told, unchecked, stream, window } = viewer;
  return { filter, flow, cursor, live, told, unchecked, stream, unacknowledged: outstanding(viewer), sent: window.at(-1)?.seq ?? cursor };
}
function outstanding({ window }: Viewer): number {
  return window.reduce((sum, { chars }) => sum + chars, 0);
}
function full(viewer: Viewer): boolean {
  return outstanding(viewer) >= VIEWER_WINDOW_CHARS;
}
function frameOf({ from, task_id, run_id, json, seqs }: Seen): string {
  return `{"type":"events","from":${from},"task_id":${JSON.stringify(task_id)},"run_id":${JSON.stringify(run_id)},"items":${json}${seqs ? `,"seqs":[${seqs.join(",")}]` : ""}}`;
}
/** Lets whatever waits run. */
function breath(): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, 0);
  });
}
