/** Owns reading logs: a followed log is a resuming stream, another is read page by page; both are the same iterator. */

import * as z from "zod";
import type { Event, EventType } from "../protocol/index.ts";
import { ProtocolError } from "../core/errors.ts";
import type { Query, RequestOptions } from "../core/request.ts";
import { dataOf, EventStream, follow, type StreamOptions } from "../core/stream.ts";
import type { SseRecord } from "../core/sse.ts";
import type { Transport } from "../core/transport.ts";

export interface LogParams {
  /** Go on with what comes, until the task (or the session) has ended. Without it: what is there now. */
  follow?: boolean | undefined;
  /** Events with a greater `seq`. */
  after?: number | undefined;
  /** Only the last N that match, then (with `follow`) what comes; not with `after`. */
  tail?: number | undefined;
  types?: readonly EventType[] | undefined;
  /** Of `log` events, only these streams. */
  stream?: readonly ("stdout" | "stderr" | "system")[] | undefined;
  /** Include the agent's own records. */
  raw?: boolean | undefined;
}

export interface StreamCallOptions extends RequestOptions, StreamOptions {}

const looseEvent = z.looseObject({ seq: z.number(), session_id: z.string(), type: z.string(), at: z.string(), data: z.record(z.string(), z.unknown()) });
/** What is needed to go on reading; anything else of the page may grow. */
const loosePage = z.looseObject({ events: z.array(looseEvent), next: z.number(), more: z.boolean() });

/** Largest page of a log. */
const PAGE = 1_000;

/** Events of one log, at `path`. */
export function readLog(transport: Transport, path: string, params: LogParams, options: StreamCallOptions = {}): EventStream<Event> {
  const query: Query = { types: params.types, stream: params.stream, raw: params.raw };
  return params.follow ? followLog(transport, path, query, params, options) : pagedLog(transport, path, query, params, options);
}

function followLog(transport: Transport, path: string, query: Query, params: LogParams, options: StreamCallOptions): EventStream<Event> {
  return follow<Event>(
    {
      after: params.after ?? null,
      open: (position, signal) =>
        openStream(transport, path, { ...query, follow: true, ...(position === null ? { tail: params.tail } : { after: position }) }, options, signal),
      parse: (record) => numbered(record, (event) => event.seq),
      sleep: transport.sleep,
      random: transport.random,
    },
    options,
  );
}

/** The tenant-wide bus, which numbers by `cursor` because `seq` is each session's own. */
export function followBus(transport: Transport, path: string, query: Query, after: number | undefined, options: StreamCallOptions): EventStream<Event> {
  return follow<Event>(
    {
      after: after ?? null,
      open: (position, signal) => openStream(transport, path, { ...query, after: position }, options, signal),
      parse: (record) => numbered(record, (event) => event.cursor ?? Number(record.id)),
      sleep: transport.sleep,
      random: transport.random,
    },
    options,
  );
}

function openStream(transport: Transport, path: string, query: Query, options: StreamCallOptions, signal: AbortSignal): Promise<Response> {
  // The stream makes its own retries, because only it knows where to go on.
  return transport.send("GET", path, (response) => Promise.resolve(response), { query, accept: "text/event-stream" }, { timeout_ms: options.timeout_ms, max_retries: 0, signal });
}

function numbered(record: SseRecord, positionOf: (event: Event) => number): { item: Event; position: number } | null {
  if (record.data === "" || record.event === "caught_up") return null;
  const parsed = looseEvent.safeParse(dataOf(record));
  if (!parsed.success) throw new ProtocolError(`A record of type ${record.event} is not an event`);
  const item = parsed.data as unknown as Event;
  return { item, position: positionOf(item) };
}

function pagedLog(transport: Transport, path: string, query: Query, params: LogParams, options: StreamCallOptions): EventStream<Event> {
  return new EventStream<Event>(params.after ?? null, async function* (stream) {
    for (let first = true; ; first = false) {
      const at: Query = first && params.tail !== undefined && stream.position === null ? { tail: params.tail } : { after: stream.position, limit: PAGE };
      const page = await transport.json("GET", path, parsePage, { query: { ...query, ...at } }, options);
      for (const event of page.events) {
        stream.position = event.seq;
        yield event;
      }
      if (!page.more || "tail" in at) return;
      if (page.next <= (stream.position ?? 0) && page.events.length === 0) throw new ProtocolError("A page of the log leads nowhere");
      stream.position = page.next;
    }
  });
}

function parsePage(value: unknown): { events: Event[]; next: number; more: boolean } {
  const parsed = loosePage.safeParse(value);
  if (!parsed.success) throw new ProtocolError("Expected a page of events ({events, next, more}) and got something else");
  return { events: parsed.data.events as unknown as Event[], next: parsed.data.next, more: parsed.data.more };
}
