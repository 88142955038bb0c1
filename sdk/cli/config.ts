/** Owns the configuration: the contexts file, and which server and key a command uses. */

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse, stringify } from "yaml";
import * as z from "zod";
import { UserError, type Io } from "./io.ts";

const entry = z.looseObject({ url: z.url(), api_key: z.string().min(1).optional() });
const file = z.looseObject({ current: z.string().optional(), contexts: z.record(z.string().min(1).max(63), entry).default({}) });
export type ConfigFile = z.infer<typeof file>;
export interface Endpoint {
  url: string;
  apiKey: string;
  /** Where the address came from, for people. */
  source: string;
}

export interface EndpointFlags {
  url?: string | undefined;
  apiKey?: string | undefined;
  context?: string | undefined;
}

/** Where the contexts are kept. */
export function configPath(io: Pick<Io, "env" | "home">): string {
  return join(io.env["XDG_CONFIG_HOME"] || join(io.home, ".config"), "marionette", "config.yaml");
}

/** The contexts file; an empty one where there is none. */
export function readConfig(io: Pick<Io, "env" | "home">): ConfigFile {
  const path = configPath(io);
  if (!existsSync(path)) return { contexts: {} };
  let value: unknown;
  try {
    value = parse(readFileSync(path, "utf8")) ?? {};
  } catch (error) {
    throw new UserError(`${path} is not YAML: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
  }
  const parsed = file.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new UserError(`${path}: ${issue?.path.map(String).join(".") || "the file"}: ${issue?.message ?? "is not valid"}`);
  }
  return parsed.data;
}

/** Replaces the contexts file at once, readable by its owner only. */
export function writeConfig(io: Pick<Io, "env" | "home">, config: ConfigFile): void {
  const path = configPath(io);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.${process.pid}.tmp`;
  writeFileSync(next, stringify(config), { mode: 0o600 });
  chmodSync(next, 0o600);
  renameSync(next, path);
}

const projectFile = z.looseObject({ url: z.url(), api_key: z.string().min(1) });

/**
 * The nearest `.marionette/context.json` from `cwd` upward, which a local server writes. A directory may come from a stranger, and a session
 * sends model keys to its server: so only a file of this user's own that nobody else can read, and only a server on this machine, counts.
 */
export function projectEndpoint(cwd: string): Endpoint | { refused: string } | null {
  for (let dir = resolve(cwd); ; dir = dirname(dir)) {
    const path = join(dir, ".marionette", "context.json");
    if (existsSync(path)) {
      const stat = statSync(path);
      const uid = process.getuid?.();
      if (uid !== undefined && (stat.uid !== uid || (stat.mode & 0o077) !== 0)) return { refused: `${path} is not used: it must be yours and readable by nobody else` };
      let value: unknown;
      try {
        value = JSON.parse(readFileSync(path, "utf8"));
      } catch {
        value = null;
      }
      const parsed = projectFile.safeParse(value);
      if (!parsed.success) return { refused: `${path} is not used: it holds no url and api_key` };
      if (!isLoopback(parsed.data.url)) return { refused: `${path} is not used: it names another machine (${new URL(parsed.data.url).host})` };
      return { url: parsed.data.url, apiKey: parsed.data.api_key, source: path };
    }
    if (dirname(dir) === dir) return null;
  }
}

/** True for an address of this machine. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Two addresses of one server. */
function sameServer(a: string, b: string): boolean {
  try {
    return new URL(a).origin === new URL(b).origin;
  } catch {
    return false;
  }
}

/**
 * The server and key to use: flags, then the environment, then the named or current context, then the nearest local server.
 * A key that is kept beside an address goes to that address alone.
 */
export function resolveEndpoint(flags: EndpointFlags, io: Pick<Io, "env" | "home" | "cwd">): Endpoint {
  const { env } = io;
  const named = flags.context ?? (env["MARIONETTE_CONTEXT"] || undefined);
  const url = flags.url ?? (env["MARIONETTE_API_URL"] || undefined);
  const key = flags.apiKey ?? (env["MARIONETTE_API_KEY"] || undefined);
  if (flags.apiKey?.startsWith("sk-")) throw new UserError("--api-key is Marionette's own key, and this looks like a model provider's", "put the model's key into a variable and name it with --api-key-env");
  if (url !== undefined && key !== undefined && named === undefined) return { url, apiKey: key, source: flags.url ? "flags" : "environment" };

  const found = keptEndpoint(named, io);
  const kept = found && "url" in found ? found : null;
  const address = url ?? kept?.url;
  if (address === undefined) {
    if (found && "refused" in found) throw new UserError("No server is configured", found.refused);
    throw new UserError("No server is configured", "start one here with `npm start`, or name one: `mctl config set NAME --url URL --api-key mk_…`, or set MARIONETTE_API_URL and MARIONETTE_API_KEY");
  }
  const keptKey = kept && sameServer(kept.url, address) ? kept.apiKey : undefined;
  const apiKey = key ?? keptKey;
  if (!apiKey) throw new UserError(`No API key for ${address}`, "give --api-key, set MARIONETTE_API_KEY, or keep one: `mctl config set NAME --api-key mk_…`");
  return { url: address, apiKey, source: url === undefined && kept ? kept.source : flags.url ? "flags" : "environment" };
}

function keptEndpoint(named: string | undefined, io: Pick<Io, "env" | "home" | "cwd">): { url: string; apiKey: string | undefined; source: string } | { refused: string } | null {
  const config = readConfig(io);
  const name = named ?? config.current;
  if (name === undefined) return projectEndpoint(io.cwd);
  const found = config.contexts[name];
  if (!found) {
    const known = Object.keys(config.contexts);
    throw new UserError(`There is no context '${name}'`, known.length ? `known: ${known.join(", ")}` : "make it with `mctl config set NAME --url URL --api-key mk_…`");
  }
  return { url: found.url, apiKey: found.api_key, source: `context ${name}` };
}
