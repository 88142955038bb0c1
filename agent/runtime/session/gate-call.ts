/** Owns how a tool call is put to the session's gate: under the tool's own name, its paths as the sandbox has them, and with the path that it writes. Pure. */

import { placeOf } from "../sandbox/paths.ts";

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

/** The one place that every spelling of a path names (`//workspace/a`, `/./workspace/a`): a rule about it must hold for each. What is no place is left as it is, and refused by the tool. */
function real(path: string, { workspace, identity }: Places): string {
  // As the gate reads it too.
  if (!/^[/~]/.test(path)) return path;
  try {
    const { area, relative } = placeOf(path, workspace, identity);
    const base = area === "workspace" ? workspace : identity;
    return relative === "" ? base : `${base}/${relative}`;
  } catch {
    return path;
  }
}
