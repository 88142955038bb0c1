/** Owns what a command is: one definition object, from which parsing, help and completion are derived. */

import type { Context } from "./context.ts";
import type { Argument, Option, Values } from "./option.ts";

export interface Definition<O extends Readonly<Record<string, Option<unknown>>>> {
  /** Noun and verb as they are typed: `sessions list`. */
  name: string;
  summary: string;
  /** What is worth knowing beyond the summary; whole paragraphs. */
  description?: string;
  args?: readonly Argument[];
  options: O;
  /** Command lines, without `mctl`, each with what it does. */
  examples: readonly (readonly [line: string, what: string])[];
  /** The exit code; nothing means 0. */
  run(context: Context, args: Readonly<Record<string, string>>, options: Values<O>, rest: readonly string[]): Promise<number | void>;
}

/** A definition with its types put away, as the program handles it. */
export interface Command {
  name: string;
  summary: string;
  description: string | undefined;
  args: readonly Argument[];
  options: Readonly<Record<string, Option<unknown>>>;
  examples: Definition<Record<string, never>>["examples"];
  run(context: Context, args: Readonly<Record<string, string>>, given: Readonly<Record<string, readonly string[] | true | undefined>>, rest: readonly string[]): Promise<number | void>;
}

/** Option names are camelCase in code and dashed on the command line: `promptFile`, `--prompt-file`. */
export function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Makes a command of its definition. */
export function defineCommand<O extends Readonly<Record<string, Option<unknown>>>>(definition: Definition<O>): Command {
  const { name, summary, description, args, options, examples } = definition;
  return {
    name,
    summary,
    description,
    args: args ?? [],
    options,
    examples,
    run(context, values, given, rest) {
      const parsed = Object.fromEntries(Object.entries(options).map(([key, option]) => [key, option.parse(given[key], dashed(key))]));
      return definition.run(context, values, parsed as Values<O>, rest);
    },
  };
}

/** Title of each noun's group in help. */
export const NOUNS: Readonly<Record<string, string>> = {
  sessions: "Create, watch and end sessions",
  tasks: "Give sessions prompts and follow them",
  schedules: "Let agents work by the clock",
  workspaces: "Keep, compare and copy what sessions work on",
  permissions: "Answer what agents ask",
  runners: "See, pause and drain what serves the sessions",
  hosts: "See, drain and join machines",
  keys: "Manage API keys",
  "agent-configs": "Keep model providers' keys",
  usage: "See what model calls used and cost",
  budgets: "Cap what may be spent on models",
  config: "Manage the servers that mctl talks to",
  "sessions files": "Look into a session's workspace",
  "hosts token": "Let machines join",
};
