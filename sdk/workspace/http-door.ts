/** Owns the door over HTTP: to the edge directly, or through the unix socket of a sandbox's relay; with retries that wait longer each time. */

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { ERRORS, errorResponse, Failure, type ErrorCode } from "../protocol/errors.ts";
import { MAX_STORED_CHUNK_BYTES, MAX_STORED_MANIFEST_BYTES, chunkId, type ManifestKind } from "../protocol/manifest.ts";
import type { Secret } from "../protocol/secret.ts";
import type { Door } from "./door.ts";
import { throwIfAborted, treeFailure } from "./failure.ts";

export interface HttpDoorOptions {
  /** All before `/chunks/…` and `/manifests/…`: `https://host/api/v1/workspaces/ws_…` or `https://host/links/workspace/sess_…/ws_…`. */
  base: string;
  /** A run token or an API key; asked for at each request, since it may be replaced. */
  token(): Secret;
  /** Path of a unix socket that stands for the host in `base`. */
  socket?: string;
  /** Told to the edge with each manifest of a sandbox. */
  sessionId?: string;
  /** Most requests at once. */
  parallel?: number;
  /** How often one request is tried in all; about two minutes by default. */
  attempts?: number;
  /** Milliseconds before the first repetition; doubled each time, up to 20 s, less up to half by chance. */
  backoff?: number;
}

/** Silence after which an attempt is given up, ms. */
const SILENCE = 60_000;
const MAX_BACKOFF = 20_000;
const MAX_ERROR_BYTES = 1024 * 1024;
const missingAnswer = z.object({ missing: z.array(chunkId) });

interface Call {
  method: "GET" | "HEAD" | "PUT" | "POST";
  path: string;
  body?: Uint8Array;
  type?: string;
  /** Largest answer that is taken. */
  limit: number;
  signal: AbortSignal | undefined;
}

export class HttpDoor implements Door {
  private readonly options: HttpDoorOptions;
  private readonly base: URL;
  private readonly agent: HttpAgent;

  constructor(options: HttpDoorOptions) {
    this.options = options;
    this.base = new URL(options.base.replace(/\/+$/, ""));
    const connections = { keepAlive: true, maxSockets: options.parallel ?? 16, scheduling: "fifo" as const };
    this.agent = this.base.protocol === "https:" ? new HttpsAgent(connections) : new HttpAgent(connections);
  }

