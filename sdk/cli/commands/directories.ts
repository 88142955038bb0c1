/** Owns directories of hosts in mctl: `hosts browse`, and the option `--dir` that launches a session in one. */

import { posix, resolve } from "node:path";
import type { Host, SessionDirectory } from "../../protocol/index.ts";
import { defineCommand } from "../command.ts";
import { isLoopback } from "../config.ts";
import type { Context } from "../context.ts";
import { UserError } from "../io.ts";
import { text } from "../option.ts";
import { oneLine } from "../output/terminal.ts";
import { fileColumns } from "../output/views.ts";
import { listOptions, printList } from "./listing.ts";

export const dirOption = { dir: text("[HOST:]PATH", "work in this directory of a host instead of a workspace; below one of its browse_roots") };
const HOW = "its owner names them in marionette.yaml under browse_roots";

export const browseCommand = defineCommand({
  name: "hosts browse",
  summary: "List what a host opens of its own files",
  description: "Without ROOT: the directories that the host's configuration opens (browse_roots). Needs a key with the scope admin.",
  args: [{ name: "host", summary: "id or name of the host" }, { name: "root", summary: "one of its browse roots", optional: true }, { name: "path", summary: "a directory below the root", optional: true }],
  options: listOptions,
  examples: [["hosts browse box", "which directories it opens"], ["hosts browse box /home/anna src", ""]],
  async run(context, { host: which = "", root, path = "" }, chosen) {
    const host = await hostOf(context, which);
    const roots = host.browse_roots ?? [];
    if (root !== undefined) return printList(context, chosen, (limit) => context.client.hosts.browse(host.id, { root, path, limit }), fileColumns, "entries");
    if (roots.length === 0) context.out.note(`Host ${host.name} opens no directories; ${HOW}.`);
    context.out.many(roots.map((each) => ({ root: each })), [{ title: "ROOT", value: (each) => each.root }], (each) => oneLine(each.root));
  },
});

async function hosts(context: Context): Promise<Host[]> {
  const all: Host[] = [];
  for await (const host of context.client.hosts.list({ limit: 200 })) all.push(host);
  return all;
}

/** A host by its id or its name; of several with that name the one that is online. */
async function hostOf(context: Context, which: string): Promise<Host> {
  if (which.startsWith("host_")) return context.client.hosts.get(which);
  const named = (await hosts(context)).filter(({ name }) => name === which);
  const online = named.filter(({ status }) => status !== "offline");
  const [found, ...others] = online.length > 0 ? online : named;
  if (!found) throw new UserError(`No host is called ${which}`, "mctl hosts list names them");
  if (others.length > 0) throw new UserError(`${others.length + 1} hosts are called ${which}: ${[found, ...others].map(({ id }) => id).join(", ")}`, "name one by its id");
  return found;
}

/** What `--dir` names: a host's path, or a path of this machine where its only host must be meant. */
export async function directoryOf(context: Context, dir: string | undefined): Promise<SessionDirectory | undefined> {
  if (dir === undefined) return undefined;
  const [, which, path] = /^([^/:][^:]*):(\/.*)$/s.exec(dir) ?? [];
  if (which !== undefined && path !== undefined) return { host_id: (await hostOf(context, which)).id, path: plain(path) };
  const hint = "name the host: --dir HOST:/absolute/path";
  if (!isLoopback(context.client.url)) throw new UserError(`--dir ${dir} is a path of this machine, but ${context.client.url} is another one`, hint);
  const [host, ...others] = (await hosts(context)).filter(({ status }) => status !== "offline");
  if (!host) throw new UserError("No host is online that could work in the directory", "mctl hosts list");
  if (others.length > 0) throw new UserError(`${others.length + 1} hosts are online: it is not certain whose directory is meant`, hint);
  return { host_id: host.id, path: plain(resolve(context.io.cwd, dir)) };
}

const plain = (path: string) => posix.normalize(path).replace(/(.)\/+$/, "$1");
