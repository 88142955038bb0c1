import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import type { Failure } from "../protocol/errors.ts";
import { Secret } from "../protocol/secret.ts";
import { treeReason } from "./failure.ts";
import { HttpDoor, type HttpDoorOptions } from "./http-door.ts";

const base = mkdtempSync(join(tmpdir(), "http-door-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const id = "a".repeat(64);
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that gives its answers in turn, the last one for ever. */
async function serve(answers: Answer[], more: Partial<HttpDoorOptions> = {}, socket?: string) {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${Buffer.concat(parts).length}`);
      answers[Math.min(seen.length, answers.length) - 1]?.(request, response);
    });
  });
  server.listen(socket ?? 0);
  await once(server, "listening");
  const host = socket ? "edge" : `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const door = new HttpDoor({ base: `http://${host}/links/workspace/s/w/`, token: () => new Secret("gtok_1"), backoff: 1, ...(socket && { socket }), ...more });
  closing.push(async () => {
    await door.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { door, seen };
}
const say = (status: number, body: unknown = {}, headers: Record<string, string> = {}): Answer => (_, response) => response.writeHead(status, headers).end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
const error = (code: string, message: string, details?: object) => ({ error: { code, message, ...(details && { details }) } });

describe("the door over HTTP", () => {
  it("asks, sends and fetches under its base, with its token", async () => {
    const { door, seen } = await serve([say(200, { missing: [id] }), say(201), say(200, Buffer.from("bytes")), say(201), say(200), say(404, error("not_found", "no"))], { sessionId: "sess_1" });
    expect(await door.missing([id])).toEqual([id]);
    await door.putChunk(id, Buffer.from("xyz"));
    expect(Buffer.from(await door.getChunk(id)).toString()).toBe("bytes");
    await door.putManifest("mfst_1", "state", Buffer.from("m"));
    expect(await door.hasManifest("mfst_1")).toBe(true);
    expect(await door.hasManifest("mfst_2")).toBe(false);
    expect(seen).toEqual([
      `POST /links/workspace/s/w/chunks/missing Bearer gtok_1 ${JSON.stringify({ ids: [id] }).length}`, `PUT /links/workspace/s/w/chunks/${id} Bearer gtok_1 3`, `GET /links/workspace/s/w/chunks/${id} Bearer gtok_1 0`,
      "PUT /links/workspace/s/w/manifests/mfst_1?kind=state&session_id=sess_1 Bearer gtok_1 1", "HEAD /links/workspace/s/w/manifests/mfst_1 Bearer gtok_1 0", "HEAD /links/workspace/s/w/manifests/mfst_2 Bearer gtok_1 0",
    ]);
  });

  it("goes through a unix socket", async () => {
    const { door, seen } = await serve([say(200, Buffer.from("x"))], {}, join(base, "relay.sock"));
    await door.getChunk(id);
    expect(seen).toHaveLength(1);
  });

  it("tries again what may pass: 5xx, 429, a cut connection, a cut body", async () => {
    const cut: Answer = (request) => request.socket.destroy();
    const half: Answer = (_, response) => response.writeHead(200, { "content-length": "10" }).write("half", () => response.destroy());
    const { door, seen } = await serve([say(503), say(500, error("internal_error", "x")), say(429), cut, half, say(200, Buffer.from("whole"))]);
    expect(Buffer.from(await door.getChunk(id)).toString()).toBe("whole");
    expect(seen).toHaveLength(6);
  });

  it("waits as long as it is told", async () => {
    const { door, seen } = await serve([say(429, {}, { "retry-after": "1" }), say(201)]);
    const begun = performance.now();
    await door.putChunk(id, Buffer.from("x"));
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(seen).toHaveLength(2);
  });

  it("takes a refusal as final, with its code, words and details", async () => {
    const { door, seen } = await serve([say(413, error("payload_too_large", "over quota: 3 of 2 MB", { limit: 2 })), say(409, error("conflict", "chunks are missing", { missing: [id] })), say(401, "nonsense"), say(302)]);
    await expect(door.putChunk(id, Buffer.from("x"))).rejects.toMatchObject({ code: "payload_too_large", message: "over quota: 3 of 2 MB", details: { limit: 2 } });
    await expect(door.putManifest("m", "workspace", Buffer.from("x"))).rejects.toMatchObject({ code: "conflict", details: { missing: [id] } });
    await expect(door.getChunk(id)).rejects.toMatchObject({ code: "unauthorized" });
    await expect(door.getChunk(id)).rejects.toThrow(/302, a redirection/);
    expect(seen).toHaveLength(4);
  });

  it("gives up after its attempts, naming what was wrong", async () => {
    const { door, seen } = await serve([say(503, error("unavailable", "the store is away"))], { attempts: 3 });
    await expect(door.getChunk(id)).rejects.toThrow("the store is away");
    expect(seen).toHaveLength(3);
    const nobody = new HttpDoor({ base: "http://127.0.0.1:1/x", token: () => new Secret("t"), backoff: 1, attempts: 2 });
    const failure: unknown = await nobody.getChunk(id).catch((thrown: unknown) => thrown);
    expect(treeReason(failure)).toBe("unreachable");
    expect((failure as Failure).message).not.toContain("gtok");
  });

  it("refuses an answer that is too large, and one that is not what was asked", async () => {
    const { door } = await serve([say(200, Buffer.alloc(9 * 1024 * 1024)), say(200, { missing: ["../x"] })]);
    await expect(door.getChunk(id)).rejects.toThrow(/larger than/);
    await expect(door.missing([id])).rejects.toThrow(/something else/);
  });

  it("stops at once when it is called off, also while it waits", async () => {
    const { door } = await serve([say(503)], { backoff: 60_000 });
    const cancel = new AbortController();
    const asked = door.getChunk(id, cancel.signal);
    setTimeout(() => cancel.abort(), 50);
    expect(treeReason(await asked.catch((thrown: unknown) => thrown))).toBe("aborted");
  });
});
