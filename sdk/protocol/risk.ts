/** Owns the risk of a tool call, whichever agent makes it: what kind of tool it is, what it touches, how bad that may be. */

import type { Risk } from "./policy.ts";
import { judgeRead, judgeWrite, subjectPath, worse, type Judgement, type Place } from "./risk-paths.ts";
import { classifyArguments, classifyShell } from "./risk-shell.ts";
import type { Json } from "./values.ts";

export type { Place } from "./risk-paths.ts";

export interface Call {
  tool: string;
  input: Json;
}

export interface Classified {
  kind: "shell" | "edit" | "read" | "fetch" | "other";
  risk: Risk;
  /** Why, in a few short sentences. */
  reasons: string[];
  /** The exact command, path or URL, for people. */
  summary: string;
  /** What patterns of rules are matched against: each must match for `allow`. Null where that is not known. */
  subjects: string[] | null;
  /** Further spellings of them, of which any counts for `deny` and `ask`. */
  spellings: string[];
  /** What is alike for approvals with a scope; null where only the same input is. */
  keys: string[] | null;
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));
const SHELLS = words("bash shell exec exec_command local_shell unified_exec container.exec execute run_command run_shell_command run_terminal_cmd execute_command terminal command sh zsh powershell");
const READS = words("read glob grep ls list search find view read_file read_many_files list_directory list_dir search_file_content file_search codebase_search notebookread read_text_file think");
const EDITS = words("edit write multiedit notebookedit apply_patch create str_replace str_replace_based_edit_tool write_file edit_file create_file replace patch file_change filechange update move rename remember");
const DELETES = words("delete delete_file remove remove_file");
const FETCHES = words("fetch webfetch websearch web_fetch web_search google_web_search fetch_url browser http");
/** They keep notes, look at what the agent itself runs, or start agents whose own calls are asked about. */
const QUIET = words("todowrite todoread update_plan task agent taskoutput bashoutput agentoutput exitplanmode enterplanmode toolsearch listmcpresources listmcpresourcestool taskcreate taskget tasklist taskupdate update_topic save_plan list_skills load_skill recall exec_output exec_kill");
const MAX_SUMMARY = 8_192;

/** Classifies a call; never throws for any input. */
export function classify(call: Call, place: Place): Classified {
  const name = call.tool.toLowerCase();
  const input = fieldsOf(call.input);
  if (SHELLS.has(name)) return shell(call, input, place);
  if (DELETES.has(name)) return file(call, input, place, "delete");
  if (EDITS.has(name)) return file(call, input, place, "edit");
  if (READS.has(name)) return file(call, input, place, "read");
  if (FETCHES.has(name)) return fetches(call, input);
  if (QUIET.has(name)) return { kind: "other", risk: "low", reasons: [`${call.tool} touches nothing by itself`], summary: summaryOf(call), subjects: [summaryOf(call)], spellings: [], keys: [] };
  const reason = name.startsWith("mcp__") ? "a tool of an MCP server, about which nothing is known" : "no rule knows this tool";
  return { kind: "other", risk: "high", reasons: [reason], summary: summaryOf(call), subjects: [summaryOf(call)], spellings: [], keys: [] };
}

