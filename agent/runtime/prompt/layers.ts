/** Owns how the system prompt is put together: four layers, general to specific, each within its size, the same for the same parts. */

export type LayerName = "runtime" | "agent" | "workspace" | "memory";

export interface PromptParts {
  /** The runtime's own prompt, or what stands in for it. */
  runtime: string;
  /** The agent's published fragment. */
  agent: string;
  /** The workspace's instructions, and the file that they come from. */
  instructions: { file: string; text: string } | null;
  /** `memory/MEMORY.md`; null where there is none. */
  memory: string | null;
  skills: readonly { name: string; description: string }[];
  subagents: readonly { name: string; description: string }[];
}

/** Characters of each layer, at most. The last is shared: the catalogue takes what it needs of its half, the memory's index the rest. */
export const LAYER_CHARS: Readonly<Record<LayerName, number>> = { runtime: 16_000, agent: 16_000, workspace: 32_000, memory: 16_000 };
/** Characters of one description in a catalogue. */
const DESCRIPTION_CHARS = 400;

export interface Layer {
  name: LayerName;
  text: string;
  /** Characters that did not fit. */
  cut: number;
}

export interface SystemPrompt {
  /** The whole prompt, as one text. */
  text: string;
  /** In two blocks, for the cache: what changes with the agent's version, then what changes with the workspace. */
  blocks: [string, string];
  layers: Layer[];
}

/** The system prompt of these parts. Pure. */
export function buildSystemPrompt(parts: PromptParts): SystemPrompt {
  const layers: Layer[] = [
    within("runtime", parts.runtime, "the rest of the runtime's prompt does not fit"),
    within("agent", parts.agent.trim() === "" ? "" : `# This agent\n${parts.agent.trim()}`, "the rest of this fragment does not fit"),
    instructions(parts.instructions),
    memoryAndCatalogues(parts),
  ];
  const [runtime, agent, workspace, memory] = layers.map(({ text }) => text) as [string, string, string, string];
  const blocks: [string, string] = [[runtime, agent].filter(Boolean).join("\n\n"), [workspace, memory].filter(Boolean).join("\n\n")];
  return { text: blocks.filter(Boolean).join("\n\n"), blocks, layers };
}

function instructions(given: PromptParts["instructions"]): Layer {
  if (given === null || given.text.trim() === "") return { name: "workspace", text: "", cut: 0 };
  return within("workspace", `# This workspace: ${given.file}\n${given.text.trim()}`, `read ${given.file} for the rest`);
}

function memoryAndCatalogues({ memory, skills, subagents }: PromptParts): Layer {
  const room = LAYER_CHARS.memory;
  const catalogues = [
    catalogue("# Skills that you can load", skills, room / 4, "`list_skills` names them all"),
    catalogue("# Subagents that you can give a `task`", subagents, room / 4, "`ls agents` names them all"),
  ];
  const listed = catalogues.map(({ text }) => text).filter(Boolean).join("\n\n");
  const index = memory === null || memory.trim() === "" ? { text: "", cut: 0 } : cutTo(`# What you remember: memory/MEMORY.md\n${memory.trim()}`, room - listed.length, "read memory/MEMORY.md for the rest");
  const cut = index.cut + catalogues.reduce((sum, { cut }) => sum + cut, 0);
  return { name: "memory", text: [index.text, listed].filter(Boolean).join("\n\n"), cut };
}

function catalogue(title: string, entries: readonly { name: string; description: string }[], room: number, where: string): { text: string; cut: number } {
  if (entries.length === 0) return { text: "", cut: 0 };
  const lines = entries.map(({ name, description }) => `- ${name}: ${oneLine(description)}`);
  const whole = `${title}\n${lines.join("\n")}`;
  if (whole.length <= room) return { text: whole, cut: 0 };
  // Whole lines only: half a name would be a name that is not there.
  const kept: string[] = [];
  let size = title.length + 80;
  for (const line of lines) {
    if (size + line.length + 1 > room) break;
    kept.push(line);
    size += line.length + 1;
  }
  const text = [title, ...kept, `[${lines.length - kept.length} more are not shown: ${where}]`].join("\n");
  return { text, cut: whole.length - kept.join("\n").length - title.length };
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= DESCRIPTION_CHARS ? line : `${line.slice(0, DESCRIPTION_CHARS - 1)}…`;
}

function within(name: LayerName, text: string, where: string): Layer {
  return { name, ...cutTo(text, LAYER_CHARS[name], where) };
}

function cutTo(text: string, room: number, where: string): { text: string; cut: number } {
  if (text.length <= room) return { text, cut: 0 };
  const note = (cut: number) => `\n[cut here: ${cut} characters more; ${where}]`;
  const kept = Math.max(0, room - note(text.length).length);
  const cut = text.length - kept;
  return { text: text.slice(0, kept).toWellFormed() + note(cut), cut };
}
