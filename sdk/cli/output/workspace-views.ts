/** Owns how workspaces, manifests, differences and collections look to people. */

import type { Collection, ManifestChange, ManifestSummary, Workspace } from "../../protocol/index.ts";
import { age, count, labels, size, type Column } from "./table.ts";
import { oneLine } from "./terminal.ts";

type Fields = (readonly [name: string, value: string | number | null | undefined])[];

export const workspaceColumns: readonly Column<Workspace>[] = [
  { title: "ID", value: (w) => w.id }, { title: "NAME", value: (w) => w.name, max: 24 }, { title: "FILES", value: (w) => count(w.files), right: true }, { title: "SIZE", value: (w) => size(w.bytes), right: true },
  { title: "MANIFESTS", value: (w) => w.manifests, right: true }, { title: "QUOTA", value: (w) => w.quota_mb && `${w.quota_mb} MiB`, wide: true }, { title: "KEPT", value: (w) => `${w.retention_days} d`, wide: true },
  { title: "LABELS", value: (w) => labels(w.labels), wide: true }, { title: "USED", value: (w, now) => age(w.last_used_at, now), right: true }, { title: "AGE", value: (w, now) => age(w.created_at, now), right: true },
];
export function workspaceFields(w: Workspace, now: number): Fields {
  return [
    ["id", w.id], ["name", w.name], ["labels", labels(w.labels)], ["manifest", w.manifest_id ?? "none: never synced"], ["manifests", w.manifests], ["files", w.files], ["size", size(w.bytes)],
    ["quota", w.quota_mb && `${w.quota_mb} MiB`], ["kept", `${w.retention_days} days after its last session`], ["last used", `${w.last_used_at} (${age(w.last_used_at, now)} ago)`], ["created", `${w.created_at} (${age(w.created_at, now)} ago)`],
  ];
}

export const manifestColumns: readonly Column<ManifestSummary>[] = [
  { title: "ID", value: (m) => m.id }, { title: "", value: (m) => (m.current ? "current" : null), style: () => "green" }, { title: "FILES", value: (m) => count(m.files), right: true }, { title: "SIZE", value: (m) => size(m.bytes), right: true },
  { title: "STORED", value: (m) => size(m.stored_bytes), right: true, wide: true }, { title: "CHUNKS", value: (m) => m.chunks, right: true, wide: true }, { title: "SESSION", value: (m) => m.session_id ?? "pushed" },
  { title: "PARENT", value: (m) => m.parent, wide: true }, { title: "AGE", value: (m, now) => age(m.created_at, now), right: true }, { title: "TORN", value: (m) => (m.torn ? "changed while read" : null) },
];

const SIGNS = { added: "+", removed: "-", modified: "~" } as const;
export const changeColumns: readonly Column<ManifestChange>[] = [
  { title: "", value: (c) => SIGNS[c.change], style: (c) => ({ added: "green", removed: "red", modified: "yellow" } as const)[c.change] }, { title: "PATH", value: (c) => oneLine(c.path) },
  { title: "KIND", value: (c) => c.kind }, { title: "BEFORE", value: (c) => (c.before === null ? null : size(c.before)), right: true }, { title: "AFTER", value: (c) => (c.after === null ? null : size(c.after)), right: true },
];

export function collectionFields(c: Collection): Fields {
  const would = c.dry_run ? "would be " : "";
  return [
    ["kept", `${count(c.kept)} chunks, ${size(c.kept_bytes)}`], [`${would}marked now`, `${count(c.marked)} chunks`], ["marked before", `${count(c.marked_before)} chunks`],
    [`${would}removed`, `${count(c.removed)} chunks, ${size(c.removed_bytes)}`], [`workspaces ${would}dropped`, `${count(c.expired_workspaces)}, with ${count(c.expired_manifests)} manifests`], [`old manifests ${would}dropped`, count(c.thinned_manifests)],
  ];
}
