/** Owns `mctl sessions files`: the files of a session's workspace. */

import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { FileEntry } from "../../protocol/index.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { UserError } from "../io.ts";
import { flag } from "../option.ts";
import { size } from "../output/table.ts";
import { oneLine } from "../output/terminal.ts";
import { fileColumns } from "../output/views.ts";

const SESSION = { name: "session", summary: "id of the session (sess_…)" } as const;
/** Directories below one another that `pull` goes into. */
const MAX_DEPTH = 64;

export const fileCommands = [
  defineCommand({
    name: "sessions files ls",
    summary: "List a directory of the workspace",
    args: [SESSION, { name: "path", summary: "a directory (default: the workspace's root)", optional: true }],
    options: {},
    examples: [["sessions files ls sess_… src", "what is in src"]],
    async run(context, { session = "", path = "" }) {
      const entries = await context.client.sessions.files.list(session, path);
      context.out.many(entries, fileColumns, (entry) => oneLine(entry.path));
    },
  }),
  defineCommand({
    name: "sessions files cat",
    summary: "Print a file of the workspace, byte for byte",
    args: [SESSION, { name: "path", summary: "the file" }],
    options: {},
    examples: [["sessions files cat sess_… README.md > README.md", ""]],
    async run(context, { session = "", path = "" }) {
      context.out.write(await context.client.sessions.files.read(session, path));
    },
  }),
  defineCommand({
    name: "sessions files pull",
    summary: "Copy files out of the workspace",
    args: [SESSION, { name: "path", summary: "a file or directory (default: all)", optional: true }, { name: "target", summary: "where to (default: here)", optional: true }],
    options: { force: flag("write over files that exist") },
    examples: [["sessions files pull sess_… src ./src", "a directory with all below it"]],
    async run(context, { session = "", path = "", target = "." }, { force }) {
      const base = resolve(context.io.cwd, target);
      const entries = path === "" ? null : await entryOf(context, session, path);
      if (entries?.kind === "file") return save(context, session, entries, target === "." || target.endsWith("/") ? join(base, basename(path)) : base, force);
      const saved = await pull(context, session, path, base, base, force, 0);
      context.out.note(`Copied ${saved} file${saved === 1 ? "" : "s"} to ${base}.`);
    },
  }),
];

async function entryOf(context: Context, session: string, path: string): Promise<FileEntry> {
  const clean = path.replace(/\/+$/, "");
  const parent = clean.includes("/") ? dirname(clean) : "";
  const found = (await context.client.sessions.files.list(session, parent)).find((entry) => entry.name === basename(clean));
  if (!found) throw new UserError(`The workspace holds no ${path}`);
  return found;
}

async function pull(context: Context, session: string, path: string, root: string, target: string, force: boolean, depth: number): Promise<number> {
  if (depth > MAX_DEPTH) throw new UserError(`${path} is nested too deeply`);
  let saved = 0;
  for (const entry of await context.client.sessions.files.list(session, path)) {
    const to = join(target, entry.name);
    // The names come from a sandbox: none may lead out of the target.
    if (entry.name === "" || /[/\\\0]/.test(entry.name) || relative(root, to).split(sep)[0] === "..") throw new UserError(`The workspace has an unsafe name: ${oneLine(entry.name)}`);
    if (entry.kind === "directory") saved += await pull(context, session, entry.path, root, to, force, depth + 1);
    else if (entry.kind === "file") {
      await save(context, session, entry, to, force);
      saved++;
    } else context.out.note(`Left out ${oneLine(entry.path)}: a ${entry.kind}.`);
  }
  return saved;
}

async function save(context: Context, session: string, entry: FileEntry, to: string, force: boolean): Promise<void> {
  mkdirSync(dirname(to), { recursive: true });
  const bytes = await context.client.sessions.files.read(session, entry.path);
  try {
    writeFileSync(to, bytes, { flag: force ? "w" : "wx" });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") throw new UserError(`${to} exists`, "--force writes over it");
    throw new UserError(`Cannot write ${to}: ${error instanceof Error ? error.message : String(error)}`);
  }
  context.out.debug(`${to} (${size(bytes.length)})`);
}
