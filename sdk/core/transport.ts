/** Owns how calls become attempts: base URL, key, idempotency keys and retries; every resource stands on it. */

import { ApiError, MarionetteError } from "./errors.ts";
import { live, type Live, type LiveHandlers } from "./live.ts";
import { attempt, path, readJson, urlOf, type Fetch, type Method, type Query, type RequestOptions } from "./request.ts";
import { retryDelay } from "./retry.ts";
import { sleep, type Sleep } from "./sleep.ts";

/** A path of the API, its values escaped: api`/sessions/${id}`. */
export function api(strings: TemplateStringsArray, ...values: string[]): string {
  return `/api/v1${path(strings, ...values)}`;
}
/** A path of the admin API, its values escaped. */
export function adminApi(strings: TemplateStringsArray, ...values: string[]): string {
  return `/admin/api/v1${path(strings, ...values)}`;
}

export interface TransportOptions {
  url: string;
  apiKey?: string | undefined;
  /** In place of a key, for pages that the server itself serves: the browser is signed in by a cookie. */
  cookie?: boolean | undefined;
  fetch?: Fetch | undefined;
  timeout_ms?: number | undefined;
  max_retries?: number | undefined;
  /** Sent with every request, e.g. `{"user-agent": …}`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Injected by tests: waiting and jitter. */
  sleep?: Sleep | undefined;
  random?: (() => number) | undefined;
}

export interface Call {
  query?: Query;
  body?: unknown;
  /** Instead of a JSON body. */
  bytes?: { body: Uint8Array<ArrayBuffer> | Blob; type: string };
  accept?: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRIES = 3;

/** Makes calls; holds no state but its settings, so one may be shared by everything. */
export class Transport {
  readonly url: string;
  readonly sleep: Sleep;
  readonly random: () => number;
  readonly #apiKey: string | null;
  readonly #fetch: Fetch;
  readonly #timeoutMs: number;
  readonly #maxRetries: number;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: TransportOptions) {
    this.url = baseOf(options.url);
    if (!options.apiKey && !options.cookie) throw new MarionetteError("apiKey is missing: give the key that starts with mk_");
    if (options.apiKey && !/^[\x21-\x7e]+$/.test(options.apiKey)) throw new MarionetteError("apiKey holds characters that no key has");
    this.#apiKey = options.apiKey ?? null;
    const given = options.fetch;
    this.#fetch = given ?? ((url, init) => globalThis.fetch(url, init));
    this.#timeoutMs = options.timeout_ms ?? DEFAULT_TIMEOUT_MS;
    this.#maxRetries = options.max_retries ?? DEFAULT_RETRIES;
    this.#headers = options.headers ?? {};
    this.sleep = options.sleep ?? sleep;
    this.random = options.random ?? Math.random;
  }

  /** Opens a resuming WebSocket at `path`; see `live`. */
  live(path: string, query: Query, more: { sessionId: string | null; after: number | null; tail?: number | undefined }, handlers: LiveHandlers): Live {
    const protocols = this.#apiKey === null ? [] : ["marionette", `marionette.key.${this.#apiKey}`];
    return live({ url: new URL(urlOf(this.url, path, query)), protocols, random: this.random, ...more }, handlers);
  }

  /** Calls and parses the JSON answer with `parse`; retried as the table says. */
  async json<T>(method: Method, path: string, parse: (value: unknown) => T, call: Call = {}, options: RequestOptions = {}): Promise<T> {
    return this.send(method, path, async (response) => parse(await readJson(response)), { accept: "application/json", ...call }, options);
  }

  /** Calls and reads the answer with `read`, which runs within the attempt's time limit and is run anew by every retry. */
  async send<T>(method: Method, path: string, read: (response: Response) => Promise<T>, call: Call = {}, options: RequestOptions = {}): Promise<T> {
    // A page that is signed in by its cookie says with a header of its own that it is our page.
    const headers: Record<string, string> = { ...this.#headers, ...(this.#apiKey === null ? { "x-marionette-page": "1" } : { authorization: `Bearer ${this.#apiKey}` }) };
    if (call.accept) headers["accept"] = call.accept;
    if (call.body !== undefined) headers["content-type"] = "application/json";
    if (call.bytes) headers["content-type"] = call.bytes.type;
    // One key for all attempts of the call: the server does it once however often it hears it.
    if (method !== "GET") headers["idempotency-key"] = options.idempotency_key ?? crypto.randomUUID();
    const request = {
      method,
      url: urlOf(this.url, path, call.query),
      headers,
      body: call.bytes?.body ?? (call.body === undefined ? undefined : JSON.stringify(call.body)),
      timeout_ms: options.timeout_ms ?? this.#timeoutMs,
      signal: options.signal,
    };
    for (let failures = 0; ; ) {
      try {
        return await attempt(this.#fetch, request, read);
      } catch (error) {
        failures++;
        if (error instanceof ApiError) error.attempts = failures;
        if (options.signal?.aborted) throw error;
        const delay = retryDelay(error, failures, options.max_retries ?? this.#maxRetries, this.random());
        if (delay === null) throw error;
        await this.sleep(delay, options.signal);
      }
    }
  }
}

function baseOf(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new MarionetteError(`url is not a URL: ${url}`);
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") throw new MarionetteError(`url must begin with http:// or https://, not ${parsed.protocol}`);
  if (parsed.username || parsed.password) throw new MarionetteError("url must not hold a user or a password");
  // A base that was copied from the contract's examples works too.
  return (parsed.origin + parsed.pathname).replace(/\/+$/, "").replace(/\/api\/v1$/, "");
}
