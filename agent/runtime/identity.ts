/** Owns who an agent is: its definition, what it brings into `/.marco`, and what a fresh workspace of it begins with. */

import { createHash } from "node:crypto";
import * as z from "zod";
import { budget } from "./budget.ts";
import type { ImageContents, SecretValue } from "./sandbox/contracts.ts";

export const agentDefinition = z.strictObject({
  id: z.string().min(1).max(200),
  displayName: z.string().min(1).max(200),
  /** What people write their instructions into; the other of the two is read where this one is missing. */
  workspaceInstructionsFilename: z.enum(["CLAUDE.md", "AGENTS.md"]).default("AGENTS.md"),
  /** First contents of that file in a fresh workspace; none where empty. */
  workspaceInstructionsSeed: z.string().max(256 * 1024).default(""),
  /** The agent's own layer of the system prompt. */
  publishedSystemPromptFragment: z.string().max(256 * 1024).default(""),
  defaultModelId: z.string().min(1).max(200).optional(),
  budget: budget.default({}),
  /** Identity files, by path below `/.marco`; versioned by their contents. */
  files: z.record(z.string(), z.string()).default({}),
  /** Further files of a fresh workspace, by path, such as its first skills. */
  seedFiles: z.record(z.string(), z.string()).default({}),
});
export type AgentDefinition = z.input<typeof agentDefinition>;
export type CheckedDefinition = z.output<typeof agentDefinition>;

export const agentContext = z.strictObject({
  agentId: z.string(),
  userId: z.string().nullable().default(null),
  /** Names the computer: what was written and installed belongs to it, not to the conversation. */
  workspaceId: z.string().min(1).max(200),
  conversationId: z.string().nullable().default(null),
  modelId: z.string().optional(),
  /** Where the conversation comes from, such as `web` or `cli`. */
  source: z.string().optional(),
});
export type AgentContext = z.input<typeof agentContext>;

const MEMORY_SEED = "# Memory\n\nOne line for each entry in this directory: its file, and what it is about.\n";

/** What the agent brings into its computer. */
export function imageOf({ id, displayName, publishedSystemPromptFragment, files }: CheckedDefinition, secrets: Readonly<Record<string, SecretValue>> | undefined): ImageContents {
  const all = { ...files, "agent.json": `${JSON.stringify({ id, displayName }, null, 2)}\n`, "prompt.md": publishedSystemPromptFragment };
  const hash = createHash("sha256");
  for (const [path, text] of Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${path}\0${text}\0`);
  return { version: hash.digest("hex").slice(0, 32), files: all, ...(secrets && { secrets }) };
}

/** What a fresh workspace begins with. */
export function seedsOf({ workspaceInstructionsFilename, workspaceInstructionsSeed, seedFiles }: CheckedDefinition): Record<string, string> {
  return {
    ...(workspaceInstructionsSeed !== "" && { [`/workspace/${workspaceInstructionsFilename}`]: `${workspaceInstructionsSeed.trimEnd()}\n` }),
    "/workspace/memory/MEMORY.md": MEMORY_SEED,
    ...Object.fromEntries(Object.entries(seedFiles).map(([path, text]) => [path.startsWith("/") ? path : `/workspace/${path}`, text])),
  };
}
