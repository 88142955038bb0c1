/**
 * Owns a WebSocket client of what the link needs and no more (RFC 6455, text messages, no extensions), over http, https or a Unix socket.
 * The usual package loads TLS, zlib and crypto before a runner can say hello, which is half of its start.
 */

import { isUtf8 } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";
import type { ClientRequest, RequestOptions } from "node:http";
import type { Duplex } from "node:stream";

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

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const EMPTY = Buffer.alloc(0);
/** What breaks the protocol is not waited for; our goodbye only has to get there. */
const REFUSED_MS = 100;

export class ClientSocket {
  readonly #options: SocketOptions;
  readonly #handlers: SocketHandlers;
  #request: ClientRequest | null = null;
  #stream: Duplex | null = null;
  #received: Buffer[] = [];
  #size = 0;
  /** Parts of a message that came in several frames. */
  #parts: Buffer[] | null = null;
  #partsSize = 0;
  #said: { code: number; reason: string } | null = null;
  #closing = false;
  #ended = false;
  #timer: NodeJS.Timeout;

  constructor(options: SocketOptions, handlers: SocketHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#timer = setTimeout(() => this.terminate(), options.timeoutMs);
    this.#connect();
  }

  get open(): boolean {
    return this.#stream !== null && !this.#closing && !this.#ended;
  }

  /** It has said goodbye and waits for the server's. */
  get leaving(): boolean {
    return this.#closing;
  }

  send(text: string): void {
    if (this.open) this.#write(TEXT, Buffer.from(text));
  }

