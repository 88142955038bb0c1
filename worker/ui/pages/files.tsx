/** Owns the page of files: the workspace of a session, as it is now, as it was saved, and what differs between two of these; and the directories that hosts open. */

import "../styles/files.css";
import "../styles/session.css";
import { useLocation } from "preact-iso";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ManifestSummary } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { FileBrowser, type FileSource } from "../components/file-browser.tsx";
import { fetched } from "../components/fetched.tsx";
import { ago, bytes, plain } from "../components/format.ts";
import { HostFiles, rootKey, useRoots } from "../components/host-files.tsx";
import { wordsOf } from "../components/notices.tsx";
import { Empty, Waiting } from "../components/panel.tsx";
import { sessionSource } from "../components/workspace.tsx";
import { clock } from "../store/clock.ts";
import { loaded, ordered } from "../store/fleet.ts";

const ManifestDiff = fetched(() => import("../components/manifest-diff.tsx").then((module) => module.ManifestDiff));

/** Saved states that can be chosen. */
const LISTED = 100;

function manifestSource(workspaceId: string, manifest_id: string): FileSource {
  return { key: `manifest:${manifest_id}`, list: (path) => client.workspaces.files(workspaceId, path, { manifest_id }), read: (path) => client.workspaces.read(workspaceId, path, { manifest_id }) };
}

function useManifests(workspaceId: string | null) {
  const [state, setState] = useState<{ all: ManifestSummary[]; fault: string | null }>({ all: [], fault: null });
  useEffect(() => {
    let live = true;
    setState({ all: [], fault: null });
    if (workspaceId === null) return undefined;
    void (async () => {
      const all: ManifestSummary[] = [];
      try {
        for await (const manifest of client.workspaces.manifests(workspaceId, { limit: LISTED })) if (all.push(manifest) >= LISTED) break;
        if (live) setState({ all: all.filter(({ kind }) => kind === "workspace"), fault: null });
      } catch (error) {
        if (live) setState({ all: [], fault: wordsOf(error) });
      }
    })();
    return () => {
      live = false;
    };
  }, [workspaceId]);
  return state;
}

export function Files() {
  const { query, route } = useLocation();
  const all = ordered.value.map((session) => session.value);
  const known = useRoots();
  const roots = known ?? [];
  const first = all[0]?.id ?? null;
  const open = roots.find((each) => rootKey(each) === query["root"]) ?? (first === null && query["session"] === undefined ? roots[0] : undefined);
  const id = open ? null : (query["session"] ?? first);
  const workspaceId = all.find((session) => session.id === id)?.workspace_id ?? null;
  const manifests = useManifests(workspaceId);
  const at = query["at"] ?? "";
  const to = query["to"] ?? "";
  const source = useMemo(() => (id === null ? null : at && workspaceId ? manifestSource(workspaceId, at) : sessionSource(id)), [id, at, workspaceId]);
  function go(next: { session?: string; path?: string; at?: string; to?: string }): void {
    const wanted = new URLSearchParams({ session: id ?? "", path: query["path"] ?? "", at, to, ...next });
    for (const name of ["path", "at", "to"]) if (!wanted.get(name)) wanted.delete(name);
    route(`/files?${wanted}`);
  }
  const inRoot = (root: string, path: string) => route(`/files?${new URLSearchParams({ root, ...(path && { path }) })}`);
  const choose = (value: string) => (value.startsWith("sess_") ? go({ session: value, path: "", at: "", to: "" }) : inRoot(value, ""));
  if (!loaded.value) return <main class="page"><h1>Files</h1><Waiting what="Reading sessions" /></main>;
  const named = ({ id, created_at, files, bytes: size }: ManifestSummary) => <option key={id} value={id}>{`Saved ${ago(created_at, clock.value)}: ${files} files, ${bytes(size)}`}</option>;
  return (
    <main class="page">
      <header class="page-head">
        <h1>Files</h1>
        {(id !== null || open) && (
          <div class="row files-choice">
            <label class="inline"><span class="visually-hidden">Session or directory</span><select value={open ? rootKey(open) : (id ?? "")} onChange={(event) => choose(event.currentTarget.value)}>
              {all.length > 0 && <optgroup label="Workspaces of sessions">{all.map((session) => <option key={session.id} value={session.id}>{plain(session.name ?? `${session.agent} ${session.id.slice(-5)}`)}</option>)}</optgroup>}
              {roots.length > 0 && <optgroup label="Directories of hosts">{roots.map((each) => <option key={rootKey(each)} value={rootKey(each)}>{plain(`${each.host.name}: ${each.root}`)}</option>)}</optgroup>}
            </select></label>
            {id !== null && <label class="inline"><span class="visually-hidden">State</span><select value={at} onChange={(event) => go({ at: event.currentTarget.value, to: "" })}><option value="">As they are now</option>{manifests.all.map(named)}</select></label>}
            {at && manifests.all.length > 1 && <label class="inline"><span class="visually-hidden">Compare with</span><select value={to} onChange={(event) => go({ to: event.currentTarget.value })}><option value="">Compare with …</option>{manifests.all.filter((each) => each.id !== at).map(named)}</select></label>}
          </div>
        )}
      </header>
      {manifests.fault !== null && <p class="hint">Saved states cannot be read: {manifests.fault}</p>}
      {at && to && workspaceId !== null && <ManifestDiff workspaceId={workspaceId} from={at} to={to} />}
      {query["root"] !== undefined && known === null && <Waiting what="Reading directories" />}
      {!to && source && id !== null && !(query["root"] !== undefined && known === null) && <FileBrowser source={source} path={query["path"] ?? ""} onPath={(path) => go({ path })} />}
      {open && <HostFiles key={rootKey(open)} open={open} path={query["path"] ?? ""} onPath={(path) => inRoot(rootKey(open), path)} />}
      {id === null && !open && <Empty icon="files" title="No workspace yet"><p>Every session has one. Launch an agent, and its files are here.</p></Empty>}
    </main>
  );
}
