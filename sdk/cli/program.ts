/** Owns the program: the tree of commands, parsing, help, and what an error looks like. */

import { Command as Node, CommanderError, Option as NodeOption } from "commander";
import { ApiError, ConnectionError, MarionetteError, NotFoundError, UnauthorizedError } from "../core/errors.ts";
import { dashed, NOUNS, type Command } from "./command.ts";
import { completionCommand, versionCommand } from "./commands/about.ts";
import { agentConfigCommands } from "./commands/agent-configs.ts";
import { configCommands } from "./commands/config.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { exportCommand } from "./commands/export.ts";
import { fileCommands } from "./commands/files.ts";
import { hostCommands, runnerCommands } from "./commands/hosts.ts";
import { keyCommands } from "./commands/keys.ts";
import { permissionCommands } from "./commands/permissions.ts";
import { runCommand } from "./commands/run.ts";
import { scheduleCommands } from "./commands/schedules.ts";
import { sessionCommands } from "./commands/sessions.ts";
import { sessionSuspendCommands } from "./commands/sessions-suspend.ts";
import { taskCommands } from "./commands/tasks.ts";
import { usageCommands } from "./commands/usage.ts";
import { workspaceCommands } from "./commands/workspaces.ts";
import { workspaceCopyCommands } from "./commands/workspaces-copy.ts";
import { GLOBAL_OPTIONS } from "./completion.ts";
import { Context, type GlobalFlags } from "./context.ts";
import { EXIT, UserError, type Io } from "./io.ts";
import { FORMATS, type Format } from "./output/print.ts";
import { neutralise, oneLine, painter, wantsColour } from "./output/terminal.ts";
import { VERSION } from "./version.ts";

export const commands: readonly Command[] = [
  runCommand, ...sessionCommands, ...sessionSuspendCommands, exportCommand, ...fileCommands, ...taskCommands, ...scheduleCommands, ...workspaceCommands, ...workspaceCopyCommands, ...permissionCommands, ...runnerCommands, ...hostCommands, ...keyCommands, ...agentConfigCommands, ...usageCommands, ...configCommands,
  doctorCommand, completionCommand(() => commands), versionCommand,
];

interface RootOptions {
  output?: string;
  context?: string;
  url?: string;
  apiKey?: string;
  color: boolean;
  quiet?: true;
  verbose?: true;
}

/** Runs one command line (without `node` and the script) and gives its exit code. Never throws. */
export async function mctl(argv: readonly string[], io: Io): Promise<number> {
  let code: number = EXIT.ok;
  const root = tree(io, async (command, flags, args, given, rest) => {
    code = (await command.run(new Context(io, flags), args, given, rest)) ?? EXIT.ok;
  });
  try {
    await root.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    return report(error, root.opts<RootOptions>(), io);
  }
}

type Action = (command: Command, flags: GlobalFlags, args: Record<string, string>, given: Record<string, readonly string[] | true | undefined>, rest: readonly string[]) => Promise<void>;

function tree(io: Io, action: Action): Node {
  const root = new Node("mctl");
  const styled = (node: Node): Node =>
    node
      .exitOverride()
      .configureOutput({ writeOut: (text) => void io.stdout.write(text), writeErr: (text) => void io.stderr.write(text), getOutHelpWidth: () => io.stdout.columns ?? 100, getErrHelpWidth: () => io.stderr.columns ?? 100, outputError: () => undefined })
      .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
      .helpOption("-h, --help", "show this help")
      .helpCommand(false);
  styled(root).description("Run coding agents in isolated sandboxes, watch them live, approve what they do.").version(VERSION, "-V, --version", "print the version");
  for (const { flags, summary } of GLOBAL_OPTIONS) {
    const option = new NodeOption(flags, summary);
    root.addOption(flags.startsWith("-o") ? option.argParser(formatOf) : option);
  }
  root.addHelpText("after", '\nTry:\n  mctl run "Add a health endpoint with a test" --agent claude\n  mctl run --agent example "try it"      needs no model key\n  mctl permissions watch                 answer what agents ask\n');

  const nodes = new Map<string, Node>([["", root]]);
  for (const command of commands) {
    const words = command.name.split(" ");
    words.slice(0, -1).forEach((word, i) => {
      const path = words.slice(0, i + 1).join(" ");
      if (nodes.has(path)) return;
      const group = styled(new Node(word)).description(NOUNS[path] ?? "");
      nodes.get(words.slice(0, i).join(" "))?.addCommand(group);
      nodes.set(path, group);
    });
    const made = leaf(command, styled(new Node(words.at(-1))), root, action);
    nodes.get(words.slice(0, -1).join(" "))?.addCommand(made);
    // What lists may have verbs of its own: `sessions capsules`, `sessions capsules create`.
    nodes.set(command.name, made);
  }
  return root;
}

