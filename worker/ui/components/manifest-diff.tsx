/** Owns what differs between two saved states of a workspace: the list of paths, and for a file that is text its lines. */

import { createTwoFilesPatch } from "diff";
import { useEffect, useState } from "preact/hooks";
import type { ManifestChange, ManifestDiff as Changes } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Diff } from "./diff.tsx";
import { bytes, plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";
import { Fault, Waiting } from "./panel.tsx";

/** Larger files are named, not compared: 256 KiB. */
const MAX_COMPARED = 256 * 1024;
const SHOWN = 500;
const TONE = { added: "good", removed: "bad", modified: "accent" } as const;

async function textOf(workspaceId: string, path: string, manifest_id: string, size: number | null): Promise<string> {
  if (size === null) return "";
  return new TextDecoder("utf-8", { fatal: true }).decode(await client.workspaces.read(workspaceId, path, { manifest_id }));
}

function Change({ workspaceId, from, to, change }: { workspaceId: string; from: string; to: string; change: ManifestChange }) {
  const [open, setOpen] = useState(false);
  const [patch, setPatch] = useState<string | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const compared = change.kind === "file" && Math.max(change.before ?? 0, change.after ?? 0) <= MAX_COMPARED;
  useEffect(() => {
    if (!open || !compared || patch !== null) return;
    Promise.all([textOf(workspaceId, change.path, from, change.before), textOf(workspaceId, change.path, to, change.after)]).then(
      ([before, after]) => setPatch(createTwoFilesPatch(change.path, change.path, before, after)),
      (error: unknown) => setFault(error instanceof TypeError ? "These bytes are no text." : wordsOf(error)),
    );
  }, [open, compared, patch, workspaceId, from, to, change]);
  const size = change.before !== null && change.after !== null ? `${bytes(change.before)} → ${bytes(change.after)}` : bytes(change.after ?? change.before ?? 0);
  return (
    <details class="item-file" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><span class={`badge ${TONE[change.change]}`}>{change.change}</span> <code>{plain(change.path)}</code> <span class="hint">{change.kind === "file" ? size : change.kind}</span></summary>
      {fault !== null && <p class="hint">{fault}</p>}
      {!compared && <p class="hint">{change.kind === "file" ? "Too large to compare here." : "Nothing to compare."}</p>}
      {patch !== null && <Diff diff={patch} />}
    </details>
  );
}

export function ManifestDiff({ workspaceId, from, to }: { workspaceId: string; from: string; to: string }) {
  const [changes, setChanges] = useState<Changes | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    setChanges(null);
    setError(null);
    client.workspaces.diff(workspaceId, from, to, { limit: SHOWN }).then(setChanges, setError);
  }, [workspaceId, from, to]);
  if (error !== null) return <Fault error={error} />;
  if (!changes) return <Waiting what="Comparing" />;
  return (
    <section class="stack" aria-label="What differs">
      <p class="hint">{changes.total === 0 ? "Nothing differs between these two." : `${changes.total} paths differ${changes.truncated ? `; the first ${changes.items.length} are here` : ""}.`}</p>
      {changes.items.map((change) => <Change key={`${from}:${to}:${change.path}`} workspaceId={workspaceId} from={from} to={to} change={change} />)}
    </section>
  );
}
