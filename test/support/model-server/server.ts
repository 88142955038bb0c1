/** Owns the scripted model server: three APIs over HTTP on a free port, with every request remembered for the tests. */

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { conversationOf, messagesError, parseMessages, renderMessages } from "./anthropic.ts";
import { chatConversation, parseChat, renderChat } from "./openai-chat.ts";
import { openaiError, parseResponses, renderResponses, responsesConversation } from "./openai-responses.ts";
import { choose, Misfortunes, tokens, type Chosen, type Conversation } from "./script.ts";
import { frame, type Rendered } from "./wire.ts";

export type Api = "anthropic" | "responses" | "chat";

/** One request that reached the server. */
export interface SeenRequest {
  api: Api | null;
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** Parsed where it is JSON, else the text. */
  body: unknown;
  /** Texts of the last message that a person wrote. */
  prompt: string[];
  status: number;
  /** Whether the client left before the reply was whole. */
  aborted: boolean;
  finished: boolean;
}

export interface ModelServer {
  /** What goes into ANTHROPIC_BASE_URL. */
  readonly anthropic: string;
  /** What goes into OPENAI_BASE_URL. */
  readonly openai: string;
  readonly requests: SeenRequest[];
  /** The requests that asked for a reply, of one API or of all. */
  asked(api?: Api): SeenRequest[];
  close(): Promise<void>;
}

/** Oldest requests are forgotten beyond this many. */
const REMEMBERED = 2_000;

interface Reading {
  stream: boolean;
  conversation: Conversation;
  render(chosen: Chosen, serial: number): Rendered;
}

const APIS: { api: Api; path: RegExp; read(body: unknown): Reading | { complaint: string }; error(status: number, message: string): object }[] = [
  {
    api: "anthropic",
    path: /^\/v1\/messages(\?|$)/,
    error: messagesError,
    read(body) {
      const parsed = parseMessages(body);
      if ("complaint" in parsed) return parsed;
      const { request } = parsed;
      return { stream: request.stream, conversation: conversationOf(request), render: (chosen, serial) => renderMessages(request, chosen.step, serial) };
    },
  },
  {
    api: "responses",
    path: /\/responses(\?|$)/,
    error: openaiError,
    read(body) {
      const parsed = parseResponses(body);
      if ("complaint" in parsed) return parsed;
      const { request } = parsed;
      return { stream: request.stream, conversation: responsesConversation(request), render: (chosen, serial) => renderResponses(request, chosen.step, serial) };
    },
  },
  {
    api: "chat",
    path: /\/chat\/completions(\?|$)/,
    error: openaiError,
    read(body) {
      const parsed = parseChat(body);
      if ("complaint" in parsed) return parsed;
      const { request } = parsed;
      return { stream: request.stream, conversation: chatConversation(request), render: (chosen, serial) => renderChat(request, chosen.step, serial) };
    },
  },
];

/** Starts a server of its own on a free port of `host`. */
export async function startModelServer({ host = "127.0.0.1" }: { host?: string } = {}): Promise<ModelServer> {
  const requests: SeenRequest[] = [];
  const misfortunes = new Misfortunes();
  const leaving = new AbortController();
  let serial = 0;

  const server = createServer((req, res) => {
    serve(req, res, ++serial).catch((error: unknown) => {
      if (!res.headersSent) reply(res, 500, openaiError(500, String(error)));
      else res.destroy();
    });
  });

  async function serve(req: IncomingMessage, res: ServerResponse, serial: number): Promise<void> {
    const text = await textOf(req);
    const path = req.url ?? "/";
    const known = req.method === "POST" ? APIS.find((one) => one.path.test(path)) : undefined;
    const seen: SeenRequest = { api: known?.api ?? null, method: req.method ?? "", path, headers: req.headers, body: parsed(text), prompt: [], status: 200, aborted: false, finished: false };
    requests.push(seen);
    if (requests.length > REMEMBERED) requests.shift();
    res.on("close", () => {
      seen.finished = res.writableFinished;
      seen.aborted = !res.writableFinished;
    });
    const answer = (status: number, body: object, headers: Record<string, string> = {}) => {
      seen.status = status;
      reply(res, status, body, { "request-id": `req_scripted_${serial}`, "x-request-id": `req_scripted_${serial}`, ...headers });
    };
    if (!known) return elsewhere(seen, answer);
    const reading = known.read(seen.body);
    if ("complaint" in reading) return answer(400, known.error(400, reading.complaint));
    seen.prompt = reading.conversation.prompt;
    const chosen = choose(reading.conversation);
    const misfortune = misfortunes.next(chosen);
    if (chosen.step.wait > 0) await delay(chosen.step.wait, undefined, { signal: leaving.signal });
    if (misfortune !== null && misfortune !== "cut") {
      return answer(misfortune.status, known.error(misfortune.status, misfortune.message), misfortune.retry_after === undefined ? {} : { "retry-after": String(misfortune.retry_after) });
    }
    const rendered = reading.render(chosen, serial);
    if (!reading.stream) return misfortune === "cut" ? void res.destroy() : answer(200, rendered.whole);
    res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache", "request-id": `req_scripted_${serial}`, "x-request-id": `req_scripted_${serial}` });
    await stream(res, rendered, chosen.step.delay, misfortune === "cut" ? (chosen.step.cut_after ?? 0) : Infinity);
  }

  async function stream(res: ServerResponse, rendered: Rendered, pause: number, cutAfter: number): Promise<void> {
    for (const [i, event] of rendered.events.entries()) {
      if (i >= cutAfter) {
        // What is written must arrive before the connection is torn.
        await new Promise((done) => setImmediate(done));
        res.destroy();
        return;
      }
      if (res.destroyed) return;
      if (!res.write(frame(event))) await Promise.race([once(res, "drain"), once(res, "close")]);
      if (pause > 0) await delay(pause, undefined, { signal: leaving.signal });
    }
    res.end(rendered.end);
  }

  server.listen(0, host);
  await once(server, "listening");
  const base = `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    anthropic: base,
    openai: `${base}/v1`,
    requests,
    asked: (api) => requests.filter((one) => one.api !== null && (api === undefined || one.api === api)),
    async close() {
      leaving.abort();
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

/** Doors that agents knock on beside the replies themselves. */
function elsewhere({ method, path, body }: SeenRequest, answer: (status: number, body: object) => void): void {
  if (method === "POST" && path.startsWith("/v1/messages/count_tokens")) return answer(200, { input_tokens: tokens(body) });
  if (method === "HEAD") return answer(200, {});
  answer(404, messagesError(404, `nothing at ${method} ${path}`));
}

function reply(res: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  res.writeHead(status, { "content-type": "application/json", ...headers });
  res.end(JSON.stringify(body));
}

async function textOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const encoding = req.headers["content-encoding"];
  if (encoding === "zstd") return zstdDecompressSync(bytes).toString();
  return (encoding === "gzip" ? gunzipSync(bytes) : bytes).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
