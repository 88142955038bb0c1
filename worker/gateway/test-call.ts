/** Owns the one cheap call with which an agent config is tried. */

import { Failure, type AgentConfigTest } from "../../sdk/protocol/index.ts";
import type { Env } from "../env.ts";
import { fetchPublic } from "./addresses.ts";
import { join } from "./doors.ts";
import type { OpenConfig } from "./policies.ts";
import { checkedBase, PUBLIC } from "./upstream.ts";

const TIMEOUT_MS = 20_000;
const MODELS = { anthropic: "claude-haiku-4-5", openai: "gpt-5-nano" } as const;
const SAID_CHARS = 300;

/** What upstream says of itself, cut short; its words are data, not ours. */
async function said(response: Response): Promise<string> {
  const text = (await response.text()).slice(0, 4_096);
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown } | string };
    const message = typeof body.error === "object" ? body.error.message : body.error;
    if (typeof message === "string") return message.slice(0, SAID_CHARS);
  } catch {
    // Not JSON: its beginning must do.
  }
  return text.slice(0, SAID_CHARS);
}

function advice(status: number): string {
  if (status === 401 || status === 403) return "The provider does not take this key";
  if (status === 404) return "The address or the model is not known there";
  if (status === 429) return "The key is good, and its limit is reached now";
  return status >= 500 ? "The provider has a fault of its own now" : "The provider refused the call";
}

/** Asks the config's model for one token. Never throws for what the provider does. */
export async function testConfig(env: Env, { config, key }: OpenConfig): Promise<AgentConfigTest> {
  const started = Date.now();
  const model = config.model ?? MODELS[config.api];
  const answer = (ok: boolean, status: number | null, message: string): AgentConfigTest => ({ ok, status, model, duration_ms: Date.now() - started, message });
  const base = config.base_url ?? PUBLIC[config.api];
  const anthropic = config.api === "anthropic";
  const messages = [{ role: "user", content: "hi" }];
  const headers: Record<string, string> = { "content-type": "application/json", "accept-encoding": "identity" };
  if (anthropic) headers["anthropic-version"] = "2023-06-01";
  if (anthropic && !key.startsWith("sk-ant-oat")) headers["x-api-key"] = key;
  else headers["authorization"] = `Bearer ${key}`;
  // Newer OpenAI models do not know max_tokens, older servers do not know its heir: a small answer is asked for in words that both take.
  const body = anthropic ? { model, max_tokens: 1, messages } : { model, messages, stream: false };
  try {
    checkedBase(env, base);
    const url = join(base, anthropic ? "/v1/messages" : "/chat/completions", "");
    const response = await fetchPublic(env, url, { method: "POST", headers, body: JSON.stringify(body), redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.ok) {
      await response.body?.cancel();
      return answer(true, response.status, `${new URL(base).host} answered as ${model}`);
    }
    return answer(false, response.status, `${advice(response.status)}: ${await said(response)}`);
  } catch (error) {
    if (error instanceof Failure) return answer(false, null, error.message);
    return answer(false, null, `${new URL(base).host} cannot be reached: ${error instanceof Error ? error.message.slice(0, SAID_CHARS) : "no answer"}`);
  }
}