  async missing(ids: readonly string[], signal?: AbortSignal): Promise<string[]> {
    const body = Buffer.from(JSON.stringify({ ids }));
    const answer = await this.call({ method: "POST", path: "/chunks/missing", body, type: "application/json", limit: MAX_ERROR_BYTES, signal });
    const parsed = missingAnswer.safeParse(JSON.parse(answer.toString("utf8")));
    if (!parsed.success) throw treeFailure("unreachable", "the control plane answered the question for missing chunks with something else");
    return parsed.data.missing;
  }
  async putChunk(id: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.call({ method: "PUT", path: `/chunks/${id}`, body: bytes, limit: MAX_ERROR_BYTES, signal });
  }
  async getChunk(id: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.call({ method: "GET", path: `/chunks/${id}`, limit: MAX_STORED_CHUNK_BYTES, signal });
  }
  async putManifest(id: string, kind: ManifestKind, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const query = new URLSearchParams({ kind, ...(this.options.sessionId && { session_id: this.options.sessionId }) });
    await this.call({ method: "PUT", path: `/manifests/${id}?${query.toString()}`, body: bytes, limit: MAX_ERROR_BYTES, signal });
  }
  async getManifest(id: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.call({ method: "GET", path: `/manifests/${id}`, limit: MAX_STORED_MANIFEST_BYTES, signal });
  }
  async hasManifest(id: string, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.call({ method: "HEAD", path: `/manifests/${id}`, limit: 0, signal });
      return true;
    } catch (error) {
      if (error instanceof Failure && error.status === 404) return false;
      throw error;
    }
  }
  /** What is at a path below the base. */
  async read(path: string, limit: number, signal?: AbortSignal): Promise<Buffer> {
    return this.call({ method: "GET", path, limit, signal });
  }
  async close(): Promise<void> {
    this.agent.destroy();
  }

  private async call(call: Call): Promise<Buffer> {
    const attempts = this.options.attempts ?? 10;
    for (let attempt = 1; ; attempt++) {
      throwIfAborted(call.signal);
      const outcome = await this.attempt(call).catch((error: unknown) => ({ failure: error, wait: 0 }));
      if (Buffer.isBuffer(outcome)) return outcome;
      throwIfAborted(call.signal);
      const { failure } = outcome;
      // What the edge has refused once it will refuse again; a full place or a fault may pass.
      if (failure instanceof Failure && failure.status < 500 && failure.status !== 429) throw failure;
      if (attempt >= attempts) throw failure instanceof Failure ? failure : treeFailure("unreachable", `the control plane cannot be reached: ${failure instanceof Error ? failure.message : String(failure)}`);
      const doubled = Math.min(MAX_BACKOFF, (this.options.backoff ?? 250) * 2 ** (attempt - 1));
      await sleep(Math.max(outcome.wait, doubled * (1 - Math.random() / 2)), undefined, call.signal ? { signal: call.signal } : {}).catch(() => throwIfAborted(call.signal));
    }
  }

  private attempt(call: Call): Promise<Buffer | { failure: Failure; wait: number }> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | number> = { authorization: `Bearer ${this.options.token().reveal()}`, "content-type": call.type ?? "application/octet-stream" };
      if (call.body) headers["content-length"] = call.body.length;
      const url = new URL(this.base.href + call.path);
      const request = (this.base.protocol === "https:" ? httpsRequest : httpRequest)(url, {
        method: call.method, headers, agent: this.agent, timeout: SILENCE, ...(this.options.socket && { socketPath: this.options.socket }), ...(call.signal && { signal: call.signal }),
      });
      request.on("error", reject);
      request.on("timeout", () => request.destroy(new Error(`nothing came for ${SILENCE / 1_000} s`)));
      request.on("response", (response) => {
        const good = (response.statusCode ?? 0) >= 200 && (response.statusCode ?? 0) < 300;
        collect(response, good ? call.limit : MAX_ERROR_BYTES, call.method).then((body) => resolve(good ? body : { failure: refusal(response, body), wait: waitOf(response) }), reject);
      });
      request.end(call.body);
    });
  }
}

async function collect(response: IncomingMessage, limit: number, method: Call["method"]): Promise<Buffer> {
  const expected = Number(response.headers["content-length"] ?? Number.NaN);
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > limit) throw treeFailure("refused", `the answer is larger than the ${limit} bytes allowed`);
    parts.push(part);
  }
  if (Number.isFinite(expected) && size !== expected && method !== "HEAD") throw new Error(`the answer was cut: ${size} of ${expected} bytes`);
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
}

function refusal(response: IncomingMessage, body: Buffer): Failure {
  const status = response.statusCode ?? 0;
  try {
    const { error } = errorResponse.parse(JSON.parse(body.toString("utf8")));
    return new Failure(error.code, error.message, { ...(error.details && { details: error.details }), ...(error.hint && { hint: error.hint }) });
  } catch {
    const code = (Object.keys(ERRORS) as ErrorCode[]).find((known) => ERRORS[known].status === status) ?? (status >= 500 ? "unavailable" : "bad_request");
    return new Failure(code, `the control plane answered ${status}${status >= 300 && status < 400 ? ", a redirection" : ""}`);
  }
}

/** `Retry-After` in ms (seconds on the wire), at most a minute. */
function waitOf(response: IncomingMessage): number {
  const seconds = Number(response.headers["retry-after"]);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) * 1_000 : 0;
}
