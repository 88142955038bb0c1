/** Owns the page of one session: its transcript, live; the prompt box; and beside them what it is and costs. */

import "../styles/session.css";
import { useRoute } from "preact-iso";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, type Session as SessionData } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Beside } from "../components/beside.tsx";
import { Composer } from "../components/composer.tsx";
import { fetched } from "../components/fetched.tsx";
import { plain } from "../components/format.ts";
import { ItemView } from "../components/item.tsx";
import { Lifecycle } from "../components/lifecycle.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { StateBadge, stateOf } from "../components/state.tsx";
import { VirtualList } from "../components/virtual-list.tsx";
import { clock } from "../store/clock.ts";
import { put, sessions } from "../store/fleet.ts";
import { openSessionLog, type SessionLog } from "../store/session-log.ts";

const Terminal = fetched(() => import("../components/terminal.tsx").then((module) => module.Terminal));
const Workspace = fetched(() => import("../components/workspace.tsx").then((module) => module.Workspace));

const VIEWS = [
  { view: "transcript", name: "Transcript" },
  { view: "terminal", name: "Terminal" },
  { view: "files", name: "Files" },
  // Where there is no room beside the transcript.
  { view: "about", name: "About" },
] as const;
type View = (typeof VIEWS)[number]["view"];

/** What the agent's commands printed, one part for each thing that printed. */
function outputOf({ transcript }: SessionLog): string[] {
  return transcript.items.flatMap((item) => {
    if (item.kind === "terminal") return [item.text];
    if (item.kind === "tool" && item.output !== null) return [`\u001b[2m$ ${item.summary ?? item.tool}\u001b[0m\n${item.output}\n`];
    return [];
  });
}

/** Whether an address leads to no session, rather than that one cannot be read now. */
const missing = (error: unknown) => error instanceof ApiError && (error.code === "not_found" || error.code === "bad_request");

function useSession(id: string): { session: SessionData | null; error: unknown; again: () => void } {
  const [error, setError] = useState<unknown>(null);
  const again = () => {
    setError(null);
    client.sessions.get(id).then(put, setError);
  };
  useEffect(again, [id]);
  return { session: sessions.value.get(id)?.value ?? null, error, again };
}

function Head({ session, log, view, onView }: { session: SessionData; log: SessionLog; view: View; onView: (view: View) => void }) {
  void log.revision.value;
  const state = stateOf(session, log.transcript.now, clock.value);
  const live = log.state.value;
  return (
    <header class="session-head">
      <div><h1>{plain(session.name ?? session.agent)}</h1><p class="row"><StateBadge state={state} /><span class="hint">{session.agent}{session.model ? ` · ${session.model}` : ""}</span>{live !== "live" && live !== "ended" && <span class="badge warn">{live === "waiting" ? "Reconnecting" : "Connecting"}</span>}</p></div>
      <div class="groups" role="group" aria-label="View">{VIEWS.map((each) => <button key={each.view} type="button" class={each.view === "about" ? "narrow-only" : undefined} aria-pressed={view === each.view} onClick={() => onView(each.view)}>{each.name}</button>)}</div>
      <Lifecycle session={session} />
    </header>
  );
}

/** Drawn again with every change, and alone. */
function TranscriptView({ log }: { log: SessionLog }) {
  void log.revision.value;
  const { items, first } = log.transcript;
  return (
    <VirtualList
      count={items.length} keyOf={(i) => items[i]?.seq ?? i} versionOf={(i) => items[i]?.version ?? 0} label="What happened in this session" onTop={() => log.older()}
      render={(i) => { const item = items[i]; return item ? <ItemView item={item} /> : null; }}
      header={first > 1 ? <p class="hint older">{log.loadingOlder.value ? "Reading what was before …" : "Scroll up for what was before"}</p> : undefined}
    />
  );
}

/** A terminal is written to a few times a second: what came in between goes in at once. */
const TERMINAL_MS = 200;
function TerminalView({ log }: { log: SessionLog }) {
  const [parts, setParts] = useState(() => outputOf(log));
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = log.revision.subscribe(() => (timer ??= setTimeout(() => { timer = undefined; setParts(outputOf(log)); }, TERMINAL_MS)));
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [log]);
  return <Terminal parts={parts} label="What its commands printed" />;
}

export function Session() {
  const id = useRoute().params["id"] ?? "";
  const { session, error, again } = useSession(id);
  const log = useMemo(() => openSessionLog(id), [id]);
  useEffect(() => () => log.close(), [log]);
  const [view, setView] = useState<View>("transcript");
  const absent = !session && missing(error);
  useEffect(() => void (absent && log.close()), [absent, log]);
  if (error && !session) return <main class="page"><h1>Session</h1>{absent ? <Empty icon="search" title="No such session"><p>It is not there, or belongs to others.</p><a class="button" href="/">Go to the fleet</a></Empty> : <Fault error={error} again={again} />}</main>;
  if (!session || !log.ready.value) return <main class="page"><h1>{plain(session?.name ?? "Session")}</h1><Waiting what="Reading the session" /></main>;
  return (
    <main class="session">
      <Head session={session} log={log} view={view} onView={setView} />
      <div class="session-main">
        {log.failure.value !== null && <Fault error={log.failure.value} />}
        {view === "terminal" && <TerminalView log={log} />}
        {view === "files" && <div class="session-files"><Workspace sessionId={session.id} /></div>}
        {view === "about" && <Beside session={session} log={log} inMain />}
        {view === "transcript" && <TranscriptView log={log} />}
        <Composer session={session} />
      </div>
      <Beside session={session} log={log} />
    </main>
  );
}
