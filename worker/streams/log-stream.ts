/** Owns the turning of an object's frames into a streamed body: server-sent events, or plain text for terminals. */

import { tenantStub } from "../../durable-objects/index.ts";
import { expand, Failure, type Event, type ViewerFrame } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import type { Ctx } from "../context.ts";
import type { FrameSource } from "./source.ts";

/** Proxies close a stream that is silent for a minute or less. */
const KEEP_ALIVE_MS = 15_000;

/** How one kind of body shows what comes. */
interface Rendering {
  contentType: string;
  event(event: Event): string;
  /** Everything up to `seq` was considered; a reader that comes back may go on from there. */
  caughtUp(seq: number): string;
  note(text: string): string;
  end(seq: number, reason: string, error?: unknown): string;
}

export const sse: Rendering = {
  contentType: "text/event-stream",
  event: (event) => `id: ${event.cursor ?? event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
  caughtUp: (seq) => `id: ${seq}\nevent: caught_up\ndata: ${JSON.stringify({ seq })}\n\n`,
  note: (text) => `: ${text}\n\n`,
  end: (seq, reason, error) => `event: end\ndata: ${JSON.stringify({ seq, reason, ...(error !== undefined && { error }) })}\n\n`,
};

/** What a person would have read in a terminal: output and the agent's words. */
export function textOf(event: Event): string {
  if (event.type === "log") return event.data.encoding === "base64" ? new TextDecoder().decode(Uint8Array.from(atob(event.data.text), (char) => char.charCodeAt(0))) : event.data.text;
  if (event.type === "message") return event.data.text.endsWith("\n") ? event.data.text : `${event.data.text}\n`;
  return "";
}
export const plainText: Rendering = { contentType: "text/plain; charset=utf-8", event: textOf, caughtUp: () => "", note: () => "", end: () => "" };

/** The events of a viewer's frame, numbered. */
export function eventsOf(sessionId: string, frame: Extract<ViewerFrame, { type: "events" }>): Event[] {
  const { from, task_id, run_id, items, seqs } = frame;
  const events = expand(sessionId, { from, task_id, run_id, items });
  return seqs ? events.map((event, i) => ({ ...event, seq: seqs[i] ?? event.seq })) : events;
}

/** What a frame means to a stream: events to show, and a word back; or the end. */
export interface Reading {
  events: Event[];
  caughtUp?: number;
  /** A remark for people who read the stream as it is. */
  note?: string;
  /** Sent to the object once the client has taken the events. */
  ack?: unknown;
  end?: { seq: number; reason: string; error?: unknown };
}

function textFor(rendering: Rendering, { events, caughtUp, note, end }: Reading): string {
  const shown = events.map((event) => rendering.event(event)).join("");
  return (note === undefined ? "" : rendering.note(note)) + shown + (caughtUp === undefined ? "" : rendering.caughtUp(caughtUp)) + (end ? rendering.end(end.seq, end.reason, end.error) : "");
}

/** Counts a stream of the tenant while it is open; throws `rate_limited` where the tenant has too many. */
export async function counted(c: Ctx, tenantId: string): Promise<() => void> {
  const id = c.get("request_id");
  const admitted = await reach(() => tenantStub(c.env, tenantId).openStream(id));
  if (!admitted) throw new Failure("rate_limited", "The tenant has as many open streams as it may", { hint: "Close one, or raise open_streams", details: { retry_after_seconds: 5 } });
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    c.executionCtx.waitUntil(reach(() => tenantStub(c.env, tenantId).closeStream(id)).catch(() => {}));
  };
}

/**
 * Streams what comes from `source`. Nothing is read ahead of the client: a frame is taken when the client has room, and
 * acknowledged when it has been taken, so that a slow client slows the object and not the worker's memory.
 */
export function streamed<F>(open: { source: FrameSource<F>; read: (frame: F) => Reading; rendering: Rendering; closed: () => void }): Response {
  const { source, rendering, read, closed } = open;
  const encoder = new TextEncoder();
  let ack: unknown;
  const leave = () => {
    source.close();
    closed();
  };

  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // Asked for more: what was given last has gone out.
        if (ack !== undefined) source.send(ack);
        ack = undefined;
        for (;;) {
          const frame = await source.next(KEEP_ALIVE_MS);
          if (frame === null) {
            closed();
            controller.close();
            return;
          }
          const reading: Reading | null = frame === "idle" ? null : read(frame);
          const text = reading ? textFor(rendering, reading) : rendering.note("keep-alive");
          if (text) controller.enqueue(encoder.encode(text));
          if (reading?.end) {
            leave();
            controller.close();
            return;
          }
          if (text) {
            ack = reading?.ack;
            return;
          }
          if (reading?.ack !== undefined) source.send(reading.ack);
        }
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": rendering.contentType, "x-accel-buffering": "no" } });
}
