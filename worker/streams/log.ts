/** Owns the doors to a session's log: a page, a stream of server-sent events or text, or the object's own socket. */

import { sessionStub, type LogPage } from "../../durable-objects/index.ts";
import { Failure, type LogQuery, type ViewerFrame } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type Ctx } from "../context.ts";
import { counted, eventsOf, plainText, sse, streamed, textOf, type Reading } from "./log-stream.ts";
import { actorHeaders, FrameSource, STREAM_HEADER, upgrade } from "./source.ts";

/** What a client asks for, by its headers. */
export function wants(c: Ctx, follow: boolean): "socket" | "sse" | "text" | "json" {
  if (c.req.header("upgrade")?.toLowerCase() === "websocket") return "socket";
  const accept = c.req.header("accept") ?? "";
  if (accept.includes("text/event-stream")) return "sse";
  if (accept.includes("text/plain")) return "text";
  return follow ? "sse" : "json";
}

/** Only a socket can acknowledge: elsewhere what is not read is not sent anyway. */
export function flowless(flow: boolean | undefined): void {
  if (flow !== undefined) throw new Failure("bad_request", "flow: only over a WebSocket", { details: { flow: "only over a WebSocket" } });
}

function search(query: LogQuery, more: Record<string, string>): string {
  const pairs = Object.entries({ ...query, ...more }).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as [string, string]]));
  return `?${new URLSearchParams(pairs).toString()}`;
}

/** Where an EventSource that reconnects goes on; what its URL said no longer counts. */
export function resumed<Q extends { after?: number | undefined }>(c: Ctx, query: Q): Q {
  const last = c.req.header("last-event-id");
  if (last === undefined || last === "") return query;
  if (!/^\d{1,15}$/.test(last)) throw new Failure("bad_request", "Last-Event-ID: not a sequence number", { details: { "last-event-id": "not a sequence number" } });
  return { ...query, tail: undefined, after: Number(last) };
}

function readingOf(sessionId: string): (frame: ViewerFrame) => Reading {
  return (frame) => {
    if (frame.type === "events") {
      const events = eventsOf(sessionId, frame);
      return { events, ack: { type: "ack", seq: events.at(-1)?.seq ?? frame.from } };
    }
    if (frame.type === "end") return { events: [], end: { seq: frame.seq, reason: frame.reason } };
    if (frame.type === "error") return { events: [], end: { seq: 0, reason: frame.error.message, error: frame.error } };
    return { events: [], caughtUp: frame.seq, ack: { type: "ack", seq: frame.seq } };
  };
}

/** The object's 101 as it is, with the subprotocol that the client must see again. */
export function handed(c: Ctx, response: Response & { webSocket: WebSocket }): Response {
  const protocol = c.get("protocol");
  return new Response(null, { status: 101, webSocket: response.webSocket, headers: { "x-request-id": c.get("request_id"), ...(protocol && { "sec-websocket-protocol": protocol }) } });
}

/** Answers a request for (a part of) a session's log in the shape that the client asks for. */
export async function logAnswer(c: Ctx, sessionId: string, { flow, ...asked }: LogQuery & { flow?: boolean | undefined }, follow: boolean): Promise<Response> {
  const actor = actorOf(c);
  const query = resumed(c, asked);
  if (query.after !== undefined && query.tail !== undefined) throw new Failure("bad_request", "tail: not together with after", { details: { tail: "not together with after" } });
  const shape = wants(c, follow);
  const stub = () => sessionStub(c.env, sessionId);
  const open = (more: Record<string, string>, headers: Record<string, string> = {}) => upgrade(stub, `/viewer${search(query, more)}`, { ...actorHeaders(actor), ...headers });

  if (shape === "socket") {
    // The object gives the place back when the socket closes.
    const refused = await counted(c, actor.tenant_id);
    try {
      return handed(c, await open(flow ? { flow: "1" } : {}, { [STREAM_HEADER]: c.get("request_id") }));
    } catch (error) {
      refused();
      throw error;
    }
  }
  flowless(flow);
  if (shape === "json" || (shape === "text" && !follow)) {
    const page: LogPage = await call(() => stub().readLog(actor, query));
    return shape === "json" ? c.json(page, 200) : c.text(page.events.map(textOf).join(""), 200, { "x-next-after": String(page.next) });
  }
  const rendering = shape === "sse" ? sse : plainText;
  if (c.req.raw.method === "HEAD") return c.body(null, 200, { "content-type": rendering.contentType });
  const closed = await counted(c, actor.tenant_id);
  try {
    const { webSocket } = await open({ flow: "1" });
    return streamed({ source: new FrameSource<ViewerFrame>(webSocket), read: readingOf(sessionId), rendering, closed });
  } catch (error) {
    closed();
    throw error;
  }
}
