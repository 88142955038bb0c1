/** Owns the transcript of one task's wire between an adapter and its agent: both directions, with ids and paths made stable. */

import { readFileSync } from "node:fs";

/** One line of the wire, or the end of the agent. */
export type Entry = { from: "adapter" | "agent"; line: unknown } | { from: "agent"; exit: number };

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
/** Lists that say nothing about a task and fill a page. */
const LISTS = new Set(["commands", "slash_commands", "terminal_slash_commands", "skills", "agents", "plugins", "models", "availableCommands", "configOptions", "available_output_styles"]);

/** What tells of the machine that it was recorded on. */
const MACHINE = new Set(["serverName", "userAgent", "messaging_socket_path"]);

export function parseTranscript(path: string): Entry[] {
  return readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Entry);
}

/** The transcript as text: places become variables, ids count from one, long lists are emptied. */
export function formatTranscript(entries: readonly Entry[], places: Record<string, string>): string {
  const ids = new Map<string, string>();
  const stable = (id: string) => {
    if (!ids.has(id)) ids.set(id, `00000000-0000-4000-8000-${String(ids.size + 1).padStart(12, "0")}`);
    return ids.get(id) ?? id;
  };
  // Pieces of a call's input would show pieces of a path, and no adapter reads them.
  const kept = entries.filter((entry) => !("line" in entry) || !JSON.stringify(entry.line).includes('"input_json_delta"'));
  const text = kept.map((entry) => JSON.stringify(entry, (key, value: unknown) => (LISTS.has(key) && Array.isArray(value) ? [] : MACHINE.has(key) ? "" : value))).join("\n");
  const placed = Object.entries(places).reduce((all, [name, path]) => all.replaceAll(path, `\${${name}}`).replaceAll(path.replaceAll(/[^A-Za-z0-9]/g, "-"), `slug-of-${name}`), text);
  return `${placed.replace(UUID, stable)}\n`;
}

/** A line of a transcript with the variables filled in. */
export function place<T>(value: T, places: Record<string, string>): T {
  const text = Object.entries(places).reduce((all, [name, path]) => all.replaceAll(`\${${name}}`, path), JSON.stringify(value));
  return JSON.parse(text) as T;
}
