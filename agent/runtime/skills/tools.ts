/** Owns the tools with which a model finds and loads skills; both look at the workspace as it is now. */

import * as z from "zod";
import type { AgentWorkspace } from "../sandbox/contracts.ts";
import { failed, toolFromZod, type Tool } from "../tool.ts";
import { listEntries } from "../workspace-text.ts";
import { readSkills } from "./catalogue.ts";

/** Characters of one listing, at most. */
const MAX_LIST_CHARS = 40_000;

export function skillTools(workspace: AgentWorkspace): Tool[] {
  return [
    toolFromZod({
      name: "list_skills",
      description: "Lists the skills of this workspace: name and description of each. Load one with load_skill.",
      input: z.strictObject({}),
      async execute() {
        const { skills, warnings } = await readSkills(workspace);
        const lines = skills.length === 0 ? ["There are no skills in this workspace."] : skills.map(({ name, description }) => `- ${name}: ${description}`);
        return [...lines, ...warnings.map((warning) => `(${warning})`)].join("\n").slice(0, MAX_LIST_CHARS);
      },
    }),
    toolFromZod({
      name: "load_skill",
      description: "Loads a skill: its instructions, and the names of the files that come with it. Load a skill before you do the kind of work that it is about.",
      input: z.strictObject({ name: z.string().min(1).max(64).describe("the skill's name, from the catalogue or list_skills") }),
      async execute({ name }) {
        const { skills } = await readSkills(workspace);
        const skill = skills.find((one) => one.name === name);
        if (!skill) return failed(`there is no skill '${name}'; there are ${skills.map((one) => one.name).join(", ") || "none"}`);
        const beside = skill.directory === null ? [] : (await listEntries(workspace, skill.directory)).filter((entry) => entry.name !== "SKILL.md");
        const files = beside.length === 0 ? "" : `\n\nFiles that come with it, in ${skill.directory ?? ""}:\n${beside.map((entry) => `- ${entry.name}${entry.kind === "directory" ? "/" : ""}`).join("\n")}`;
        return `# Skill ${skill.name} (${skill.path})\n\n${skill.body}${files}`;
      },
    }),
  ];
}
