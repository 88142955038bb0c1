/** Owns the choice of where a new session works: on files of its own, on those of a workspace that is there, or in a directory that a host opens. */

import { useEffect, useState } from "preact/hooks";
import type { Host } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { clock } from "../store/clock.ts";
import { me } from "../store/me.ts";
import type { Wanted } from "../store/wanted.ts";
import { ago, bytes, plain } from "./format.ts";
import { useList } from "./use-list.ts";

const workspaces = () => client.workspaces.list({ limit: 200 });
/** Directories that are offered while a path is written. */
const OFFERED = 200;
const TYPED_MS = 250;

function Workspaces({ fields, set }: PlaceProps) {
  const { items, error } = useList(workspaces);
  return (
    <label>Workspace
      <select value={fields.workspace_id} onChange={(event) => set({ workspace_id: event.currentTarget.value })} required>
        <option value="">{error !== null ? "They cannot be read" : items === null ? "Reading …" : items.length === 0 ? "There is none yet" : "Choose one"}</option>
        {items?.map(({ id, name, files, bytes: size, last_used_at }) => <option key={id} value={id}>{plain(name ?? id)}: {files} files, {bytes(size)}, {ago(last_used_at, clock.value)}</option>)}
      </select>
    </label>
  );
}

/** The directories of the directory that is being written. */
function useOffered(host: Host | undefined, path: string): string[] {
  const root = host?.browse_roots?.find((each) => path === each || path.startsWith(`${each.replace(/\/+$/, "")}/`));
  const parent = path.slice(0, Math.max(path.lastIndexOf("/"), root?.length ?? 0));
  const [offered, setOffered] = useState<string[]>([]);
  useEffect(() => {
    setOffered([]);
    if (!host || root === undefined) return undefined;
    const gone = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const page = await client.hosts.browse(host.id, { root, path: parent.slice(root.length).replace(/^\/+/, ""), limit: OFFERED }, { signal: gone.signal });
        setOffered(page.items.flatMap(({ kind, name }) => (kind === "directory" ? [`${parent.replace(/\/+$/, "")}/${name}`] : [])));
      } catch {
        // What cannot be listed is refused with its reason when it is launched.
      }
    }, TYPED_MS);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [host?.id, root, parent]);
  return offered;
}

function Directory({ fields, set, hosts }: PlaceProps & { hosts: readonly Host[] }) {
  const host = hosts.find(({ id }) => id === fields.host_id) ?? hosts[0];
  const offered = useOffered(host, fields.path);
  const choose = (next: Host | undefined) => next && set({ host_id: next.id, path: next.browse_roots?.[0] ?? "" });
  useEffect(() => {
    if (host && host.id !== fields.host_id) choose(host);
  }, [host?.id]);
  return (
    <div class="columns">
      {hosts.length > 1 && <label>Host<select value={host?.id} onChange={(event) => choose(hosts.find(({ id }) => id === event.currentTarget.value))}>{hosts.map(({ id, name }) => <option key={id} value={id}>{plain(name)}</option>)}</select></label>}
      <label>Directory{host && ` on ${plain(host.name)}`}
        <input class="mono" list="offered-directories" value={fields.path} onInput={(event) => set({ path: event.currentTarget.value })} required pattern="/.*" spellcheck={false} />
        <datalist id="offered-directories">{[...(host?.browse_roots ?? []), ...offered].map((each) => <option key={each} value={each} />)}</datalist>
        <span class="hint">It works on the files as they are there; no copy is kept.</span>
      </label>
    </div>
  );
}

interface PlaceProps {
  fields: Wanted;
  set: (patch: Partial<Wanted>) => void;
}

export function PlaceField({ fields, set, hosts }: PlaceProps & { hosts: readonly Host[] }) {
  const may = me.value?.key.scopes.includes("admin") === true;
  const open = may ? hosts.filter(({ browse_roots }) => browse_roots && browse_roots.length > 0) : [];
  return (
    <>
      <label>Works on
        <select value={fields.place} onChange={(event) => set({ place: event.currentTarget.value as Wanted["place"] })}>
          <option value="new">A new workspace</option>
          <option value="workspace">A workspace that is there</option>
          {(open.length > 0 || fields.place === "directory") && <option value="directory">A directory of a host</option>}
        </select>
      </label>
      {fields.place === "workspace" && <Workspaces fields={fields} set={set} />}
      {fields.place === "directory" && <Directory fields={fields} set={set} hosts={open} />}
    </>
  );
}
