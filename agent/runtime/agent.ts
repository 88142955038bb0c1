/** Owns `createAgent`: opens the computer, seeds it, reads what the workspace says, and puts prompt, tools and loop together. */

import { budget, Meter, type Budget } from "./budget.ts";
import { checked } from "./checked.ts";
import { Agent } from "./conversation.ts";
import type { AgentEvent, WarningCode } from "./events.ts";
import { checkHistory, type Message } from "./history/messages.ts";
import { Window } from "./history/window.ts";
import type { Hooks } from "./hooks.ts";
import { agentContext, agentDefinition, imageOf, seedsOf, type AgentContext, type AgentDefinition, type CheckedDefinition } from "./identity.ts";
import type { McpTools } from "./mcp/server.ts";
import type { ModelProvider, Reasoning } from "./models/provider.ts";
import type { RetryPolicy } from "./models/retry.ts";
import type { Pricing } from "./pricing.ts";
import { buildSystemPrompt, type SystemPrompt } from "./prompt/layers.ts";
import { runtimePrompt } from "./prompt/runtime-prompt.ts";
import type { OpenSandbox, Sandbox, SecretValue } from "./sandbox/contracts.ts";
import type { SearchProvider } from "./search/provider.ts";
import { seedWorkspace } from "./seeding.ts";
import { readSkills, type Skills } from "./skills/catalogue.ts";
import { skillTools } from "./skills/tools.ts";
import { readSubagents, type SubagentDefinition } from "./subagents/definitions.ts";
import { MAX_DEPTH, taskTool } from "./subagents/task.ts";
import { createTools } from "./tools/create.ts";
import type { Tool } from "./tool.ts";
import type { TurnSetup } from "./turn.ts";
import { readText } from "./workspace-text.ts";

