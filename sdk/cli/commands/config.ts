/** Owns `mctl config`: the contexts, each a server with a key. */

import * as z from "zod";
import { defineCommand } from "../command.ts";
import { configPath, readConfig, resolveEndpoint, writeConfig } from "../config.ts";
import { UserError } from "../io.ts";
import { flag } from "../option.ts";

const CONTEXT = { name: "context", summary: "name of the context" } as const;

/** A key's first characters: enough to recognise it. */
function shownKey(key: string | undefined): string | null {
  return key ? `${key.slice(0, 8)}…` : null;
}

export const configCommands = [
  defineCommand({
    name: "config list",
    summary: "List the contexts",
    options: {},
    examples: [["config list", ""]],
    async run(context) {
      const config = readConfig(context.io);
      const rows = Object.entries(config.contexts).map(([name, { url, api_key }]) => ({ name, url, key: shownKey(api_key), current: name === config.current }));
      context.out.many(rows, [{ title: "CURRENT", value: (row) => (row.current ? "*" : " ") }, { title: "NAME", value: (row) => row.name }, { title: "URL", value: (row) => row.url }, { title: "KEY", value: (row) => row.key }], (row) => row.name);
      if (rows.length === 0) context.out.note("No contexts. Make one: mctl config set NAME --url URL --api-key mk_…");
    },
  }),
  defineCommand({
    name: "config use",
    summary: "Use a context from now on",
    args: [CONTEXT],
    options: {},
    examples: [["config use production", ""]],
    async run(context, { context: name = "" }) {
      const config = readConfig(context.io);
      if (!config.contexts[name]) throw new UserError(`There is no context '${name}'`, `known: ${Object.keys(config.contexts).join(", ") || "none"}`);
      writeConfig(context.io, { ...config, current: name });
      context.out.note(`Using ${name}.`);
    },
  }),
  defineCommand({
    name: "config set",
    summary: "Make or change a context from --url and --api-key",
    description: "The key may also come from MARIONETTE_API_KEY, so that it stays out of the shell's history. The file is readable by its owner only.",
    args: [CONTEXT],
    options: { use: flag("and use it from now on"), remove: flag("remove it instead") },
    examples: [
      ["config set production --url https://marionette.example.com --api-key mk_… --use", ""],
      ["config set production --remove", ""],
    ],
    async run(context, { context: name = "" }, { use, remove }) {
      const config = readConfig(context.io);
      const { [name]: old, ...others } = config.contexts;
      if (remove) {
        if (!old) throw new UserError(`There is no context '${name}'`);
        writeConfig(context.io, { ...config, contexts: others, ...(config.current === name && { current: undefined }) });
        return context.out.note(`Removed ${name}.`);
      }
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) throw new UserError(`'${name}' cannot be a context's name`, "letters, digits, '.', '_' or '-'");
      const url = context.flags.url ?? old?.url;
      if (url === undefined) throw new UserError("A new context needs --url");
      if (!z.url({ protocol: /^https?$/ }).safeParse(url).success) throw new UserError(`'${url}' is not an http or https address`);
      const key = context.flags.apiKey ?? (context.io.env["MARIONETTE_API_KEY"] || undefined) ?? (context.flags.url === undefined || url === old?.url ? old?.api_key : undefined);
      const current = use || config.current === undefined ? name : config.current;
      writeConfig(context.io, { ...config, current, contexts: { ...config.contexts, [name]: { ...old, url, api_key: key } } });
      context.out.note(`Kept ${name} in ${configPath(context.io)}${current === name ? ", in use" : ""}.${key ? "" : " It has no key yet: add --api-key."}`);
    },
  }),
  defineCommand({
    name: "config view",
    summary: "Show which server a command would use, and why",
    options: {},
    examples: [["config view", ""], ["config view --context production", ""]],
    async run(context) {
      const { url, apiKey, source } = resolveEndpoint(context.flags, context.io);
      const shown = { url, api_key: shownKey(apiKey), source };
      context.out.one(shown, () => context.out.fields([["url", url], ["key", shown.api_key], ["from", source]]));
    },
  }),
  defineCommand({
    name: "config path",
    summary: "Print where the contexts are kept",
    options: {},
    examples: [["config path", ""]],
    async run(context) {
      context.out.line(configPath(context.io));
    },
  }),
];
