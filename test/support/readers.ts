/** Owns live readers of a session's log for tests: they come back after every cut with `after=`, and keep exactly what they were given. */

import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { SseParser } from "../../sdk/core/sse.ts";
import { event, expand, viewerFrame, type Event, type EventBlock } from "../../sdk/protocol/index.ts";

export interface Reader {
  /** Everything that was given, in the order in which it came; doubles too. */
  readonly events: Event[];
  /** Connections so far. */
  readonly connections: number;
  /** Resolves when the server has said that no more will come. */
  readonly ended: Promise<void>;
  stop(): void;
}

interface Place {
  url: string;
  apiKey: string;
  sessionId: string;
  /** Told of every event as it comes. */
  onEvent?: (event: Event) => void;
}

const AGAIN_MS = 50;

/** Reads over and over until `once` says that it is over. */
function reading({ onEvent }: Place, once: (after: number, take: (events: Event[]) => void, signal: AbortSignal) => Promise<boolean>): Reader {
  const events: Event[] = [];
  const abort = new AbortController();
  let connections = 0;
  async function run(): Promise<void> {
    while (!abort.signal.aborted) {
      connections++;
      const over = await once(events.at(-1)?.seq ?? 0, (more) => {
        events.push(...more);
        for (const each of more) onEvent?.(each);
      }, abort.signal).catch(() => false);
      if (over) return;
      await delay(AGAIN_MS);
    }
  }
  const ended = run();
  return { events, get connections() { return connections; }, ended, stop: () => abort.abort() };
}

/** Over server-sent events. */
export function sseReader(place: Place): Reader {
  const { url, apiKey, sessionId } = place;
  return reading(place, async (after, take, signal) => {
    const response = await fetch(`${url}/api/v1/sessions/${sessionId}/events?follow=true&after=${after}`, { headers: { authorization: `Bearer ${apiKey}`, accept: "text/event-stream" }, signal });
    if (response.status !== 200 || !response.body) throw new Error(`answered ${response.status}`);
    const parser = new SseParser();
    for await (const bytes of response.body) {
      const records = parser.push(bytes as Uint8Array);
      take(records.filter(({ event: name, data }) => name !== "caught_up" && name !== "end" && data !== "").map(({ data }) => event.parse(JSON.parse(data)) as unknown as Event));
      if (records.some(({ event: name }) => name === "end")) return true;
    }
    return false;
  });
}

/** Over the viewers' WebSocket. */
export function socketReader(place: Place): Reader {
  const { url, apiKey, sessionId } = place;
  return reading(place, (after, take, signal) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/v1/sessions/${sessionId}/events?after=${after}`, { headers: { authorization: `Bearer ${apiKey}` }, perMessageDeflate: false });
    signal.addEventListener("abort", () => socket.terminate(), { once: true });
    let over = false;
    socket.on("message", (data: Buffer) => {
      const frame = viewerFrame.parse(JSON.parse(data.toString()));
      if (frame.type === "events") {
        const { seqs, from, task_id, run_id, items } = frame;
        take(expand(sessionId, { from, task_id, run_id, items } as EventBlock).map((each, i) => ({ ...each, seq: seqs?.[i] ?? each.seq })));
      } else if (frame.type === "end") over = true;
    });
    socket.on("error", () => {});
    socket.on("unexpected-response", () => {
      socket.terminate();
      reject(new Error("no upgrade"));
    });
    socket.on("close", () => resolve(over));
  }));
}
