/** Owns the daemon's connection to its HostObject: dials out, keeps it alive, and comes back for ever. */

import { newWebSocketRpcSession, type RpcStub } from "capnweb";
import { WebSocket } from "ws";
import type { HostDoor, Secret } from "../../sdk/protocol/index.ts";
import type { Logger } from "./log.ts";

const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;
/** The first attempts, for about 20 s, come in quick succession: a control plane that only restarts is to be met at once. */
const SOON_ATTEMPTS = 40;
const SOON_DELAY_MS = 500;
/** A refused token is tried again slowly: it may be a rotation that has not arrived everywhere. */
const REFUSED_DELAY_MS = 10_000;
const PING_MS = 15_000;
const HANDSHAKE_MS = 10_000;
/** A reply of files is base64 of 1 MiB at most; listings of 10,000 entries are larger. */
const MAX_MESSAGE_BYTES = 16 * 1_048_576;

export interface LinkOptions {
  /** Base URL of the control plane. */
  server: string;
  token: Secret;
  hostId: () => string | null;
  /** Says hello and does what the welcome wants; a rejection closes the connection. */
  onConnect: (door: RpcStub<HostDoor>) => Promise<void>;
  log: Logger;
}

/** How long to wait before the attempt after `failures` failed ones. Pure; `jitter` in 0 … 1 takes off up to a third. */
export function reconnectDelay(failures: number, refused: boolean, jitter: number): number {
  const full = refused ? REFUSED_DELAY_MS : Math.min(failures < SOON_ATTEMPTS ? SOON_DELAY_MS : MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 16));
  return Math.round(full * (1 - jitter / 3));
}

/** Address of the upgrade. */
export function linkUrl(server: string, hostId: string | null): string {
  const url = new URL(`${server.replace(/\/+$/, "")}/links/host`);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (hostId !== null) url.searchParams.set("host_id", hostId);
  return url.href;
}

/** The runtime answers pings itself, and the object does not see them. An object of an older version does not know the word. */
function lives(door: RpcStub<HostDoor>): void {
  void door.alive(PING_MS).catch(() => {});
}

export class Link {
  readonly #options: LinkOptions;
  #socket: WebSocket | null = null;
  #door: RpcStub<HostDoor> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** The object, where the daemon is connected and welcome. */
  get door(): RpcStub<HostDoor> | null {
    return this.#door;
  }

  open(): void {
    const { server, token, hostId, log } = this.#options;
    let refused = false;
    let alive = true;
    const socket = new WebSocket(linkUrl(server, hostId()), {
      headers: { authorization: `Bearer ${token.reveal()}` },
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    const pings = setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (!alive) return socket.terminate();
      alive = false;
      socket.ping();
      if (this.#door) lives(this.#door);
    }, PING_MS);
    const heard = () => (alive = true);
    socket.on("pong", heard);
    socket.on("message", heard);
    socket.on("open", () => void this.#greet(socket));
    socket.on("unexpected-response", (request, response) => {
      refused = response.statusCode === 401 || response.statusCode === 403;
      const say = this.#failures === 0 || refused ? log.error : log.debug;
      say(refused ? "link.refused" : "link.failed", { server, status: response.statusCode, hint: refused ? "the runner token is unknown, expired or revoked: make one with `mctl hosts token`; still trying, slowly" : undefined });
      response.resume();
      request.destroy();
      socket.terminate();
    });
    socket.on("error", (error) => {
      // Once, not at every attempt: the control plane may be away for hours.
      (this.#failures === 0 ? log.warn : log.debug)("link.error", { server, error: error.message });
    });
    socket.on("close", (code, reason) => {
      clearInterval(pings);
      if (this.#socket !== socket) return;
      this.#socket = null;
      if (this.#door) log.warn("link.closed", { code, reason: reason.toString().slice(0, 200) });
      this.#door = null;
      if (this.#closed) return;
      const delay = reconnectDelay(this.#failures++, refused, Math.random());
      this.#timer = setTimeout(() => this.open(), delay);
    });
  }

  async #greet(socket: WebSocket): Promise<void> {
    const door = newWebSocketRpcSession<HostDoor>(socket as unknown as globalThis.WebSocket);
    try {
      await this.#options.onConnect(door);
      if (socket.readyState !== WebSocket.OPEN) return;
      this.#failures = 0;
      this.#door = door;
      lives(door);
    } catch (error) {
      this.#options.log.warn("link.hello_failed", { error: error instanceof Error ? error.message : String(error) });
      socket.close();
    }
  }

  /** Closes the connection and does not come back. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (!socket || socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.terminate(), 1_000);
      socket.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
      else socket.close(1000, "the daemon stops");
    });
  }
}