function shell(call: Call, input: Record<string, Json>, place: Place): Classified {
  const told = input["command"] ?? input["cmd"] ?? input["script"] ?? (typeof call.input === "string" ? call.input : undefined);
  const directory = input["workdir"] ?? input["cwd"] ?? input["working_directory"] ?? input["dir_path"];
  const argv = Array.isArray(told) && told.length > 0 && told.every((word) => typeof word === "string") ? told : null;
  if (typeof told !== "string" && argv === null) return { kind: "shell", risk: "critical", reasons: ["there is no command in the call"], summary: summaryOf(call), subjects: null, spellings: [], keys: null };
  const there = typeof directory === "string" && directory !== "" ? directory : place.workspace;
  const text = argv ? argv.map(quoted).join(" ") : (told as string);
  const { risk, reasons, parts, keys } = argv ? classifyArguments(argv, place, there) : classifyShell(text, place, there);
  return {
    kind: "shell",
    risk: input["dangerouslyDisableSandbox"] === true ? worse(risk, "high") : risk,
    reasons: text.length > MAX_SUMMARY ? [`the command is ${text.length} characters long, more than is shown`, ...reasons] : reasons,
    summary: text.slice(0, MAX_SUMMARY),
    subjects: parts?.map((part) => part.text) ?? null,
    spellings: [text, ...(parts?.map((part) => part.bare) ?? text.split(/[\n;&|()`]+/).map((part) => part.trim()))],
    keys,
  };
}

function file(call: Call, input: Record<string, Json>, place: Place, action: "read" | "edit" | "delete"): Classified {
  const paths = pathsOf(call, input);
  const judge = (path: string): Judgement => (action === "read" ? judgeRead(path, place) : judgeWrite(path, place));
  let risk: Risk = action === "read" ? "low" : action === "delete" ? "critical" : "medium";
  const reasons = action === "delete" ? ["deletes files"] : [];
  for (const judged of paths.map(judge)) {
    if (action !== "read" || judged.risk !== "low") reasons.push(judged.reason);
    risk = worse(risk, judged.risk);
  }
  if (action === "edit" && (paths.length === 0 || deletes(call, input))) {
    risk = worse(risk, paths.length === 0 ? "high" : "critical");
    reasons.push(paths.length === 0 ? "which file it changes is not known" : "deletes files");
  }
  if (reasons.length === 0) reasons.push(`${call.tool} reads`);
  const subjects = paths.map((path) => subjectPath(path, place));
  return {
    kind: action === "read" ? "read" : "edit",
    risk,
    reasons: [...new Set(reasons)].slice(0, 8),
    summary: paths.length > 0 ? paths.join(", ").slice(0, MAX_SUMMARY) : summaryOf(call),
    subjects: paths.length > 0 ? subjects : action === "read" ? [summaryOf(call)] : null,
    spellings: paths,
    keys: paths.length > 0 || action === "read" ? [] : null,
  };
}

function fetches(call: Call, input: Record<string, Json>): Classified {
  const url = [input["url"], input["uri"], input["query"]].find((value) => typeof value === "string");
  const origin = typeof url === "string" ? /^[a-z]+:\/\/([^/?#]*)/i.exec(url)?.[1] : undefined;
  const subject = typeof url === "string" ? url : summaryOf(call);
  return { kind: "fetch", risk: "high", reasons: ["uses the network"], summary: subject.slice(0, MAX_SUMMARY), subjects: [subject], spellings: [], keys: [origin?.toLowerCase() ?? ""] };
}

const PATH_FIELDS = ["file_path", "path", "notebook_path", "filePath", "absolute_path", "filename", "file", "target_file", "dir_path", "destination", "new_path", "old_path", "source", "to", "from"];

/** Every path that a file tool's input names. */
function pathsOf({ input: whole }: Call, input: Record<string, Json>): string[] {
  const found = PATH_FIELDS.flatMap((field) => (typeof input[field] === "string" && input[field] !== "" ? [input[field]] : []));
  for (const field of ["paths", "files", "file_paths", "locations", "changes"]) {
    const value = input[field];
    if (Array.isArray(value)) for (const each of value) found.push(...(typeof each === "string" ? [each] : pathsOf({ tool: "", input: each }, fieldsOf(each))));
    else if (field === "changes" && value !== null && typeof value === "object") found.push(...Object.keys(value));
  }
  const patch = typeof whole === "string" ? whole : (input["patch"] ?? input["input"] ?? input["diff"]);
  if (typeof patch === "string") for (const match of patch.matchAll(/^(?:\*\*\* (?:Add|Update|Delete) File: |\*\*\* Move to: |\+\+\+ (?:b\/)?|--- (?:a\/)?)(.+)$/gm)) {
    const path = (match[1] ?? "").trim();
    if (path !== "" && path !== "/dev/null") found.push(path);
  }
  return [...new Set(found)];
}

function deletes({ input: whole }: Call, input: Record<string, Json>): boolean {
  const patch = typeof whole === "string" ? whole : (input["patch"] ?? input["input"] ?? input["diff"]);
  if (typeof patch === "string" && /^(\*\*\* Delete File: |\+\+\+ \/dev\/null)/m.test(patch)) return true;
  const changes = Array.isArray(input["changes"]) ? input["changes"] : Object.values(fieldsOf(input["changes"] ?? null));
  return changes.some((change) => JSON.stringify(fieldsOf(change)["kind"] ?? fieldsOf(change)["type"] ?? "").includes("delete"));
}

function fieldsOf(value: Json): Record<string, Json> {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
}

function summaryOf({ tool, input }: Call): string {
  const text = typeof input === "string" ? input : JSON.stringify(input);
  return `${tool} ${text}`.slice(0, MAX_SUMMARY);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
