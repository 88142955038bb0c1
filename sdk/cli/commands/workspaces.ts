/** Owns `mctl workspaces`: make, list, show, look into, restore, collect and delete them. */

import { defineCommand } from "../command.ts";
import { UserError } from "../io.ts";
import { flag, pairs, text, whole } from "../option.ts";
import { size } from "../output/table.ts";
import { oneLine } from "../output/terminal.ts";
import { fileColumns } from "../output/views.ts";
import { changeColumns, collectionFields, manifestColumns, workspaceColumns, workspaceFields } from "../output/workspace-views.ts";
import { listOptions, printList } from "./listing.ts";

const WORKSPACE = { name: "workspace", summary: "id of the workspace (ws_…)" } as const;
const manifest = text("MANIFEST", "as this manifest has it (mfst_…; default: as a host holds it now, else as it was last synced)", { short: "m" });

export const workspaceCommands = [
  defineCommand({
    name: "workspaces create",
    summary: "Make a workspace, to fill it before its first session or to share it",
    options: { name: text("NAME", "a name, for people"), label: pairs("label (repeatable)"), quota: whole("MB", "most MiB that its files may have", { min: 1 }), retention: whole("DAYS", "days that it is kept after its last session, 1 to 30 (7)", { min: 1 }) },
    examples: [["workspaces create --name api --label team=web", ""]],
    async run(context, _, { name, label, quota, retention }) {
      const made = await context.client.workspaces.create({ name, ...(label && { labels: label }), ...(quota !== undefined && { quota_mb: quota }), ...(retention !== undefined && { retention_days: retention }) });
      context.out.one(made, () => [made.id]);
    },
  }),
  defineCommand({
    name: "workspaces list",
    summary: "List workspaces, also those that sessions made for themselves",
    options: { label: pairs("only with this label (repeatable)"), ...listOptions },
    examples: [["workspaces list -o wide", "with labels, quota and retention"]],
    async run(context, _, { label, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.workspaces.list({ labels: label, limit }), workspaceColumns, "workspaces");
    },
  }),
  defineCommand({
    name: "workspaces get",
    summary: "Show one workspace",
    args: [WORKSPACE],
    options: {},
    examples: [["workspaces get ws_…", ""]],
    async run(context, { workspace: id = "" }) {
      const found = await context.client.workspaces.get(id);
      context.out.one(found, () => context.out.fields(workspaceFields(found, context.io.now())));
    },
  }),
  defineCommand({
    name: "workspaces ls",
    summary: "List a directory of a workspace",
    args: [WORKSPACE, { name: "path", summary: "a directory (default: the root)", optional: true }],
    options: { manifest },
    examples: [["workspaces ls ws_… src", ""], ["workspaces ls ws_… -m mfst_…", "as it was then"]],
    async run(context, { workspace: id = "", path = "" }, { manifest: manifest_id }) {
      context.out.many(await context.client.workspaces.files(id, path, { manifest_id }), fileColumns, (entry) => oneLine(entry.path));
    },
  }),
  defineCommand({
    name: "workspaces cat",
    summary: "Print a file of a workspace, byte for byte",
    args: [WORKSPACE, { name: "path", summary: "the file" }],
    options: { manifest },
    examples: [["workspaces cat ws_… README.md > README.md", ""]],
    async run(context, { workspace: id = "", path = "" }, { manifest: manifest_id }) {
      context.out.write(await context.client.workspaces.read(id, path, { manifest_id }));
    },
  }),
  defineCommand({
    name: "workspaces manifests",
    summary: "List what a workspace was, sync by sync",
    args: [WORKSPACE],
    options: { ...listOptions },
    examples: [["workspaces manifests ws_…", ""]],
    async run(context, { workspace: id = "" }, chosen) {
      await printList(context, chosen, (limit) => context.client.workspaces.manifests(id, { limit }), manifestColumns, "manifests");
    },
  }),
  defineCommand({
    name: "workspaces diff",
    summary: "Show which files differ between two manifests",
    args: [WORKSPACE, { name: "from", summary: "the earlier manifest (mfst_…)" }, { name: "to", summary: "the later one (default: the workspace's own now)", optional: true }],
    options: { limit: whole("N", "at most so many (default 1,000, at most 10,000)", { min: 1 }) },
    examples: [["workspaces diff ws_… mfst_… mfst_…", ""]],
    async run(context, { workspace: id = "", from = "", to = "" }, { limit }) {
      const last = to === "" ? (await context.client.workspaces.get(id)).manifest_id : to;
      if (last === null) throw new UserError("The workspace was never synced, so it has no manifest to compare with");
      const diff = await context.client.workspaces.diff(id, from, last, { limit });
      if (context.out.structured) return context.out.one({ ...diff, id }, () => []);
      context.out.many(diff.items, changeColumns, (change) => oneLine(change.path));
      if (diff.total === 0) context.out.note("They are the same.");
      else if (diff.truncated) context.out.note(`${diff.items.length} of ${diff.total} differences; --limit shows more.`);
    },
  }),
  defineCommand({
    name: "workspaces restore",
    summary: "Go on from an earlier manifest: the next runner starts with its files",
    args: [WORKSPACE, { name: "manifest", summary: "the manifest (mfst_…)" }],
    options: {},
    examples: [["workspaces restore ws_… mfst_…", ""]],
    async run(context, { workspace: id = "", manifest: to = "" }) {
      const now = await context.client.workspaces.restore(id, to);
      if (context.out.structured) context.out.one(now, () => []);
      else context.out.note(`${id} goes on from ${to}: ${now.files} files, ${size(now.bytes)}.`);
    },
  }),
  defineCommand({
    name: "workspaces gc",
    summary: "Collect what nothing refers to any more",
    description: "Drops workspaces whose retention is over, marks chunks that nothing refers to, and removes those that have been marked for seven days. Needs a key with the scope admin. It also runs by itself once a day.",
    options: { dryRun: flag("only count") },
    examples: [["workspaces gc --dry-run", "what would be done"]],
    async run(context, _, { dryRun }) {
      const done = await context.client.workspaces.collect({ dry_run: dryRun });
      context.out.one({ id: done.tenant_id, ...done }, () => context.out.fields(collectionFields(done)));
    },
  }),
  defineCommand({
    name: "workspaces delete",
    summary: "Delete a workspace with all its manifests",
    args: [WORKSPACE],
    options: {},
    examples: [["workspaces delete ws_…", ""]],
    async run(context, { workspace: id = "" }) {
      const gone = await context.client.workspaces.delete(id);
      context.out.note(`Deleted ${id} with ${gone.manifests} manifest${gone.manifests === 1 ? "" : "s"}.`);
    },
  }),
];
