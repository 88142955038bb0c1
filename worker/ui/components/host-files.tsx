/** Owns the directories that hosts open: which there are, browsing one, and launching an agent where one stands in it. */

import "../styles/files.css";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { FileEntry, Host } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { me } from "../store/me.ts";
import { FileBrowser, type FileSource } from "./file-browser.tsx";
import { plain } from "./format.ts";
import { Icon } from "./icon.tsx";
import { Launch } from "./launch.tsx";

/** Entries of one directory that are listed; of more, the first, and that is said. */
const MAX_LISTED = 5_000;

export interface OpenRoot {
  host: Host;
  root: string;
}

/** The roots that online hosts open, for whoever may browse them; null until they are known. */
export function useRoots(): OpenRoot[] | null {
  const may = me.value?.key.scopes.includes("admin") === true;
  const [roots, setRoots] = useState<OpenRoot[] | null>(null);
  useEffect(() => {
    let live = true;
    void (async () => {
      const found: OpenRoot[] = [];
      // Without them the page still shows sessions: a fault is told where a root is opened.
      if (may) for await (const host of client.hosts.list({ limit: 200 })) if (host.status !== "offline") found.push(...(host.browse_roots ?? []).map((root) => ({ host, root })));
      if (live) setRoots(found);
    })().catch(() => live && setRoots([]));
    return () => {
      live = false;
    };
  }, [may]);
  return roots;
}

/** How a root is named in a choice and in an address. */
export const rootKey = ({ host, root }: OpenRoot) => `${host.id}:${root}`;

export function HostFiles({ open, path, onPath }: { open: OpenRoot; path: string; onPath: (path: string) => void }) {
  const { host, root } = open;
  const [launching, setLaunching] = useState<string | null>(null);
  const [cut, setCut] = useState<string | null>(null);
  const source = useMemo<FileSource>(
    () => ({
      key: `host:${host.id}:${root}`,
      async list(wanted) {
        const entries: FileEntry[] = [];
        const first = await client.hosts.browse(host.id, { root, path: wanted, limit: 1_000 });
        for await (const entry of first) if (entries.push(entry) >= MAX_LISTED) break;
        setCut(first.total > entries.length ? `The first ${entries.length} of ${first.total} entries are shown.` : null);
        return entries;
      },
      read: (wanted) => client.hosts.readBrowsed(host.id, root, wanted),
    }),
    [host.id, root],
  );
  const full = (directory: string) => (directory === "" ? root : `${root.replace(/\/+$/, "")}/${directory}`);
  return (
    <>
      <p class="hint">On {plain(host.name)}, in <code>{plain(full(path))}</code>. These are the machine's own files: an agent that is launched here works on them as they are, and no copy is kept.</p>
      {cut !== null && <p class="hint" role="status">{cut}</p>}
      <FileBrowser source={source} path={path} onPath={onPath} actions={(directory) => <button type="button" class="primary" onClick={() => setLaunching(directory)}><Icon name="plus" size={16} /> Launch here</button>} />
      {launching !== null && <Launch directory={{ host_id: host.id, path: full(launching) }} onClose={() => setLaunching(null)} />}
    </>
  );
}
