/** Owns `mctl tasks`. */

import { EVENT_TYPES } from "../../protocol/event.ts";
import { taskStatus, type Task } from "../../protocol/task.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { followTask } from "../follow/task.ts";
import { EXIT } from "../io.ts";
import { choice, duration, flag, needed, pairs, text, whole, words } from "../option.ts";
import { runColumns, taskColumns, taskFields } from "../output/views.ts";
import { imageOption, readImages, sendImages } from "./images.ts";
import { promptOptions, readPrompt } from "./input.ts";
import { listOptions, printList } from "./listing.ts";
import { printLog } from "./log.ts";

const TASK = { name: "task", summary: "id of the task (task_…)" } as const;

/** Options that `tasks create` and `run` share. */
export const taskOptions = {
  ...promptOptions,
  timeout: duration("end the task after this time, such as 90s or 2h (default 1h)"),
  retries: whole("N", "attempts after the first, with growing pauses (default 0)"),
  continueFrom: text("TASK", "continue the conversation as it stood after this task"),
};

/** Exit code that a task's end stands for. */
function exitOf(task: Task): number {
  return task.status === "completed" ? EXIT.ok : EXIT.user;
}

function printTask(context: Context, task: Task): void {
  if (context.out.quiet && !context.out.structured) context.out.line(task.id);
  else context.out.one(task, () => context.out.fields(taskFields(task, context.io.now())));
}

/** True where a person sits at the terminal who can be asked. */
export function isInteractive(context: Context): boolean {
  return context.io.stdin.isTTY === true && context.io.stderr.isTTY === true;
}

const simple = (verb: "cancel" | "retry" | "execute", summary: string, done: string) =>
  defineCommand({
    name: `tasks ${verb}`,
    summary,
    args: [TASK],
    options: {},
    examples: [[`tasks ${verb} task_…`, ""]],
    async run(context, { task: id = "" }) {
      const task = await context.client.tasks[verb](id);
      if (context.out.structured) context.out.one(task, () => []);
      else context.out.note(`${done} ${task.id} (${task.status}).`);
    },
  });

export const taskCommands = [
  defineCommand({
    name: "tasks create",
    summary: "Give a session a prompt",
    args: [{ name: "prompt", summary: "the prompt", optional: true, rest: true }],
    options: {
      session: needed("SESSION", "id of the session (sess_…)", { short: "s" }),
      ...taskOptions,
      ...imageOption,
      label: pairs("label of the task (repeatable)"),
      follow: flag("follow it live, answer what it asks, exit with its result", { short: "f" }),
      wait: flag("wait for its end, exit with its result"),
      yes: flag("with --follow: approve everything that it asks", { short: "y" }),
    },
    examples: [
      ['tasks create --session sess_… "Fix the failing test" --follow', "watch it"],
      ["tasks create --session sess_… --prompt-file - --wait -o json < prompt.md", "for a script"],
    ],
    async run(context, _, { session, promptFile, timeout, retries, continueFrom, image, label, follow, wait, yes }, given) {
      const prompt = await readPrompt(context.io, given, promptFile);
      const attachments = await sendImages(context, session, await readImages(context, image));
      const task = await context.client.tasks.create(session, { prompt, attachments, timeout_seconds: timeout, max_retries: retries, continue_from: continueFrom, labels: label });
      if (follow) return followTask(context, task, { yes, interactive: isInteractive(context) && promptFile !== "-" });
      if (!wait) return printTask(context, task);
      context.out.note(`Waiting for ${task.id} …`);
      const ended = await context.client.tasks.wait(task.id);
      printTask(context, ended);
      return exitOf(ended);
    },
  }),
  defineCommand({
    name: "tasks list",
    summary: "List tasks, newest first",
    options: { session: text("SESSION", "only of this session", { short: "s" }), status: choice(taskStatus.options, "only in this state"), label: pairs("only with this label (repeatable)"), ...listOptions },
    examples: [["tasks list --session sess_… --status failed", ""]],
    async run(context, _, { session, status, label, ...chosen }) {
      await printList(context, chosen, (limit) => context.client.tasks.list({ session_id: session, status, labels: label, limit }), taskColumns, "tasks");
    },
  }),
  defineCommand({
    name: "tasks get",
    summary: "Show one task",
    args: [TASK],
    options: {},
    examples: [["tasks get task_… -o json", ""]],
    async run(context, { task: id = "" }) {
      const task = await context.client.tasks.get(id);
      context.out.one(task, () => context.out.fields(taskFields(task, context.io.now())));
    },
  }),
  defineCommand({
    name: "tasks logs",
    summary: "Show what a task did",
    args: [TASK],
    options: {
      follow: flag("go on with what comes, until the task ends", { short: "f" }),
      tail: whole("N", "only the last N events"),
      after: whole("SEQ", "only events with a greater number"),
      types: words(EVENT_TYPES, "TYPES", "only these types, separated by commas"),
      stream: words(["stdout", "stderr", "system"], "STREAMS", "of the log, only stdout, stderr or system"),
      raw: flag("with the agent's own records (json and yaml)"),
    },
    examples: [
      ["tasks logs --follow task_…", "watch it"],
      ["tasks logs task_… --tail 20", "how it ended"],
      ["tasks logs task_… --types tool.call -o json", "JSON lines of what it ran"],
    ],
    async run(context, { task: id = "" }, params) {
      await printLog(context, context.client.tasks.logs(id, params));
    },
  }),
  defineCommand({
    name: "tasks wait",
    summary: "Wait for a task's end and exit with its result",
    args: [TASK],
    options: { timeout: duration("give up after this time") },
    examples: [["tasks wait task_… && echo done", "0 completed, 1 anything else"]],
    async run(context, { task: id = "" }, { timeout }) {
      const task = await context.client.tasks.wait(id, timeout === undefined ? {} : { signal: AbortSignal.timeout(timeout * 1_000) });
      printTask(context, task);
      return exitOf(task);
    },
  }),
  defineCommand({
    name: "tasks runs",
    summary: "List the attempts at a task",
    args: [TASK],
    options: {},
    examples: [["tasks runs task_…", ""]],
    async run(context, { task: id = "" }) {
      await printList(context, { limit: undefined, all: true }, () => context.client.tasks.runs(id), runColumns, "runs");
    },
  }),
  simple("cancel", "Stop a task", "Canceling"),
  simple("retry", "Try a task that ended badly again", "Queued again:"),
  simple("execute", "Start a waiting task without its pause", "Starting"),
];
