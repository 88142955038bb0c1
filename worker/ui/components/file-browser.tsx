/** Owns browsing a tree of files, wherever it is: directories beside, the file in view with its colours, and its bytes to take away. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FileEntry } from "../../../sdk/index.ts";
import { fetched } from "./fetched.tsx";
import { bytes, plain } from "./format.ts";
import { Icon } from "./icon.tsx";
import { Fault, Waiting } from "./panel.tsx";

const Code = fetched(() => import("./code.tsx").then((module) => module.Code));

/** Where files come from: a live workspace, a manifest, or a root of a host. */
export interface FileSource {
  /** Changes when other files are meant. */
  key: string;
  list: (path: string) => Promise<FileEntry[]>;
  read?: ((path: string) => Promise<Uint8Array>) | undefined;
}

/** Larger files are not shown, only offered: 2 MiB. */
const MAX_SHOWN = 2 * 1024 * 1024;
const IMAGES: Readonly<Record<string, string>> = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp" };

type View = { kind: "text"; text: string } | { kind: "image"; url: string } | { kind: "bytes"; size: number };

function viewOf(path: string, content: Uint8Array): View {
  const type = IMAGES[path.split(".").at(-1)?.toLowerCase() ?? ""];
  if (type) return { kind: "image", url: URL.createObjectURL(new Blob([content.slice()], { type })) };
  if (content.length > MAX_SHOWN || content.subarray(0, 8_000).includes(0)) return { kind: "bytes", size: content.length };
  try {
    return { kind: "text", text: new TextDecoder("utf-8", { fatal: true }).decode(content) };
  } catch {
    return { kind: "bytes", size: content.length };
  }
}

function save(name: string, content: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([content.slice()], { type: "application/octet-stream" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function useAsync<T>(work: () => Promise<T>, on: readonly unknown[]): { value: T | null; error: unknown; again: () => void } {
  const [state, setState] = useState<{ value: T | null; error: unknown }>({ value: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let live = true;
    setState({ value: null, error: null });
    work().then(
      (value) => live && setState({ value, error: null }),
      (error: unknown) => live && setState({ value: null, error }),
    );
    return () => {
      live = false;
    };
    // The work is named by what it depends on.
  }, [...on, round]);
  return { ...state, again: () => setRound(round + 1) };
}

function Viewer({ source, entry }: { source: FileSource; entry: FileEntry }) {
  const { read } = source;
  const { value, error, again } = useAsync(async () => {
    if (!read) return null;
    const content = await read(entry.path);
    return { content, view: viewOf(entry.path, content) };
  }, [source.key, entry.path]);
  if (error !== null) return <Fault error={error} again={again} />;
  if (!value) return read ? <Waiting what="Reading the file" /> : <p class="hint">Files cannot be read here.</p>;
  const { content, view } = value;
  return (
    <section class="file-view" aria-label={entry.path}>
      <header class="row"><code>{plain(entry.path)}</code><span class="hint">{bytes(content.length)}</span><span class="spread" /><button type="button" onClick={() => save(entry.name, content)}><Icon name="download" size={16} /> Download</button></header>
      {view.kind === "text" && <Code path={entry.path} text={view.text} />}
      {view.kind === "image" && <img src={view.url} alt={entry.name} class="file-image" />}
      {view.kind === "bytes" && <p class="hint">{bytes(view.size)}{view.size > MAX_SHOWN ? ": too large to show here" : " that are no text"}. Download it to look inside.</p>}
    </section>
  );
}

const ORDER = { directory: 0, symlink: 1, file: 2, other: 3 } as const;

export interface FileBrowserProps {
  source: FileSource;
  path: string;
  onPath: (path: string) => void;
  /** Told of the directory in view. */
  actions?: (directory: string) => ComponentChildren;
}

export function FileBrowser({ source, path, onPath, actions }: FileBrowserProps) {
  const [file, setFile] = useState<FileEntry | null>(null);
  const { value, error, again } = useAsync(() => source.list(path), [source.key, path]);
  useEffect(() => setFile(null), [source.key, path]);
  const parts = path.split("/").filter(Boolean);
  const entries = [...(value ?? [])].sort((a, b) => ORDER[a.kind] - ORDER[b.kind] || a.name.localeCompare(b.name));
  return (
    <div class="files">
      <nav class="row crumbs" aria-label="Path">
        <button type="button" class="quiet" onClick={() => onPath("")}>root</button>
        {parts.map((part, i) => <span key={i} class="row">/<button type="button" class="quiet" onClick={() => onPath(parts.slice(0, i + 1).join("/"))}>{plain(part)}</button></span>)}
        <span class="spread" />{actions?.(path)}
      </nav>
      <div class="files-panes">
        <div class="files-list">
          {error !== null && <Fault error={error} again={again} />}
          {error === null && value === null && <Waiting what="Reading" />}
          {value?.length === 0 && <p class="hint">This directory is empty.</p>}
          <ul>
            {entries.map((entry) => (
              <li key={entry.path}>
                <button type="button" class="quiet file-entry" aria-current={file?.path === entry.path ? "true" : undefined} disabled={entry.kind === "other"} onClick={() => (entry.kind === "directory" ? onPath(entry.path) : setFile(entry))}>
                  <Icon name={entry.kind === "directory" ? "files" : "copy"} size={16} /><span>{plain(entry.name)}</span><span class="spread" /><span class="hint">{entry.kind === "file" ? bytes(entry.size) : entry.kind === "symlink" ? "link" : ""}</span>
                </button>
              </li>
            ))}
          </ul>
        </div>
        <div class="files-view">{file ? <Viewer key={file.path} source={source} entry={file} /> : <p class="hint pick">Choose a file to read it.</p>}</div>
      </div>
    </div>
  );
}
