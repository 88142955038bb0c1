/** Owns the page of all sessions: filter, search, cards. */

import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { failure, loaded, ordered } from "../store/fleet.ts";

export function Fleet() {
  if (!loaded.value) return <main class="page"><Waiting what="Reading sessions" /></main>;
  return (
    <main class="page">
      <header class="page-head"><h1>Fleet</h1></header>
      {failure.value !== null && <Fault error={failure.value} />}
      {ordered.value.length === 0 && <Empty icon="fleet" title="No sessions yet" />}
      <ul class="cards">{ordered.value.map((session) => <li key={session.peek().id} class="card"><a href={`/sessions/${session.value.id}`}>{session.value.name ?? session.value.id}</a> {session.value.status}</li>)}</ul>
    </main>
  );
}
