/** Owns what a session's options say of its model, checked at the door: one key at most, a config that is there, an address that may be called. */

import { Failure, type SessionCreate, type SessionPatch } from "../../sdk/protocol/index.ts";
import { actorOf, type Ctx } from "../context.ts";
import { configFor } from "./configs.ts";
import { checkedBase } from "./upstream.ts";

function assertOne(input: { api_key?: string | undefined; agent_config?: string | null | undefined; base_url?: string | null | undefined }): void {
  if (input.agent_config && input.api_key !== undefined) throw new Failure("bad_request", "agent_config: give it or api_key, not both", { details: { agent_config: "give it or api_key, not both" } });
  if (input.agent_config && input.base_url) throw new Failure("bad_request", "base_url: the agent config has its own", { details: { base_url: "the agent config has its own" } });
}

/** The options with the config's id in place of its name, and its model where none is named. */
export async function withModel(c: Ctx, input: SessionCreate): Promise<SessionCreate> {
  assertOne(input);
  if (input.base_url) checkedBase(c.env, input.base_url);
  if (!input.agent_config) return input;
  const config = await configFor(c.get("records"), actorOf(c).tenant_id, input.agent_config, input.agent);
  return { ...input, agent_config: config.id, ...(input.model === undefined && config.model !== null && { model: config.model }) };
}

export async function patchedModel(c: Ctx, patch: SessionPatch): Promise<SessionPatch> {
  assertOne(patch);
  if (patch.base_url) checkedBase(c.env, patch.base_url);
  if (!patch.agent_config) return patch;
  return { ...patch, agent_config: (await configFor(c.get("records"), actorOf(c).tenant_id, patch.agent_config, null)).id };
}
