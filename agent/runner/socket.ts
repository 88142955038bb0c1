/** Owns one connection of the link: a WebSocket over http, https or a Unix socket, text messages only, whose end comes soon and once. */

import { WebSocket, type ClientOptions } from "ws";

export interface SocketHandlers {
  open(): void;
  message(text: string): void;
  /** Once, at the end, also where it never opened; 1006 is an end without a word. */
  close(code: number, reason: string): void;
  /** The server answered the upgrade with this status instead; `close` follows. */
  refused(status: number): void;
}

export interface SocketOptions {
  /** http(s)://host[:port]/path */
  url: string;
  /** A Unix socket to reach the server by. */
  socket?: string | undefined;
  headers: Readonly<Record<string, string>>;
  /** Largest message, in bytes. */
  maxBytes: number;
  /** Until it is open, and again for the server's goodbye, in milliseconds. */
  timeoutMs: number;
}

/** Longest wait for the end of a connection on which both sides have said goodbye: workerd leaves it open for many seconds. */
const GOODBYE_MS = 500;
const NOT_TEXT = 1003;

export class ClientSocket {
  readonly #handlers: SocketHandlers;
  readonly #socket: WebSocket | null = null;
  #leaving = false;
  #ended = false;

  constructor({ url, socket, headers, maxBytes, timeoutMs }: SocketOptions, handlers: SocketHandlers) {
    this.#handlers = handlers;
    const { host, pathname, search } = new URL(url);
    const target = socket === undefined ? url.replace(/^http/, "ws") : `ws+unix:${socket}:${pathname}${search}`;
    try {
      const options: ClientOptions & { closeTimeout: number } = {
        headers: { ...headers, host }, perMessageDeflate: false, maxPayload: maxBytes, handshakeTimeout: timeoutMs, closeTimeout: Math.min(timeoutMs, GOODBYE_MS),
      };
      this.#socket = new WebSocket(target, options);
    } catch {
      // A path that no URL can hold, for one.
      setImmediate(() => this.#end(1006, ""));
      return;
    }
    this.#socket.on("open", () => handlers.open());
    this.#socket.on("message", (data, binary) => {
      if (this.#leaving) return;
      if (binary) return this.close(NOT_TEXT, "binary messages are not spoken here");
      // A Buffer, as no other `binaryType` is set.
      handlers.message((data as Buffer).toString());
    });
    this.#socket.on("unexpected-response", (_request, response) => {
      response.resume();
      if (!this.#ended) handlers.refused(response.statusCode ?? 0);
      this.terminate();
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", (code, reason) => this.#end(code, reason.toString()));
  }

  get open(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN && !this.#leaving;
  }
  /** It has said goodbye and waits for the server's. */
  get leaving(): boolean {
    return this.#leaving;
  }

  send(text: string): void {
    if (this.open) this.#socket?.send(text);
  }
  /** Says goodbye; `close` follows when the server has, or has not for too long. */
  close(code: number, reason = ""): void {
    if (!this.open) return this.#leaving ? undefined : this.terminate();
    this.#leaving = true;
    this.#socket?.close(code, reason.slice(0, 100));
  }
  /** Ends at once, without a word. */
  terminate(): void {
    this.#socket?.terminate();
    this.#end(1006, "");
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handlers.close(code, reason);
  }
}
