/** Owns the tools that look for things: `grep` in contents, `glob` among names. Both run in the sandbox, where the files are. */

import * as z from "zod";
import { WORKSPACE, WorkspaceError, type AgentWorkspace } from "../sandbox/contracts.ts";
import { placeOf } from "../sandbox/paths.ts";
import { toolFromZod, type Tool } from "../tool.ts";
import { clipped } from "./bounded.ts";
import { globMatcher } from "./glob.ts";

const TIMEOUT_MS = 30_000;
const MAX_MATCHES = 200;
const MAX_LINE_CHARS = 400;
const MAX_NAMES = 500;
/** Names that are looked at; more take too long to send. */
const MAX_LOOKED_AT = 200_000;

/** Perl's expressions where this grep knows them, else extended ones. Values come in variables: nothing of them is read by the shell. With `-s` only the expression is complained about, not files that may not be read. */
const GREP = `cd "$MARCO_DIR" 2>/dev/null || { [ -f "$MARCO_DIR" ] && cd "$(dirname -- "$MARCO_DIR")" && MARCO_FILE=./$(basename -- "$MARCO_DIR"); } || exit 2
if printf x | grep -qP x 2>/dev/null; then kind=-P; else kind=-E; fi
if [ -n "$MARCO_FILE" ]; then exec grep $kind $MARCO_CASE -snIHZ -e "$MARCO_PATTERN" -- "$MARCO_FILE"; fi
exec grep $kind $MARCO_CASE -srnIHZ --exclude-dir=.git --exclude-dir=node_modules -e "$MARCO_PATTERN" .`;
const FIND = `cd "$MARCO_DIR" || exit 2
exec find . \\( -name .git -o -name node_modules \\) -prune -o \\( -type f -o -type l \\) -printf '%T@ %P\\0'`;

const path = z.string().min(1).max(4_096).optional();

export function findTools(workspace: AgentWorkspace): Tool[] {
  return [grepTool(workspace), globTool(workspace)];
}

function grepTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "grep",
    description: `Searches the contents of files for a regular expression (Perl's) and answers with lines as path:line:text, at most ${MAX_MATCHES}. Binary files, .git and node_modules are left out. include narrows the files by a glob.`,
    input: z.strictObject({ pattern: z.string().min(1).max(2_000), path: path.describe("File or directory; the workspace where absent"), include: z.string().max(500).optional().describe("Such as *.ts or src/**/*.{js,jsx}"), ignore_case: z.boolean().optional() }),
    async execute({ pattern, path = WORKSPACE, include, ignore_case: ignoreCase = false }, { signal }) {
      if (pattern.includes("\n")) throw new WorkspaceError("invalid", "pattern: holds a line end; grep looks at one line at a time");
      const { directory, shown, isFile } = await target(workspace, path);
      const wanted = include === undefined ? null : included(include);
      const matches: { file: string; line: number; text: string }[] = [];
      let cut = false;
      const end = await lines(workspace, GREP, { MARCO_DIR: directory, MARCO_PATTERN: pattern, MARCO_CASE: ignoreCase ? "-i" : "" }, "\n", signal, (line) => {
        const zero = line.indexOf("\0");
        const colon = line.indexOf(":", zero);
        if (zero < 0 || colon < 0) return true;
        const file = line.slice(0, zero).replace(/^\.\//, "");
        if (wanted !== null && !wanted(file)) return true;
        cut = matches.length >= MAX_MATCHES;
        if (!cut) matches.push({ file, line: Number(line.slice(zero + 1, colon)), text: clipped(line.slice(colon + 1), MAX_LINE_CHARS) });
        return !cut;
      });
      const failed = end.code !== null && end.code > 1;
      if (failed && end.err !== "" && matches.length === 0) throw new WorkspaceError("invalid", `grep: ${end.err}`);
      const unread = failed ? `\n[not all files could be searched${end.err === "" ? ": some may not be read" : `: ${end.err}`}]` : end.timeout ? `\n[stopped after ${TIMEOUT_MS / 1_000} seconds]` : "";
      if (matches.length === 0) return `No matches.${unread}`;
      const at = isFile ? shown.slice(0, shown.lastIndexOf("/")) : shown;
      const body = matches.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)).map(({ file, line, text }) => `${at}/${file}:${line}:${text}`).join("\n");
      return cut ? `${body}\n[more matches were left out; narrow the pattern, the path or include]` : `${body}${unread}`;
    },
  });
}

function globTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "glob",
    description: `Finds files by a pattern of their path (*, ?, [a-z], {a,b}, ** for any directories), the latest changed first, at most ${MAX_NAMES}. A pattern without a slash is looked for at any depth. .git and node_modules are left out.`,
    input: z.strictObject({ pattern: z.string().min(1).max(500), path: path.describe("Directory; the workspace where absent") }),
    async execute({ pattern, path = WORKSPACE }, { signal }) {
      const { directory, shown, isFile } = await target(workspace, path);
      if (isFile) throw new WorkspaceError("not_a_directory", `${shown} is not a directory`);
      const wanted = included(pattern);
      const found: { name: string; time: number }[] = [];
      let seen = 0;
      const end = await lines(workspace, FIND, { MARCO_DIR: directory }, "\0", signal, (record) => {
        const space = record.indexOf(" ");
        const name = record.slice(space + 1);
        if (wanted(name)) found.push({ name, time: Number(record.slice(0, space)) });
        return ++seen < MAX_LOOKED_AT;
      });
      const note = end.timeout || seen >= MAX_LOOKED_AT ? `\n[not all files were looked at: there are too many; name a directory]` : "";
      if (found.length === 0) return `No files match.${note}`;
      const body = found.sort((a, b) => b.time - a.time || (a.name < b.name ? -1 : 1)).slice(0, MAX_NAMES).map(({ name }) => `${shown}/${name}`).join("\n");
      return `${body}${found.length > MAX_NAMES ? `\n[${found.length - MAX_NAMES} more]` : ""}${note}`;
    },
  });
}

/** As in .gitignore: without a slash a pattern names files at any depth. */
function included(pattern: string): (path: string) => boolean {
  return globMatcher(pattern.includes("/") ? pattern.replace(/^\/(workspace\/)?/, "") : `**/${pattern}`);
}

/** Checks that the path is inside, links and all, before a program is told of it. */
async function target(workspace: AgentWorkspace, path: string): Promise<{ directory: string; shown: string; isFile: boolean }> {
  const place = placeOf(path, workspace.root, workspace.identity);
  const stat = await workspace.stat(path);
  if (stat === null) throw new WorkspaceError("not_found", `${place.shown} does not exist`);
  const base = place.area === "identity" ? workspace.identity : workspace.root;
  return { directory: place.relative === "" ? base : `${base}/${place.relative}`, shown: place.shown, isFile: stat.kind === "file" };
}

/** Runs a program and hands on its records one by one until `take` says enough. */
async function lines(workspace: AgentWorkspace, command: string, env: Record<string, string>, separator: string, signal: AbortSignal, take: (line: string) => boolean) {
  const decoder = new TextDecoder();
  let rest = "";
  let err = "";
  for await (const event of workspace.exec(command, { env: { ...env, LC_ALL: "C.UTF-8" }, timeout_ms: TIMEOUT_MS, signal })) {
    if (event.type === "exit") {
      signal.throwIfAborted();
      return { code: event.code, timeout: event.end === "timeout", err: err.trim() };
    }
    if (event.stream === "stderr") {
      err = clipped(err + new TextDecoder().decode(event.bytes), 500);
      continue;
    }
    const parts = (rest + decoder.decode(event.bytes, { stream: true })).split(separator);
    rest = parts.pop() ?? "";
    // A line without end is cut off, not gathered.
    if (rest.length > 1_000_000) rest = rest.slice(0, 1_000);
    for (const part of parts) if (!take(part)) return { code: null, timeout: false, err: "" };
  }
  return { code: null, timeout: false, err: "" };
}
