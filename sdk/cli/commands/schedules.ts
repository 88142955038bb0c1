/** Owns `mctl schedules`: make, list, show, change, pause, resume, run and delete them. */

import { scheduleStatus, type Schedule } from "../../protocol/schedule.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { followTask } from "../follow/task.ts";
import { EXIT, UserError } from "../io.ts";
import { choice, duration, flag, needed, pairs, text } from "../option.ts";
import { scheduleColumns, scheduleFields, whenText } from "../output/schedule-views.ts";
import { taskColumns, taskFields } from "../output/views.ts";
import { readPrompt } from "./input.ts";
import { listOptions, printList } from "./listing.ts";
import { directoryOf } from "./directories.ts";
import { sessionOptions } from "./sessions.ts";
import { isInteractive, taskOptions } from "./tasks.ts";
import { budgetOf } from "./usage.ts";

const SCHEDULE = { name: "schedule", summary: "id of the schedule (schd_…)" } as const;
const { apiKeyEnv: _, baseUrl: __, ...shared } = sessionOptions;
const { promptFile, timeout, retries } = taskOptions;

/** What a failure does, and whether runs go on with one conversation. */
const ruleOptions = {
  conversation: choice(["fresh", "continue"], "every run begins a fresh conversation (default), or continues the last"),
  pauseOnFailure: choice(["yes", "no"], "pause as soon as a run fails (default no)"),
  disableOnFailure: text("N", "disable after N failed runs in a row, or `never` (default 5)"),
};
type Rule = { [K in keyof typeof ruleOptions]: ReturnType<(typeof ruleOptions)[K]["parse"]> };
function ruleOf({ conversation, pauseOnFailure, disableOnFailure }: Rule) {
  if (disableOnFailure !== undefined && disableOnFailure !== "never" && !/^[1-9]\d{0,2}$/.test(disableOnFailure)) throw new UserError(`--disable-on-failure wants a number from 1 to 999 or never, not '${disableOnFailure}'`);
  return {
    ...(conversation && { continue: conversation === "continue" }),
    ...(pauseOnFailure && { pause_on_failure: pauseOnFailure === "yes" }),
    ...(disableOnFailure && { disable_on_failure: disableOnFailure === "never" ? null : Number(disableOnFailure) }),
  };
}

/** The zone of the machine that mctl runs on. */
function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

function print(context: Context, schedule: Schedule): void {
  if (context.out.quiet && !context.out.structured) context.out.line(schedule.id);
  else context.out.one(schedule, () => context.out.fields(scheduleFields(schedule, context.io.now())));
}

const simple = (verb: "pause" | "resume", summary: string, done: (schedule: Schedule, next: string | null) => string) =>
  defineCommand({
    name: `schedules ${verb}`,
    summary,
    args: [{ ...SCHEDULE, name: "schedules", rest: true }],
    options: {},
    examples: [[`schedules ${verb} schd_…`, ""]],
    async run(context, _args, _options, ids) {
      for (const id of ids) {
        const schedule = await context.client.schedules[verb](id);
        if (context.out.structured) context.out.record(schedule);
        else context.out.note(done(schedule, whenText(schedule.next_run_at, schedule.timezone, context.io.now())));
      }
    },
  });

