/** Owns the settings of agents: model providers with their keys, tried with one cheap call, and which agents the hosts have. */

import { useState } from "preact/hooks";
import type { AgentConfigTest } from "../../../../sdk/index.ts";
import { client } from "../../client.ts";
import { duration, plain } from "../../components/format.ts";
import { attempt, wordsOf } from "../../components/notices.tsx";
import { Fault, Waiting } from "../../components/panel.tsx";
import { useList } from "../../components/use-list.ts";

const configs = () => client.agentConfigs.list({ limit: 200 });
const hosts = () => client.hosts.list({ limit: 200 });
const BLANK = { name: "", agent: "", api: "anthropic", model: "", base_url: "", key: "" };

function Try({ id }: { id: string }) {
  const [result, setResult] = useState<AgentConfigTest | string | null>(null);
  const run = () => {
    setResult("busy");
    client.agentConfigs.test(id).then(setResult, (error: unknown) => setResult(wordsOf(error)));
  };
  return (
    <span class="row end">
      {typeof result === "object" && result !== null && <span class={`badge ${result.ok ? "good" : "bad"}`} title={result.message}>{result.ok ? `works, ${duration(result.duration_ms)}` : plain(result.message).slice(0, 120)}</span>}
      {typeof result === "string" && result !== "busy" && <span class="badge bad">{plain(result)}</span>}
      <button type="button" disabled={result === "busy"} onClick={run}>{result === "busy" ? "Trying …" : "Test"}</button>
    </span>
  );
}

export function Agents() {
  const { items, error, again } = useList(configs);
  const machines = useList(hosts);
  const [fields, setFields] = useState(BLANK);
  const set = (name: keyof typeof BLANK) => (event: { currentTarget: { value: string } }) => setFields((before) => ({ ...before, [name]: event.currentTarget.value }));
  const create = () => attempt("The config was not kept", async () => {
    const { name, agent, api, model, base_url, key } = fields;
    await client.agentConfigs.create({ name, api: api as "anthropic", key, agent: agent || null, model: model || null, base_url: base_url || null });
    setFields(BLANK);
    again();
  }, "Kept. Try it with Test");
  const agents = new Map((machines.items ?? []).flatMap((host) => host.agents.map((agent) => [agent.name, agent] as const)).sort(([, a], [, b]) => Number(a.available) - Number(b.available)));
  return (
    <section class="stack">
      <form class="card settings-form" onSubmit={(event) => { event.preventDefault(); void create(); }}>
        <h2>New agent config</h2>
        <p class="hint">A model provider's key, kept sealed. Agents use it through the gateway and never see it.</p>
        <div class="columns">
          <label>Name<input value={fields.name} onInput={set("name")} required placeholder="work" pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,62}" /></label>
          <label>Speaks<select value={fields.api} onChange={set("api")}><option value="anthropic">Anthropic Messages</option><option value="openai">OpenAI, or compatible</option></select></label>
          <label>Key<input type="password" autocomplete="off" value={fields.key} onInput={set("key")} required /></label>
          <label>Model<input value={fields.model} onInput={set("model")} placeholder="the agent's own" /></label>
          <label>Address<input type="url" value={fields.base_url} onInput={set("base_url")} placeholder="the provider's own" /></label>
          <label>For the agent<input value={fields.agent} onInput={set("agent")} placeholder="any" /></label>
        </div>
        <div class="row"><button type="submit" class="primary" disabled={!fields.name || !fields.key}>Keep it</button></div>
      </form>
      {error !== null && <Fault error={error} again={again} />}
      {items === null && error === null && <Waiting what="Reading configs" />}
      {items && items.length > 0 && <div class="table-scroll card" tabIndex={0} role="group" aria-label="Table"><table>
        <thead><tr><th>Name</th><th>Speaks</th><th>Model</th><th>Key</th><th>Address</th><th><span class="visually-hidden">Try it</span></th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>{items.map((config) => <tr key={config.id}><td>{config.name}{config.agent && <span class="soft"> for {config.agent}</span>}</td><td>{config.api}</td><td>{config.model ?? "–"}</td><td class="mono">{config.key}</td><td class="mono">{config.base_url ?? "–"}</td><td><Try id={config.id} /></td><td class="number"><button type="button" class="danger" onClick={() => confirm(`Delete “${config.name}”? Sessions that use it fail from then on.`) && void attempt("The config was not deleted", () => client.agentConfigs.delete(config.id), "Deleted").then(again)}>Delete</button></td></tr>)}</tbody>
      </table></div>}
      <div class="card settings-form"><h2>Agents on the hosts</h2><p class="hint">Custom agents are declared in a host's <code>marionette.yaml</code>, under <code>agents.custom</code>.</p><ul class="stack">{[...agents.values()].map((agent) => <li key={agent.name} class="row"><span class={`badge ${agent.available ? "good" : ""}`}>{agent.name}</span><span class="hint">{plain(agent.detail)}</span></li>)}</ul></div>
    </section>
  );
}
