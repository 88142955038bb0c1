/** Owns the page of costs: what was spent over time, on which models, by which agents, sessions and labels, and what the cache saved. */

import "../styles/costs.css";
import { useLocation } from "preact-iso";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { UsageReport, UsageRow } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { TimeChart } from "../components/chart.tsx";
import { count, dollars, duration, plain } from "../components/format.ts";
import { Icon } from "../components/icon.tsx";
import { attempt } from "../components/notices.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { onBus, sessions } from "../store/fleet.ts";

const SPANS = [
  { days: 1, name: "24 hours", step: "hour" },
  { days: 7, name: "7 days", step: "day" },
  { days: 30, name: "30 days", step: "day" },
  { days: 90, name: "90 days", step: "day" },
] as const;
const GROUPS = [
  { group: "model", name: "Model" }, { group: "agent", name: "Agent" }, { group: "session", name: "Session" }, { group: "task", name: "Task" }, { group: "outcome", name: "Outcome" },
] as const;

/** Lines of the table. */
const SHOWN = 200;

interface Figures {
  time: UsageReport;
  by: UsageReport;
}

function useFigures(days: number, step: string, group: string) {
  const [state, setState] = useState<{ figures: Figures | null; error: unknown }>({ figures: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let live = true;
    const from = new Date(Date.now() - days * 86_400_000).toISOString();
    Promise.all([client.usage.report({ group_by: step, from }), client.usage.report({ group_by: group, from })]).then(
      ([time, by]) => live && setState({ figures: { time, by }, error: null }),
      (error: unknown) => live && setState((before) => ({ ...before, error })),
    );
    return () => {
      live = false;
    };
  }, [days, step, group, round]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onBus((event) => {
      if (event.type === "usage") timer ??= setTimeout(() => { timer = undefined; setRound((n) => n + 1); }, 4_000);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, []);
  return { ...state, again: () => setRound((n) => n + 1) };
}

function Figure({ name, value, note }: { name: string; value: string; note?: string | undefined }) {
  return <div class="card figure"><span class="soft">{name}</span><b>{value}</b>{note && <span class="hint">{note}</span>}</div>;
}

function nameOf(group: string, key: string | null): string {
  if (key === null) return "none";
  return group === "session" ? (sessions.value.get(key)?.value.name ?? key) : key;
}

function Rows({ report, group }: { report: UsageReport; group: string }) {
  const most = Math.max(...report.rows.map((row) => row.cost_usd), 0);
  const cell = (row: UsageRow) => (group === "session" && row.key ? <a href={`/sessions/${row.key}`}>{plain(nameOf(group, row.key))}</a> : plain(nameOf(group, row.key)));
  return (
    <div class="table-scroll card" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead><tr><th>{group}</th><th class="number">Cost</th><th class="number">Requests</th><th class="number">Tokens in</th><th class="number">Out</th><th class="number">Cache read</th><th class="number">Cache hits</th><th class="number">First token</th></tr></thead>
        <tbody>
          {report.rows.slice(0, SHOWN).map((row) => (
            <tr key={row.key}>
              <th scope="row" class="row-name">{cell(row)}{row.unpriced_requests > 0 && <span class="badge warn" title="These models are in no price book: what they cost is not in the sum">{row.unpriced_requests} unpriced</span>}{row.estimated_requests > 0 && <span class="badge" title="A stream was cut: tokens were counted from what passed">{row.estimated_requests} estimated</span>}</th>
              <td class="number"><meter min={0} max={most || 1} value={row.cost_usd} aria-hidden="true" /> {dollars(row.cost_usd)}</td><td class="number">{count(row.requests)}{row.failed_requests > 0 && <span class="soft"> ({row.failed_requests} failed)</span>}</td>
              <td class="number">{count(row.input_tokens)}</td><td class="number">{count(row.output_tokens)}</td><td class="number">{count(row.cache_read_tokens)}</td>
              <td class="number">{row.cache_hit_rate === null ? "–" : `${Math.round(row.cache_hit_rate * 100)} %`}</td><td class="number">{row.median_ttft_ms === null ? "–" : duration(row.median_ttft_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {report.rows.length > SHOWN && <p class="hint more-rows">The dearest {SHOWN} of {count(report.rows.length)}; the CSV has them all.</p>}
    </div>
  );
}

async function download(group: string, days: number): Promise<void> {
  const text = await client.usage.csv({ group_by: group, from: new Date(Date.now() - days * 86_400_000).toISOString() });
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: `usage-by-${group.replace(":", "-")}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function Costs() {
  const { query, route } = useLocation();
  const days = Number(query["days"] ?? 7);
  const span = SPANS.find((each) => each.days === days) ?? SPANS[1];
  const group = query["by"] ?? "model";
  const { figures, error, again } = useFigures(span.days, span.step, group);
  const go = (next: { days?: number; by?: string }) => route(`/costs?days=${next.days ?? span.days}&by=${encodeURIComponent(next.by ?? group)}`);
  const labels = [...new Set([...sessions.value.values()].flatMap((session) => Object.keys(session.peek().labels)))].sort();
  const rows = figures?.time.rows;
  const times = useMemo(() => (rows ?? []).map((row) => Date.parse(row.key ?? "") / 1_000), [rows]);
  // A bar stands in the middle of its time: room for half of one at both ends.
  const width = span.step === "hour" ? 3_600 : 86_400;
  const now = useMemo(() => Math.floor(Date.now() / 1_000 / width) * width, [rows, width]);
  const series = useMemo(() => [{ name: "Cost", values: (rows ?? []).map((row) => row.cost_usd) }], [rows]);
  const total = figures?.by.total;
  return (
    <main class="page">
      <header class="page-head">
        <h1>Costs</h1>
        <div class="row">
          <div class="groups" role="group" aria-label="Time">{SPANS.map((each) => <button key={each.days} type="button" aria-pressed={each.days === span.days} onClick={() => go({ days: each.days })}>{each.name}</button>)}</div>
          <button type="button" onClick={() => void attempt("The figures were not exported", () => download(group, span.days))}><Icon name="download" size={16} /> CSV</button>
        </div>
      </header>
      {error !== null && <Fault error={error} again={again} />}
      {!figures && error === null && <Waiting what="Adding up" />}
      {total?.requests === 0 && <Empty icon="costs" title="No model calls in this time"><p>Every call that an agent makes through the gateway is counted here.</p></Empty>}
      {figures && total && total.requests > 0 && (
        <>
          <div class="figures">
            <Figure name="Spent" value={dollars(total.cost_usd)} note={total.unpriced_requests > 0 ? `${total.unpriced_requests} calls have no price` : undefined} />
            <Figure name="Requests" value={count(total.requests)} note={total.failed_requests > 0 ? `${total.failed_requests} failed` : undefined} />
            <Figure name="Tokens" value={count(total.input_tokens + total.output_tokens + total.cache_read_tokens + total.cache_write_tokens)} note={`${count(total.output_tokens)} out`} />
            <Figure name="Cache hits" value={total.cache_hit_rate === null ? "–" : `${Math.round(total.cache_hit_rate * 100)} %`} note={`${count(total.cache_read_tokens)} tokens read`} />
            <Figure name="First token" value={total.median_ttft_ms === null ? "–" : duration(total.median_ttft_ms)} note="median" />
          </div>
          <section class="card chart-card"><h2>Spent over time</h2><TimeChart times={times} series={series} format={dollars} label={`Spent by ${span.step}`} from={now - span.days * 86_400} to={now + width} step={width} /></section>
          <section class="stack">
            <div class="groups" role="group" aria-label="Group by">{[...GROUPS, ...labels.map((name) => ({ group: `label:${name}`, name: `Label ${name}` }))].map((each) => <button key={each.group} type="button" aria-pressed={each.group === group} onClick={() => go({ by: each.group })}>{each.name}</button>)}</div>
            <Rows report={figures.by} group={group} />
          </section>
        </>
      )}
    </main>
  );
}