export interface CreateAgentOptions extends Hooks {
  agent: AgentDefinition;
  context: AgentContext;
  sandbox: Sandbox;
  modelProvider: ModelProvider;
  /** Else `context.modelId`, else the agent's `defaultModelId`. */
  model?: string | undefined;
  /** For subagents that ask for another model; `modelProvider` where it is not given. */
  providerFor?: ((model: string) => ModelProvider) | undefined;
  /** With it come `web_search` and `fetch_url`. */
  search?: SearchProvider | undefined;
  /** Further tools; one of a built-in's name takes its place. */
  tools?: readonly Tool[] | undefined;
  /** What `fromMcpServer` answered: the servers' tools, and a warning for each that was left out. */
  mcp?: readonly Pick<McpTools, "tools" | "warnings">[] | undefined;
  /** Only tools of these names, or for which it says yes. */
  toolFilter?: readonly string[] | ((name: string) => boolean) | undefined;
  history?: readonly Message[] | undefined;
  /** Over the agent's own. */
  budget?: Budget | undefined;
  pricing?: Pricing | undefined;
  retries?: Partial<RetryPolicy> | undefined;
  /** Instead of the runtime's own layer of the prompt. */
  runtimePrompt?: string | undefined;
  /** Tokens that the model can read; 200,000 for Claude, 128,000 for others. */
  contextTokens?: number | undefined;
  maxOutputTokens?: number | undefined;
  reasoning?: Reasoning | undefined;
  /** Environment of the sandbox's commands. */
  secrets?: Readonly<Record<string, SecretValue>> | undefined;
  /** False leaves the workspace as it is: it belongs to somebody already. */
  seed?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface CreatedAgent {
  agent: Agent;
  systemPrompt: string;
  tools: readonly Tool[];
  /** The prompt's layers, with what was cut of each. */
  layers: SystemPrompt["layers"];
  /** What is wrong in the workspace; also the first events of the first turn. */
  warnings: readonly Extract<AgentEvent, { type: "warning" }>[];
}

type Warning = Extract<AgentEvent, { type: "warning" }>;

/** Of what a model can read, so much is left for its answer and for wrong estimates. */
const CONVERSATION_SHARE = 0.85;

/** An agent, ready to talk. Throws where an option is not valid, or the sandbox cannot be opened; what is wrong in the workspace itself is a warning. */
export async function createAgent(options: CreateAgentOptions): Promise<CreatedAgent> {
  const definition = checked(agentDefinition, options.agent, "agent");
  const context = checked(agentContext, options.context, "context");
  const model = options.model ?? context.modelId ?? definition.defaultModelId;
  if (model === undefined) throw new TypeError("no model is given: neither `model`, nor `context.modelId`, nor the agent's `defaultModelId`");
  checked(budget, options.budget ?? {}, "budget");
  checkHistory(options.history ?? []);
  const open = await options.sandbox.materialize(context.workspaceId, { signal: options.signal });
  const warnings: Warning[] = [];
  const warn = (code: WarningCode) => (message: string) => void warnings.push({ type: "warning", code, message });
  await Promise.all([prepared(open, definition, options, warn("seeding")), open.image.hydrate(imageOf(definition, options.secrets))]);
  const { workspace } = open;
  const all = withoutDoubles([...createTools({ workspace, ...(options.search && { search: options.search }) }), ...skillTools(workspace), ...(options.mcp ?? []).flatMap(({ tools }) => tools), ...(options.tools ?? [])]);
  const base = all.filter(({ name }) => passes(options.toolFilter, name));
  const unknown = Array.isArray(options.toolFilter) ? options.toolFilter.filter((name) => name !== "task" && !all.some((tool) => tool.name === name)) : [];
  if (unknown.length > 0) warn("tool")(`toolFilter names tools that there are not: ${unknown.join(", ")}; there are ${all.map(({ name }) => name).join(", ")}, task`);
  options.mcp?.flatMap((server) => server.warnings).forEach(warn("mcp"));
  const known = new Set([...base.map(({ name }) => name), "task"]);
  const [instructions, memory, skills, subagents] = await Promise.all([
    instructionsOf(open, definition.workspaceInstructionsFilename, warn("instructions")),
    textOrWarning(open, "/workspace/memory/MEMORY.md", warn("memory")),
    guarded<Skills>(() => readSkills(workspace), { skills: [], warnings: [] }, warn("skill")),
    guarded(() => readSubagents(workspace, known), { agents: [], warnings: [] }, warn("subagent")),
  ]);
  skills.warnings.forEach(warn("skill"));
  subagents.warnings.forEach(warn("subagent"));

  const family = new Family({ options, definition, open, model, base, instructions, memory, skills: skills.skills, subagents: subagents.agents });
  const { setup, prompt } = family.member(null, [], []);
  for (const { name, cut } of prompt.layers) if (cut > 0) warn("prompt")(`the ${name} layer of the prompt is too long: ${cut} characters of it were cut`);
  const agent = new Agent(setup, { budget: { ...definition.budget, ...options.budget }, history: options.history ?? [], warnings });
  return { agent, systemPrompt: prompt.text, tools: family.toolsOf(setup), layers: prompt.layers, warnings };
}

interface FamilyParts {
  options: CreateAgentOptions;
  definition: CheckedDefinition;
  open: OpenSandbox;
  model: string;
  base: readonly Tool[];
  instructions: { file: string; text: string } | null;
  memory: string | null;
  skills: Skills["skills"];
  subagents: readonly SubagentDefinition[];
}

/** An agent and the subagents below it: the same computer and tools, each with a prompt and a context of its own. */
class Family {
  readonly #parts: FamilyParts;

  constructor(parts: FamilyParts) {
    this.#parts = parts;
  }

