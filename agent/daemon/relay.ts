/** Owns the way from a sandbox to the control plane: one unix socket per runner that lets its session's link, model calls and workspace through. */

import { chmod, open, rm } from "node:fs/promises";
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Agent as SecureAgent, request as httpsRequest } from "node:https";
import { dirname, basename, join } from "node:path";
import type { Duplex } from "node:stream";

/** Longest path that a unix socket can be bound to. */
const MAX_SOCKET_PATH = 107;
/** Longest that a body may take to come. */
const UPLOAD_MS = 300_000;
const HOP_HEADERS = new Set(["host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);

export interface Relay {
  readonly path: string;
  /** Closes the socket and every connection through it. */
  close(): Promise<void>;
}

/**
 * Listens at `path` and forwards to `server`: upgrades of `/links/runner/{sessionId}`, requests below `/links/workspace/{sessionId}/` and `/links/attachments/{sessionId}/`, and those below
 * `/gateway/` whose key is of this session; all else is 404.
 * Any user may connect: the directory that the socket lies in says who reaches it.
 */
export async function openRelay(path: string, server: string, sessionId: string): Promise<Relay> {
  const allowed = `/links/runner/${sessionId}`;
  const sockets = new Set<Duplex>();
  const agent = server.startsWith("https:") ? new SecureAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  const door = createServer({ requestTimeout: UPLOAD_MS, headersTimeout: 10_000, noDelay: true }, (request, response) => {
    const target = URL.canParse(request.url ?? "", server) ? new URL(request.url ?? "", server) : null;
    if (target?.origin === new URL(server).origin && carries(target.pathname, request, sessionId)) return passOn(request, response, target, agent);
    response.writeHead(404, { "content-type": "text/plain" }).end("this relay carries one session's own requests only\n");
  });
  door.on("connection", (socket: Duplex) => track(sockets, socket));
  door.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const target = URL.canParse(request.url ?? "", server) ? new URL(request.url ?? "", server) : null;
    if (target?.pathname !== allowed || target.origin !== new URL(server).origin) return refuse(socket, 404, "Not Found");
    forward(request, socket, head, target, sockets);
  });
  const release = await listen(door, path);
  return {
    path,
    async close() {
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await new Promise<void>((resolve) => door.close(() => resolve()));
      await release();
    },
  };
}

/** A request's key ends with the session that it is good for: another session's goes no way through here. */
function carries(path: string, { headers }: IncomingMessage, sessionId: string): boolean {
  if (path.startsWith(`/links/workspace/${sessionId}/`) || path.startsWith(`/links/attachments/${sessionId}/`)) return true;
  const key = headers["x-api-key"] ?? headers.authorization;
  return path.startsWith("/gateway/") && typeof key === "string" && key.endsWith(`.${sessionId}`);
}

/** Both bodies go as they come; the end of either side is the end of the other. */
function passOn(request: IncomingMessage, response: ServerResponse, target: URL, agent: Agent | SecureAgent): void {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP_HEADERS.has(name)));
  const outward = (target.protocol === "https:" ? httpsRequest : httpRequest)(target, { method: request.method, headers, agent });
  outward.on("error", (error) => {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    response.writeHead(502, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: "unavailable", message: `the control plane at ${target.host} cannot be reached: ${error.message}` } }));
  });
  outward.on("response", (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
    answer.pipe(response);
    answer.on("error", () => response.destroy());
    answer.on("aborted", () => response.destroy());
  });
  // Heard at once, where a plain goodbye would be heard with the next byte only.
  response.on("close", () => (response.writableFinished ? undefined : (outward.socket?.resetAndDestroy(), outward.destroy())));
  request.pipe(outward);
}

function forward(request: IncomingMessage, socket: Duplex, head: Buffer, target: URL, sockets: Set<Duplex>): void {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP_HEADERS.has(name)));
  const outward = (target.protocol === "https:" ? httpsRequest : httpRequest)(target, { method: "GET", headers, agent: false, timeout: 10_000 });
  outward.on("timeout", () => outward.destroy(new Error("the control plane does not answer")));
  outward.on("error", () => refuse(socket, 502, "Bad Gateway"));
  outward.on("upgrade", (response, up, upHead) => {
    track(sockets, up);
    up.setTimeout?.(0);
    socket.write(headOf(response));
    if (upHead.length > 0) socket.write(upHead);
    if (head.length > 0) up.write(head);
    up.pipe(socket).pipe(up);
    // Either end gone means both: half-open links would only delay the runner's reconnect.
    up.on("close", () => socket.destroy());
    socket.on("close", () => up.destroy());
  });
  outward.on("response", (response) => {
    socket.write(headOf(response));
    response.pipe(socket);
  });
  socket.on("close", () => outward.destroy());
  outward.end();
}

function headOf(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${response.statusCode ?? 502} ${response.statusMessage ?? ""}`];
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    const name = response.rawHeaders[i] ?? "";
    // The body is piped decoded and ends with the connection.
    if (name.toLowerCase() !== "transfer-encoding") lines.push(`${name}: ${response.rawHeaders[i + 1] ?? ""}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function refuse(socket: Duplex, status: number, title: string): void {
  if (socket.writable) socket.end(`HTTP/1.1 ${status} ${title}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

function track(sockets: Set<Duplex>, socket: Duplex): void {
  sockets.add(socket);
  socket.on("error", () => socket.destroy());
  socket.on("close", () => sockets.delete(socket));
}

async function listen(door: Server, path: string): Promise<() => Promise<void>> {
  await rm(path, { force: true });
  // Through its directory's descriptor a path of any length can be bound; the descriptor stays open, because closing the server unlinks by the same name.
  const directory = Buffer.byteLength(path) > MAX_SOCKET_PATH ? await open(dirname(path), "r") : null;
  const bound = directory ? join(`/proc/self/fd/${directory.fd}`, basename(path)) : path;
  try {
    await new Promise<void>((resolve, reject) => {
      door.once("error", reject);
      door.listen(bound, () => resolve());
    });
    await chmod(path, 0o666);
  } catch (error) {
    await directory?.close();
    throw error;
  }
  return async () => {
    await directory?.close();
    await rm(path, { force: true });
  };
}
