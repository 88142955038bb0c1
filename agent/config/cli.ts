/** Owns the command line of `marionette-agent`: what it takes from arguments and environment, and what it says of itself. */

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { labels as labelsSchema, slug, tokenKind } from "../../sdk/protocol/index.ts";
import { logLevel, type LogLevel } from "../daemon/log.ts";

export const HELP = `marionette-agent: makes this machine a host of Marionette.

  marionette-agent --server URL --token rtok_… [options]   join and serve until told to stop
  marionette-agent config check [--config FILE]            check marionette.yaml without starting
  marionette-agent install --server URL [options]          write a systemd unit or launchd plist (--print shows it)

  --server URL          control plane                          MARIONETTE_API_URL
  --token rtok_…        runner token; better in the variable   MARIONETTE_RUNNER_TOKEN
  --pool NAME           pool to join (default)
  --labels K=V,K=V      labels that selectors match, such as os=linux,gpu=nvidia
  --name NAME           name of the host (its host name)
  --config FILE         marionette.yaml                        MARIONETTE_CONFIG
  --data DIR            data directory (.marionette/host)
  --hide DIR            never shown below browse_roots, nor to a session (repeatable)
  --max-runners N       runners at once (from the machine's size)
  --runner-bundle PATH  runner.js (beside the daemon)
  --on-exit keep|stop   what runners do when the daemon stops: live on (keep), or stop
  --pretty, --json      log for people, or as JSON lines (people at a terminal)
  --print               with install: show, do not write
  --help, --version
`;

const OPTIONS = {
  server: { type: "string" }, token: { type: "string" }, pool: { type: "string" }, labels: { type: "string" }, name: { type: "string" }, config: { type: "string" },
  data: { type: "string" }, hide: { type: "string", multiple: true }, "max-runners": { type: "string" }, "runner-bundle": { type: "string" }, "on-exit": { type: "string" },
  pretty: { type: "boolean" }, json: { type: "boolean" }, print: { type: "boolean" }, help: { type: "boolean", short: "h" }, version: { type: "boolean" },
} as const;

/** A fault of whoever called: told without a stack, exit code 1. */
export class UsageError extends Error {}

export interface RunOptions {
  server: string;
  token: string;
  pool: string;
  labels: Record<string, string>;
  name: string | undefined;
  config: string | undefined;
  data: string;
  hide: string[];
  maxRunners: number | undefined;
  runnerBundle: string | undefined;
  onExit: "keep" | "stop";
  pretty: boolean | undefined;
  level: LogLevel;
}

export type Command =
  | { kind: "help" | "version" }
  | { kind: "config check"; config: string | undefined }
  | { kind: "install"; options: Omit<RunOptions, "token"> & { token: string | undefined }; print: boolean }
  | { kind: "run"; options: RunOptions };

/** Reads arguments and environment. Throws `UsageError`. */
export function parseCommand(argv: readonly string[], env: NodeJS.ProcessEnv): Command {
  const { values, positionals } = parsed(argv);
  if (values.help) return { kind: "help" };
  if (values.version) return { kind: "version" };
  const config = values.config ?? env["MARIONETTE_CONFIG"];
  const words = positionals.join(" ");
  if (words === "config check") return { kind: "config check", config };
  if (words !== "" && words !== "install") throw new UsageError(`unknown command '${words}'; see marionette-agent --help`);
  const server = serverUrl(values.server ?? env["MARIONETTE_API_URL"]);
  const token = values.token ?? env["MARIONETTE_RUNNER_TOKEN"];
  if (token !== undefined && tokenKind(token) !== "runner") throw new UsageError("--token: not a runner token (rtok_…)");
  const options = {
    server,
    pool: named("--pool", values.pool ?? "default"),
    labels: parseLabels(values.labels ?? ""),
    name: values.name,
    config,
    data: resolve(values.data ?? ".marionette/host"),
    hide: (values.hide ?? []).map((path) => resolve(path)),
    maxRunners: count(values["max-runners"]),
    runnerBundle: values["runner-bundle"] === undefined ? undefined : resolve(values["runner-bundle"]),
    onExit: onExit(values["on-exit"]),
    pretty: values.pretty ? true : values.json ? false : undefined,
    level: logLevel(env["MARIONETTE_LOG_LEVEL"]),
  };
  if (words === "install") return { kind: "install", options: { ...options, token }, print: values.print ?? false };
  if (token === undefined) throw new UsageError("no runner token: set MARIONETTE_RUNNER_TOKEN (or --token rtok_…)");
  return { kind: "run", options: { ...options, token } };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\nSee marionette-agent --help`, { cause: error });
  }
}

function serverUrl(text: string | undefined): string {
  if (text === undefined) throw new UsageError("no control plane: set MARIONETTE_API_URL (or --server URL)");
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) throw new UsageError(`--server: expected http(s)://host[:port], not '${text}'`);
  return url.href.replace(/\/+$/, "");
}

/** `os=linux,gpu=nvidia` as an object. Throws `UsageError`. */
export function parseLabels(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--labels: expected key=value, not '${pair}'`);
    return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
  });
  const checked = labelsSchema.safeParse(Object.fromEntries(pairs));
  if (!checked.success) throw new UsageError(`--labels: ${checked.error.issues[0]?.path.join(".") ?? ""}: ${checked.error.issues[0]?.message ?? "not valid"}`);
  return checked.data;
}

function named(option: string, text: string): string {
  if (!slug.safeParse(text).success) throw new UsageError(`${option}: expected letters, digits, '.', '_' or '-', not '${text}'`);
  return text;
}

function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000) throw new UsageError(`--max-runners: expected a whole number from 1 to 100000, not '${text}'`);
  return value;
}

function onExit(text: string | undefined): "keep" | "stop" {
  if (text === undefined || text === "keep") return "keep";
  if (text === "stop") return "stop";
  throw new UsageError(`--on-exit: expected keep or stop, not '${text}'`);
}
