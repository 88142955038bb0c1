/** Owns `mctl workspaces push` and `pull`: whole trees, cut and hashed on this machine, so that what is there already does not travel. */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { Failure } from "../../protocol/errors.ts";
import { newId } from "../../protocol/ids.ts";
import { Secret } from "../../protocol/secret.ts";
import { HttpDoor } from "../../workspace/http-door.ts";
import { restoreTree } from "../../workspace/restore.ts";
import { syncTree } from "../../workspace/sync.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT, UserError } from "../io.ts";
import { flag, text } from "../option.ts";
import { Progress } from "../output/progress.ts";
import { count, size } from "../output/table.ts";
import { oneLine } from "../output/terminal.ts";

const WORKSPACE = { name: "workspace", summary: "id of the workspace (ws_…)" } as const;
const MIB = 1024 * 1024;
/** Paths that were left out are named up to here. */
const MAX_NAMED = 20;

/** A bar in MiB that is made when the whole is known. */
class Bar {
  readonly #context: Context;
  #bar: Progress | null = null;
  #total = -1;
  constructor(context: Context) {
    this.#context = context;
  }
  at(done: number, total: number, more: string): void {
    const whole = Math.ceil(total / MIB);
    if (!this.#bar || this.#total !== whole) this.#bar = new Progress(this.#context.io, this.#context.out.quiet, "MiB", (this.#total = whole));
    this.#bar.at(Math.min(whole, Math.round(done / MIB)), more);
  }
  end(): void {
    this.#bar?.end();
  }
}

function doorOf(context: Context, workspace: string): HttpDoor {
  const { url } = context.client;
  const { apiKey } = context.endpoint;
  return new HttpDoor({ base: `${url}/api/v1/workspaces/${encodeURIComponent(workspace)}`, token: () => new Secret(apiKey), parallel: 8 });
}

/** Where this machine remembers what a directory was like when it was last pushed. */
function indexOf(context: Context, workspace: string, root: string): string {
  const base = context.io.env["XDG_CACHE_HOME"] || join(context.io.home, ".cache");
  const directory = join(base, "marionette", "trees");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return join(directory, createHash("sha256").update(`${context.client.url}\n${workspace}\n${root}`).digest("hex").slice(0, 32));
}

/** Runs with a signal that Ctrl-C aborts; what fails for the user's own reasons is told in its words. */
async function copying<T>(context: Context, door: HttpDoor, bar: Bar, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const off = context.io.onInterrupt(() => stop.abort());
  try {
    return await run(stop.signal);
  } catch (error) {
    bar.end();
    if (stop.signal.aborted) throw new UserError("Called off; nothing was changed", null, EXIT.interrupted);
    if (error instanceof Failure && error.status < 500) throw new UserError(error.message, error.hint ?? null);
    throw error;
  } finally {
    off();
    bar.end();
    await door.close();
  }
}

/** What was made for nothing goes again; what has anything in it stays. */
function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // It was never made, or there is something in it.
  }
}

export const workspaceCopyCommands = [
  defineCommand({
    name: "workspaces push",
    summary: "Bring a directory of this machine into a workspace",
    description: "What `.marionetteignore` names stays here. Only what the workspace does not have yet is sent. The workspace goes on from what was pushed; its earlier manifests stay.",
    args: [WORKSPACE, { name: "directory", summary: "the directory (default: here)", optional: true }],
    options: {},
    examples: [["workspaces push ws_… ./project", ""]],
    async run(context, { workspace: id = "", directory = "." }) {
      const root = resolve(context.io.cwd, directory);
      if (!existsSync(root) || !statSync(root).isDirectory()) throw new UserError(`${root} is not a directory`);
      const before = await context.client.workspaces.get(id);
      const door = doorOf(context, id);
      const bar = new Bar(context);
      const quota = before.quota_mb === null ? {} : { quota: { bytes: before.quota_mb * MIB } };
      const done = await copying(context, door, bar, async (signal) => {
        const sync = syncTree({
          root, kind: "workspace", ids: { manifest_id: newId("manifest", Date.now()), workspace_id: id }, door, index: indexOf(context, id, root), parallel: 8, signal, ...quota,
          onProgress: (p) => bar.at(p.bytes, p.total_bytes, `${count(p.files)} of ${count(p.total_files)} files, ${size(p.sent_bytes)} sent`),
        });
        sync.read.catch(() => {});
        return sync.done;
      });
      if (done.unchanged && before.manifest_id !== done.manifest_id) await context.client.workspaces.restore(id, done.manifest_id);
      for (const { path, why } of done.excluded.slice(0, MAX_NAMED)) context.out.note(`Left out ${oneLine(path)}: ${oneLine(why)}`);
      if (done.excluded_total > MAX_NAMED) context.out.note(`… and ${count(done.excluded_total - Math.min(MAX_NAMED, done.excluded.length))} more left out.`);
      if (done.torn) context.out.note("Files changed while they were read: push again when nothing writes there.");
      if (context.out.structured) context.out.one({ id: done.manifest_id, ...done }, () => []);
      else if (context.out.quiet) context.out.line(done.manifest_id);
      else context.out.note(done.unchanged ? `Nothing has changed since ${done.manifest_id}.` : `Pushed ${count(done.files)} files (${size(done.bytes)}) as ${done.manifest_id}; ${size(done.sent_bytes)} travelled.`);
    },
  }),
  defineCommand({
    name: "workspaces pull",
    summary: "Copy a workspace, as it was synced, to this machine",
    description: "Every file is checked against its hash. The directory must be empty or new, unless --force says otherwise.",
    args: [WORKSPACE, { name: "directory", summary: "where to (default: a new directory named like the workspace)", optional: true }],
    options: { manifest: text("MANIFEST", "this manifest (mfst_…; default: the workspace's own)", { short: "m" }), force: flag("write into a directory that has files: over those of the same name"), delete: flag("with --force: delete what the workspace does not have") },
    examples: [["workspaces pull ws_… ./copy", ""], ["workspaces pull ws_… ./then -m mfst_…", "as it was then"]],
    async run(context, { workspace: id = "", directory = "" }, { manifest, force, delete: remove }) {
      if (remove && !force) throw new UserError("--delete goes with --force");
      const found = await context.client.workspaces.get(id);
      const wanted = manifest ?? found.manifest_id;
      if (wanted === null) throw new UserError("The workspace was never synced: there is nothing to pull", "`mctl workspaces ls` shows what a host holds now");
      const root = resolve(context.io.cwd, directory === "" ? id : directory);
      const there = existsSync(root);
      if (there && !statSync(root).isDirectory()) throw new UserError(`${root} is not a directory`);
      if (there && !force && readdirSync(root).length > 0) throw new UserError(`${root} is there and not empty`, "--force writes over files of the same name");
      const door = doorOf(context, id);
      const bar = new Bar(context);
      const done = await copying(context, door, bar, (signal) =>
        restoreTree({
          root, manifest: wanted, door, expect: { kind: "workspace" }, extra: force && !remove ? "keep" : "delete", parallel: 8, signal,
          onProgress: (p) => bar.at(p.bytes, p.total_bytes, `${count(p.files)} of ${count(p.total_files)} files, ${size(p.fetched_bytes)} fetched`),
        }),
      ).catch((error: unknown) => {
        if (!there) removeEmpty(root);
        throw error;
      });
      if (context.out.structured) context.out.one({ id: done.manifest_id, directory: root, files: done.header.files, bytes: done.header.bytes }, () => []);
      else context.out.note(`Copied ${count(done.header.files)} files (${size(done.header.bytes)}) of ${done.manifest_id} to ${root}.`);
    },
  }),
];
