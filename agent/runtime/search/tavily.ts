/** Owns Tavily as a search engine: https://docs.tavily.com/documentation/api-reference (search and extract). */

import * as z from "zod";
import type { SecretValue } from "../sandbox/contracts.ts";
import { boundedBytes } from "./bounded-body.ts";
import { SearchError, type FetchedPage, type FetchOptions, type SearchOptions, type SearchProvider, type SearchResult } from "./provider.ts";

export interface TavilyOptions {
  /** `TAVILY_API_KEY` of the environment where absent. */
  apiKey?: string | SecretValue | undefined;
  baseUrl?: string | undefined;
  fetch?: typeof globalThis.fetch | undefined;
  /** Milliseconds for one request. */
  timeoutMs?: number | undefined;
}

const found = z.object({ results: z.array(z.object({ title: z.string().nullish(), url: z.string(), content: z.string().nullish(), published_date: z.string().nullish() })) });
const extracted = z.object({ results: z.array(z.object({ url: z.string(), raw_content: z.string().nullish() })), failed_results: z.array(z.object({ url: z.string(), error: z.string().nullish() })).nullish() });
const refusal = z.object({ detail: z.union([z.string(), z.object({ error: z.string() })]) });
const MAX_ANSWER_BYTES = 20 * 1024 * 1024;

/** A missing key is told at the first call, so that an agent without one still runs. */
export function createTavilySearch(options: TavilyOptions = {}): SearchProvider {
  const { baseUrl = "https://api.tavily.com", fetch = globalThis.fetch, timeoutMs = 30_000 } = options;
  const call = async <T>(path: string, body: unknown, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> => {
    const given = options.apiKey ?? process.env["TAVILY_API_KEY"] ?? "";
    const key = typeof given === "string" ? given : given.reveal();
    if (key === "") throw new SearchError("web search is not set up: Tavily's API key is missing. Tell the user to set TAVILY_API_KEY or to pass apiKey (keys: https://app.tavily.com); go on without searching.");
    const answer = await fetch(`${baseUrl.replace(/\/+$/, "")}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new SearchError(error instanceof Error && error.name === "TimeoutError" ? `Tavily did not answer within ${timeoutMs / 1_000} seconds` : "Tavily cannot be reached", { cause: error });
    });
    const { bytes, truncated } = answer.body === null ? { bytes: Buffer.alloc(0), truncated: false } : await boundedBytes(answer.body, MAX_ANSWER_BYTES);
    const value = json(bytes.toString());
    if (!answer.ok) throw refused(answer.status, value);
    const parsed = schema.safeParse(value);
    if (truncated || !parsed.success) throw new SearchError("Tavily answered with something that is not its API's; is baseUrl right?");
    return parsed.data;
  };
  return {
    name: "tavily",
    async search(query: string, { limit, signal }: SearchOptions): Promise<SearchResult[]> {
      const { results } = await call("/search", { query, max_results: limit }, found, signal);
      return results.slice(0, limit).map(({ title, url, content, published_date: published }) => ({ title: title ?? url, url, snippet: content ?? "", ...(published && { published }) }));
    },
    async fetch(url: string, { maxBytes, signal }: FetchOptions): Promise<FetchedPage> {
      const { results, failed_results: failures } = await call("/extract", { urls: [url], format: "markdown" }, extracted, signal);
      const page = results[0];
      if (!page?.raw_content) throw new SearchError(`Tavily could not read ${url}: ${failures?.[0]?.error ?? "it has no text"}`);
      const bytes = Buffer.from(page.raw_content);
      return { url: page.url, title: null, text: new TextDecoder().decode(bytes.subarray(0, maxBytes), { stream: true }), truncated: bytes.byteLength > maxBytes };
    },
  };
}

function refused(status: number, value: unknown): SearchError {
  const said = refusal.safeParse(value).data?.detail;
  const words = (typeof said === "string" ? said : (said?.error ?? "")).slice(0, 500);
  if (status === 401) return new SearchError("Tavily refused its API key. Tell the user that it is wrong or was revoked; go on without searching.");
  if (status === 429) return new SearchError("Tavily's rate limit is reached; wait a little before the next search");
  if (status === 432 || status === 433) return new SearchError("Tavily's plan is used up. Tell the user; go on without searching.");
  return new SearchError(`Tavily answered ${status}${words === "" ? "" : `: ${words}`}`);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
