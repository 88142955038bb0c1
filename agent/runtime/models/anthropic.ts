/** Owns the provider for Anthropic's Messages API, and for whoever speaks it. */

import { createAnthropic } from "@ai-sdk/anthropic";
import type { LanguageModelV4 } from "@ai-sdk/provider";
import { streamFrom, type Dialect } from "./language-model.ts";
import type { ModelPart, ModelProvider, ModelRequest } from "./provider.ts";

export interface AnthropicOptions {
  apiKey: string;
  /** With or without `/v1` at its end, as in ANTHROPIC_BASE_URL; `https://api.anthropic.com` by default. */
  baseURL?: string | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
  fetch?: typeof globalThis.fetch | undefined;
}

/** The API wants a limit. The AI SDK knows those of Claude's models, and takes 4,096 for all others, which cuts files in their middle; those who speak this API for models of their own take more. */
const OTHERS_OUTPUT_TOKENS = 32_000;
const DIALECT: Dialect = { optionsKey: "anthropic", ownsCall: (provider) => !("thoughtSignature" in provider), idOf: (callId) => callId.replaceAll(/[^A-Za-z0-9_-]/g, "_"), imagesInResults: true, signedThoughts: true, errorFlag: true, cacheMark: { anthropic: { cacheControl: { type: "ephemeral" } } } };

export class AnthropicProvider implements ModelProvider {
  readonly name = "anthropic";
  readonly #anthropic: ReturnType<typeof createAnthropic>;
  /** A model builds its schemas when it is made. */
  readonly #models = new Map<string, LanguageModelV4>();

  constructor({ apiKey, baseURL = "https://api.anthropic.com", headers, fetch }: AnthropicOptions) {
    const base = baseURL.replace(/\/+$/, "");
    this.#anthropic = createAnthropic({ apiKey, baseURL: base.endsWith("/v1") ? base : `${base}/v1`, ...(headers && { headers: { ...headers } }), ...(fetch && { fetch }) });
  }

  stream(request: ModelRequest): AsyncIterable<ModelPart> {
    const model = this.#models.get(request.model) ?? this.#anthropic(request.model);
    this.#models.set(request.model, model);
    const own = request.maxOutputTokens ?? (/claude/i.test(request.model) ? undefined : OTHERS_OUTPUT_TOKENS);
    return streamFrom(model, { ...request, maxOutputTokens: own }, DIALECT);
  }
}
