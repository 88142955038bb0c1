/** Owns the resuming stream: an async iterator over SSE that reconnects after every cut from the last number it gave out. */

import { ConnectionError, errorFrom, MarionetteError, ProtocolError } from "./errors.ts";
import { backoff, isRetryable } from "./retry.ts";
import type { Sleep } from "./sleep.ts";
import { SseParser, type SseRecord } from "./sse.ts";

/** A connection that has been silent for this long is taken for dead; the server sends a comment at least every 30 s. */
const IDLE_MS = 45_000;
/** Attempts in a row that brought no byte, before the stream gives up: a minute and a half with the waits between them. */
const MAX_RECONNECTS = 20;
const MAX_WAIT_MS = 5_000;

export interface Reconnect {
  /** Attempts in a row that brought nothing. */
  failures: number;
  error: unknown;
  delay_ms: number;
}

export interface StreamOptions {
  /** Ends the stream; the iterator then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  idle_ms?: number | undefined;
  max_reconnects?: number | undefined;
  /** Attempts of the first connection beyond the first; later cuts count as `max_reconnects`. */
  max_retries?: number | undefined;
  /** Told after every connection: what happens from now on will be seen. */
  on_open?: (() => void) | undefined;
  /** Told before every wait. */
  on_reconnect?: ((what: Reconnect) => void) | undefined;
}

export interface StreamSource<T> {
  /** Opens the stream after `position`, or from where the caller asked at first (null). */
  open(position: number | null, signal: AbortSignal): Promise<Response>;
  /** The item and its number; null for a record that is not the caller's business. */
  parse(record: SseRecord): { item: T; position: number } | null;
  after: number | null;
  sleep: Sleep;
  random: () => number;
}

/**
 * Items of a live log. Every number comes once, whatever the connection does. `break` aborts the request. Ends when the server says that no more can
 * come; iterating again goes on from `position`.
 */
export class EventStream<T> implements AsyncIterable<T> {
  /** Number of the last item that was given out, or `after`; null before the first. */
  position: number | null;
  readonly #items: (stream: EventStream<T>) => AsyncGenerator<T, void, undefined>;
  constructor(after: number | null, items: (stream: EventStream<T>) => AsyncGenerator<T, void, undefined>) {
    this.position = after;
    this.#items = items;
  }
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    return this.#items(this);
  }
}

/** A followed stream over server-sent events. */
export function follow<T>(source: StreamSource<T>, options: StreamOptions = {}): EventStream<T> {
  return new EventStream<T>(source.after, (stream) => items(stream, source, options));
}

async function* items<T>(stream: EventStream<T>, source: StreamSource<T>, options: StreamOptions): AsyncGenerator<T, void, undefined> {
  const stop = new AbortController();
  const onAbort = () => stop.abort(options.signal?.reason);
  if (options.signal?.aborted) onAbort();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  let failures = 0;
  let connected = false;
  try {
    for (;;) {
      let failure: unknown;
      try {
        stop.signal.throwIfAborted();
        const response = await source.open(stream.position, stop.signal);
        connected = true;
        options.on_open?.();
        for await (const records of recordsOf(response, options.idle_ms ?? IDLE_MS, stop.signal)) {
          failures = 0;
          for (const record of records) {
            if (record.event === "end") {
              const { error } = dataOf(record);
              if (error === undefined) return;
              throw errorFrom(error);
            }
            const parsed = source.parse(record);
            if (!parsed) {
              const marked = record.id === null || record.id === "" ? Number.NaN : Number(record.id);
              if (marked > (stream.position ?? -1)) stream.position = marked;
              continue;
            }
            if (stream.position !== null && parsed.position <= stream.position) continue;
            stream.position = parsed.position;
            yield parsed.item;
          }
        }
        failure = new ConnectionError("The stream was closed before its end");
      } catch (error) {
        if (stop.signal.aborted) throw stop.signal.reason;
        if (!isRetryable(error)) throw error;
        failure = error;
      }
      failures++;
      if (failures > (connected ? (options.max_reconnects ?? MAX_RECONNECTS) : (options.max_retries ?? 3))) throw failure;
      const delay = backoff(failures, source.random(), MAX_WAIT_MS);
      options.on_reconnect?.({ failures, error: failure, delay_ms: delay });
      await source.sleep(delay, stop.signal);
    }
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
    stop.abort(new MarionetteError("The stream was left"));
  }
}

/** Batches of records as the bytes arrive; ends with the body, throws `ConnectionError` where it breaks or falls silent. */
async function* recordsOf(response: Response, idleMs: number, signal: AbortSignal): AsyncGenerator<SseRecord[], void, undefined> {
  const type = response.headers.get("content-type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) {
    await response.body?.cancel();
    throw new ProtocolError(`Expected a stream of events, got ${type || "no content"}`);
  }
  const reader = response.body.getReader();
  const parser = new SseParser();
  // Cancelling resolves a pending read at once and closes the connection.
  const cancel = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    for (;;) {
      const chunk = await readWithin(reader, idleMs);
      signal.throwIfAborted();
      if (chunk === null) return;
      yield parser.push(chunk);
    }
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}

async function readWithin(reader: ReadableStreamDefaultReader<Uint8Array>, idleMs: number): Promise<Uint8Array | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ConnectionError(`The stream was silent for ${idleMs} ms`)), idleMs);
  });
  try {
    const { done, value } = await Promise.race([reader.read(), silence]);
    return done ? null : value;
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    throw new ConnectionError("The stream broke", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Parses a record's data as a JSON object; an `{"error": …}` that the server sent in place of an event is thrown. */
export function dataOf(record: SseRecord): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(record.data);
  } catch {
    value = null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ProtocolError(`An event of type ${record.event} holds no JSON object`);
  const data = value as Record<string, unknown>;
  // `event: error` of a session is an event with a number; an error without one is the stream's own.
  if (data["seq"] === undefined && data["error"] !== undefined) throw errorFrom(data["error"]);
  return data;
}
