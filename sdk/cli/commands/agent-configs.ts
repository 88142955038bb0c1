/** Owns `mctl agent-configs`. */

import type { AgentConfig } from "../../protocol/agent-config.ts";
import { defineCommand } from "../command.ts";
import { UserError } from "../io.ts";
import { choice, flag, needed, text, whole } from "../option.ts";
import { age, type Column } from "../output/table.ts";
import { modelKey } from "./input.ts";
import { listOptions, printList } from "./listing.ts";

const CONFIG = { name: "config", summary: "id of the config (acfg_…)" } as const;
const APIS = ["anthropic", "openai"] as const;

const columns: readonly Column<AgentConfig>[] = [
  { title: "ID", value: (c) => c.id }, { title: "NAME", value: (c) => c.name, max: 24 }, { title: "API", value: (c) => c.api }, { title: "KEY", value: (c) => c.key }, { title: "MODEL", value: (c) => c.model },
  { title: "AGENT", value: (c) => c.agent, wide: true }, { title: "ADDRESS", value: (c) => c.base_url, wide: true }, { title: "SHARED", value: (c) => (c.shared ? "yes" : null), wide: true },
  { title: "CALLS/MIN", value: (c) => c.requests_per_minute, wide: true, right: true }, { title: "AGE", value: (c, now) => age(c.created_at, now), right: true },
];
const fieldsOf = (c: AgentConfig): (readonly [string, string | number | null])[] => [
  ["id", c.id], ["name", c.name], ["api", c.api], ["key", c.key], ["model", c.model], ["agent", c.agent], ["address", c.base_url], ["shared", c.shared ? "yes" : null], ["calls a minute", c.requests_per_minute], ["created", c.created_at],
];
const shared = {
  agent: text("AGENT", "only for sessions of this agent"), api: choice(APIS, "which wire the provider speaks (default by agent or key)"), model: text("MODEL", "model of sessions that name none"),
  baseUrl: text("URL", "where the provider is, if not at its own address"), requestsPerMinute: whole("N", "most calls a minute with this key", { min: 1 }),
};

export const agentConfigCommands = [
  defineCommand({
    name: "agent-configs create",
    summary: "Keep a model provider's key under a name",
    description: "The key is read from a variable, so that no history of a shell has it. It is sealed on the server and never shown again.",
    options: { name: needed("NAME", "what sessions call it"), keyEnv: needed("NAME", "variable that holds the key"), ...shared, shared: flag("every session of the tenant may use it at /gateway/compatible/NAME") },
    examples: [["agent-configs create --name house --key-env ANTHROPIC_API_KEY --model claude-sonnet-4-5", "then: sessions create --agent claude --agent-config house"]],
    async run(context, _, { keyEnv, baseUrl, requestsPerMinute, ...rest }) {
      const config = await context.client.agentConfigs.create({ ...rest, key: modelKey(context, "", keyEnv) ?? "", base_url: baseUrl, requests_per_minute: requestsPerMinute });
      if (context.out.quiet && !context.out.structured) context.out.line(config.id);
      else context.out.one(config, () => context.out.fields(fieldsOf(config)));
    },
  }),
  defineCommand({
    name: "agent-configs list",
    summary: "List agent configs, their keys masked",
    options: listOptions,
    examples: [["agent-configs list", ""]],
    async run(context, _, chosen) {
      await printList(context, chosen, (limit) => context.client.agentConfigs.list({ limit }), columns, "agent configs");
    },
  }),
  defineCommand({
    name: "agent-configs update",
    summary: "Change an agent config",
    args: [CONFIG],
    options: { name: text("NAME", "a new name"), keyEnv: text("NAME", "variable that holds a new key"), ...shared },
    examples: [["agent-configs update acfg_… --key-env NEW_KEY", "for calls that begin a few seconds later, also in sessions that run"]],
    async run(context, { config: id = "" }, { keyEnv, baseUrl, requestsPerMinute, ...rest }) {
      const key = keyEnv && modelKey(context, "", keyEnv);
      const given = { ...rest, ...(key && { key }), ...(baseUrl !== undefined && { base_url: baseUrl }), ...(requestsPerMinute !== undefined && { requests_per_minute: requestsPerMinute }) };
      const patch = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
      if (Object.keys(patch).length === 0) throw new UserError("Nothing to change", "give --key-env, --model, --base-url, …");
      const config = await context.client.agentConfigs.update(id, patch);
      context.out.one(config, () => context.out.fields(fieldsOf(config)));
    },
  }),
  defineCommand({
    name: "agent-configs test",
    summary: "Make one cheap call with an agent config",
    args: [CONFIG],
    options: {},
    examples: [["agent-configs test acfg_…", ""]],
    async run(context, { config: id = "" }) {
      const outcome = await context.client.agentConfigs.test(id);
      context.out.one(outcome, () => [`${outcome.ok ? "It works" : "It does not work"}: ${outcome.message} (${Math.round(outcome.duration_ms)} ms)`]);
      return outcome.ok ? 0 : 1;
    },
  }),
  defineCommand({
    name: "agent-configs delete",
    summary: "Delete an agent config and its key",
    args: [CONFIG],
    options: {},
    examples: [["agent-configs delete acfg_…", ""]],
    async run(context, { config: id = "" }) {
      const config = await context.client.agentConfigs.delete(id);
      context.out.note(`Deleted ${config.name} (${config.id}).`);
    },
  }),
];
