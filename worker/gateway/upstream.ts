/** Owns where a call goes and with whose key: the session's own, an agent config's, or the deployment's. */

import type { CallGrant, GatewayClaim } from "../../durable-objects/index.ts";
import { apiOfAgent, Failure, type ProviderApi } from "../../sdk/protocol/index.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { isPrivateHost } from "./addresses.ts";
import { speaks, type Door, type Presented } from "./doors.ts";
import type { OpenConfig, Policies } from "./policies.ts";

/** Where the providers themselves are. */
export const PUBLIC: Record<ProviderApi, string> = { anthropic: "https://api.anthropic.com", openai: "https://api.openai.com/v1" };

export interface Upstream {
  base_url: string;
  host: string;
  key: string;
  source: "byok" | "agent_config" | "deployment";
  agent_config_id: string | null;
  /** What the key's own limit is counted by. */
  limit: { id: string; requests_per_minute: number } | null;
}

const GIVE = "Give the session a key: POST /api/v1/sessions/{id}/resume or PATCH /api/v1/sessions/{id} with api_key, or create it with agent_config";

/** Refuses addresses that the edge must not call for anybody: not http(s), with credentials, private where the deployment does not allow it. */
export function checkedBase(env: Env, base: string): URL {
  const url = URL.canParse(base) ? new URL(base) : null;
  const refuse = (why: string) => new Failure("bad_request", `base_url: ${why}`, { details: { base_url: why } });
  if (!url || !/^https?:$/.test(url.protocol)) throw refuse("must be an http or https address");
  if (url.username || url.password) throw refuse("must not hold a user or a password");
  if (env.MARIONETTE_GATEWAY_PRIVATE !== "1" && isPrivateHost(url.hostname)) throw refuse("is in a private network, which this deployment does not call (MARIONETTE_GATEWAY_PRIVATE)");
  return url;
}

/** The wire that a call speaks, where its key is for one wire only; throws where they differ. */
function assertSpeaks(door: Door, api: ProviderApi | null): void {
  const asked = speaks(door);
  if (api !== null && asked !== null && asked !== api) throw new Failure("bad_request", `This session's model key is for ${api === "anthropic" ? "Anthropic's" : "OpenAI's"} API, and this is the other door`);
}

function ofConfig(env: Env, door: Door, { config, key }: OpenConfig): Upstream {
  assertSpeaks(door, config.api);
  const base_url = config.base_url ?? PUBLIC[config.api];
  const { requests_per_minute } = config;
  return { base_url, host: checkedBase(env, base_url).host, key, source: "agent_config", agent_config_id: config.id, limit: requests_per_minute === null ? null : { id: config.id, requests_per_minute } };
}

function missing(message: string, hint: string = GIVE): Failure {
  return new Failure("unauthorized", `key_missing: ${message}`, { hint });
}

export interface Asking {
  env: Env;
  records: Records;
  policies: Policies;
  door: Door;
  /** The gateway token that the agent presented. */
  token: string;
  session_id: string;
}

/** Resolves a claim to an address and a key. Throws failures in words that the agent can be told. */
export async function upstreamOf({ env, records, policies, door, token, session_id }: Asking, claim: GatewayClaim | CallGrant): Promise<Upstream> {
  const { key, tenant_id } = claim;
  const opened = key.kind === "agent_config" ? await policies.config(env, records, tenant_id, key.id) : null;
  if (door.kind === "compatible" && door.config !== null && opened?.config.name !== door.config) {
    const named = await policies.config(env, records, tenant_id, door.config);
    if (!named?.config.shared) throw new Failure("not_found", `No agent config '${door.config}' that this session may use`, { hint: "Create the session with it, or let the config be shared" });
    return ofConfig(env, door, named);
  }
  if (key.kind === "agent_config") {
    if (!opened) throw missing("the agent config of this session is gone", "Give the session another: PATCH /api/v1/sessions/{id} with agent_config or api_key");
    return ofConfig(env, door, opened);
  }
  if (key.kind === "byok_missing") throw missing("the session's model key went with the runner that had it");
  if (key.kind === "byok") {
    const opened = await policies.ownKey(token, session_id, key.sealed);
    const api = apiOfAgent(claim.agent) ?? (claim.base_url !== null ? null : opened.startsWith("sk-ant-") ? "anthropic" : "openai");
    assertSpeaks(door, api);
    const base_url = claim.base_url ?? PUBLIC[speaks(door) ?? "openai"];
    return { base_url, host: checkedBase(env, base_url).host, key: opened, source: "byok", agent_config_id: null, limit: null };
  }
  const api = speaks(door) ?? "openai";
  const own = api === "anthropic" ? { key: env.MARIONETTE_ANTHROPIC_API_KEY, base: env.MARIONETTE_ANTHROPIC_BASE_URL } : { key: env.MARIONETTE_OPENAI_API_KEY, base: env.MARIONETTE_OPENAI_BASE_URL };
  if (!own.key) throw missing("the session has no model key, and the deployment has none of its own");
  const base_url = own.base ?? PUBLIC[api];
  // The deployment's own word on where its provider is needs no leave.
  return { base_url, host: new URL(base_url).host, key: own.key, source: "deployment", agent_config_id: null, limit: null };
}

/** Headers of one hop, of the way to the edge, and those that say who the agent is to us: none of them is upstream's business. */
const DROPPED = /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|content-length|accept-encoding|authorization|x-api-key|cookie|forwarded|x-forwarded-.*|x-real-ip|true-client-ip|via|cf-.*|cdn-loop|mf-.*|x-marionette-.*)$/;

/** The agent's headers with the provider's key where its own token stood. */
export function headersFor(headers: Headers, presented: Presented, key: string): Headers {
  const sent = new Headers();
  for (const [name, value] of headers) if (!DROPPED.test(name)) sent.append(name, value);
  // Read on the way: upstream must not compress it.
  sent.set("accept-encoding", "identity");
  if (presented.where === "x-api-key" && !key.startsWith("sk-ant-oat")) sent.set("x-api-key", key);
  else sent.set("authorization", `Bearer ${key}`);
  return sent;
}
