/** Owns `mctl sessions`. */

import { EVENT_TYPES } from "../../protocol/event.ts";
import { sessionStatus } from "../../protocol/session.ts";
import { SUSPEND_STRATEGIES } from "../../protocol/suspend.ts";
import { defineCommand } from "../command.ts";
import { UserError } from "../io.ts";
import { choice, duration, flag, needed, pairs, text, whole, words } from "../option.ts";
import { sessionColumns, sessionFields } from "../output/views.ts";
import { directoryOf, dirOption } from "./directories.ts";
import { agentConfigOption, baseUrlOption, modelKey, modelKeyOptions } from "./input.ts";
import { listOptions, printList } from "./listing.ts";
import { printLog } from "./log.ts";
import { budgetOf, budgetOptions } from "./usage.ts";

const SESSION = { name: "session", summary: "id of the session (sess_…)" } as const;
const EDIT_MODES = ["off", "turn", "session"] as const;

/** Options that `sessions create` and `run` share. */
export const sessionOptions = {
  name: text("NAME", "a name, for people"),
  label: pairs("label of the session, for finding it again (repeatable)"),
  model: text("MODEL", "the agent's model"),
  ...modelKeyOptions,
  ...baseUrlOption,
  ...agentConfigOption,
  ...budgetOptions,
  env: pairs("variable for the agent's environment (repeatable)"),
  pool: text("POOL", "pool of hosts to run in (default: default)"),
  provider: text("NAME", "sandbox provider: docker, process, …"),
  selector: text("CONDITIONS", "host labels to ask for, such as gpu=nvidia,vram>=16GB"),
  ...dirOption,
  editMode: choice(EDIT_MODES, "edits that need no answer: off, turn (until the task ends), session"),
};

/** How a session lives when it has nothing to do. */
const livingOptions = {
  lifecycle: choice(["on_demand", "always_on"], "suspended when it has nothing to do, or never"),
  idleTimeout: duration("on_demand: suspended after so long without work (default 15m)"),
  suspendAfter: duration("suspended when a permission request has waited for so long (default 30m)"),
  suspendStrategy: choice(SUSPEND_STRATEGIES, "what becomes of its runner when it is suspended"),
  workspaceQuota: whole("MB", "largest size of its workspace", { min: 1 }),
  retention: whole("DAYS", "how long its workspace is kept after its end (default 7)", { min: 1 }),
};
type Living = { [K in keyof typeof livingOptions]: ReturnType<(typeof livingOptions)[K]["parse"]> };
function livingOf({ lifecycle, idleTimeout, suspendAfter, suspendStrategy, workspaceQuota, retention }: Living) {
  return {
    lifecycle_mode: lifecycle, idle_timeout_seconds: idleTimeout, suspend_after_seconds: suspendAfter, suspend_strategy: suspendStrategy, workspace_quota_mb: workspaceQuota, retention_days: retention,
  };
}

