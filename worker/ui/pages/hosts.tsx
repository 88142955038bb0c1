/** Owns the page of machines: what each can run, what runs on it, and taking it out of service. */

import { useEffect, useState } from "preact/hooks";
import type { Host, Runner } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { ago, plain } from "../components/format.ts";
import { attempt } from "../components/notices.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { clock } from "../store/clock.ts";
import { onBus } from "../store/fleet.ts";

const TONE = { online: "good", offline: "bad", draining: "warn" } as const;

function useHosts() {
  const [state, setState] = useState<{ hosts: Host[]; runners: Runner[] } | null>(null);
  const [error, setError] = useState<unknown>(null);
  async function read(): Promise<void> {
    try {
      const hosts: Host[] = [];
      const runners: Runner[] = [];
      for await (const host of client.hosts.list({ limit: 200 })) hosts.push(host);
      for await (const runner of client.runners.list({ limit: 200 })) if (runner.ended_at === null && runners.push(runner) >= 1_000) break;
      setState({ hosts, runners });
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  }
  useEffect(() => {
    void read();
    let timer: ReturnType<typeof setTimeout> | undefined;
    // Copies for lists lag a little behind what happened.
    const stop = onBus((event) => {
      if (event.type === "runner.attached" || event.type === "runner.lost" || event.type === "session.status") timer ??= setTimeout(() => { timer = undefined; void read(); }, 1_500);
    });
    const slow = setInterval(() => void read(), 15_000);
    return () => {
      stop();
      clearTimeout(timer);
      clearInterval(slow);
    };
  }, []);
  return { state, error, read };
}

function HostCard({ host, runners, onChange }: { host: Host; runners: readonly Runner[]; onChange: () => void }) {
  const drain = host.status === "draining";
  return (
    <article class="card host">
      <header class="page-head"><h2>{plain(host.name)}</h2><span class={`badge ${TONE[host.status]}`}>{host.status}</span></header>
      <p class="hint">{host.os} {host.arch} · {host.cpus} CPUs · {Math.round(host.memory_mb / 1_024)} GiB · pool {host.pool} · seen {ago(host.last_seen_at, clock.value)}</p>
      <meter min={0} max={Math.max(1, host.max_runners)} value={host.runners} aria-label="Runners">{host.runners}</meter>
      <p class="hint">{host.runners} of {host.max_runners} runners</p>
      <div class="table-scroll" tabIndex={0} role="group" aria-label="Table"><table>
        <thead><tr><th>Sandbox</th><th>State</th><th>What it is</th></tr></thead>
        <tbody>{host.providers.map((provider) => <tr key={provider.name}><td>{provider.name}{provider.name === host.default_provider && <span class="soft"> (default)</span>}</td><td><span class={`badge ${provider.available ? "good" : ""}`}>{provider.available ? "ready" : "not here"}</span></td><td>{plain(provider.detail)}</td></tr>)}</tbody>
      </table></div>
      <p class="row">{host.agents.map((agent) => <span key={agent.name} class={`badge ${agent.available ? "accent" : ""}`} title={agent.detail}>{agent.name}{agent.available ? "" : ": not installed"}</span>)}</p>
      {runners.length > 0 && <ul class="runner-list">{runners.map((runner) => <li key={runner.id} class="row"><span class="badge">{runner.status}</span><a href={`/sessions/${runner.session_id}`} class="mono">{runner.session_id}</a><span class="hint">{runner.provider}</span></li>)}</ul>}
      {host.status !== "offline" && <div class="row"><button type="button" onClick={() => void attempt("The host was not changed", () => client.hosts.drain(host.id, !drain), drain ? "It takes runners again" : "It takes no new runners").then(onChange)}>{drain ? "Take runners again" : "Drain"}</button></div>}
    </article>
  );
}

export function Hosts() {
  const { state, error, read } = useHosts();
  return (
    <main class="page">
      <header class="page-head"><h1>Hosts</h1></header>
      {error !== null && <Fault error={error} again={() => void read()} />}
      {state === null && error === null && <Waiting what="Reading hosts" />}
      {state?.hosts.length === 0 && <Empty icon="hosts" title="No host has joined"><p>A host runs <code>marionette-agent --server {location.origin} --token rtok_…</code>. Tokens are made under Settings.</p></Empty>}
      {state && <div class="host-list">{state.hosts.map((host) => <HostCard key={host.id} host={host} runners={state.runners.filter((runner) => runner.host_id === host.id)} onChange={() => void read()} />)}</div>}
    </main>
  );
}