function leaf(command: Command, node: Node, root: Node, action: Action): Node {
  node.summary(command.summary).description([command.summary + ".", command.description].filter(Boolean).join("\n\n"));
  for (const argument of command.args) {
    const name = `${argument.name}${argument.rest ? "..." : ""}`;
    node.argument(argument.optional ? `[${name}]` : `<${name}>`, argument.summary);
  }
  for (const [key, option] of Object.entries(command.options)) {
    const value = option.value === null ? "" : ` <${option.value}>`;
    const made = new NodeOption(`${option.short ? `-${option.short}, ` : ""}--${dashed(key)}${value}`, option.required ? `${option.summary} (required)` : option.summary);
    // Values are collected as they were given; the definition's own parser makes sense of them.
    if (option.value !== null) made.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
    node.addOption(made);
  }
  if (command.examples.length > 0) {
    const lines = command.examples.map(([line, what]) => `  mctl ${line}${what ? `\n      ${what}` : ""}`);
    node.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
  }
  return node.action(async () => {
    const args: Record<string, string> = {};
    let rest: readonly string[] = [];
    command.args.forEach((argument, i) => {
      if (argument.rest) rest = node.args.slice(i);
      else if (node.args[i] !== undefined) args[argument.name] = node.args[i];
    });
    const { output, context, url, apiKey, color, quiet, verbose } = root.opts<RootOptions>();
    const flags = { output: (output ?? "table") as Format, context, url, apiKey, color, quiet: quiet ?? false, verbose: verbose ?? false };
    await action(command, flags, args, node.opts<Record<string, readonly string[] | true>>(), rest);
  });
}

function formatOf(text: string): Format {
  const found = FORMATS.find((format) => format === text);
  if (!found) throw new UserError(`--output cannot be '${text}'`, `one of ${FORMATS.join(", ")}`);
  return found;
}

/** Prints an error as one clear line with hint and request id; its exit code. */
function report(error: unknown, flags: RootOptions, io: Io): number {
  const paint = painter(flags.color && wantsColour(io.stderr, io.env));
  const say = (message: string, more: readonly (readonly [string, string | null | undefined])[] = []) => {
    io.stderr.write(`${paint("red", "mctl:")} ${oneLine(message)}\n`);
    for (const [name, value] of more) if (value) io.stderr.write(`  ${paint("dim", `${name}:`)} ${oneLine(value)}\n`);
  };
  if (error instanceof CommanderError) {
    if (error.exitCode === 0 || error.code === "commander.help") return error.exitCode === 0 ? EXIT.ok : EXIT.user;
    say(error.message.replace(/^error: /, ""), [["hint", "mctl --help, or --help after any command"]]);
    return EXIT.user;
  }
  if (error instanceof UserError) {
    say(error.message, [["hint", error.hint]]);
    return error.code;
  }
  if (error instanceof ApiError) {
    say(error.message, [["hint", error.hint ?? hintOf(error)], ["request", error.request_id]]);
    if (flags.verbose && error.details) io.stderr.write(`${neutralise(JSON.stringify(error.details, null, 2))}\n`);
    return error.status >= 500 ? EXIT.fault : EXIT.user;
  }
  if (error instanceof ConnectionError) {
    say(error.message, [["hint", "is the server running, and is this its address? `mctl config view` shows which one is used"]]);
    return EXIT.fault;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    say("It has not ended within the time given");
    return EXIT.user;
  }
  if (error instanceof MarionetteError) {
    say(error.message);
    return EXIT.fault;
  }
  say(`a fault of mctl: ${error instanceof Error ? error.message : String(error)}`, [["hint", flags.verbose ? null : "-v shows where"]]);
  if (flags.verbose && error instanceof Error && error.stack) io.stderr.write(`${error.stack}\n`);
  return EXIT.fault;
}

function hintOf(error: ApiError): string | null {
  if (error instanceof UnauthorizedError) return "`mctl config view` shows which key is used";
  if (error instanceof NotFoundError) return "an id of another tenant is not found either; `mctl config view` shows which server is used";
  return null;
}
