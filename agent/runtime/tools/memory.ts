/** Owns durable memory: `remember` writes an entry and its line in the index `memory/MEMORY.md`, `recall` reads and searches them. */

import * as z from "zod";
import { WORKSPACE, WorkspaceError, type AgentWorkspace } from "../sandbox/contracts.ts";
import { toolFromZod, type Tool } from "../tool.ts";
import { clipped } from "./bounded.ts";
import { textOfBytes } from "./text.ts";

export const MEMORY_DIRECTORY = `${WORKSPACE}/memory`;
export const MEMORY_INDEX = `${MEMORY_DIRECTORY}/MEMORY.md`;
const INDEX_HEAD = "# Memory\n\n";
const MAX_ENTRY_CHARS = 20_000;
const MAX_ENTRIES_SEARCHED = 500;
const MAX_FOUND = 10;
const MAX_INDEX_BYTES = 1024 * 1024;
/** Two turns that remember at once see each other's index by its version. */
const TRIES = 20;

const name = z.string().min(1).max(80).regex(/^[a-z0-9][a-z0-9-]*$/, "expected lower-case letters, digits and -").refine((value) => value !== "memory", "is the index itself");

export function memoryTools(workspace: AgentWorkspace): Tool[] {
  return workspace.capabilities.write ? [rememberTool(workspace), recallTool(workspace)] : [recallTool(workspace)];
}

function rememberTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "remember",
    description: "Keeps something for later conversations in this workspace: what the user prefers, decisions and why, facts that were hard to find. One subject an entry; a name that is there already is replaced, so read it first. Never secrets. The description becomes its line in the index, which you see at the beginning of every conversation.",
    input: z.strictObject({ name: name.describe("Such as user-preferences"), description: z.string().min(1).max(200).regex(/^[^\r\n]*$/, "must be one line"), content: z.string().min(1).max(MAX_ENTRY_CHARS) }),
    async execute({ name, description, content }, { signal }) {
      const { created } = await workspace.write(`${MEMORY_DIRECTORY}/${name}.md`, `${content.toWellFormed().trimEnd()}\n`, { signal });
      await indexed(workspace, name, description.toWellFormed(), signal);
      return { content: `${created ? "Remembered" : "Replaced"} as ${name}.`, changes: [{ path: `memory/${name}.md`, change: created ? "created" : "modified" }] };
    },
  });
}

function recallTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "recall",
    description: "Reads memory: an entry by its name, or the entries that hold all words of a query; without either, the index.",
    input: z.strictObject({ name: name.optional(), query: z.string().min(1).max(500).optional() }),
    async execute({ name, query }, { signal }) {
      if (name !== undefined) return (await text(workspace, `${MEMORY_DIRECTORY}/${name}.md`, signal))?.text ?? { content: `No entry ${name}. The index:\n${await index(workspace, signal)}`, isError: true };
      return query === undefined || query.trim() === "" ? index(workspace, signal) : search(workspace, query, signal);
    },
  });
}

/** Puts an entry's line into the index, in place of the one that it has. */
async function indexed(workspace: AgentWorkspace, name: string, description: string, signal: AbortSignal): Promise<void> {
  const line = `- [${name}](${name}.md): ${description}`;
  for (let attempt = 1; ; attempt++) {
    const before = await text(workspace, MEMORY_INDEX, signal);
    const lines = (before?.text ?? INDEX_HEAD).trimEnd().split("\n");
    // Only its own line: others may name it in their descriptions.
    const at = lines.findIndex((each) => /^\s*[-*+]\s*\[[^\]]*\]\(([^)]*)\)/.exec(each)?.[1] === `${name}.md`);
    if (at >= 0) lines[at] = line;
    else lines.push(...(lines.at(-1)?.startsWith("#") ? [""] : []), line);
    try {
      await workspace.write(MEMORY_INDEX, `${lines.join("\n")}\n`, { version: before?.version ?? null, signal });
      return;
    } catch (error) {
      if (!(error instanceof WorkspaceError) || error.code !== "changed" || attempt >= TRIES) throw error;
    }
  }
}

async function index(workspace: AgentWorkspace, signal: AbortSignal): Promise<string> {
  return (await text(workspace, MEMORY_INDEX, signal))?.text ?? "Nothing is remembered in this workspace yet.";
}

async function search(workspace: AgentWorkspace, query: string, signal: AbortSignal): Promise<string> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const entries = await workspace.list(MEMORY_DIRECTORY, { signal }).catch((error: unknown) => (error instanceof WorkspaceError && error.code === "not_found" ? [] : Promise.reject(error)));
  const found: string[] = [];
  for (const { kind, name } of entries.slice(0, MAX_ENTRIES_SEARCHED)) {
    if (kind !== "file" || !name.endsWith(".md") || name === "MEMORY.md") continue;
    // One entry that is no text must not hide the others.
    const entry = await text(workspace, `${MEMORY_DIRECTORY}/${name}`, signal).catch((error: unknown) => (error instanceof WorkspaceError ? null : Promise.reject(error)));
    const whole = `${name}\n${entry?.text ?? ""}`.toLowerCase();
    if (entry !== null && words.every((word) => whole.includes(word))) found.push(`## ${name.slice(0, -3)}\n${clipped(entry.text.trimEnd(), 3_000)}`);
    if (found.length >= MAX_FOUND) break;
  }
  return found.length === 0 ? `No entry holds ${words.map((word) => `'${word}'`).join(" and ")}. The index:\n${await index(workspace, signal)}` : found.join("\n\n");
}

async function text(workspace: AgentWorkspace, path: string, signal: AbortSignal): Promise<{ text: string; version: string } | null> {
  try {
    const { bytes, size, version } = await workspace.read(path, { length: MAX_INDEX_BYTES, signal });
    // Half of an index, written back, would be all that is left of it.
    if (size > bytes.byteLength) throw new WorkspaceError("too_large", `${path} has ${size} bytes, more than the ${MAX_INDEX_BYTES} of one memory; shorten it first`);
    return { text: textOfBytes(bytes, path), version };
  } catch (error) {
    if (error instanceof WorkspaceError && error.code === "not_found") return null;
    throw error;
  }
}
