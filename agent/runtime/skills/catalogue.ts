/** Owns which skills a workspace has: `skills/<name>/SKILL.md` or `skills/<name>.md`, each with a name and a description; whatever is wrong with one is told and the others work. */

import { readDocument } from "../front-matter.ts";
import type { AgentWorkspace, FileStat } from "../sandbox/contracts.ts";
import { listEntries, readText } from "../workspace-text.ts";

export const SKILLS = "/workspace/skills";
/** Skills of one workspace, at most. */
const MAX_SKILLS = 500;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Files are read side by side, so many at once. */
const AT_ONCE = 32;

export interface Skill {
  name: string;
  description: string;
  /** The file that holds it. */
  path: string;
  /** The directory of its supporting files; null for a skill of one file. */
  directory: string | null;
  body: string;
}

export interface Skills {
  /** Sorted by name. */
  skills: Skill[];
  /** What is wrong, one sentence each. */
  warnings: string[];
}

/** Every skill of the workspace. Never throws for what stands in the files. */
export async function readSkills(workspace: AgentWorkspace): Promise<Skills> {
  const warnings: string[] = [];
  const entries = (await listEntries(workspace, SKILLS)).filter(({ name, kind }) => !name.startsWith(".") && (kind === "directory" || kind === "symlink" || name.endsWith(".md")));
  if (entries.length > MAX_SKILLS) warnings.push(`${SKILLS} has ${entries.length} entries; only the first ${MAX_SKILLS} are read`);
  const found = await side(entries.slice(0, MAX_SKILLS), (entry) => readOne(workspace, entry));
  const skills = new Map<string, Skill>();
  for (const one of found) {
    if ("wrong" in one) {
      warnings.push(one.wrong);
      continue;
    }
    const other = skills.get(one.name);
    if (other) warnings.push(`two skills are called '${one.name}': ${other.path} is used, ${one.path} is not; rename one`);
    else skills.set(one.name, one);
  }
  return { skills: [...skills.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), warnings };
}

async function readOne(workspace: AgentWorkspace, { name: entry, kind }: FileStat): Promise<Skill | { wrong: string }> {
  // A link may name either.
  const flat = kind !== "directory" && entry.endsWith(".md");
  const path = flat ? `${SKILLS}/${entry}` : `${SKILLS}/${entry}/SKILL.md`;
  try {
    const read = await readText(workspace, path);
    if (read === null) return { wrong: `${SKILLS}/${entry} is a directory without SKILL.md: it is no skill` };
    const document = readDocument(read.text);
    if ("wrong" in document) return { wrong: `the skill ${path} is left out: ${document.wrong}` };
    const { fields, body } = document;
    const name = fields["name"] ?? (flat ? entry.slice(0, -3) : entry);
    if (typeof name !== "string" || !NAME.test(name)) return { wrong: `the skill ${path} is left out: its name is not 1 to 64 letters, digits and . _ -` };
    const description = fields["description"] ?? firstLine(body);
    if (typeof description !== "string") return { wrong: `the skill ${path} is left out: its description is no text` };
    return { name, description, path, directory: flat ? null : `${SKILLS}/${entry}`, body: read.cut ? `${body}\n[the file is longer than what is read of a skill]` : body };
  } catch (error) {
    return { wrong: `the skill ${path} is left out: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function firstLine(body: string): string {
  return body.split("\n").map((line) => line.replace(/^#+\s*/, "").trim()).find((line) => line !== "") ?? "";
}

/** The results in the order of the entries, made so many at once. */
export async function side<T, R>(entries: readonly T[], make: (entry: T) => Promise<R>): Promise<R[]> {
  const made: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < entries.length; at = next++) made[at] = await make(entries[at] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, entries.length) }, worker));
  return made;
}
