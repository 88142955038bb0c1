/** Owns the raw limit: a bare Durable Object that parses a frame, stores it as one row, forwards it to its viewers and acknowledges. */

import { DurableObject } from "cloudflare:workers";

interface Env {
  BARE: DurableObjectNamespace;
}

export class Bare extends DurableObject<Env> {
  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    state.storage.sql.exec("create table if not exists blocks (first integer primary key, body text not null)");
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  override async fetch(request: Request): Promise<Response> {
    const pair = new WebSocketPair();
    this.ctx.acceptWebSocket(pair[1], [new URL(request.url).pathname.endsWith("/viewer") ? "viewer" : "runner"]);
    return new Response(null, { status: 101, webSocket: pair[0] });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const frame = JSON.parse(message as string) as { from: number; items: unknown[] };
    const body = JSON.stringify(frame.items);
    this.ctx.storage.sql.exec("insert into blocks values (?, ?)", frame.from, body);
    const down = `{"type":"events","from":${frame.from},"items":${body}}`;
    for (const viewer of this.ctx.getWebSockets("viewer")) viewer.send(down);
    socket.send(JSON.stringify({ type: "events.ack", up_to: frame.from + frame.items.length - 1 }));
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const name = new URL(request.url).pathname.split("/")[1] ?? "";
    if (name === "") return new Response("bare");
    return env.BARE.get(env.BARE.idFromName(name)).fetch(request);
  },
} satisfies ExportedHandler<Env>;
