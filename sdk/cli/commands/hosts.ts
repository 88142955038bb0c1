/** Owns `mctl hosts` and `mctl runners`. */

import { runnerStatus } from "../../protocol/host.ts";
import { defineCommand } from "../command.ts";
import { isLoopback } from "../config.ts";
import { choice, needed, pairs, text } from "../option.ts";
import { hostColumns, hostFields, runnerColumns, runnerFields, tokenColumns } from "../output/views.ts";
import { browseCommand } from "./directories.ts";
import { listOptions, printList } from "./listing.ts";

const HOST = { name: "host", summary: "id of the host (host_…)" } as const;

const drain = (verb: "drain" | "undrain", draining: boolean, summary: string, done: string) =>
  defineCommand({
    name: `hosts ${verb}`,
    summary,
    args: [HOST],
    options: {},
    examples: [[`hosts ${verb} host_…`, ""]],
    async run(context, { host: id = "" }) {
      const host = await context.client.hosts.drain(id, draining);
      if (context.out.structured) context.out.one(host, () => []);
      else context.out.note(`${host.name} ${done}`);
    },
  });

export const hostCommands = [
  defineCommand({
    name: "hosts list",
    summary: "List the machines that have joined",
    options: { status: choice(["online", "offline", "draining"], "only in this state"), pool: text("POOL", "only of this pool"), ...listOptions },
    examples: [["hosts list -o wide", "with system, version and labels"]],
    async run(context, _, { status, pool, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.hosts.list({ status, pool, limit }), hostColumns, "hosts");
    },
  }),
  defineCommand({
    name: "hosts get",
    summary: "Show one host: what it can run, and what it lacks",
    args: [HOST],
    options: {},
    examples: [["hosts get host_…", ""]],
    async run(context, { host: id = "" }) {
      const host = await context.client.hosts.get(id);
      context.out.one(host, () => context.out.fields(hostFields(host, context.io.now())));
    },
  }),
  browseCommand,
  drain("drain", true, "Give a host no new runners", "takes no new runners; those that it has go on."),
  drain("undrain", false, "Give a host new runners again", "takes new runners again."),
  defineCommand({
    name: "hosts token create",
    summary: "Make a runner token and print the command with which a machine joins",
    description: "Needs a key with the scope admin, or the master key (--api-key) with --tenant. The token is shown this once.",
    options: { name: needed("NAME", "a name for the token, for people"), pool: text("POOL", "pool that the machine joins (default: default)"), label: pairs("label of every host that joins with it (repeatable)"), tenant: text("TENANT", "with the master key: whose hosts (ten_…)") },
    examples: [["hosts token create --name rack-7 --pool gpu --label gpu=nvidia", ""]],
    async run(context, _, { name, pool, label, tenant }) {
      const { client } = context;
      const params = { name, pool, labels: label };
      const token = await (tenant ? client.admin.runnerTokens.create({ ...params, tenant_id: tenant }) : client.runnerTokens.create(params));
      const command = joinCommand(client.url, token.token, token.pool);
      if (context.out.quiet && !context.out.structured) context.out.line(token.token);
      else {
        context.out.one({ ...token, join_command: command }, () => [command]);
        if (isLoopback(client.url)) context.out.note(`Note: ${client.url} is reached from this machine alone; another needs an address of this one that it can reach.`);
        context.out.note("Run this on the machine. The token is not shown again; take it back with `mctl hosts token revoke`.");
      }
    },
  }),
  defineCommand({
    name: "hosts token list",
    summary: "List runner tokens",
    options: { tenant: text("TENANT", "with the master key: whose (ten_…)"), ...listOptions },
    examples: [["hosts token list", ""]],
    async run(context, _, { tenant, ...chosen }) {
      await printList(context, chosen, (limit) => (tenant ? context.client.admin.runnerTokens.list({ limit, tenant_id: tenant }) : context.client.runnerTokens.list({ limit })), tokenColumns, "runner tokens");
    },
  }),
  defineCommand({
    name: "hosts token revoke",
    summary: "Take a runner token back",
    args: [{ name: "token", summary: "id of the token (rtk_…)" }],
    options: {},
    examples: [["hosts token revoke rtk_…", ""]],
    async run(context, { token: id = "" }) {
      await context.client.runnerTokens.revoke(id);
      context.out.note(`Revoked ${id}.`);
    },
  }),
];

/** What to run on a machine so that it joins. */
function joinCommand(url: string, token: string, pool: string): string {
  return `marionette-agent --server ${url} --token ${token}${pool === "default" ? "" : ` --pool ${pool}`}`;
}

const RUNNER = { name: "runner", summary: "id of the runner (run_…)" } as const;
const onRunner = (verb: "pause" | "resume" | "drain", summary: string, description: string, done: string) =>
  defineCommand({
    name: `runners ${verb}`,
    summary,
    description,
    args: [RUNNER],
    options: {},
    examples: [[`runners ${verb} run_…`, ""]],
    async run(context, { runner: id = "" }) {
      const runner = await context.client.runners[verb](id);
      if (context.out.structured) context.out.one(runner, () => []);
      else context.out.note(`${runner.id} ${done}`);
    },
  });

export const runnerCommands = [
  defineCommand({
    name: "runners list",
    summary: "List what serves sessions",
    options: { status: choice(runnerStatus.options, "only in this state"), pool: text("POOL", "only of this pool"), session: text("SESSION", "only of this session", { short: "s" }), ...listOptions },
    examples: [["runners list --status busy", ""]],
    async run(context, _, { status, pool, session, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.runners.list({ status, pool, session_id: session, limit }), runnerColumns, "runners");
    },
  }),
  defineCommand({
    name: "runners get",
    summary: "Show one runner",
    args: [RUNNER],
    options: {},
    examples: [["runners get run_…", ""]],
    async run(context, { runner: id = "" }) {
      const runner = await context.client.runners.get(id);
      context.out.one(runner, () => context.out.fields(runnerFields(runner, context.io.now())));
    },
  }),
  onRunner("pause", "Freeze a runner where it is", "Its session is suspended, its memory kept. Where its provider cannot pause, suspend the session: mctl sessions suspend.", "is being paused; its session is suspended."),
  onRunner("resume", "Let a paused runner go on", "Its session is active again.", "goes on."),
  onRunner("drain", "Give a runner no new task", "It is given back when the task that it has, if any, has ended. Its session stays, and the next task gets another runner.", "takes no new task."),
];
