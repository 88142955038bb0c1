/** Owns agent configs between their records and their use: keys sealed under the tenant's data key on the way in, opened on the way out. */

import { apiOfAgent, Failure, maskKey, type AgentConfig, type AgentConfigCreate, type AgentConfigPatch, type ProviderApi } from "../../sdk/protocol/index.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { storageOf } from "../storage/storage.ts";
import type { OpenConfig } from "./policies.ts";

const encoder = new TextEncoder();
/** What a sealed key is bound to: moved to another config, it does not open. */
const nameOf = (id: string) => `agent-configs/${id}`;

async function sealKey(env: Env, records: Records, tenantId: string, id: string, key: string): Promise<string> {
  const data = await storageOf(env, records).dataKey(tenantId);
  return btoa(String.fromCharCode(...(await data.seal(nameOf(id), encoder.encode(key)))));
}

/** Where the config does not say which wire its provider speaks, its agent or key does. */
function apiFor({ api, agent, key }: { api?: ProviderApi | undefined; agent: string | null; key: string }): ProviderApi {
  return api ?? (agent === null ? null : apiOfAgent(agent)) ?? (key.startsWith("sk-ant-") ? "anthropic" : "openai");
}

export async function createConfig(env: Env, records: Records, tenantId: string, id: string, now: Date, input: AgentConfigCreate): Promise<AgentConfig> {
  const { key, ...rest } = input;
  const sealed_key = await sealKey(env, records, tenantId, id, key);
  return records.agentConfigs.create({ ...rest, id, tenant_id: tenantId, api: apiFor(input), sealed_key, masked_key: maskKey(key), created_at: now });
}

/** Null where there is none. */
export async function updateConfig(env: Env, records: Records, tenantId: string, id: string, { key, ...patch }: AgentConfigPatch): Promise<AgentConfig | null> {
  if (!(await records.agentConfigs.find(tenantId, id))) return null;
  const sealed = key === undefined ? {} : { sealed_key: await sealKey(env, records, tenantId, id, key), masked_key: maskKey(key) };
  const named = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined));
  return records.agentConfigs.update(tenantId, id, { ...named, ...sealed }, new Date());
}

/** A config with its key in the open; null where there is none of that id or name. Throws `conflict` where the tenant's key was deleted. */
export async function openConfig(env: Env, records: Records, tenantId: string, ref: string): Promise<OpenConfig | null> {
  const found = await records.agentConfigs.find(tenantId, ref);
  if (!found) return null;
  const data = await storageOf(env, records).dataKey(tenantId);
  const sealed = Uint8Array.from(atob(found.sealed_key), (char) => char.charCodeAt(0));
  return { config: found.config, key: new TextDecoder().decode(await data.open(nameOf(found.config.id), sealed)) };
}

/** The config that a session is to use: it must be the tenant's, and for its agent. */
export async function configFor(records: Records, tenantId: string, ref: string, agent: string | null): Promise<AgentConfig> {
  const found = await records.agentConfigs.find(tenantId, ref);
  if (!found) throw new Failure("bad_request", "agent_config: no agent config of that id or name", { details: { agent_config: "no agent config of that id or name" }, hint: "GET /api/v1/agent-configs lists them" });
  const { config } = found;
  if (agent !== null && config.agent !== null && config.agent !== agent) throw new Failure("bad_request", `agent_config: '${config.name}' is for the agent '${config.agent}'`, { details: { agent_config: `is for the agent '${config.agent}'` } });
  return config;
}
