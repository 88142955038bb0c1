/** Owns the frame around every request: its id, its log line, the headers that all answers share, and the size and kind of its body. */

import { createMiddleware } from "hono/factory";
import { Failure, isId, MAX_BODY_BYTES, sessionOf } from "../../sdk/protocol/index.ts";
import type { AppEnv } from "../context.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { logger, type Fields } from "../log.ts";

function requestId(): string {
  return `req_${[...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
}

const SHARED = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
  "strict-transport-security": "max-age=31536000",
};

/** Headers that an answer gets unless it has them already; a 101 is left as it is. */
function dress(response: Response, id: string): Response {
  if (response.status === 101) return response;
  const headers = new Headers(response.headers);
  headers.set("x-request-id", id);
  for (const [name, value] of Object.entries(SHARED)) if (!headers.has(name)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** The session and task that a path names, for the log. */
function subjects(path: string): Fields {
  const parts = path.split("/");
  const child = parts.find((part) => sessionOf(part) !== null);
  return { session: parts.find((part) => isId("session", part)) ?? (child && sessionOf(child)) ?? undefined, task: parts.find((part) => isId("task", part)) };
}

/** Sets what every handler needs, and writes one line when the answer is known. */
export function framed(recordsFor: (env: Env) => Records) {
  return createMiddleware<AppEnv>(async (c, next) => {
    const id = requestId();
    const log = logger(c.env.MARIONETTE_LOG_LEVEL);
    c.set("request_id", id);
    c.set("log", log);
    c.set("records", recordsFor(c.env));
    const started = Date.now();
    await next();
    const caller = c.get("caller");
    const tenant = caller?.kind === "key" ? caller.actor.tenant_id : undefined;
    log.info("request", { request_id: id, tenant, ...subjects(c.req.path), method: c.req.raw.method, path: c.req.path, status: c.res.status, duration_ms: Date.now() - started });
    const dressed = dress(c.res, id);
    if (dressed !== c.res) {
      c.res = undefined;
      c.res = dressed;
    }
  });
}

const tooLarge = (max: number) => new Failure("payload_too_large", `body: larger than ${max} bytes`, { details: { body: `at most ${max} bytes` } });

/** Most bytes of a body that are taken and thrown away, so that its sender, who does not listen while it sends, hears the refusal. */
const MAX_DISCARDED_BYTES = 3 * MAX_BODY_BYTES;

/** The body's bytes, at most `max`; throws where there are more, without keeping them. */
export async function readCapped(body: ReadableStream<Uint8Array>, stated: number, max = MAX_BODY_BYTES): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.byteLength;
    if (size > max + MAX_DISCARDED_BYTES) break;
    if (size <= max && stated <= max) parts.push(part);
    else parts.length = 0;
  }
  if (size > max || stated > max) throw tooLarge(max);
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

/** Reads a body before anything parses it: at most `MAX_BODY_BYTES`, UTF-8, declared as JSON. */
export const bounded = createMiddleware<AppEnv>(async (c, next) => {
  const { raw } = c.req;
  if (raw.body !== null) {
    const bytes = await readCapped(raw.body, Number(raw.headers.get("content-length") ?? 0));
    let text: string | null = null;
    if (bytes.byteLength > 0) {
      const type = raw.headers.get("content-type") ?? "";
      if (!/^application\/json\s*(;.*)?$/i.test(type)) throw new Failure("bad_request", "content-type: must be application/json", { details: { "content-type": "must be application/json" } });
      try {
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
      } catch {
        throw new Failure("bad_request", "body: not UTF-8", { details: { body: "not UTF-8" } });
      }
    }
    c.req.raw = new Request(raw.url, { method: raw.method, headers: raw.headers, body: text, signal: raw.signal });
  }
  await next();
});
