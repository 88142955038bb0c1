/** Owns the bus's viewers: hibernatable sockets, each first brought up to date and then fed with what is published. */

import { busAck, BUS_WINDOW, CLOSE, PING, PONG, type BusFrame, type BusViewQuery } from "../../sdk/protocol/index.ts";
import { numbered, passes, type Bus, type BusFilter, type Placed } from "./bus.ts";

const TAG = "bus";
const PAGE = 1_000;
const MAX_ACK_CHARS = 200;

/** What is kept with the socket while the object sleeps. */
interface View extends BusFilter {
  /** Everything up to it was sent or filtered out; it is not kept while `live`, for then it is the newest. */
  cursor: number;
  live: boolean;
  flow: boolean;
  /** The stream that the worker counts for this socket. */
  stream: string | null;
}

export class BusViewers {
  readonly #ctx: DurableObjectState;
  readonly #bus: Bus;
  /** Cursors that were sent and not acknowledged, of viewers with flow control, while the object is awake. */
  readonly #unacked = new Map<WebSocket, number[]>();
  readonly #catching = new Set<WebSocket>();

  constructor(ctx: DurableObjectState, bus: Bus) {
    this.#ctx = ctx;
    this.#bus = bus;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
  }

  /** Takes the server's end of a socket pair. */
  accept(socket: WebSocket, query: BusViewQuery, stream: string | null): void {
    this.#ctx.acceptWebSocket(socket, [TAG]);
    const last = this.#bus.last();
    const view: View = { cursor: Math.min(query.after ?? last, last), live: false, types: query.types ? [...new Set(query.types)] : null, labels: query.labels ?? null, flow: query.flow ?? false, stream };
    socket.serializeAttachment(view);
    const first = this.#bus.first();
    if (view.cursor < first - 1) send(socket, { type: "gap", after: view.cursor, first });
    this.#ctx.waitUntil(this.#catchUp(socket));
  }

  /** Feeds everyone who is up to date; whoever is not reads it from the bus in turn. */
  publish(placed: readonly Placed[]): void {
    for (const socket of this.#ctx.getWebSockets(TAG)) {
      const view = viewOf(socket);
      if (!view?.live) continue;
      const events = placed.filter((each) => passes(view, each)).map(numbered);
      if (events.length === 0) continue;
      send(socket, { type: "events", events });
      if (!this.#sent(socket, view, events.map(({ cursor }) => cursor ?? 0))) socket.serializeAttachment({ ...view, live: false, cursor: placed.at(-1)?.cursor ?? view.cursor } satisfies View);
    }
  }

  /** An acknowledgement; anything else closes the socket. */
  message(socket: WebSocket, message: string | ArrayBuffer): void {
    const ack = typeof message === "string" && message.length <= MAX_ACK_CHARS ? parse(message) : null;
    const view = viewOf(socket);
    if (!ack || !view?.flow) return socket.close(CLOSE.protocol, ack ? "acknowledgements are for flow=1" : "not an acknowledgement");
    const rest = this.#unacked.get(socket)?.filter((cursor) => cursor > ack.cursor) ?? [];
    this.#unacked.set(socket, rest);
    if (!view.live && rest.length <= BUS_WINDOW / 2) this.#ctx.waitUntil(this.#catchUp(socket));
  }

  /** The stream that ends with a socket that has closed. */
  closed(socket: WebSocket): string | null {
    this.#unacked.delete(socket);
    return viewOf(socket)?.stream ?? null;
  }

  /** Notes what went out; false where that is as much as may be unacknowledged. */
  #sent(socket: WebSocket, view: View, cursors: readonly number[]): boolean {
    if (!view.flow) return true;
    const unacked = [...(this.#unacked.get(socket) ?? []), ...cursors];
    this.#unacked.set(socket, unacked);
    return unacked.length < BUS_WINDOW;
  }

  async #catchUp(socket: WebSocket): Promise<void> {
    if (this.#catching.has(socket)) return;
    this.#catching.add(socket);
    try {
      for (let view = viewOf(socket); view && socket.readyState === WebSocket.OPEN; ) {
        const page = this.#bus.page(view.cursor, PAGE, view);
        if (page.events.length > 0) send(socket, { type: "events", events: page.events });
        const room = this.#sent(socket, view, page.events.map(({ cursor }) => cursor ?? 0));
        view = { ...view, cursor: page.next, live: room && !page.more };
        if (view.live) send(socket, { type: "caught_up", cursor: page.next });
        socket.serializeAttachment(view);
        if (view.live || !room) return;
        // Others get their turn between two pages.
        await scheduler.wait(0);
      }
    } finally {
      this.#catching.delete(socket);
    }
  }
}

function viewOf(socket: WebSocket): View | null {
  return socket.deserializeAttachment() as View | null;
}

function parse(text: string): { cursor: number } | null {
  try {
    return busAck.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function send(socket: WebSocket, frame: BusFrame): void {
  try {
    socket.send(JSON.stringify(frame));
  } catch {
    // It is closing; its close event follows.
  }
}
