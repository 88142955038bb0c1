import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { ClientSocket, type SocketOptions } from "./socket.ts";

let http: Server;
let accept: (stream: Duplex, key: string) => void;
let websockets: WebSocketServer;
const clients: ClientSocket[] = [];
const streams = new Set<Duplex>();

beforeEach(async () => {
  http = createServer();
  websockets = new WebSocketServer({ noServer: true });
  accept = () => {};
  http.on("connection", (stream) => streams.add(stream));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  for (const stream of streams) stream.destroy();
  streams.clear();
  await new Promise((resolve) => http.close(resolve));
});

const url = () => `http://127.0.0.1:${(http.address() as AddressInfo).port}/path?x=1`;

/** A client, with everything that happens to it in order. */
function client(options: Partial<SocketOptions> = {}) {
  const told: unknown[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const { promise: heard, resolve: hear } = Promise.withResolvers<string>();
  const socket = new ClientSocket({ url: url(), headers: { "x-token": "t" }, maxBytes: 1_000_000, timeoutMs: 2_000, ...options }, {
    open: () => open(),
    message: (text) => {
      told.push(text);
      hear(text);
    },
    refused: (status) => told.push(status),
    close: (code, reason) => resolve({ code, reason }),
  });
  clients.push(socket);
  return { socket, told, closed, opened, heard };
}

/** A server that does as the package does. */
function echo(onSocket: (socket: WebSocket) => void = (socket) => socket.on("message", (data) => socket.send((data as Buffer).toString()))): void {
  http.on("upgrade", (request, stream, head) => {
    expect(request.headers["x-token"]).toBe("t");
    expect(request.url).toBe("/path?x=1");
    websockets.handleUpgrade(request, stream, head, onSocket);
  });
}
/** A server that sends these bytes behind its handshake. */
function bytes(...frames: number[][]): void {
  http.on("upgrade", (request, stream) => {
    const answer = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    stream.on("error", () => {});
    stream.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${answer}\r\n\r\n`);
    stream.write(Buffer.from(frames.flat()));
    accept(stream, answer);
  });
}

describe("a socket", () => {
  it("carries texts of every size and alphabet, both ways, in order", async () => {
    echo();
    const { socket, told, opened } = client();
    await opened;
    const texts = ["", "a", "ä\u{1f600}\0", "x".repeat(125), "x".repeat(126), "x".repeat(65_535), "x".repeat(65_536), "y".repeat(900_000)];
    for (const text of texts) socket.send(text);
    await expect.poll(() => told.length).toBe(texts.length);
    expect(told).toEqual(texts);
  });

  it("puts messages together that come in parts, with pings between them", async () => {
    bytes([0x01, 3, 0x61, 0x62, 0xc3], [0x89, 1, 7], [0x00, 1, 0xa4], [0x80, 1, 0x21], [0x81, 1, 0x7a]);
    const { told, heard } = client();
    await heard;
    await expect.poll(() => told).toEqual(["abä!", "z"]);
  });

  it("understands frames however the network cuts them", async () => {
    const { promise, resolve } = Promise.withResolvers<Duplex>();
    bytes();
    accept = (stream) => resolve(stream);
    const { told, opened } = client();
    await opened;
    const stream = await promise;
    const frame = Buffer.concat([Buffer.from([0x81, 126, 0x01, 0x2c]), Buffer.alloc(300, 0x61), Buffer.from([0x81, 1, 0x62])]);
    for (const byte of frame) {
      stream.write(Buffer.from([byte]));
      await new Promise((done) => setImmediate(done));
    }
    await expect.poll(() => told).toEqual(["a".repeat(300), "b"]);
  });

  it("answers pings, and hears a goodbye with its reason", async () => {
    const { promise: ponged, resolve } = Promise.withResolvers<string>();
    echo((socket) => {
      socket.on("pong", (data) => {
        resolve(data.toString());
        socket.close(4002, "over");
      });
      socket.ping("hey");
    });
    const { closed } = client();
    expect(await ponged).toBe("hey");
    expect(await closed).toEqual({ code: 4002, reason: "over" });
  });

  it("says goodbye, and waits for the server's only so long", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown[]>();
    echo((socket) => socket.on("close", (code, reason) => resolve([code, reason.toString()])));
    const polite = client();
    await polite.opened;
    polite.socket.close(4000, "stopped");
    expect(await promise).toEqual([4000, "stopped"]);
    expect(await polite.closed).toMatchObject({ code: 4000 });
  });

  it("does not wait for ever for a server that never says goodbye", async () => {
    bytes();
    const { socket, opened, closed } = client({ timeoutMs: 100 });
    await opened;
    socket.close(4000);
    expect(await closed).toMatchObject({ code: 1006 });
  });

  it("tells a refusal, a server that is not there, and one that never answers", async () => {
    http.on("upgrade", (_request, stream) => void stream.end("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"));
    const refused = client();
    expect(await refused.closed).toMatchObject({ code: 1006 });
    expect(refused.told).toEqual([401]);
    expect(await client({ url: "http://127.0.0.1:1/" }).closed).toMatchObject({ code: 1006 });
    expect(await client({ socket: "/no/such/socket" }).closed).toMatchObject({ code: 1006 });
    http.removeAllListeners("upgrade").on("upgrade", () => {});
    expect(await client({ timeoutMs: 50 }).closed).toMatchObject({ code: 1006 });
  });

  it("leaves a server that is not a WebSocket server", async () => {
    http.on("upgrade", (_request, stream) => void stream.write("HTTP/1.1 101 Fine\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: nonsense\r\n\r\n"));
    expect(await client().closed).toMatchObject({ code: 1006 });
  });

  const hostile: [string, number[]][] = [
    ["reserved bits", [0xf1, 0]], ["a masked frame", [0x81, 0x81, 1, 2, 3, 4, 5]], ["an unknown kind", [0x83, 0]], ["a long control frame", [0x89, 126, 0, 126]], ["a control frame in parts", [0x09, 0]],
    ["a continuation of nothing", [0x80, 0]], ["a message inside another", [0x01, 0, 0x81, 0]], ["a binary message", [0x82, 0]], ["bytes that are no UTF-8", [0x81, 1, 0xff]],
    ["a message that is too large", [0x81, 127, 0, 0, 0, 0, 0xff, 0, 0, 0]], ["a length past all numbers", [0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]],
    ["parts that are too large together", [0x01, 126, 0xff, 0xff, ...Array.from({ length: 65_535 }, () => 0x61), 0x80, 126, 0xff, 0xff]], ["a close frame of one byte", [0x88, 1, 0]],
  ];
  for (const [name, frame] of hostile) {
    it(`ends at ${name}`, async () => {
      bytes(frame, [0x81, 1, 0x61]);
      const { told, closed } = client({ maxBytes: 100_000, timeoutMs: 500 });
      expect((await closed).code).toBeGreaterThan(1000);
      expect(told).toEqual([]);
    });
  }
});