export const sessionCommands = [
  defineCommand({
    name: "sessions create",
    summary: "Create a session",
    options: { agent: needed("AGENT", "claude, codex, marco, example or a custom agent's name"), ...sessionOptions, runnerLifecycle: choice(["per-session", "per-task"], "one runner for all tasks, or a fresh one for each"), ...livingOptions, workspace: text("WORKSPACE", "begin with the files of this workspace (ws_…)") },
    examples: [
      ["sessions create --agent claude --name api --label team=web", "with ANTHROPIC_API_KEY of the environment"],
      ["sessions create --agent codex --api-key-env MY_OPENAI_KEY -q", "prints the id alone"],
    ],
    async run(context, _, { agent, name, label, model, apiKeyEnv, baseUrl, agentConfig, maxCost, maxTokens, env, pool, provider, selector, editMode, runnerLifecycle, workspace, dir, ...living }) {
      const session = await context.client.sessions.create({
        agent, name, model, pool, provider, selector, env, labels: label, edit_mode: editMode, runner_lifecycle: runnerLifecycle, api_key: agentConfig ? undefined : modelKey(context, agent, apiKeyEnv, model), base_url: baseUrl, agent_config: agentConfig, budget: budgetOf({ maxCost, maxTokens }), workspace_id: workspace, directory: await directoryOf(context, dir),
        ...livingOf(living),
      });
      if (context.out.quiet && !context.out.structured) context.out.line(session.id);
      else context.out.one(session, () => context.out.fields(sessionFields(session, context.io.now())));
    },
  }),
  defineCommand({
    name: "sessions list",
    summary: "List sessions, newest first",
    options: { status: choice(sessionStatus.options, "only in this state"), label: pairs("only with this label (repeatable)"), ...listOptions },
    examples: [["sessions list --status active --label team=web", "active sessions of a team"]],
    async run(context, _, { status, label, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.sessions.list({ status, labels: label, limit }), sessionColumns, "sessions");
    },
  }),
  defineCommand({
    name: "sessions get",
    summary: "Show one session",
    args: [SESSION],
    options: {},
    examples: [["sessions get sess_… -o yaml", "everything there is"]],
    async run(context, { session: id = "" }) {
      const session = await context.client.sessions.get(id);
      context.out.one(session, () => context.out.fields(sessionFields(session, context.io.now())));
    },
  }),
  defineCommand({
    name: "sessions update",
    summary: "Change a session's name, labels, edit mode, lifecycle or model key",
    args: [SESSION],
    options: { name: text("NAME", "a new name; empty removes it"), label: pairs("all labels from now on (repeatable)"), editMode: choice(EDIT_MODES, "edits that need no answer"), forgetApprovals: flag("ask again about what was approved for the turn or the session"), ...livingOptions, ...modelKeyOptions },
    examples: [["sessions update sess_… --api-key-env ANTHROPIC_API_KEY", "gives the model key again after everything was restarted"]],
    async run(context, { session: id = "" }, { name, label, editMode, forgetApprovals, apiKeyEnv, ...living }) {
      const patch = {
        ...Object.fromEntries(Object.entries(livingOf(living)).filter(([, value]) => value !== undefined)),
        ...(name !== undefined && { name: name === "" ? null : name }),
        ...(label && { labels: label }),
        ...(editMode && { edit_mode: editMode }),
        ...(forgetApprovals && { approvals: [] }),
        ...(apiKeyEnv && { api_key: modelKey(context, "", apiKeyEnv) }),
      };
      if (Object.keys(patch).length === 0) throw new UserError("Nothing to change", "give --name, --label, --edit-mode, --lifecycle or another option (--help lists them)");
      const session = await context.client.sessions.update(id, patch);
      context.out.one(session, () => context.out.fields(sessionFields(session, context.io.now())));
    },
  }),
  defineCommand({
    name: "sessions terminate",
    summary: "End sessions for good; their logs and workspaces stay",
    args: [{ ...SESSION, name: "sessions", rest: true }],
    options: {},
    examples: [["sessions terminate sess_…", ""]],
    async run(context, _, __, ids) {
      for (const id of ids) {
        const session = await context.client.sessions.terminate(id);
        if (context.out.structured) context.out.record(session);
        else context.out.note(`Terminated ${session.id}.`);
      }
    },
  }),
  defineCommand({
    name: "sessions events",
    summary: "Show a session's log",
    args: [SESSION],
    options: {
      follow: flag("go on with what comes, until the session ends", { short: "f" }),
      tail: whole("N", "only the last N events"),
      after: whole("SEQ", "only events with a greater number"),
      types: words(EVENT_TYPES, "TYPES", "only these types, separated by commas"),
      raw: flag("with the agent's own records (json and yaml)"),
    },
    examples: [
      ["sessions events sess_… --follow", "watch everything"],
      ["sessions events sess_… --types task.status,usage -o json", "JSON lines"],
    ],
    async run(context, { session: id = "" }, params) {
      await printLog(context, context.client.sessions.events(id, params, { signal: undefined }));
    },
  }),
];
