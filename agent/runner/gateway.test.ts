/** Owns the tests of the agent's door to the model gateway, alone and behind a sandbox's relay: what passes, what does not, and who hears of whose end. */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, request, type IncomingMessage, type OutgoingHttpHeaders, type Server, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newId, newToken } from "../../sdk/protocol/index.ts";
import { openRelay, type Relay } from "../daemon/relay.ts";
import { openGateway } from "./gateway.ts";

const SESSION = newId("session", 1);
let directory: string;
let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
const seen: { method: string; url: string; headers: IncomingMessage["headers"] }[] = [];
const relays: Relay[] = [];

beforeEach(async () => {
  seen.length = 0;
  directory = await mkdtemp(join(tmpdir(), "mrn-gateway-"));
  answer = (incoming, response) => void incoming.pipe(response);
  server = createServer({ maxHeaderSize: 64 * 1024 }, (incoming, response) => {
    seen.push({ method: incoming.method ?? "", url: incoming.url ?? "", headers: incoming.headers });
    answer(incoming, response);
  });
  url = await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));
});
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.close()));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

interface Way {
  url: string;
  key: string;
  relay: Relay | null;
}
/** An agent's way to the server: straight from its sandbox's door, or through the relay's socket. */
async function way(relayed: boolean): Promise<Way> {
  const relay = relayed ? await openRelay(join(directory, "relay.sock"), url, SESSION) : null;
  if (relay) relays.push(relay);
  const access = await openGateway({ gateway: true, run_token: newToken("run"), session_id: SESSION, server: url, ...(relay && { socket: relay.path }) });
  if (!access) throw new Error("no door");
  return { url: access.url, key: access.key.reveal(), relay };
}

interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
}
function ask(to: Way, path: string, { method = "POST", headers = {}, body = "" }: { method?: string; headers?: OutgoingHttpHeaders; body?: string | Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // The path as it is written: a URL would be made plain before it is sent.
    const asked = request({ host: "127.0.0.1", port: new URL(to.url).port, path, method, headers: { "x-api-key": to.key, ...headers }, maxHeaderSize: 64 * 1024 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }));
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

describe.each([{ relayed: false }, { relayed: true }])("an agent's door to the gateway, relayed: $relayed", ({ relayed }) => {
  it("carries a request with all its headers, and megabytes both ways", async () => {
    const to = await way(relayed);
    const large = Buffer.alloc(5_000_000, "x");
    answer = (incoming, response) => void incoming.pipe(response.writeHead(201, { "x-own": "yes", "set-cookie": ["a=1", "b=2"] }));
    const said = await ask(to, "/gateway/anthropic/v1/messages?beta=true", { body: large, headers: { "anthropic-beta": "one,two", "x-unknown": "kept" } });
    expect(said).toMatchObject({ status: 201, headers: { "x-own": "yes", "set-cookie": ["a=1", "b=2"] } });
    expect(said.body.equals(large)).toBe(true);
    expect(seen).toMatchObject([{ method: "POST", url: "/gateway/anthropic/v1/messages?beta=true", headers: { "anthropic-beta": "one,two", "x-unknown": "kept", "x-api-key": to.key } }]);
  });
  it("hands every piece on when it comes: nothing waits for the next", async () => {
    const to = await way(relayed);
    let open: ServerResponse | undefined;
    answer = (incoming, response) => {
      incoming.resume();
      open = response.writeHead(200, { "content-type": "text/event-stream" });
      open.flushHeaders();
    };
    const pieces: string[] = [];
    const asked = request(`${to.url}/gateway/openai/v1/responses`, { method: "POST", headers: { authorization: `Bearer ${to.key}` } }, (response) => response.on("data", (chunk: Buffer) => pieces.push(chunk.toString())));
    asked.on("error", () => {});
    asked.end("{}");
    await vi.waitUntil(() => open !== undefined);
    for (let i = 1; i <= 5; i++) {
      open?.write(`data: ${i}\n\n`);
      await vi.waitUntil(() => pieces.join("") === Array.from({ length: i }, (_, n) => `data: ${n + 1}\n\n`).join(""));
    }
    asked.destroy();
  });
  it.each(["before anything was said", "in the middle of a stream"])("lets the server hear at once of an agent that leaves %s", async (when) => {
    const to = await way(relayed);
    let left = false;
    let arrived = false;
    answer = (incoming, response) => {
      incoming.resume();
      response.on("close", () => (left = true));
      if (when === "in the middle of a stream") response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
      arrived = true;
    };
    let heard = false;
    const asked = request(`${to.url}/gateway/anthropic/v1/messages`, { method: "POST", headers: { "x-api-key": to.key } }, (response) => {
      response.on("data", () => (heard = true));
      response.on("error", () => {});
    });
    asked.on("error", () => {});
    asked.end("{}");
    await vi.waitUntil(() => arrived && (heard || when === "before anything was said"));
    expect(left).toBe(false);
    asked.destroy();
    await vi.waitUntil(() => left);
  });
  it("shows the agent a stream that was cut as cut, not as ended", async () => {
    const to = await way(relayed);
    answer = (incoming, response) => {
      incoming.resume();
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n", () => response.destroy());
    };
    await expect(ask(to, "/gateway/anthropic/v1/messages", { body: "{}" })).rejects.toThrow(/aborted|hang up|ECONNRESET/);
  });
  it("serves many at once", async () => {
    const to = await way(relayed);
    const bodies = Array.from({ length: 50 }, (_, i) => `request ${i}`);
    const said = await Promise.all(bodies.map((body) => ask(to, "/gateway/openai/v1/responses", { body })));
    expect(said.map(({ body }) => body.toString())).toEqual(bodies);
  });
});

describe("the relay", () => {
  it.each(["/", "/api/v1/sessions", "/links/host", "/gateway", "/gatewayx/anthropic", "/admin/api/v1/tenants", "//gateway/anthropic", "/gateway/../api/v1/keys", "/gateway/%2e%2e/api/v1/keys", "/links/workspace/sess_other/x"])("lets no agent through to %s", async (path) => {
    const to = await way(true);
    expect(await ask(to, path, { body: "{}" })).toMatchObject({ status: 404 });
    expect(seen).toEqual([]);
  });
  it("carries no other session's key, none at all, and none in another place", async () => {
    const to = await way(true);
    const other = to.key.replace(SESSION, newId("session", 2));
    expect(other).not.toBe(to.key);
    const given: OutgoingHttpHeaders[] = [{ "x-api-key": other }, { "x-api-key": "" }, { authorization: `Bearer ${other}` }, { cookie: to.key }, { "x-api-key": other, authorization: `Bearer ${to.key}` }];
    for (const headers of given) {
      const said = await new Promise<number>((resolve, reject) => request(`${to.url}/gateway/anthropic/v1/messages`, { method: "POST", headers }, (response) => resolve(response.resume().statusCode ?? 0)).on("error", reject).end("{}"));
      expect(said).toBe(404);
    }
    expect(seen).toEqual([]);
    expect(await ask({ ...to, key: "" }, "/gateway/anthropic/v1/messages", { headers: { "x-api-key": "", authorization: `Bearer ${to.key}` } })).toMatchObject({ status: 404 });
  });
  it("refuses huge headers and goes on serving", async () => {
    const to = await way(true);
    expect(await ask(to, "/gateway/anthropic/v1/messages", { headers: { "x-huge": "x".repeat(40_000) } })).toMatchObject({ status: 431 });
    expect(seen).toEqual([]);
    expect(await ask(to, "/gateway/anthropic/v1/messages", { body: "still here", headers: { "x-large": "x".repeat(12_000) } })).toMatchObject({ status: 200 });
  });
  it("closes on what is not HTTP", async () => {
    const to = await way(true);
    const said = await new Promise<string>((resolve) => {
      let text = "";
      const socket = connect(Number(new URL(to.url).port), "127.0.0.1", () => socket.write("\u0000\u0001 not http\r\n\r\n"));
      socket.on("data", (chunk) => (text += chunk.toString()));
      socket.on("error", () => {});
      socket.on("close", () => resolve(text));
    });
    expect(said).toMatch(/^(HTTP\/1\.1 400|$)/);
    expect(seen).toEqual([]);
  });
  it("names the control plane where that is away", async () => {
    const to = await way(true);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const said = await ask(to, "/gateway/anthropic/v1/messages", { body: "{}" });
    expect(said.status).toBe(502);
    expect(JSON.parse(said.body.toString())).toMatchObject({ error: { code: "unavailable", message: expect.stringContaining(new URL(url).host) as string } });
    server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  });
  it("ends what is under way, and refuses what comes, when its socket is gone", async () => {
    const to = await way(true);
    answer = (incoming, response) => {
      incoming.resume();
      response.writeHead(200).write("first");
    };
    const cut = ask(to, "/gateway/anthropic/v1/messages", { body: "{}" });
    cut.catch(() => {});
    await vi.waitUntil(() => seen.length === 1);
    await to.relay?.close();
    relays.length = 0;
    await expect(cut).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    await expect(ask(to, "/gateway/anthropic/v1/messages", { body: "{}" })).rejects.toThrow(/hang up|ECONNRESET/);
  });
});

describe("the door", () => {
  it("is not opened where the session's calls go another way, and not where the server ends TLS itself", async () => {
    const spec = { run_token: newToken("run"), session_id: SESSION };
    expect(await openGateway({ ...spec, gateway: false, server: url })).toBeNull();
    expect(await openGateway({ ...spec, gateway: true, server: "https://control.example/" })).toMatchObject({ url: "https://control.example" });
  });
  it("gives a key that is not the run token, ends with its session, and prints as nothing", async () => {
    const run_token = newToken("run");
    const access = await openGateway({ gateway: true, run_token, session_id: SESSION, server: url });
    expect(access?.key.reveal()).toMatch(new RegExp(`\\.${SESSION}$`));
    expect(access?.key.reveal()).not.toContain(run_token);
    expect(JSON.stringify(access)).not.toContain(access?.key.reveal() ?? "");
  });
});