  /** The agent itself (null), or a subagent below `path`. */
  member(subagent: SubagentDefinition | null, path: readonly string[], parents: readonly string[]): { setup: TurnSetup; prompt: SystemPrompt } {
    const { options, definition, open, base, instructions, memory, skills, subagents } = this.#parts;
    const model = subagent?.model ?? this.#parts.model;
    const allowed = (name: string) => subagent?.tools === null || subagent === null || subagent.tools.includes(name);
    const tools = base.filter(({ name }) => allowed(name));
    const tasks = subagents.length > 0 && path.length < MAX_DEPTH && allowed("task") && passes(options.toolFilter, "task");
    const names = [...tools.map(({ name }) => name), ...(tasks ? ["task"] : [])];
    const facts = { displayName: subagent?.name ?? definition.displayName, tools: names, instructionsFilename: instructions?.file ?? definition.workspaceInstructionsFilename, root: open.workspace.root, installs: open.workspace.capabilities.installs };
    const prompt = buildSystemPrompt({
      runtime: options.runtimePrompt ?? runtimePrompt(facts),
      agent: subagent?.prompt ?? definition.publishedSystemPromptFragment,
      instructions, memory,
      skills: names.includes("load_skill") ? skills : [],
      subagents: tasks ? subagents : [],
    });
    const { onToolCall, onSubagentRun } = options;
    const hooks: Hooks = { onToolCall, onSubagentRun };
    const contextTokens = options.contextTokens ?? (/claude/i.test(model) ? 200_000 : 128_000);
    const setup: TurnSetup = {
      provider: model === this.#parts.model ? options.modelProvider : (options.providerFor?.(model) ?? options.modelProvider),
      model, system: prompt.blocks, tools, hooks, path, parents,
      turnTools: (scope) => (tasks ? [taskTool({ known: subagents, read: () => this.#read(), make: (child, callId) => this.#child(child, path, [...parents, callId]), hooks, path }, scope)] : []),
      window: new Window({ tokens: Math.max(4_000, contextTokens * CONVERSATION_SHARE - prompt.text.length / 4) }),
      pricing: options.pricing, retries: options.retries, maxOutputTokens: options.maxOutputTokens, reasoning: options.reasoning,
    };
    return { setup, prompt };
  }

  /** All that the model is shown, `task` among them. */
  toolsOf(setup: TurnSetup): Tool[] {
    const never = new AbortController().signal;
    return [...setup.tools, ...setup.turnTools({ emit: () => Promise.resolve(), meter: new Meter({}), signal: never, record: () => Promise.resolve(), inside: new Map() })];
  }

  #child(subagent: SubagentDefinition, path: readonly string[], parents: readonly string[]): Agent {
    const { setup } = this.member(subagent, [...path, subagent.name], parents);
    return new Agent(setup, { budget: subagent.budget, history: [], warnings: [] });
  }

  async #read(): Promise<readonly SubagentDefinition[]> {
    const { open, base } = this.#parts;
    return (await readSubagents(open.workspace, new Set([...base.map(({ name }) => name), "task"]))).agents;
  }
}

async function prepared({ workspace }: OpenSandbox, definition: CheckedDefinition, { seed = true }: CreateAgentOptions, warn: (message: string) => void): Promise<void> {
  if (!seed) return;
  const { warnings } = await seedWorkspace(workspace, seedsOf(definition));
  warnings.forEach(warn);
}

async function instructionsOf(open: OpenSandbox, filename: "CLAUDE.md" | "AGENTS.md", warn: (message: string) => void): Promise<FamilyParts["instructions"]> {
  for (const file of [filename, filename === "CLAUDE.md" ? "AGENTS.md" : "CLAUDE.md"]) {
    const text = await textOrWarning(open, `/workspace/${file}`, warn);
    if (text !== null) return { file, text };
  }
  return null;
}

async function textOrWarning({ workspace }: OpenSandbox, path: string, warn: (message: string) => void): Promise<string | null> {
  return guarded(async () => (await readText(workspace, path))?.text ?? null, null, (message) => warn(`${path} is not used: ${message}`));
}

async function guarded<T>(read: () => Promise<T>, otherwise: T, warn: (message: string) => void): Promise<T> {
  try {
    return await read();
  } catch (error) {
    warn(error instanceof Error ? error.message : String(error));
    return otherwise;
  }
}

function withoutDoubles(tools: readonly Tool[]): Tool[] {
  return [...new Map(tools.map((tool) => [tool.name, tool])).values()];
}

function passes(filter: CreateAgentOptions["toolFilter"], name: string): boolean {
  if (filter === undefined) return true;
  return typeof filter === "function" ? filter(name) : filter.includes(name);
}
