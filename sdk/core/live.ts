/** Owns the live socket: a log or the bus over a WebSocket, which reconnects after every cut from the last number it handed on, and reads no faster than its user. */

import { expand, type Event, type EventBlock } from "../protocol/event.ts";
import { CLOSE } from "../protocol/link-words.ts";
import { ApiError, errorFrom } from "./errors.ts";
import { backoff } from "./retry.ts";

/** What is watched: `connecting` and `waiting` (to connect again) are not live; `ended` will never be again. */
export type LiveState = "connecting" | "live" | "waiting" | "ended" | "closed";

export interface LiveHandlers {
  /** Events in order, each once. A promise holds back what comes after: nothing more is sent than the window of the link. */
  onEvents(events: Event[]): void | Promise<void>;
  /** Everything that was there when the socket opened has been handed on. */
  onCaughtUp?(): void;
  /** `error` with `waiting` says why; with `ended` it is set where the server refused. */
  onState?(state: LiveState, error?: unknown): void;
  /** Events in (`after`, `first`) are no longer kept: the one way to miss something, and it is told. */
  onGap?(after: number, first: number): void;
}

export interface LiveOptions {
  /** The socket's address without the position. */
  url: URL;
  /** For a client with a key: the subprotocols that bring it. */
  protocols: string[];
  /** The session of a log; null for the bus. */
  sessionId: string | null;
  after: number | null;
  tail?: number | undefined;
  random: () => number;
  socket?: (url: string, protocols: string[]) => WebSocket;
}

export interface Live {
  /** Number of the last event that was handed on. */
  readonly position: number | null;
  readonly state: LiveState;
  close(): void;
}

const MAX_WAIT_MS = 5_000;
/** What is handed on meanwhile is acknowledged at once: far less than the link's window comes in that time. */
const ACK_MS = 25;
/** Closes that no reconnection mends: the log has ended, or the server does not want us. */
const FINAL = new Set<number>([CLOSE.ended, CLOSE.protocol, CLOSE.version]);

type Frame =
  | (EventBlock & { type: "events"; seqs?: number[] })
  | { type: "events"; events: Event[] }
  | { type: "caught_up"; seq?: number; cursor?: number }
  | { type: "end"; seq: number; reason: string }
  | { type: "gap"; after: number; first: number }
  | { type: "error"; error: unknown };

function eventsOf(sessionId: string | null, frame: Frame & { type: "events" }): Event[] {
  if ("events" in frame) return frame.events;
  const { seqs } = frame;
  const events = expand(sessionId ?? "", frame);
  return seqs ? events.map((event, i) => Object.assign(event, { seq: seqs[i] ?? event.seq })) : events;
}

/** Opens the socket and keeps it open until `close` or the log's end. */
export function live(options: LiveOptions, handlers: LiveHandlers): Live {
  let position = options.after;
  let state: LiveState = "connecting";
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let problem: unknown;

  function become(next: LiveState, error?: unknown): void {
    if (state === "closed") return;
    state = next;
    handlers.onState?.(next, error);
  }
  function again(): void {
    failures++;
    const delay = backoff(failures, options.random(), MAX_WAIT_MS);
    become("waiting", problem);
    timer = setTimeout(connect, delay);
  }
  function connect(): void {
    const url = new URL(options.url);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("flow", "1");
    if (position !== null) url.searchParams.set("after", String(position));
    else if (options.tail !== undefined) url.searchParams.set("tail", String(options.tail));
    become("connecting");
    problem = undefined;
    const own = options.socket ? options.socket(url.href, options.protocols) : new WebSocket(url, options.protocols);
    socket = own;
    let turn = Promise.resolve();
    let ended = false;
    own.addEventListener("message", ({ data }) => {
      turn = turn.then(async () => {
        if (socket !== own || state === "closed") return;
        const frame = JSON.parse(String(data)) as Frame;
        failures = 0;
        if (frame.type === "events") {
          const numbered = eventsOf(options.sessionId, frame);
          const fresh = numbered.filter((event) => position === null || (event.cursor ?? event.seq) > position);
          if (state !== "live") become("live");
          if (fresh.length > 0) await handlers.onEvents(fresh);
          const last = numbered.at(-1);
          if (last) acknowledge(last.cursor ?? last.seq, last.cursor !== undefined);
        } else if (frame.type === "caught_up") {
          become("live");
          acknowledge(frame.cursor ?? frame.seq ?? 0, frame.cursor !== undefined);
          handlers.onCaughtUp?.();
        } else if (frame.type === "gap") handlers.onGap?.(frame.after, frame.first);
        else if (frame.type === "error") problem = errorFrom(frame.error);
        else ended = true;
      });
      turn.catch((error: unknown) => {
        problem = error;
        own.close();
      });
    });
    own.addEventListener("close", ({ code }) => {
      // What failed there has been taken note of.
      void turn.catch(() => {}).then(() => {
        if (socket !== own || state === "closed") return;
        socket = null;
        if (ended || FINAL.has(code) || (problem instanceof ApiError && problem.status < 500 && problem.status !== 429)) become("ended", problem);
        else again();
      });
    });
  }
  let acking: ReturnType<typeof setTimeout> | undefined;
  let unsaid = false;
  function acknowledge(at: number, cursor: boolean): void {
    position = Math.max(position ?? 0, at);
    unsaid = true;
    if (acking !== undefined) return;
    const say = () => {
      acking = undefined;
      // The one of now: another may have been opened meanwhile.
      if (!unsaid || !socket || socket.readyState !== socket.OPEN) return;
      unsaid = false;
      socket.send(JSON.stringify(cursor ? { type: "ack", cursor: position } : { type: "ack", seq: position }));
      acking = setTimeout(say, ACK_MS);
    };
    say();
  }

  connect();
  return {
    get position() {
      return position;
    },
    get state() {
      return state;
    },
    close() {
      become("closed");
      clearTimeout(timer);
      clearTimeout(acking);
      socket?.close(1000);
      socket = null;
    },
  };
}

