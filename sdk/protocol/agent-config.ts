/** Owns agent configs: a model provider's address and key under a name, kept sealed at the edge and shown masked. */

import * as z from "zod";
import { idOf } from "./ids.ts";
import { oneLine, slug, timestamp } from "./values.ts";

/** Which wire a provider speaks: Anthropic's Messages, or OpenAI's (Responses and Chat Completions, also of compatible ones). */
export const providerApi = z.enum(["anthropic", "openai"]);
export type ProviderApi = z.infer<typeof providerApi>;

/** Address of a model provider: http or https, without credentials. Where private addresses are not allowed, they are refused when used. */
export const baseUrl = z
  .string()
  .max(1_000)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), "expected an http or https URL")
  .refine((text) => !URL.canParse(text) || (new URL(text).username === "" && new URL(text).password === ""), "must not hold a user or a password")
  .refine((text) => !/[?#]/.test(text), "must not hold a query or a fragment");

/** A model provider's key as it is given. */
export const providerKey = oneLine(4_096).min(1).regex(/^[\x21-\x7e]+$/, "must not hold spaces or other than ASCII characters");

const fields = {
  name: slug,
  /** The agent that sessions with this config run; null: any. */
  agent: slug.nullable().default(null),
  api: providerApi.optional(),
  model: oneLine(200).min(1).nullable().default(null),
  /** Absent: the provider's own. */
  base_url: baseUrl.nullable().default(null),
  key: providerKey,
  /** Agents of every session of the tenant may use it at `/gateway/compatible/{name}`, not only of those that were created with it. */
  shared: z.boolean().default(false),
  /** Calls a minute with this key, over all sessions; null: as many as the provider takes. */
  requests_per_minute: z.number().int().min(1).max(1_000_000).nullable().default(null),
};
export const agentConfigCreate = z.strictObject(fields);
export type AgentConfigCreate = z.infer<typeof agentConfigCreate>;
/** What is left out stays as it is. */
export const agentConfigPatch = z.strictObject({
  name: fields.name.optional(), agent: slug.nullable().optional(), api: providerApi.optional(), model: oneLine(200).min(1).nullable().optional(), base_url: baseUrl.nullable().optional(),
  key: providerKey.optional(), shared: z.boolean().optional(), requests_per_minute: z.number().int().min(1).max(1_000_000).nullable().optional(),
});
export type AgentConfigPatch = z.infer<typeof agentConfigPatch>;

export const agentConfig = z.object({
  id: idOf("agent_config"),
  tenant_id: idOf("tenant"),
  name: z.string(),
  agent: z.string().nullable(),
  api: providerApi,
  model: z.string().nullable(),
  base_url: z.string().nullable(),
  /** The key, masked: enough to tell two apart. */
  key: z.string(),
  shared: z.boolean(),
  requests_per_minute: z.number().int().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
});
export type AgentConfig = z.infer<typeof agentConfig>;

/** What one cheap call said. */
export const agentConfigTest = z.object({
  ok: z.boolean(),
  status: z.number().int().nullable(),
  model: z.string().nullable(),
  duration_ms: z.number(),
  /** In words: what worked, or what is wrong and what to do. */
  message: z.string(),
});
export type AgentConfigTest = z.infer<typeof agentConfigTest>;

/** Shows a key's first and last characters; of short ones nothing. */
export function maskKey(key: string): string {
  return key.length < 20 ? "…" : `${key.slice(0, 7)}…${key.slice(-4)}`;
}

/** The wire that an agent's model speaks; null where both may be. */
export function apiOfAgent(agent: string): ProviderApi | null {
  if (agent === "claude") return "anthropic";
  return agent === "codex" ? "openai" : null;
}

/** How a session names an agent config of its tenant: its id or its name. */
export const agentConfigRef = z.union([idOf("agent_config"), slug]);
