/** Owns the few calls to a Marionette server that a session needs to be a computer. The runtime stands alone, so it brings no client of the server. */

import * as z from "zod";
import { WorkspaceError, type SecretValue } from "./contracts.ts";

export interface SessionApiOptions {
  /** Of the Marionette server. */
  url: string;
  /** With the scopes read and write. */
  apiKey: string | SecretValue;
  fetch?: typeof globalThis.fetch | undefined;
}

export const session = z.object({ id: z.string(), status: z.string(), agent: z.string() });
export const sessionPage = z.object({ items: z.array(session) });
export const task = z.object({ id: z.string(), status: z.string(), result: z.string().nullable(), waiting_for: z.string().nullish(), error: z.object({ code: z.string(), message: z.string() }).nullish() });
const logEvent = z.object({ type: z.string(), data: z.object({ stream: z.string().optional(), text: z.string().optional() }).loose() });
const refusal = z.object({ error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }) });

export class SessionApi {
  readonly #url: string;
  readonly #key: string | SecretValue;
  readonly #fetch: typeof globalThis.fetch;

  constructor({ url, apiKey, fetch = globalThis.fetch }: SessionApiOptions) {
    this.#url = url.replace(/\/+$/, "");
    this.#key = apiKey;
    this.#fetch = fetch;
  }

  async call<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown, signal?: AbortSignal): Promise<T> {
    const response = await this.#send(method, path, "application/json", body, signal);
    const value: unknown = await response.json().catch(() => null);
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw new WorkspaceError("unavailable", `${this.#url} answered with something that is not the Marionette API's; check the URL`);
    return parsed.data;
  }

  /** The texts of a task's output, from its first event to its end; a connection that breaks is taken up where it was. */
  async *output(taskId: string, signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    let after = "0";
    for (let failures = 0; ; failures++) {
      try {
        const response = await this.#send("GET", `/tasks/${taskId}/logs?follow=true&types=log&after=${after}`, "text/event-stream", undefined, signal);
        let pending = "";
        const decoder = new TextDecoder();
        for await (const bytes of response.body ?? []) {
          pending += decoder.decode(bytes, { stream: true });
          const blocks = pending.split("\n\n");
          pending = blocks.pop() ?? "";
          for (const block of blocks) {
            const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
            if (fields["id"] !== undefined) after = fields["id"];
            if (fields["event"] === "end") return;
            const parsed = fields["event"] === "log" ? logEvent.safeParse(JSON.parse(fields["data"] ?? "null")) : null;
            if (parsed?.success && parsed.data.data.stream === "stdout") yield parsed.data.data.text ?? "";
            failures = 0;
          }
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (failures >= 5) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 100 * (failures + 1)));
    }
  }

  async #send(method: string, path: string, accept: string, body: unknown, signal: AbortSignal | undefined): Promise<Response> {
    const key = typeof this.#key === "string" ? this.#key : this.#key.reveal();
    const response = await this.#fetch(`${this.#url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, accept, ...(method !== "GET" && { "idempotency-key": crypto.randomUUID() }), ...(body !== undefined && { "content-type": "application/json" }) },
      redirect: "error",
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new WorkspaceError("unavailable", `the Marionette server at ${this.#url} cannot be reached`, { cause: error });
    });
    if (response.ok) return response;
    const said = refusal.safeParse(await response.json().catch(() => null)).data?.error;
    throw new WorkspaceError(response.status === 404 ? "not_found" : response.status === 413 ? "too_large" : "unavailable", `the Marionette server answered ${response.status}: ${said?.message ?? "no reason given"}${said?.hint === undefined ? "" : ` (${said.hint})`}`);
  }
}
