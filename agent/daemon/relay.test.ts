import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { link, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { openRelay, type Relay } from "./relay.ts";

let directory: string;
let server: Server;
let sockets: WebSocketServer;
let url: string;
let relay: Relay;
const seen: { url: string | undefined; host: string | undefined; authorization: string | undefined }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mrn-relay-"));
  server = createServer((_request, response) => response.writeHead(200).end("the control plane"));
  sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    seen.push({ url: request.url, host: request.headers.host, authorization: request.headers.authorization });
    if (request.headers.authorization !== "Bearer gtok_good") socket.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\nnope");
    else sockets.handleUpgrade(request, socket, head, (ws) => ws.on("message", (data, binary) => ws.send(data, { binary })));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  relay = await openRelay(join(directory, "relay.sock"), url, "sess_1");
});
afterEach(async () => {
  seen.length = 0;
  await relay.close();
  for (const client of sockets.clients) client.terminate();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true, maxRetries: 10 });
});

const dial = (path: string, token = "gtok_good", socket = relay.path) => new WebSocket(`ws+unix:${socket}:${path}`, { headers: { authorization: `Bearer ${token}` } });
const status = (client: WebSocket) => new Promise<number>((resolve) => {
  client.on("open", () => resolve(101));
  client.on("unexpected-response", (_request, response) => resolve(response.statusCode ?? 0));
  client.on("error", () => {});
});

describe("relay", () => {
  it("carries a session's link both ways, large messages too", async () => {
    const client = dial("/links/runner/sess_1");
    expect(await status(client)).toBe(101);
    const large = "x".repeat(2_000_000);
    const answers: string[] = [];
    const all = new Promise<void>((resolve) => client.on("message", (data: Buffer) => answers.push(data.toString()) === 2 && resolve()));
    client.send("hello");
    client.send(large);
    await all;
    expect(answers).toEqual(["hello", large]);
    expect(seen).toEqual([{ url: "/links/runner/sess_1", host: new URL(url).host, authorization: "Bearer gtok_good" }]);
    client.terminate();
  });
  it("passes a refusal on", async () => {
    expect(await status(dial("/links/runner/sess_1", "gtok_bad"))).toBe(401);
  });
  it.each(["/links/runner/sess_2", "/links/host", "/api/v1/sessions", "/links/runner/sess_1/../sess_2", "//evil.example/links/runner/sess_1", "http://evil.example/links/runner/sess_1"])("lets nobody through to %s", async (path) => {
    expect(await status(dial(path))).toBe(404);
    expect(seen).toEqual([]);
  });
  it("answers plain requests with 404", async () => {
    const code = await new Promise((resolve) => request({ socketPath: relay.path, path: "/links/runner/sess_1" }, (response) => resolve(response.resume().statusCode)).end());
    expect(code).toBe(404);
  });
  it("says 502 where the control plane is away", async () => {
    const lonely = await openRelay(join(directory, "lonely.sock"), "http://127.0.0.1:1", "sess_1");
    expect(await status(dial("/links/runner/sess_1", "gtok_good", lonely.path))).toBe(502);
    await lonely.close();
  });
  it("ends both sides when one ends", async () => {
    const client = dial("/links/runner/sess_1");
    await status(client);
    const closed = new Promise((resolve) => client.on("close", resolve));
    for (const other of sockets.clients) other.terminate();
    await closed;
    const again = dial("/links/runner/sess_1");
    await status(again);
    const [server] = [...sockets.clients];
    const gone = new Promise((resolve) => server?.on("close", resolve));
    again.terminate();
    await gone;
  });
  it("takes the place of a socket that a dead daemon left, at a path of any length", async () => {
    const deep = join(directory, "d".repeat(60), "e".repeat(60));
    await mkdir(deep, { recursive: true });
    const path = join(deep, "relay.sock");
    const first = await openRelay(path, url, "sess_1");
    const second = await openRelay(path, url, "sess_1");
    // Only binding goes by way of a descriptor: clients see the socket at a short path, as a sandbox does.
    await link(path, join(directory, "short"));
    expect(await status(dial("/links/runner/sess_1", "gtok_good", join(directory, "short")))).toBe(101);
    await first.close();
    await second.close();
  });
});
