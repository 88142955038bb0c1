/** Owns the reading end of a socket to an object: frames in order, taken one at a time, acknowledged when they have been used. */

import type { Actor } from "../../durable-objects/index.ts";
import { failureOf } from "../middleware/errors.ts";
import { reach } from "../calls.ts";

/** The header by which an object knows on whose behalf the worker opens a socket. */
const ACTOR_HEADER = "x-marionette-actor";
/** The name under which the worker counts the stream that a socket serves. */
export const STREAM_HEADER = "x-marionette-stream";

/**
 * Asks an object for a WebSocket, and answers the object's response with the socket in it; throws the object's refusal.
 * `path` is the object's own (`/viewer?after=3`).
 */
export async function upgrade(stub: () => Fetcher, path: string, headers: Record<string, string>): Promise<Response & { webSocket: WebSocket }> {
  const response = await reach(() => stub().fetch(`http://object${path}`, { headers: { ...headers, upgrade: "websocket" } }));
  if (!response.webSocket) throw await failureOf(response);
  return response as Response & { webSocket: WebSocket };
}

/** JSON for a header: header values are ASCII, what people call their things is not. */
export function headerJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
export function actorHeaders(actor: Actor): Record<string, string> {
  return { [ACTOR_HEADER]: headerJson(actor) };
}

/** What one of our own objects sent; null where it is no frame. */
function frameOf(text: string): { type: string } | null {
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string" ? { ...value, type: value.type } : null;
}

/** Frames of a socket. `next` answers null once the socket has closed and all that came before was taken. */
export class FrameSource<F> {
  readonly #socket: WebSocket;
  readonly #frames: F[] = [];
  #open = true;
  #wake: (() => void) | null = null;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const frame = typeof data === "string" ? frameOf(data) : null;
      if (frame) this.#frames.push(frame as F);
      else this.close();
      this.#stir();
    });
    const ended = () => {
      this.#open = false;
      this.#stir();
    };
    socket.addEventListener("close", ended);
    socket.addEventListener("error", ended);
    socket.accept();
  }

  /** The next frame, null at the end, or `idle` where none came for so many milliseconds. */
  async next(idleMs: number): Promise<F | null | "idle"> {
    const frame = this.#frames.shift();
    if (frame) return frame;
    if (!this.#open) return null;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), idleMs);
    this.#wake = () => resolve(true);
    const stirred = await promise;
    clearTimeout(timer);
    this.#wake = null;
    return stirred ? this.next(idleMs) : "idle";
  }

  send(frame: unknown): void {
    if (this.#open) this.#socket.send(JSON.stringify(frame));
  }
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close(1000, "the reader left");
    this.#stir();
  }
  #stir(): void {
    this.#wake?.();
  }
}
