/** Owns `mctl permissions`. */

import { permissionStatus } from "../../protocol/permission.ts";
import { defineCommand } from "../command.ts";
import { watchPermissions } from "../follow/watch.ts";
import { choice, text } from "../option.ts";
import { permissionColumns, permissionFields } from "../output/views.ts";
import { listOptions, printList } from "./listing.ts";
import { budgetOf, budgetOptions } from "./usage.ts";

const PERMISSION = { name: "permission", summary: "id of the permission request (perm_…)" } as const;

export const permissionCommands = [
  defineCommand({
    name: "permissions list",
    summary: "List permission requests",
    options: { status: choice([...permissionStatus.options, "all"], "only in this state (default pending)"), session: text("SESSION", "only of this session", { short: "s" }), ...listOptions },
    examples: [["permissions list", "what waits for an answer"]],
    async run(context, _, { status = "pending", session, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.permissions.list({ status: status === "all" ? undefined : status, session_id: session, limit }), permissionColumns, status === "all" ? "permission requests" : `${status} permission requests`);
    },
  }),
  defineCommand({
    name: "permissions get",
    summary: "Show one permission request, with the whole input",
    args: [PERMISSION],
    options: {},
    examples: [["permissions get perm_… -o json", ""]],
    async run(context, { permission: id = "" }) {
      const permission = await context.client.permissions.get(id);
      context.out.one(permission, () => context.out.fields(permissionFields(permission, context.io.now())));
    },
  }),
  defineCommand({
    name: "permissions approve",
    summary: "Allow what is asked",
    args: [PERMISSION],
    options: { scope: choice(["once", "turn", "session"], "this call alone, calls like it in this task, or in this session (default once)"), ...budgetOptions, reason: text("TEXT", "why, for the record") },
    examples: [["permissions approve perm_… --scope session", "and calls like it, while the session lives"]],
    async run(context, { permission: id = "" }, { scope, reason, ...caps }) {
      const permission = await context.client.permissions.approve(id, { scope, reason, budget: budgetOf(caps) });
      if (context.out.structured) context.out.one(permission, () => []);
      else context.out.note(`Approved ${permission.id} (${permission.decision?.scope ?? scope ?? "once"}).`);
    },
  }),
  defineCommand({
    name: "permissions deny",
    summary: "Refuse what is asked; the agent is told why",
    args: [PERMISSION],
    options: { reason: text("TEXT", "why; the agent sees it") },
    examples: [['permissions deny perm_… --reason "use the staging database"', ""]],
    async run(context, { permission: id = "" }, { reason }) {
      const permission = await context.client.permissions.deny(id, { reason });
      if (context.out.structured) context.out.one(permission, () => []);
      else context.out.note(`Denied ${permission.id}.`);
    },
  }),
  defineCommand({
    name: "permissions watch",
    summary: "Answer requests of all sessions as they come",
    description: "Shows what waits and what comes, one after the other, and takes the answers at the prompt. Ctrl-C ends it and leaves open requests open.",
    options: { session: text("SESSION", "only of this session", { short: "s" }) },
    examples: [["permissions watch", "sit at the gate"]],
    async run(context, _, { session }) {
      // A wrong id would wait for ever.
      if (session) await context.client.sessions.get(session);
      return watchPermissions(context, session);
    },
  }),
];
