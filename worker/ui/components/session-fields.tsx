/** Owns the fields with which a session is made, for whoever launches one now or by the clock: the agent, where it works, what it may do and spend. */

import { useEffect, useState } from "preact/hooks";
import type { AgentConfig, Host } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { agentsOf, type KnownAgent, type Wanted } from "../store/wanted.ts";
import { plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";
import { PlaceField } from "./place-field.tsx";
import { RulesField } from "./rules-field.tsx";

export interface Known {
  /** Online hosts; null until they are known. */
  hosts: Host[] | null;
  configs: readonly AgentConfig[];
  agents: readonly KnownAgent[];
  fault: string | null;
}

/** What the hosts and the tenant offer; with `hostId` only that host's. */
export function useKnown(hostId?: string): Known {
  const [hosts, setHosts] = useState<Host[] | null>(null);
  const [configs, setConfigs] = useState<AgentConfig[]>([]);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    void (async () => {
      const all: Host[] = [];
      try {
        for await (const host of client.hosts.list({ limit: 100 })) all.push(host);
      } catch (error) {
        setFault(wordsOf(error));
      }
      setHosts(all.filter((host) => host.status === "online" && (hostId === undefined || host.id === hostId)));
    })();
    // A key without the right to see them launches without one.
    client.agentConfigs.list({ limit: 200 }).then((page) => setConfigs(page.items), () => {});
  }, [hostId]);
  return { hosts, configs, agents: agentsOf(hosts ?? []), fault };
}

/** The agent that is meant: the one that was chosen, where some host has it. */
export function agentOf(fields: Wanted, { agents }: Known): string {
  return agents.some(({ name }) => name === fields.agent) ? fields.agent : (agents.find(({ available }) => available)?.name ?? fields.agent);
}

interface FieldsProps {
  fields: Wanted;
  set: (patch: Partial<Wanted>) => void;
  known: Known;
}
type Text = { [K in keyof Wanted]: Wanted[K] extends string ? K : never }[keyof Wanted];
const writes = (set: FieldsProps["set"], name: Text) => (event: { currentTarget: { value: string } }) => set({ [name]: event.currentTarget.value });

export function AgentField({ fields, set, known }: FieldsProps) {
  const { agents } = known;
  const agent = agentOf(fields, known);
  const chosen = agents.find(({ name }) => name === agent);
  return (
    <>
      <label>Agent
        <select value={agent} onChange={writes(set, "agent")} required>
          {agents.map(({ name, available }) => <option key={name} value={name}>{name}{available ? "" : " (not installed)"}</option>)}
          {agents.length === 0 && <option value={agent}>{agent || "…"}</option>}
        </select>
      </label>
      {chosen && !chosen.available && <p class="hint">{plain(chosen.detail)}</p>}
    </>
  );
}

/** Where it works, and what it may do and spend. `fixed`: it works where the form was opened. */
export function LimitFields({ fields, set, known, fixed = false }: FieldsProps & { fixed?: boolean }) {
  return (
    <div class="columns">
      {!fixed && <PlaceField fields={fields} set={set} hosts={known.hosts ?? []} />}
      <label>Edits<select value={fields.edit_mode} onChange={writes(set, "edit_mode")}><option value="off">Ask before edits</option><option value="turn">Allowed in its first task</option><option value="session">Allowed in this session</option></select></label>
      <label>Budget in dollars<input type="number" min="0" step="any" value={fields.max_cost_usd} onInput={writes(set, "max_cost_usd")} placeholder="none" /></label>
      <label>Budget in tokens<input type="number" min="0" step="1" value={fields.max_tokens} onInput={writes(set, "max_tokens")} placeholder="none" /></label>
    </div>
  );
}

/** Behind a fold: name, model, whose key, when idle, sandbox, labels and rules. */
export function MoreFields({ fields, set, known, apiKey, clocked = false }: FieldsProps & { apiKey?: { value: string; set: (value: string) => void }; clocked?: boolean }) {
  const agent = agentOf(fields, known);
  const providers = [...new Set((known.hosts ?? []).flatMap((host) => host.providers.filter(({ available }) => available).map(({ name }) => name)))];
  return (
    <details>
      <summary>More</summary>
      <div class="stack launch-more">
        <div class="columns">
          <label>Name<input value={fields.name} onInput={writes(set, "name")} maxLength={120} /></label>
          <label>Model<input value={fields.model} onInput={writes(set, "model")} maxLength={200} placeholder="the agent's own" /></label>
          <label>Agent config<select value={fields.agent_config} onChange={writes(set, "agent_config")} disabled={Boolean(apiKey?.value)}><option value="">none</option>{known.configs.filter((config) => config.agent === null || config.agent === agent).map((config) => <option key={config.id} value={config.name}>{config.name}{config.model ? `: ${config.model}` : ""}</option>)}</select></label>
          {apiKey && <label>Model key<input type="password" autocomplete="off" value={apiKey.value} onInput={(event) => apiKey.set(event.currentTarget.value)} placeholder="instead of a config" disabled={fields.agent_config !== ""} /></label>}
          {!clocked && <label>When idle<select value={fields.lifecycle_mode} onChange={writes(set, "lifecycle_mode")}><option value="on_demand">Suspend it</option><option value="always_on">Keep it on</option></select></label>}
          <label>Sandbox<select value={fields.provider} onChange={writes(set, "provider")}><option value="">The host's best</option>{providers.map((name) => <option key={name} value={name}>{name}</option>)}</select></label>
          <label>Labels<input value={fields.labels} onInput={writes(set, "labels")} placeholder="team: web, branch: main" /></label>
        </div>
        <RulesField rules={fields.rules} onRules={(rules) => set({ rules })} />
      </div>
    </details>
  );
}