  /** Says goodbye; `close` follows when the server has, or has not for too long. */
  close(code: number, reason = ""): void {
    if (this.#closing || this.#ended) return;
    if (!this.#stream) return this.terminate();
    this.#goodbye(code, reason);
  }

  /** Ends at once, without a word. */
  terminate(): void {
    this.#request?.destroy();
    this.#stream?.destroy();
    this.#end();
  }

  #connect(): void {
    const { url, socket, headers } = this.#options;
    try {
      const target = new URL(url);
      const secure = socket === undefined && target.protocol === "https:";
      // Imported, these modules would evaluate every export, among them a whole fetch that nobody here uses.
      const { request } = secure ? process.getBuiltinModule("node:https") : process.getBuiltinModule("node:http");
      const key = random(16).toString("base64");
      const options: RequestOptions = {
        ...(socket === undefined ? { host: target.hostname.replace(/^\[|\]$/g, ""), port: target.port } : { socketPath: socket }),
        path: target.pathname + target.search,
        // An agent would keep sockets that are no longer HTTP.
        agent: false,
        headers: { ...headers, host: target.host, connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": key },
      };
      const made = request(options);
      this.#request = made;
      made.on("error", () => this.#end());
      made.on("response", (response) => {
        response.resume();
        if (!this.#ended) this.#handlers.refused(response.statusCode ?? 0);
        this.terminate();
      });
      made.on("upgrade", (response, stream, head) => this.#upgraded(response.headers["sec-websocket-accept"], key, stream, head));
      made.end();
    } catch {
      this.#end();
    }
  }

  #upgraded(accept: string | undefined, key: string, stream: Duplex, head: Buffer): void {
    if (this.#ended) return void stream.destroy();
    clearTimeout(this.#timer);
    this.#stream = stream;
    if ("setNoDelay" in stream && typeof stream.setNoDelay === "function") stream.setNoDelay(true);
    stream.on("error", () => {});
    stream.on("close", () => this.#end());
    stream.on("end", () => stream.end());
    stream.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#handlers.open();
    if (head.length > 0) this.#read(head);
    // Whether it is a WebSocket server at all is checked when there is time for it.
    setImmediate(() => {
      const { createHash } = process.getBuiltinModule("node:crypto");
      if (accept !== createHash("sha1").update(key + GUID).digest("base64")) this.terminate();
    });
  }

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    this.#received.push(chunk);
    this.#size += chunk.length;
    while (!this.#ended && this.#frame());
  }

  /** Takes one whole frame off what was received; false where there is none yet. */
  #frame(): boolean {
    if (this.#size < 2) return false;
    const head = this.#peek(Math.min(this.#size, 10));
    const [first = 0, second = 0] = head;
    const opcode = first & 0x0f;
    const final = (first & 0x80) !== 0;
    if ((first & 0x70) !== 0 || (second & 0x80) !== 0) return this.#fail(1002, "a frame with reserved bits or a mask");
    let length = second & 0x7f;
    let header = 2;
    if (length === 126) {
      if (head.length < 4) return false;
      length = head.readUInt16BE(2);
      header = 4;
    } else if (length === 127) {
      if (head.length < 10) return false;
      const large = head.readBigUInt64BE(2);
      length = large > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(large);
      header = 10;
    }
    if (opcode >= CLOSE && (length > 125 || !final)) return this.#fail(1002, "a control frame that is long or in parts");
    if (length + this.#partsSize > this.#options.maxBytes) return this.#fail(1009, "a message that is too large");
    if (this.#size < header + length) return false;
    const payload = this.#peek(header + length).subarray(header);
    this.#drop(header + length);
    return this.#taken(opcode, final, payload);
  }

  #taken(opcode: number, final: boolean, payload: Buffer): boolean {
    switch (opcode) {
      case PING:
        if (!this.#closing) this.#write(PONG, payload);
        return true;
      case PONG:
        return true;
      case CLOSE: {
        if (payload.length === 1) return this.#fail(1002, "a close frame of one byte");
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        this.#said = { code, reason: payload.subarray(2).toString() };
        if (!this.#closing) this.#goodbye(code === 1005 ? 1000 : code, "");
        this.#stream?.end();
        return false;
      }
      case TEXT:
        if (this.#parts) return this.#fail(1002, "a message inside another");
        if (final) return this.#text(payload);
        this.#parts = [payload];
        this.#partsSize = payload.length;
        return true;
      case 0: {
        if (!this.#parts) return this.#fail(1002, "a continuation of nothing");
        this.#parts.push(payload);
        this.#partsSize += payload.length;
        if (!final) return true;
        const whole = Buffer.concat(this.#parts);
        this.#parts = null;
        this.#partsSize = 0;
        return this.#text(whole);
      }
      case BINARY:
        return this.#fail(1003, "binary messages are not spoken here");
      default:
        return this.#fail(1002, "a frame of an unknown kind");
    }
  }

  #text(bytes: Buffer): boolean {
    if (!isUtf8(bytes)) return this.#fail(1007, "a text that is not UTF-8");
    if (!this.#closing) this.#handlers.message(bytes.toString("utf8"));
    return true;
  }

  #fail(code: number, why: string): false {
    this.#said = { code, reason: why };
    if (!this.#closing) this.#goodbye(code, why, REFUSED_MS);
    this.#stream?.end();
    this.#received = [];
    this.#size = 0;
    // Nothing that follows is worth reading.
    this.#stream?.removeAllListeners("data").resume();
    return false;
  }

  #goodbye(code: number, reason: string, waitMs = Math.min(this.#options.timeoutMs, 2_000)): void {
    const text = Buffer.from(reason).subarray(0, 123);
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    this.#write(CLOSE, payload);
    this.#closing = true;
    this.#timer = setTimeout(() => this.terminate(), waitMs);
    this.#timer.unref();
  }

  #write(opcode: number, payload: Buffer): void {
    const { length } = payload;
    const header = length < 126 ? 2 : length < 65_536 ? 4 : 10;
    const frame = Buffer.allocUnsafe(header + 4 + length);
    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
    if (header === 4) frame.writeUInt16BE(length, 2);
    else if (header === 10) frame.writeBigUInt64BE(BigInt(length), 2);
    const mask = random(4);
    mask.copy(frame, header);
    const at = header + 4;
    for (let i = 0; i < length; i++) frame[at + i] = (payload[i] as number) ^ (mask[i & 3] as number);
    this.#stream?.write(frame);
  }

  /** The first bytes of what was received, in one piece. */
  #peek(count: number): Buffer {
    const [first = EMPTY] = this.#received;
    if (first.length >= count) return first.subarray(0, count);
    const whole = Buffer.concat(this.#received);
    this.#received = [whole];
    return whole.subarray(0, count);
  }

  #drop(count: number): void {
    const [first = EMPTY, ...rest] = this.#received;
    this.#size -= count;
    this.#received = first.length === count ? rest : [first.subarray(count), ...rest];
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    const { code, reason } = this.#said ?? { code: 1006, reason: "" };
    // Never within the caller's own turn: it may be in the middle of something.
    setImmediate(() => this.#handlers.close(code, reason));
  }
}

const POOL_BYTES = 4_096;
let pool = EMPTY;
let used = 0;

/** Bytes that a proxy on the way cannot foresee; read from the system, as loading `crypto` takes longer than all else here. */
function random(count: number): Buffer {
  if (used + count > pool.length) {
    pool = Buffer.alloc(POOL_BYTES);
    used = 0;
    const fd = openSync("/dev/urandom", "r");
    try {
      readSync(fd, pool);
    } finally {
      closeSync(fd);
    }
  }
  used += count;
  return pool.subarray(used - count, used);
}
