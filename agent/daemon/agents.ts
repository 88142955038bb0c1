/** Owns which agents this host knows, and where their programs lie. Programs are looked up, never run. */

import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join, resolve, sep } from "node:path";
import type { HostAgent } from "../../sdk/protocol/index.ts";
import type { CustomAgent } from "../config/schema.ts";
import type { FoundAgent, FoundFile, SandboxView } from "../providers/provider.ts";
import type { AgentLaunch } from "../runner/spec.ts";

type BuiltIn = Omit<AgentLaunch, "name">;

/** Agents that need no registration. `example` and `marco` are bundled. */
const BUILT_IN: Readonly<Record<string, BuiltIn>> = {
  claude: { adapter: "claude", binary: "claude", args: [], env: {}, how_to_get: "npm install -g @anthropic-ai/claude-code" },
  codex: { adapter: "codex", binary: "codex", args: [], env: {}, how_to_get: "npm install -g @openai/codex" },
  gemini: { adapter: "acp", binary: "gemini", args: ["--acp"], env: {}, state_files: [".gemini/tmp", ".gemini/history"], how_to_get: "npm install -g @google/gemini-cli" },
  opencode: { adapter: "acp", binary: "opencode", args: ["acp"], env: {}, state_files: [".local/share/opencode/storage"], how_to_get: "npm install -g opencode-ai" },
  "claude-acp": { adapter: "acp", binary: "claude-agent-acp", args: [], env: {}, state_files: [".claude/projects"], how_to_get: "npm install -g @agentclientprotocol/claude-agent-acp" },
  "codex-acp": { adapter: "acp", binary: "codex-acp", args: [], env: {}, state_files: [".codex/sessions"], how_to_get: "npm install -g @agentclientprotocol/codex-acp" },
};
export const EXAMPLE = "example";
/** Agents that come with the runner: their adapter, and their program beside it. */
const BUNDLED: Readonly<Record<string, { adapter: AgentLaunch["adapter"]; program: string }>> = {
  [EXAMPLE]: { adapter: "custom", program: "example.js" },
  marco: { adapter: "marco", program: "marco.js" },
};
const bundled = (name: string) => (Object.hasOwn(BUNDLED, name) ? BUNDLED[name] : undefined);

export interface AgentHost {
  custom: Readonly<Record<string, CustomAgent>>;
  /** PATH of the daemon. */
  path: string;
  /** Directories that no sandbox may be shown, such as the daemon's data. */
  hidden: readonly string[];
}

/** All names, sorted: built-in and registered; a registered one wins over a built-in of its name. */
export function agentNames(host: AgentHost): string[] {
  return [...new Set([...Object.keys(BUILT_IN), ...Object.keys(BUNDLED), ...Object.keys(host.custom)])].sort();
}

/** The agent as found on this host; null where no agent has that name. */
export async function findAgent(name: string, host: AgentHost, view: Pick<SandboxView, "node" | "bundle">): Promise<FoundAgent | null> {
  const custom = Object.hasOwn(host.custom, name) ? host.custom[name] : undefined;
  const own = custom ? undefined : bundled(name);
  if (own) return { launch: { name, adapter: own.adapter, binary: view.node, args: [join(view.bundle, own.program)], env: {} }, binary: shownAnyway(view.node), files: [] };
  const known = custom ?? (Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined);
  if (!known) return null;
  const launch: AgentLaunch = { name, adapter: known.adapter, binary: known.binary, args: [...known.args], env: { ...known.env }, ...(known.how_to_get !== undefined && { how_to_get: known.how_to_get }), ...(known.continues !== undefined && { continues: known.continues }), ...(known.state_files !== undefined && { state_files: known.state_files }) };
  const path = await which(known.binary, host.path);
  if (path === null) return { launch, binary: null, files: [] };
  const [binary, ...files] = await Promise.all([path, ...known.args.filter(isAbsolute)].map((file) => fileOf(file, host.hidden)));
  return { launch, binary: binary ?? null, files: files.filter((file) => file !== null) };
}

/** Node, which every sandbox is shown anyway. */
const shownAnyway = (path: string): FoundFile => ({ path, real: path, shown: path, realShown: path });

/** The agents' availability for the host's report. */
export async function agentReport(host: AgentHost, view: Pick<SandboxView, "node" | "bundle">): Promise<HostAgent[]> {
  return Promise.all(
    agentNames(host).map(async (name) => {
      const found = await findAgent(name, host, view);
      if (found?.binary) return { name, available: true, detail: (bundled(name) && !Object.hasOwn(host.custom, name) ? "bundled" : found.binary.path).slice(0, 1_000) };
      return { name, available: false, detail: missingHint(found?.launch ?? { name, binary: name }).slice(0, 1_000) };
    }),
  );
}

/** Why an agent cannot run here and what to do about it. */
export function missingHint(launch: Pick<AgentLaunch, "binary" | "how_to_get" | "name">): string {
  return `${launch.binary} was not found on this host${launch.how_to_get ? `: ${launch.how_to_get}` : `: install it or correct agents.custom.${launch.name}.binary in marionette.yaml`}`;
}

/** The hint for a name that no agent has. */
export function unknownHint(name: string, host: AgentHost): string {
  return `This host knows ${agentNames(host).join(", ")}. Register '${name}' under agents.custom in marionette.yaml, with binary and args.`;
}

/** Absolute path of an executable file, looked up as a shell would; null where there is none. */
export async function which(binary: string, path: string): Promise<string | null> {
  const candidates = binary.includes("/") ? [resolve(binary)] : path.split(delimiter).filter(Boolean).map((directory) => join(directory, binary));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(async () => (await stat(candidate)).isFile(), () => false);
    if (usable) return resolve(candidate);
  }
  return null;
}

/** The file, with what a sandbox must be shown for it: its directory, the one that it links to, a whole package tree where it lies in one. Null where it is no file. */
async function fileOf(path: string, hidden: readonly string[]): Promise<FoundFile | null> {
  const real = await realpath(path).catch(() => null);
  if (real === null || !(await stat(real)).isFile()) return null;
  return { path, real, shown: shown(path, hidden), realShown: shown(real, hidden) };
}

function shown(path: string, hidden: readonly string[]): string {
  const modules = path.indexOf(`${sep}node_modules${sep}`);
  const directory = modules === -1 ? dirname(path) : path.slice(0, modules + `${sep}node_modules`.length);
  // A home, or a directory that holds what must stay hidden, is not shown for one program's sake.
  const forbidden = [homedir(), ...hidden].some((other) => other === directory || other.startsWith(directory === sep ? sep : `${directory}${sep}`));
  return forbidden ? path : directory;
}
