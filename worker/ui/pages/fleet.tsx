/** Owns the page of all sessions: launch, search, filter by state and label, and what is done to several at once. */

import "../styles/fleet.css";
import { computed, signal } from "@preact/signals";
import { useState } from "preact/hooks";
import type { Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Icon } from "../components/icon.tsx";
import { Launch } from "../components/launch.tsx";
import { notify, wordsOf } from "../components/notices.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { SessionCard } from "../components/session-card.tsx";
import { failure, loaded, ordered, refresh } from "../store/fleet.ts";

type Group = "all" | "waiting" | "working" | "idle" | "suspended" | "ended";
const GROUPS: readonly { group: Group; name: string }[] = [
  { group: "all", name: "All" }, { group: "waiting", name: "Waiting for you" }, { group: "working", name: "Working" }, { group: "idle", name: "Idle" }, { group: "suspended", name: "Suspended" }, { group: "ended", name: "Ended" },
];
function groupOf(session: Session): Group {
  if (session.status === "terminated") return "ended";
  if (session.pending_permissions > 0) return "waiting";
  if (session.status === "suspended" || session.status === "suspending") return "suspended";
  return session.task_id !== null || session.queued_tasks > 0 ? "working" : "idle";
}

const search = signal("");
const group = signal<Group>("all");
const selected = signal<ReadonlySet<string>>(new Set());

/** Words must all be found; `key:value` asks for a label. */
function matches(session: Session, words: readonly string[]): boolean {
  const text = `${session.name ?? ""} ${session.agent} ${session.model ?? ""} ${session.id}`.toLowerCase();
  return words.every((word) => {
    const at = word.indexOf(":");
    if (at > 0) return session.labels[word.slice(0, at)]?.toLowerCase().startsWith(word.slice(at + 1).toLowerCase()) ?? false;
    return text.includes(word.toLowerCase());
  });
}
const found = computed(() => {
  const words = search.value.split(/\s+/).filter(Boolean);
  return ordered.value.filter((session) => matches(session.value, words));
});
const shown = computed(() => found.value.filter((session) => group.value === "all" || groupOf(session.value) === group.value));
const counts = computed(() => {
  const all: Record<Group, number> = { all: found.value.length, waiting: 0, working: 0, idle: 0, suspended: 0, ended: 0 };
  for (const session of found.value) all[groupOf(session.value)]++;
  return all;
});

async function each(what: string, work: (id: string) => Promise<unknown>): Promise<void> {
  const ids = [...selected.value];
  const done = await Promise.allSettled(ids.map(work));
  const failed = done.flatMap((result) => (result.status === "rejected" ? [wordsOf(result.reason)] : []));
  for (const id of ids) refresh(id);
  selected.value = new Set();
  notify(failed.length === 0 ? `${what}: ${ids.length} sessions` : `${what}: ${failed.length} of ${ids.length} failed. ${failed[0]}`, failed.length === 0 ? "done" : "failed");
}

function Bulk() {
  const n = selected.value.size;
  if (n === 0) return null;
  return (
    <div class="bulk row" role="toolbar" aria-label="Selected sessions">
      <b>{n} selected</b>
      <button type="button" onClick={() => void each("Canceled", async (id) => { const task = (await client.sessions.get(id)).task_id; if (task) await client.tasks.cancel(task); })}>Cancel tasks</button>
      <button type="button" onClick={() => void each("Suspended", (id) => client.sessions.suspend(id))}>Suspend</button>
      <button type="button" onClick={() => void each("Resumed", (id) => client.sessions.resume(id))}>Resume</button>
      <button type="button" class="danger" onClick={() => confirm(`End ${n} sessions for good?`) && void each("Ended", (id) => client.sessions.terminate(id))}>End</button>
      <button type="button" class="quiet" onClick={() => (selected.value = new Set())}>Clear</button>
    </div>
  );
}

export function Fleet() {
  const [launching, setLaunching] = useState(false);
  if (!loaded.value) return <main class="page"><h1>Fleet</h1><Waiting what="Reading sessions" /></main>;
  const none = ordered.value.length === 0;
  return (
    <main class="page">
      <header class="page-head"><h1>Fleet</h1><button type="button" class="primary" onClick={() => setLaunching(true)}><Icon name="plus" size={18} /> Launch an agent</button></header>
      {failure.value !== null && <Fault error={failure.value} />}
      {!none && (
        <div class="fleet-filter">
          <label class="search"><span class="visually-hidden">Search</span><input type="search" placeholder="Search, or key:value for a label" value={search.value} onInput={(event) => (search.value = event.currentTarget.value)} /></label>
          <div class="groups" role="group" aria-label="State">{GROUPS.map((each) => <button key={each.group} type="button" aria-pressed={group.value === each.group} onClick={() => (group.value = each.group)}>{each.name} <span class="soft">{counts.value[each.group]}</span></button>)}</div>
        </div>
      )}
      <Bulk />
      {none && <Empty icon="fleet" title="No sessions yet"><p>A session is an agent at work in a sandbox of its own.</p><button type="button" class="primary" onClick={() => setLaunching(true)}>Launch the first</button></Empty>}
      {!none && shown.value.length === 0 && <Empty icon="search" title="Nothing matches"><p>{search.value ? `No session is like “${search.value}” here.` : "No session is in this state."}</p></Empty>}
      <ul class="cards">
        {shown.value.slice(0, 400).map((session) => {
          const { id } = session.peek();
          return <li key={id}><SessionCard session={session} selected={selected.value.has(id)} onSelect={(on) => { const next = new Set(selected.value); if (on) next.add(id); else next.delete(id); selected.value = next; }} /></li>;
        })}
      </ul>
      {launching && <Launch onClose={() => setLaunching(false)} />}
    </main>
  );
}
