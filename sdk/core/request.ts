/** Owns one attempt of one request: URL, headers, time limit, and what its failure is called. */

import { errorOf, MarionetteError, ConnectionError, ProtocolError, TimeoutError } from "./errors.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;
type QueryValue = string | number | boolean | readonly (string | number)[] | null | undefined;
export type Query = Readonly<Record<string, QueryValue>>;
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What every call takes as its last argument. */
export interface RequestOptions {
  /** Aborts the call; it then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Limit of one attempt, milliseconds. For streams: until the answer begins. */
  timeout_ms?: number | undefined;
  max_retries?: number | undefined;
  /** Instead of a fresh one: the same key and body make the same thing once, for 24 hours. */
  idempotency_key?: string | undefined;
}

export interface Attempt {
  method: Method;
  url: string;
  headers: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer> | Blob | undefined;
  timeout_ms: number;
  signal?: AbortSignal | undefined;
}

/** `path` and `query` on the base; lists are joined with commas, null and undefined are left out. */
export function urlOf(base: string, path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    const text = typeof value === "object" ? value.join(",") : String(value);
    if (text !== "") params.set(key, text);
  }
  const search = params.toString();
  return `${base}${path}${search && `?${search}`}`;
}

/** Path with each value escaped, so that an id can never become another path. */
export function path(strings: TemplateStringsArray, ...values: string[]): string {
  return strings.reduce((all, part, i) => all + encodeURIComponent(values[i - 1] ?? "") + part);
}

/**
 * Sends the request and reads the answer with `read`, all within the time limit.
 * Throws `ApiError` for an answer of 400 or more, `TimeoutError` or `ConnectionError` where none came, the signal's reason where it was aborted.
 */
export async function attempt<T>(fetch: Fetch, request: Attempt, read: (response: Response) => Promise<T>): Promise<T> {
  request.signal?.throwIfAborted();
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new TimeoutError(`No answer within ${request.timeout_ms} ms from ${request.url}`)), request.timeout_ms);
  const onAbort = () => limit.abort(request.signal?.reason);
  request.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: request.headers,
      signal: limit.signal,
      redirect: "manual",
      ...(request.body !== undefined && { body: request.body }),
    });
    if (!response.ok) {
      // A redirect is not followed: it could carry the key to another host.
      if (response.status < 400) throw new ProtocolError(`${request.url} answered ${response.status}, which is not the Marionette API; check the URL`);
      throw errorOf(response.status, response.headers, await response.text(), Date.now());
    }
    return await read(response);
  } catch (error) {
    throw named(error, request, limit.signal);
  } finally {
    clearTimeout(timer);
    request.signal?.removeEventListener("abort", onAbort);
  }
}

function named(error: unknown, request: Attempt, limit: AbortSignal): unknown {
  if (limit.aborted) return limit.reason;
  if (error instanceof MarionetteError) return error;
  return new ConnectionError(`Cannot reach ${request.url}: ${reasonOf(error)}`, { cause: error });
}

/** The words of the innermost cause: runtimes say only "fetch failed" outside. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  if (inner instanceof Error) {
    const code = "code" in inner && typeof inner.code === "string" ? inner.code : "";
    return inner.message || code || inner.name;
  }
  return String(inner);
}

/** The body as JSON; `ProtocolError` where it is not. */
export async function readJson(response: Response): Promise<unknown> {
  const body = await response.text();
  if (body === "") return null;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    throw new ProtocolError(`${response.url || "The server"} answered with something that is not JSON; is this the address of a Marionette server?`);
  }
}