export const scheduleCommands = [
  defineCommand({
    name: "schedules create",
    summary: "Give an agent the same prompt again and again, by the clock",
    description:
      "Makes a session that runs by itself and is suspended between its runs. The cron expression has five fields (minute, hour, day of month, month, weekday) or is @hourly, @daily, @weekly, @monthly or @yearly. " +
      "Runs that were missed are caught up by one; one that is due while the last still runs is skipped. The agent's model key comes from an agent config or from the server: a key of your environment would end with the first runner.",
    args: [{ name: "prompt", summary: "the prompt, in quotes", optional: true, rest: true }],
    options: {
      cron: needed("CRON", "when, such as '0 9 * * MON-FRI'"),
      timezone: text("ZONE", "of the cron expression, such as Europe/Berlin (default: this machine's)", { short: "z" }),
      agent: needed("AGENT", "claude, codex, marco, example or a custom agent's name", { short: "a" }),
      ...shared, promptFile, timeout, retries, ...ruleOptions,
      workspace: text("WORKSPACE", "begin with the files of this workspace (ws_…)"),
      idleTimeout: duration("suspended so long after a run (default 30s)"),
      paused: flag("make it paused"),
    },
    examples: [
      ["schedules create --cron '0 9 * * MON-FRI' -z Europe/Berlin --agent claude --agent-config team \"Triage the new issues\"", ""],
      ["schedules create --cron @hourly --agent example --conversation continue \"Look again\"", "goes on in one conversation; needs no model key"],
    ],
    async run(context, _args, options, given) {
      const { cron, timezone, agent, name, label, model, agentConfig, maxCost, maxTokens, env, pool, provider, selector, dir, editMode, workspace, idleTimeout, paused } = options;
      const prompt = await readPrompt(context.io, given, options.promptFile);
      const schedule = await context.client.schedules.create({
        cron, timezone: timezone ?? ownZone(), prompt, timeout_seconds: options.timeout, max_retries: options.retries, ...ruleOf(options), paused,
        agent, name, model, pool, provider, selector, env, labels: label, edit_mode: editMode, agent_config: agentConfig, budget: budgetOf({ maxCost, maxTokens }), workspace_id: workspace, directory: await directoryOf(context, dir), idle_timeout_seconds: idleTimeout,
      });
      print(context, schedule);
    },
  }),
  defineCommand({
    name: "schedules list",
    summary: "List schedules with their next runs",
    options: { status: choice(scheduleStatus.exclude(["deleted"]).options, "only in this state"), label: pairs("only with this label (repeatable)"), ...listOptions },
    examples: [["schedules list --status active", ""]],
    async run(context, _args, { status, label, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.schedules.list({ status, labels: label, limit }), scheduleColumns, "schedules");
    },
  }),
  defineCommand({
    name: "schedules get",
    summary: "Show one schedule",
    args: [SCHEDULE],
    options: {},
    examples: [["schedules get schd_…", ""]],
    async run(context, { schedule: id = "" }) {
      print(context, await context.client.schedules.get(id));
    },
  }),
  defineCommand({
    name: "schedules runs",
    summary: "List the tasks of a schedule's runs",
    args: [SCHEDULE],
    options: { ...listOptions },
    examples: [["schedules runs schd_… -o wide", ""]],
    async run(context, { schedule: id = "" }, chosen) {
      const schedule = await context.client.schedules.get(id);
      await printList(context, chosen, (limit) => context.client.schedules.runs(schedule, { limit }), taskColumns, "runs");
    },
  }),
  defineCommand({
    name: "schedules update",
    summary: "Change a schedule's times, prompt or what a failure does",
    args: [SCHEDULE, { name: "prompt", summary: "a new prompt", optional: true, rest: true }],
    options: { cron: text("CRON", "new times"), timezone: text("ZONE", "of the cron expression", { short: "z" }), name: text("NAME", "a new name; empty removes it"), promptFile, timeout, retries, ...ruleOptions },
    examples: [["schedules update schd_… --cron '30 6 * * *'", ""]],
    async run(context, { schedule: id = "" }, options, given) {
      const { cron, timezone, name } = options;
      const words = given.length > 0 || options.promptFile !== undefined;
      const patch = {
        ...ruleOf(options), ...(cron !== undefined && { cron }), ...(timezone !== undefined && { timezone }), ...(name !== undefined && { name: name === "" ? null : name }),
        ...(options.timeout !== undefined && { timeout_seconds: options.timeout }), ...(options.retries !== undefined && { max_retries: options.retries }), ...(words && { prompt: await readPrompt(context.io, given, options.promptFile) }),
      };
      if (Object.keys(patch).length === 0) throw new UserError("Nothing to change", "give --cron, --timezone, a prompt or another option (--help lists them)");
      print(context, await context.client.schedules.update(id, patch));
    },
  }),
  simple("pause", "Pause schedules; a run that is under way goes on", (s) => `Paused ${s.id}.`),
  simple("resume", "Resume schedules that are paused or disabled", (s, next) => `Resumed ${s.id}: next run ${next ?? "never"}.`),
  defineCommand({
    name: "schedules trigger",
    summary: "Run a schedule now",
    args: [SCHEDULE],
    options: { follow: flag("follow the run; the exit code is its result", { short: "f" }) },
    examples: [["schedules trigger schd_… --follow", ""]],
    async run(context, { schedule: id = "" }, { follow }) {
      const task = await context.client.schedules.trigger(id);
      if (follow) return followTask(context, task, { yes: false, interactive: isInteractive(context) });
      if (context.out.quiet && !context.out.structured) context.out.line(task.id);
      else context.out.one(task, () => context.out.fields(taskFields(task, context.io.now())));
      return EXIT.ok;
    },
  }),
  defineCommand({
    name: "schedules delete",
    summary: "Delete schedules and terminate their sessions",
    args: [{ ...SCHEDULE, name: "schedules", rest: true }],
    options: { keepSession: flag("keep the sessions; they live on demand from then on") },
    examples: [["schedules delete schd_… --keep-session", ""]],
    async run(context, _args, { keepSession }, ids) {
      for (const id of ids) {
        const gone = await context.client.schedules.delete(id, { keep_session: keepSession });
        if (context.out.structured) context.out.record(gone);
        else context.out.note(`Deleted ${gone.id}; its session ${gone.session_id} is ${keepSession ? "kept" : "terminated"}.`);
      }
    },
  }),
];
