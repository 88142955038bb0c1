/** Owns `mctl keys`. */

import { ALL_SCOPES } from "../../protocol/access.ts";
import { defineCommand } from "../command.ts";
import { duration, needed, words } from "../option.ts";
import { keyColumns } from "../output/views.ts";
import { listOptions, printList } from "./listing.ts";

export const keyCommands = [
  defineCommand({
    name: "keys create",
    summary: "Make an API key; it is shown this once",
    options: {
      name: needed("NAME", "a name, for people"),
      scopes: words(ALL_SCOPES, "SCOPES", "read (see), write (create, change), approve (answer permissions), admin (keys, hosts); default read,write,approve"),
      expires: duration("valid for this time, such as 30d (default: until revoked)"),
    },
    examples: [
      ["keys create --name ci --scopes read,write --expires 30d", ""],
      ["keys create --name dashboard --scopes read -q", "prints the key alone"],
    ],
    async run(context, _, { name, scopes, expires }) {
      const key = await context.client.keys.create({ name, scopes, expires_in_seconds: expires });
      if (context.out.structured) return context.out.one(key, () => []);
      context.out.line(key.key);
      context.out.note(`${key.id}, ${key.scopes.join(", ")}${key.expires_at ? `, until ${key.expires_at}` : ""}. The key is not shown again.`);
    },
  }),
  defineCommand({
    name: "keys list",
    summary: "List API keys",
    options: listOptions,
    examples: [["keys list", ""]],
    async run(context, _, chosen) {
      await printList(context, chosen, (limit) => context.client.keys.list({ limit }), keyColumns, "keys");
    },
  }),
  defineCommand({
    name: "keys revoke",
    summary: "Make a key worthless, within 5 seconds",
    args: [{ name: "key", summary: "id of the key (key_…)" }],
    options: {},
    examples: [["keys revoke key_…", ""]],
    async run(context, { key: id = "" }) {
      await context.client.keys.revoke(id);
      context.out.note(`Revoked ${id}.`);
    },
  }),
];
