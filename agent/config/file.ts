/** Owns reading `marionette.yaml`: its faults are told with their path in the file, all of them at once. */

import { readFile } from "node:fs/promises";
import { parseDocument } from "yaml";
import type * as z from "zod";
import { rootFault } from "../daemon/browsing.ts";
import { config, type Config } from "./schema.ts";

/** A file that cannot be used; `faults` are `path: what was expected`. */
export class ConfigError extends Error {
  readonly faults: readonly string[];
  constructor(source: string, faults: readonly string[]) {
    super(`${source} is not valid:\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
    this.name = "ConfigError";
    this.faults = faults;
  }
}

/** Parses the file's text. Throws `ConfigError`. */
export function parseConfig(text: string, source = "marionette.yaml"): Config {
  const document = parseDocument(text, { uniqueKeys: true, prettyErrors: true });
  if (document.errors.length > 0) throw new ConfigError(source, document.errors.map((error) => error.message.split("\n")[0] ?? error.code));
  const parsed = config.safeParse(document.toJS({ maxAliasCount: 100 }) ?? {});
  if (parsed.success) return parsed.data;
  throw new ConfigError(source, parsed.error.issues.flatMap(faults));
}

/** What the file says and this machine does not have: browse roots that are no directories. Throws `ConfigError`. */
export async function checkMachine({ browse_roots }: Config, source = "marionette.yaml"): Promise<void> {
  const faults = await Promise.all(browse_roots.map(async (root, index) => ({ index, root, why: await rootFault(root) })));
  const found = faults.flatMap(({ index, root, why }) => (why === null ? [] : [`browse_roots.${index}: ${root}: ${why}`]));
  if (found.length > 0) throw new ConfigError(source, found);
}

/** Reads the file; without one, everything has its default. Throws `ConfigError`, also where a named file is missing. */
export async function readConfig(path: string | undefined): Promise<Config> {
  if (path === undefined) return parseConfig("");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(path, [error.code === "ENOENT" ? "there is no such file" : `cannot be read: ${error.message}`]);
  });
  return parseConfig(text, path);
}

function faults(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${path ? `${path}.` : ""}${key}: unknown key`);
  if (issue.code === "invalid_key") return [`${path}: not a usable name (${issue.issues.map(({ message }) => message).join("; ")})`];
  return [`${path || "file"}: ${issue.message}`];
}
