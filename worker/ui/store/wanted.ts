/** Owns what a person wants of a new session, as the forms hold it, what the API is asked with it, and the profiles that keep it under a name. */

import { effect, signal } from "@preact/signals";
import * as z from "zod";
import type { Host, SessionCreateParams } from "../../../sdk/index.ts";
import { rule } from "../../../sdk/protocol/policy.ts";

const PROFILES = "marionette.profiles";
const AGENT = "marionette.agent";

const wanted = z.object({
  agent: z.string(), name: z.string(), model: z.string(), agent_config: z.string(), labels: z.string(), provider: z.string(),
  edit_mode: z.enum(["off", "turn", "session"]), lifecycle_mode: z.enum(["on_demand", "always_on"]), rules: z.array(rule),
  max_cost_usd: z.string(), max_tokens: z.string(),
  /** Where it works: `workspace_id` or `host_id` and `path` beside it. */
  place: z.enum(["new", "workspace", "directory"]), workspace_id: z.string(), host_id: z.string(), path: z.string(),
});
/** Fields as they are written; empty ones ask for nothing. */
export type Wanted = z.infer<typeof wanted>;

export const NOTHING: Wanted = {
  agent: "", name: "", model: "", agent_config: "", labels: "", provider: "", edit_mode: "off", lifecycle_mode: "on_demand", rules: [], max_cost_usd: "", max_tokens: "",
  place: "new", workspace_id: "", host_id: "", path: "",
};
/** As a form begins: with the agent of the last time. */
export const begun = (): Wanted => ({ ...NOTHING, agent: localStorage.getItem(AGENT) ?? "" });
export const rememberAgent = (agent: string): void => localStorage.setItem(AGENT, agent);

const kept = z.record(z.string(), wanted);
function readProfiles(): z.infer<typeof kept> {
  try {
    return kept.parse(JSON.parse(localStorage.getItem(PROFILES) ?? "{}"));
  } catch {
    return {};
  }
}
/** By name; kept in this browser, without prompts and without keys. */
export const profiles = signal(readProfiles());
effect(() => localStorage.setItem(PROFILES, JSON.stringify(profiles.value)));

/** `team: web, branch=main` as labels. */
function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries(text.split(/[,\n]/).map((pair) => pair.trim()).filter(Boolean).map((pair) => { const at = pair.search(/[:=]/); return at < 1 ? [pair, ""] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]; }));
}

/** What a create is asked with. */
export function paramsOf(fields: Wanted): Omit<SessionCreateParams, "api_key" | "base_url" | "lifecycle_mode"> {
  const { agent, name, model, agent_config, labels, provider, edit_mode, rules, max_cost_usd, max_tokens, place, workspace_id, host_id, path } = fields;
  const budget = { ...(max_cost_usd !== "" && { max_cost_usd: Number(max_cost_usd) }), ...(max_tokens !== "" && { max_tokens: Number(max_tokens) }) };
  return {
    agent, edit_mode, labels: labelsOf(labels), rules: rules.filter(({ tool, pattern, risk }) => tool || pattern || risk),
    ...(name.trim() && { name: name.trim() }), ...(model.trim() && { model: model.trim() }), ...(agent_config && { agent_config }), ...(provider && { provider }), ...(Object.keys(budget).length > 0 && { budget }),
    ...(place === "workspace" && workspace_id && { workspace_id }), ...(place === "directory" && { directory: { host_id, path: path.length > 1 ? path.replace(/\/+$/, "") : path } }),
  };
}

export interface KnownAgent {
  name: string;
  available: boolean;
  detail: string;
}
/** Agents that some host has, with the reason where none can run it. */
export function agentsOf(hosts: readonly Host[]): KnownAgent[] {
  const found = new Map<string, KnownAgent>();
  for (const host of hosts) {
    for (const agent of host.agents) {
      const known = found.get(agent.name);
      if (!known || (!known.available && agent.available)) found.set(agent.name, agent);
    }
  }
  return [...found.values()].sort((a, b) => Number(b.available) - Number(a.available) || a.name.localeCompare(b.name));
}
