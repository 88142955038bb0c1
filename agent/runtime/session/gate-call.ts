/** Owns how a tool call is put to the session's gate: under the tool's own name, its paths as the sandbox has them, and with the path that it writes. Pure. */

import { IDENTITY, WORKSPACE } from "../sandbox/contracts.ts";

/** Where the agent's two places lie in the sandbox. */
export interface Places {
  workspace: string;
  identity: string;
}

const PATHS = ["path", "cwd"];

/** What the gate is asked: rules and risk know paths as programs see them, not as the model writes them. */
export function gateInput(tool: string, input: unknown, places: Places): Record<string, unknown> {
  const fields = { ...(typeof input === "object" && input !== null ? (input as Record<string, unknown>) : {}) };
  for (const name of PATHS) {
    const path = fields[name];
    if (typeof path === "string") fields[name] = real(path, places);
  }
  // What it writes has a path of its own, which the model does not say.
  if (tool === "remember" && typeof fields["name"] === "string") fields["path"] = `${places.workspace}/memory/${fields["name"]}.md`;
  return fields;
}

function real(path: string, { workspace, identity }: Places): string {
  for (const [shown, place] of [[WORKSPACE, workspace], [IDENTITY, identity]] as const) {
    if (path === shown) return place;
    if (path.startsWith(`${shown}/`)) return place + path.slice(shown.length);
  }
  return path;
}
