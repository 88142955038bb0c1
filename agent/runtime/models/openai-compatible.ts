/** Owns the provider for every endpoint that speaks OpenAI's Chat Completions: OpenAI, OpenRouter, Ollama, vLLM, … */

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModelV4 } from "@ai-sdk/provider";
import { streamFrom, type Dialect } from "./language-model.ts";
import { ThoughtsTold } from "./thoughts.ts";
import type { ModelPart, ModelProvider, ModelRequest } from "./provider.ts";

export interface OpenAICompatibleOptions {
  /** Absent where the endpoint wants none, as Ollama. */
  apiKey?: string | undefined;
  /** With the version in it, as in OPENAI_BASE_URL: `https://openrouter.ai/api/v1`, `http://localhost:11434/v1`. */
  baseURL: string;
  headers?: Readonly<Record<string, string>> | undefined;
  fetch?: typeof globalThis.fetch | undefined;
  /** For messages; the host of `baseURL` by default. */
  name?: string | undefined;
  /**
   * The ends of cached prefixes are marked with `cache_control`, for routers that hand it on to models which cache only what is marked.
   * Most endpoints cache by themselves; by default only OpenRouter's Anthropic models are marked.
   */
  cacheControl?: boolean | undefined;
}

const DIALECT: Dialect = { optionsKey: "openaiCompatible", ownsCall: (provider) => "thoughtSignature" in provider, idOf: (callId) => callId, imagesInResults: false, signedThoughts: false, errorFlag: false, cacheMark: null };

interface WireMessage {
  role: string;
  content: unknown;
}

export class OpenAICompatibleProvider implements ModelProvider {
  readonly name: string;
  readonly #endpoint: ReturnType<typeof createOpenAICompatible>;
  /** A model builds its schemas when it is made. */
  readonly #models = new Map<string, LanguageModelV4>();

  constructor({ apiKey, baseURL, headers, fetch, name, cacheControl }: OpenAICompatibleOptions) {
    const { host } = new URL(baseURL);
    this.name = name ?? host;
    this.#endpoint = createOpenAICompatible({
      name: DIALECT.optionsKey,
      baseURL: baseURL.replace(/\/+$/, ""),
      includeUsage: true,
      transformRequestBody: (body) => {
        const own = limited(body);
        return (cacheControl ?? (host.endsWith("openrouter.ai") && String(body["model"]).startsWith("anthropic/"))) ? marked(own) : own;
      },
      metadataExtractor: { extractMetadata: () => Promise.resolve(undefined), createStreamExtractor: thoughtsOfStream },
      ...(apiKey !== undefined && apiKey !== "" && { apiKey }),
      ...(headers && { headers: { ...headers } }),
      ...(fetch && { fetch }),
    });
  }

  stream(request: ModelRequest): AsyncIterable<ModelPart> {
    const model = this.#models.get(request.model) ?? this.#endpoint(request.model);
    this.#models.set(request.model, model);
    return streamFrom(model, request, DIALECT);
  }
}

/** OpenAI's models that think refuse `max_tokens`; most other endpoints know no other name of it. */
function limited({ max_tokens: limit, ...body }: Record<string, unknown>): Record<string, unknown> {
  return limit === undefined ? body : { ...body, [/^(o\d|gpt-[5-9])/.test(String(body["model"])) ? "max_completion_tokens" : "max_tokens"]: limit };
}

function thoughtsOfStream() {
  const told = new ThoughtsTold();
  return { processChunk: (chunk: unknown) => told.take(chunk), buildMetadata: () => (told.kept === null ? undefined : { [DIALECT.optionsKey]: { thoughts: told.kept } }) };
}

/** The system prompt and the last message as parts with a mark. */
function marked(body: Record<string, unknown>): Record<string, unknown> {
  const messages = body["messages"] as WireMessage[];
  const mark = (one: WireMessage): WireMessage => {
    if (typeof one.content !== "string" || one.content === "") return one;
    return { ...one, content: [{ type: "text", text: one.content, cache_control: { type: "ephemeral" } }] };
  };
  return { ...body, messages: messages.map((one, i) => (one.role === "system" || (i === messages.length - 1 && one.role !== "assistant") ? mark(one) : one)) };
}
