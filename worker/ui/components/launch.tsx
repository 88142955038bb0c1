/** Owns the form that launches a session: the agent and the prompt first, all else with a sane default behind a fold. */

import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import type { AgentConfig, Host, SessionCreateParams } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { put } from "../store/fleet.ts";
import { Dialog } from "./dialog.tsx";
import { plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";

const LAST = "marionette.agent";
type SessionDirectory = NonNullable<SessionCreateParams["directory"]>;

/** Agents that some host has, with the reason where none can run it. */
function agentsOf(hosts: readonly Host[]): { name: string; available: boolean; detail: string }[] {
  const found = new Map<string, { name: string; available: boolean; detail: string }>();
  for (const host of hosts) {
    for (const agent of host.agents) {
      const known = found.get(agent.name);
      if (!known || (!known.available && agent.available)) found.set(agent.name, agent);
    }
  }
  return [...found.values()].sort((a, b) => Number(b.available) - Number(a.available) || a.name.localeCompare(b.name));
}

function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries(text.split(/[,\n]/).map((pair) => pair.trim()).filter(Boolean).map((pair) => { const at = pair.search(/[:=]/); return at < 1 ? [pair, ""] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]; }));
}

/** `directory`: where on which host it is to work, instead of a workspace of its own. */
export function Launch({ onClose, directory }: { onClose: () => void; directory?: SessionDirectory }) {
  const { route } = useLocation();
  const [hosts, setHosts] = useState<Host[] | null>(null);
  const [fields, setFields] = useState({ agent: localStorage.getItem(LAST) ?? "", prompt: "", name: "", model: "", api_key: "", labels: "", edit_mode: "off", provider: "", workspace_id: "", agent_config: "", budget: "", lifecycle_mode: "on_demand" });
  const [configs, setConfigs] = useState<AgentConfig[]>([]);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    void (async () => {
      const all: Host[] = [];
      try {
        for await (const host of client.hosts.list({ limit: 100 })) all.push(host);
      } catch (error) {
        setFault(wordsOf(error));
      }
      setHosts(all.filter((host) => host.status === "online" && (!directory || host.id === directory.host_id)));
    })();
    // A key without the right to see them launches without one.
    client.agentConfigs.list({ limit: 200 }).then((page) => setConfigs(page.items), () => {});
  }, []);
  const agents = agentsOf(hosts ?? []);
  const agent = agents.some(({ name }) => name === fields.agent) ? fields.agent : (agents.find(({ available }) => available)?.name ?? fields.agent);
  const chosen = agents.find(({ name }) => name === agent);
  const set = (name: keyof typeof fields) => (event: { currentTarget: { value: string } }) => setFields((before) => ({ ...before, [name]: event.currentTarget.value }));

  async function launch(): Promise<void> {
    setBusy(true);
    setFault(null);
    try {
      const { prompt, name, model, api_key, labels, edit_mode, provider, workspace_id, agent_config, budget, lifecycle_mode } = fields;
      const session = await client.sessions.create({
        agent, edit_mode: edit_mode as "off", lifecycle_mode: lifecycle_mode as "on_demand", labels: labelsOf(labels),
        ...(name.trim() && { name: name.trim() }), ...(model.trim() && { model: model.trim() }), ...(api_key.trim() && { api_key: api_key.trim() }), ...(agent_config && { agent_config }), ...(budget && { budget: { max_cost_usd: Number(budget) } }), ...(provider && { provider }), ...(directory ? { directory } : workspace_id.trim() && { workspace_id: workspace_id.trim() }),
      });
      put(session);
      localStorage.setItem(LAST, agent);
      if (prompt.trim()) await client.tasks.create(session.id, { prompt: prompt.trim() });
      onClose();
      route(`/sessions/${session.id}`);
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  const providers = [...new Set((hosts ?? []).flatMap((host) => host.providers.filter(({ available }) => available).map(({ name }) => name)))];
  return (
    <Dialog title="Launch an agent" onClose={onClose}>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void launch(); }}>
        {hosts !== null && hosts.length === 0 && <p class="field-fault">No host is online: the session will wait until one is.</p>}
        <label>Agent
          <select value={agent} onChange={set("agent")} required>
            {agents.map(({ name, available }) => <option key={name} value={name}>{name}{available ? "" : " (not installed)"}</option>)}
            {agents.length === 0 && <option value={agent}>{agent || "…"}</option>}
          </select>
        </label>
        {chosen && !chosen.available && <p class="hint">{chosen.detail}</p>}
        <label>Prompt<textarea rows={4} value={fields.prompt} onInput={set("prompt")} placeholder="What shall the agent do?" autofocus /></label>
        {directory && <p class="hint">In <code>{plain(directory.path)}</code>{hosts?.[0] && ` on ${plain(hosts[0].name)}`}, on the files as they are there.</p>}
        <details>
          <summary>More</summary>
          <div class="columns launch-more">
            <label>Name<input value={fields.name} onInput={set("name")} maxLength={120} /></label>
            <label>Model<input value={fields.model} onInput={set("model")} maxLength={200} placeholder="the agent's own" /></label>
            <label>Agent config<select value={fields.agent_config} onChange={set("agent_config")} disabled={fields.api_key !== ""}><option value="">none</option>{configs.filter((config) => config.agent === null || config.agent === agent).map((config) => <option key={config.id} value={config.id}>{config.name}{config.model ? `: ${config.model}` : ""}</option>)}</select></label>
            <label>Model key<input type="password" autocomplete="off" value={fields.api_key} onInput={set("api_key")} placeholder="instead of a config" disabled={fields.agent_config !== ""} /></label>
            <label>Edits<select value={fields.edit_mode} onChange={set("edit_mode")}><option value="off">Ask before edits</option><option value="session">Allowed in this session</option></select></label>
            <label>Budget in dollars<input type="number" min="0" step="any" value={fields.budget} onInput={set("budget")} placeholder="none" /></label>
            <label>When idle<select value={fields.lifecycle_mode} onChange={set("lifecycle_mode")}><option value="on_demand">Suspend it</option><option value="always_on">Keep it on</option></select></label>
            <label>Sandbox<select value={fields.provider} onChange={set("provider")}><option value="">The host's best</option>{providers.map((name) => <option key={name} value={name}>{name}</option>)}</select></label>
            {!directory && <label>Workspace<input value={fields.workspace_id} onInput={set("workspace_id")} placeholder="new" pattern="ws_[0-9A-Za-z]{21}" /></label>}
            <label>Labels<input value={fields.labels} onInput={set("labels")} placeholder="team: web, branch: main" /></label>
          </div>
        </details>
        {fault !== null && <p class="field-fault" role="alert">{fault}</p>}
        <div class="dialog-foot"><button type="button" onClick={onClose}>Cancel</button><button type="submit" class="primary" disabled={busy || agent === ""}>{busy ? "Launching …" : "Launch"}</button></div>
      </form>
    </Dialog>
  );
}
