/** Owns the page of files: the workspace of a session, as it is now. */

import "../styles/files.css";
import { useLocation } from "preact-iso";
import { useMemo } from "preact/hooks";
import { FileBrowser } from "../components/file-browser.tsx";
import { plain } from "../components/format.ts";
import { Empty, Waiting } from "../components/panel.tsx";
import { sessionSource } from "../components/workspace.tsx";
import { loaded, ordered } from "../store/fleet.ts";

export function Files() {
  const { query, route } = useLocation();
  const all = ordered.value.map((session) => session.value);
  const id = query["session"] ?? all[0]?.id ?? null;
  const source = useMemo(() => (id === null ? null : sessionSource(id)), [id]);
  const go = (session: string, path: string) => route(`/files?session=${session}${path ? `&path=${encodeURIComponent(path)}` : ""}`);
  if (!loaded.value) return <main class="page"><Waiting what="Reading sessions" /></main>;
  return (
    <main class="page">
      <header class="page-head">
        <h1>Files</h1>
        {id !== null && <label class="inline"><span class="visually-hidden">Session</span><select value={id} onChange={(event) => go(event.currentTarget.value, "")}>{all.map((session) => <option key={session.id} value={session.id}>{plain(session.name ?? `${session.agent} ${session.id.slice(-5)}`)}</option>)}</select></label>}
      </header>
      {source && id !== null ? <FileBrowser source={source} path={query["path"] ?? ""} onPath={(path) => go(id, path)} /> : <Empty icon="files" title="No workspace yet"><p>Every session has one. Launch an agent, and its files are here.</p></Empty>}
    </main>
  );
}
