/** Owns which subagents a workspace defines: `agents/<name>/AGENT.md`, with its description, tools, model and budget in front matter and its prompt below. */

import * as z from "zod";
import { readDocument } from "../front-matter.ts";
import type { Budget } from "../budget.ts";
import type { AgentWorkspace, FileStat } from "../sandbox/contracts.ts";
import { side } from "../skills/catalogue.ts";
import { listEntries, readText } from "../workspace-text.ts";

export const AGENTS = "/workspace/agents";
const MAX_AGENTS = 100;

const names = z.union([z.array(z.string()), z.string().transform((text) => text.split(",").map((name) => name.trim()).filter(Boolean))]);
const fields = z.object({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "expected 1 to 64 letters, digits and . _ -").optional(),
  description: z.string().optional(),
  /** Tools that it has, of those of its parent; all where absent. */
  tools: names.optional(),
  model: z.string().min(1).max(200).optional(),
  max_model_calls: z.number().int().min(1).optional(),
  max_cost_usd: z.number().positive().optional(),
  max_tokens: z.number().int().min(1).optional(),
  max_seconds: z.number().positive().optional(),
});

export interface SubagentDefinition {
  name: string;
  description: string;
  path: string;
  tools: string[] | null;
  model: string | null;
  budget: Budget;
  prompt: string;
}

export interface Subagents {
  /** Sorted by name. */
  agents: SubagentDefinition[];
  warnings: string[];
}

/** Every subagent of the workspace. `known` are the names of the tools that there are: others are left out and told. Never throws for what stands in the files. */
export async function readSubagents(workspace: AgentWorkspace, known: ReadonlySet<string>): Promise<Subagents> {
  const warnings: string[] = [];
  const entries = (await listEntries(workspace, AGENTS)).filter(({ name, kind }) => !name.startsWith(".") && kind !== "file");
  if (entries.length > MAX_AGENTS) warnings.push(`${AGENTS} has ${entries.length} entries; only the first ${MAX_AGENTS} are read`);
  const found = await side(entries.slice(0, MAX_AGENTS), (entry) => readOne(workspace, entry));
  const agents = new Map<string, SubagentDefinition>();
  for (const one of found) {
    if ("wrong" in one) {
      warnings.push(one.wrong);
      continue;
    }
    const unknown = one.tools?.filter((tool) => !known.has(tool)) ?? [];
    if (unknown.length > 0) warnings.push(`${one.path} asks for tools that there are not: ${unknown.join(", ")}; it goes without them`);
    const other = agents.get(one.name);
    if (other) warnings.push(`two subagents are called '${one.name}': ${other.path} is used, ${one.path} is not`);
    else agents.set(one.name, { ...one, tools: one.tools?.filter((tool) => known.has(tool)) ?? null });
  }
  return { agents: [...agents.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), warnings };
}

async function readOne(workspace: AgentWorkspace, { name: entry }: FileStat): Promise<SubagentDefinition | { wrong: string }> {
  const path = `${AGENTS}/${entry}/AGENT.md`;
  try {
    const read = await readText(workspace, path);
    if (read === null) return { wrong: `${AGENTS}/${entry} is a directory without AGENT.md: it is no subagent` };
    const document = readDocument(read.text);
    if ("wrong" in document) return { wrong: `the subagent ${path} is left out: ${document.wrong}` };
    const parsed = fields.safeParse(document.fields);
    if (!parsed.success) return { wrong: `the subagent ${path} is left out: ${parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ")}` };
    const { name = entry, description = "", tools, model, max_model_calls, max_cost_usd, max_tokens, max_seconds } = parsed.data;
    const budget: Budget = {
      ...(max_model_calls !== undefined && { maxModelCallsPerTurn: max_model_calls }), ...(max_cost_usd !== undefined && { maxCostUsdPerTurn: max_cost_usd }),
      ...(max_tokens !== undefined && { maxTokensPerTurn: max_tokens }), ...(max_seconds !== undefined && { maxSecondsPerTurn: max_seconds }),
    };
    return { name, description, path, tools: tools ?? null, model: model ?? null, budget, prompt: document.body };
  } catch (error) {
    return { wrong: `the subagent ${path} is left out: ${error instanceof Error ? error.message : String(error)}` };
  }
}
