/** Owns the tenant-wide bus: what happens in all of a tenant's sessions, as a page, as server-sent events or over a socket. */

import { createRoute } from "@hono/zod-openapi";
import type * as z from "zod";
import { tenantStub, type BusQuery } from "../../durable-objects/index.ts";
import type { BusFrame } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import { actorOf, type App } from "../context.ts";
import { failures, keyed, streams } from "../openapi.ts";
import { counted, sse, streamed, type Reading } from "../streams/log-stream.ts";
import { flowless, handed, resumed, wants } from "../streams/log.ts";
import { actorHeaders, FrameSource, STREAM_HEADER, upgrade } from "../streams/source.ts";
import { BusPage, busQuery } from "./schemas.ts";

const events = createRoute({
  method: "get", path: "/events", tags: ["live"], ...keyed("read"), summary: "Read or follow the events of all sessions",
  description: "Status changes, permissions, usage and errors, without the log's text. `after=cursor` resumes; `labels=k:v` are the sessions' labels. Over server-sent events `id` is the cursor.",
  request: { query: busQuery }, responses: { ...streams(BusPage), ...failures("rate_limited") },
});

function search({ after, types, labels }: Omit<z.infer<typeof busQuery>, "flow">): string {
  const query = new URLSearchParams();
  if (after !== undefined) query.set("after", String(after));
  if (types?.length) query.set("types", types.join(","));
  for (const pair of pairs(labels) ?? []) query.append("labels", pair);
  return `?${query.toString()}`;
}
function pairs(labels: Record<string, string> | undefined): string[] | undefined {
  return labels && Object.entries(labels).map(([key, value]) => `${key}:${value}`);
}

function readingOf(frame: BusFrame): Reading {
  if (frame.type === "events") return { events: frame.events, ack: { type: "ack", cursor: frame.events.at(-1)?.cursor ?? 0 } };
  if (frame.type === "caught_up") return { events: [], caughtUp: frame.cursor };
  if (frame.type === "error") return { events: [], end: { seq: 0, reason: frame.error.message, error: frame.error } };
  return { events: [], note: `events ${frame.after + 1} to ${frame.first - 1} are no longer kept` };
}

export function busRoutes(app: App): void {
  app.openapi(events, async (c) => {
    const { tenant_id, ...actor } = actorOf(c);
    const { flow, ...query } = resumed(c, c.req.valid("query"));
    const shape = wants(c, query.follow ?? false);
    const stub = () => tenantStub(c.env, tenant_id);
    const open = (flow: string) => upgrade(stub, `/bus${search(query)}${flow}`, { ...actorHeaders({ tenant_id, ...actor }), [STREAM_HEADER]: c.get("request_id") });
    if (shape !== "socket") flowless(flow);
    if (shape === "json" || shape === "text") {
      const page: BusQuery = { after: query.after, limit: query.limit, types: query.types, labels: pairs(query.labels) };
      return c.json(await reach(() => stub().readBus(page)), 200);
    }
    if (c.req.raw.method === "HEAD") return c.body(null, 200, { "content-type": sse.contentType });
    // The object itself gives the place back when the socket closes, whoever holds its other end.
    const closed = await counted(c, tenant_id);
    try {
      if (shape === "socket") return handed(c, await open(flow ? "&flow=1" : ""));
      const { webSocket } = await open("&flow=1");
      return streamed({ source: new FrameSource<BusFrame>(webSocket), read: readingOf, rendering: sse, closed });
    } catch (error) {
      closed();
      throw error;
    }
  });
}
