/** Owns what an agent's environment says of the model gateway: addresses under it, and its token where a provider's key would stand. */

import type { GatewayAccess } from "./adapter.ts";

/** Variables by which a session brings a model provider of its own; where it does, the gateway leaves that provider alone. */
const OWN = {
  anthropic: ["ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"],
  openai: ["OPENAI_BASE_URL", "OPENAI_API_KEY"],
} as const;
const LOOPBACK = "127.0.0.1,localhost";

/** Whether the session's own environment names a provider of this kind. */
export function bringsOwn(kind: keyof typeof OWN, env: Readonly<Record<string, string>>): boolean {
  return OWN[kind].some((name) => env[name] !== undefined);
}

/**
 * Variables for an agent whose calls go through the gateway; empty without one. `env`: the session's own, which hold. The key is the gateway's
 * token: it is good for this runner's time only, and for nothing but model calls.
 */
export function gatewayEnvironment(gateway: GatewayAccess | null, env: Readonly<Record<string, string>>): Record<string, string> {
  if (!gateway) return {};
  const key = gateway.key.reveal();
  const hidden = [env["NO_PROXY"] ?? env["no_proxy"] ?? process.env["NO_PROXY"] ?? process.env["no_proxy"], LOOPBACK].filter(Boolean).join(",");
  const given: Record<string, string> = {
    MARIONETTE_GATEWAY_URL: `${gateway.url}/gateway`,
    MODEL_API_KEY: key,
    ...(!bringsOwn("anthropic", env) && { ANTHROPIC_BASE_URL: `${gateway.url}/gateway/anthropic`, ANTHROPIC_API_KEY: key }),
    ...(!bringsOwn("openai", env) && { OPENAI_BASE_URL: `${gateway.url}/gateway/openai`, OPENAI_API_KEY: key }),
    // The way to the gateway may begin at this machine's own address, which no proxy can reach.
    ...(new URL(gateway.url).hostname === "127.0.0.1" && { NO_PROXY: hidden, no_proxy: hidden }),
  };
  return Object.fromEntries(Object.entries(given).filter(([name]) => env[name] === undefined || /^no_proxy$/i.test(name)));
}
