/** Owns what the environment says to the agent `marco` of a session: which provider, which model, which limits, and what of it commands may see. */

import * as z from "zod";
import type { Budget } from "../budget.ts";
import { AnthropicProvider } from "../models/anthropic.ts";
import { OpenAICompatibleProvider } from "../models/openai-compatible.ts";
import type { ModelProvider, Reasoning } from "../models/provider.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export const DEFAULT_MODEL = "claude-sonnet-4-5";
const OPENAI = "https://api.openai.com/v1";
/** What must not reach the commands that the agent runs. */
const WITHHELD = /^(ANTHROPIC_(API_KEY|AUTH_TOKEN|BASE_URL)|OPENAI_(API_KEY|BASE_URL)|MODEL_API_KEY|TAVILY_API_KEY|MARCO_.*)$/;

const number = z.coerce.number();
const settings = z.object({
  MARCO_PROVIDER: z.enum(["anthropic", "openai-compatible"]).optional(),
  /** An endpoint that is called directly, with MARCO_API_KEY if it wants a key; never with what is for the gateway. */
  MARCO_BASE_URL: z.url().optional(),
  MARCO_MAX_MODEL_CALLS: number.int().min(1).optional(),
  MARCO_MAX_COST_USD: number.positive().optional(),
  MARCO_MAX_TOKENS: number.int().min(1).optional(),
  MARCO_MAX_SECONDS: number.positive().optional(),
  MARCO_CONTEXT_TOKENS: number.int().min(4_000).optional(),
  MARCO_MAX_OUTPUT_TOKENS: number.int().min(1).optional(),
  MARCO_REASONING: z.enum(["none", "minimal", "low", "medium", "high"]).optional(),
  ANTHROPIC_BASE_URL: z.url().optional(),
  OPENAI_BASE_URL: z.url().optional(),
});

export interface Settings {
  model: string;
  providerFor: (model: string) => ModelProvider;
  budget: Budget;
  contextTokens: number | undefined;
  maxOutputTokens: number | undefined;
  reasoning: Reasoning | undefined;
  /** Environment of the commands: all but keys and our own settings. */
  commands: Record<string, string>;
}

/** Throws an error that names the variable where one is not valid, or where no key is there for the provider that was chosen. */
export function settingsOf(env: Environment, asked: string | null): Settings {
  // Set and empty is not set.
  const parsed = settings.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== "")));
  if (!parsed.success) throw new Error(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "));
  const given = parsed.data;
  const model = asked ?? DEFAULT_MODEL;
  const which = (name: string): "anthropic" | "openai-compatible" => given.MARCO_PROVIDER ?? (name.startsWith("claude") ? "anthropic" : "openai-compatible");
  const providerFor = (name: string): ModelProvider => {
    const direct = given.MARCO_BASE_URL;
    const ownKey = env["MARCO_API_KEY"];
    // The token of the gateway is good for nothing else, and nobody else is to see it.
    const keyOf = (variable: string) => (direct === undefined ? env[variable] : (ownKey ?? (env["MARIONETTE_GATEWAY_URL"] === undefined ? env[variable] : undefined)));
    if (which(name) === "anthropic") {
      const apiKey = keyOf("ANTHROPIC_API_KEY") ?? keyOf("ANTHROPIC_AUTH_TOKEN");
      const baseURL = direct ?? given.ANTHROPIC_BASE_URL;
      if (!apiKey && baseURL === undefined) throw new Error(`there is no key for ${name}: give the session an api_key, or set ANTHROPIC_API_KEY`);
      return new AnthropicProvider({ apiKey: apiKey ?? "none", ...(baseURL !== undefined && { baseURL }) });
    }
    const apiKey = keyOf("OPENAI_API_KEY");
    const baseURL = direct ?? given.OPENAI_BASE_URL;
    // An endpoint of one's own may want no key.
    if (!apiKey && baseURL === undefined) throw new Error(`there is no key for ${name}: give the session an api_key, set OPENAI_API_KEY, or name the endpoint with --base-url`);
    return new OpenAICompatibleProvider({ apiKey, baseURL: baseURL ?? OPENAI });
  };
  const budget: Budget = {
    ...(given.MARCO_MAX_MODEL_CALLS !== undefined && { maxModelCallsPerTurn: given.MARCO_MAX_MODEL_CALLS }), ...(given.MARCO_MAX_COST_USD !== undefined && { maxCostUsdPerTurn: given.MARCO_MAX_COST_USD }),
    ...(given.MARCO_MAX_TOKENS !== undefined && { maxTokensPerTurn: given.MARCO_MAX_TOKENS }), ...(given.MARCO_MAX_SECONDS !== undefined && { maxSecondsPerTurn: given.MARCO_MAX_SECONDS }),
  };
  const commands = Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (value === undefined || WITHHELD.test(name) ? [] : [[name, value] as const])));
  return { model, providerFor, budget, contextTokens: given.MARCO_CONTEXT_TOKENS, maxOutputTokens: given.MARCO_MAX_OUTPUT_TOKENS, reasoning: given.MARCO_REASONING, commands };
}
