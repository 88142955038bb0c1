/** Owns the settings of machines and runners: what each host can run, what runs on it, and taking either out of service, for a while or for good. */

import { useEffect, useState } from "preact/hooks";
import type { Host, Runner } from "../../../../sdk/index.ts";
import { client } from "../../client.ts";
import { ago, plain } from "../../components/format.ts";
import { attempt } from "../../components/notices.tsx";
import { Empty, Fault, Waiting } from "../../components/panel.tsx";
import { clock } from "../../store/clock.ts";
import { onBus, sessions } from "../../store/fleet.ts";

/** Copies for lists lag a little behind what happened. */
const REREAD_MS = 1_500;
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
    const stop = onBus((event) => {
      if (event.type === "runner.attached" || event.type === "runner.lost" || event.type === "session.status") timer ??= setTimeout(() => { timer = undefined; void read(); }, REREAD_MS);
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

const STATES: Readonly<Record<string, string>> = { idle: "good", busy: "accent", starting: "accent", paused: "warn", offline: "bad", tainted: "bad" };

/** A runner with what can be done with it. `pauses`: its provider can. */
function RunnerLine({ runner, pauses, onChange }: { runner: Runner; pauses: boolean; onChange: () => void }) {
  const session = sessions.value.get(runner.session_id)?.value;
  const { id, status } = runner;
  const act = (what: string, done: string, work: () => Promise<unknown>) => void attempt(what, work, done).then((went) => went && setTimeout(onChange, REREAD_MS));
  return (
    <li class="row">
      <span class={`badge ${STATES[status] ?? ""}`} title={runner.status_reason ?? undefined}>{status}</span>
      <a class="runner-session" href={`/sessions/${runner.session_id}`}>{plain(session?.name ?? runner.session_id)}</a>
      <span class="hint">{runner.provider}{runner.status_reason ? `, ${plain(runner.status_reason)}` : ""}</span>
      <span class="spread" />
      {status === "paused" && <button type="button" onClick={() => act("The runner was not resumed", "It goes on", () => client.runners.resume(id))}>Resume</button>}
      {pauses && (status === "idle" || status === "busy") && <button type="button" onClick={() => act("The runner was not paused", "It is being paused", () => client.runners.pause(id))}>Pause</button>}
      {(status === "idle" || status === "busy") && <button type="button" onClick={() => act("The runner was not drained", "It takes no new task", () => client.runners.drain(id))}>Drain</button>}
    </li>
  );
}

function HostCard({ host, runners, onChange }: { host: Host; runners: readonly Runner[]; onChange: () => void }) {
  const drain = host.status === "draining";
  return (
    <article class="card host">
      <header class="page-head"><h2>{plain(host.name)}</h2><span class={`badge ${TONE[host.status]}`}>{host.status}</span></header>
      <p class="hint">{host.os} {host.arch} · {host.cpus} CPUs · {Math.round(host.memory_mb / 1_024)} GiB · pool {host.pool} · seen {ago(host.last_seen_at, clock.value)}</p>
      <meter min={0} max={Math.max(1, host.max_runners)} value={host.runners} aria-label="Runners">{host.runners}</meter>
      <p class="hint">{host.runners} of {host.max_runners} runners</p>
      <ul class="stack" aria-label="Sandboxes">{host.providers.map((provider) => <li key={provider.name} class="row"><span class={`badge ${provider.available ? "good" : ""}`}>{provider.name}{provider.available ? "" : ": not here"}</span><span class="hint">{provider.name === host.default_provider && "the default; "}{plain(provider.detail)}</span></li>)}</ul>
      <p class="row">{host.agents.map((agent) => <span key={agent.name} class={`badge ${agent.available ? "accent" : ""}`} title={agent.detail}>{agent.name}{agent.available ? "" : ": not installed"}</span>)}</p>
      {runners.length > 0 && <ul class="runner-list" aria-label={`Runners on ${host.name}`}>{runners.map((runner) => <RunnerLine key={runner.id} runner={runner} pauses={host.providers.some(({ name, suspend }) => name === runner.provider && suspend?.strategies.includes("pause"))} onChange={onChange} />)}</ul>}
      {host.status !== "offline" && <div class="row"><button type="button" onClick={() => void attempt("The host was not changed", () => client.hosts.drain(host.id, !drain), drain ? "It takes runners again" : "It takes no new runners").then(onChange)}>{drain ? "Take runners again" : "Drain this host"}</button></div>}
    </article>
  );
}

export function Hosts() {
  const { state, error, read } = useHosts();
  return (
    <section class="stack">
      {error !== null && <Fault error={error} again={() => void read()} />}
      {state === null && error === null && <Waiting what="Reading hosts" />}
      {state?.hosts.length === 0 && <Empty icon="hosts" title="No host has joined"><p>A host runs <code>marionette-agent --server {location.origin} --token rtok_…</code>. Make a token under <a href="/settings/runner-tokens">Runner tokens</a>.</p></Empty>}
      {state && <div class="host-list">{state.hosts.map((host) => <HostCard key={host.id} host={host} runners={state.runners.filter((runner) => runner.host_id === host.id)} onChange={() => void read()} />)}</div>}
    </section>
  );
}
