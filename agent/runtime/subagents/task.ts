/** Owns the `task` tool: a subagent with a context of its own does one piece of work, its events nested under the call. */

import * as z from "zod";
import type { Agent, StreamOptions } from "../conversation.ts";
import { isFinal, type FinalEvent } from "../events.ts";
import { vetoed, type Hooks } from "../hooks.ts";
import type { TurnScope } from "../turn.ts";
import { failed, toolFromZod, type Tool, type ToolResult } from "../tool.ts";
import type { SubagentDefinition } from "./definitions.ts";

/** How deep subagents may start subagents. */
export const MAX_DEPTH = 2;

export interface TaskOptions {
  /** Names and descriptions, for the tool's own description. */
  known: readonly { name: string; description: string }[];
  /** The definitions as they are now. */
  read: () => Promise<readonly SubagentDefinition[]>;
  /** An agent of that definition, started by that call. */
  make: (definition: SubagentDefinition, callId: string) => Agent;
  hooks: Hooks;
  path: readonly string[];
}

export function taskTool({ known, read, make, hooks, path }: TaskOptions, scope: TurnScope): Tool {
  return toolFromZod({
    name: "task",
    description:
      "Gives a piece of work to a subagent, which has a context of its own and your tools and files. It knows nothing of this conversation: the prompt must say all that it needs, and what to give back. " +
      `Its last answer is the result. Several calls in one answer run side by side. Subagents: ${known.map(({ name }) => name).join(", ")}.`,
    input: z.strictObject({ name: z.string().min(1).max(64).describe("the subagent's name"), prompt: z.string().min(1).max(200_000).describe("the whole task, for somebody who knows nothing of it") }),
    async execute({ name, prompt }, { callId, signal }): Promise<ToolResult> {
      const definitions = await read();
      const definition = definitions.find((one) => one.name === name);
      if (!definition) return failed(`there is no subagent '${name}'; there are ${definitions.map((one) => one.name).join(", ") || "none"}`);
      const veto = await vetoed(hooks.onSubagentRun, { callId, name, prompt, path, signal });
      if (veto !== null) return failed(`not allowed: ${veto}`);
      const agent = make(definition, callId);
      let end: FinalEvent | null = null;
      const begun = scope.inside.get(callId);
      const options: StreamOptions = { signal, budget: definition.budget, meter: scope.meter, record: (entry) => scope.record({ type: "inside", callId, entry }) };
      for await (const event of begun === undefined ? agent.stream(prompt, options) : agent.resume(begun, options)) {
        await scope.emit({ type: "subagent", callId, name, event });
        if (isFinal(event)) end = event;
      }
      return end === null ? failed(`the subagent '${name}' did not end`) : resultOf(name, end);
    },
  });
}

function resultOf(name: string, end: FinalEvent): ToolResult {
  if (end.type === "error") return failed(`the subagent '${name}' failed: ${end.message}${end.hint === undefined ? "" : ` (${end.hint})`}`);
  if (end.reason === "completed") return { content: end.text === "" ? "(the subagent ended without a word)" : end.text };
  return { content: `${end.text}\n[the subagent '${name}' was stopped: ${end.note ?? end.reason}]`.trim(), isError: true };
}
