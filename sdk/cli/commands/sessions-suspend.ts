/** Owns `mctl sessions suspend`, `resume`, `capsules` and `fork`. */

import { SUSPEND_STRATEGIES } from "../../protocol/suspend.ts";
import type { Session, SessionStatus } from "../../protocol/session.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT, UserError } from "../io.ts";
import { choice, flag, text } from "../option.ts";
import { oneLine } from "../output/terminal.ts";
import { capsuleColumns, capsuleFields, sessionFields } from "../output/views.ts";
import { modelKey, modelKeyOptions } from "./input.ts";
import { listOptions, printList } from "./listing.ts";

const SESSION = { name: "session", summary: "id of the session (sess_…)" } as const;

/** Follows the session until it has one of these states, or has ended; says on stderr what a resume waits for, and what it kept and lost. */
async function waitFor(context: Context, session: Session, wanted: readonly SessionStatus[]): Promise<Session> {
  const { sessions } = context.client;
  const after = session.last_seq;
  if (!wanted.includes(session.status)) {
    for await (const event of sessions.events(session.id, { after, follow: true, types: ["session.status"] })) {
      if (event.type !== "session.status") continue;
      const { status, reason } = event.data;
      if (wanted.includes(status) || status === "terminated") break;
      if (status === "resuming" && reason !== null && !context.out.structured) context.out.note(`Waits: ${oneLine(reason)}`);
    }
  }
  if (!context.out.structured) {
    for await (const event of sessions.events(session.id, { after, types: ["session.receipt"] })) if (event.type === "session.receipt") for (const line of event.data.text.split("\n")) context.out.note(line);
  }
  return sessions.get(session.id);
}

function printSession(context: Context, session: Session): void {
  if (context.out.quiet && !context.out.structured) context.out.line(session.id);
  else context.out.one(session, () => context.out.fields(sessionFields(session, context.io.now())));
}

/** `--at` as the API takes it: an event's number, a task or a capsule. */
function pointOf(at: string | undefined): { seq?: number; task_id?: string; capsule_id?: string } {
  if (at === undefined) return {};
  if (/^\d{1,15}$/.test(at)) return { seq: Number(at) };
  if (at.startsWith("task_")) return { task_id: at };
  if (at.startsWith("cap_")) return { capsule_id: at };
  throw new UserError(`--at is no point of a session: '${at}'`, "an event's number, a task (task_…) or a capsule (cap_…)");
}

export const sessionSuspendCommands = [
  defineCommand({
    name: "sessions suspend",
    summary: "Suspend a session; a task or an answer resumes it",
    args: [SESSION],
    options: { strategy: choice(SUSPEND_STRATEGIES, "what becomes of its runner (default: as the session or its provider says)"), reason: text("TEXT", "why, for the log"), wait: flag("until it is suspended") },
    examples: [
      ["sessions suspend sess_…", "as its provider is configured"],
      ["sessions suspend sess_… --strategy terminate_preserve_storage --wait", "gives its memory back and keeps its files"],
    ],
    async run(context, { session: id = "" }, { strategy, reason, wait }) {
      let session = await context.client.sessions.suspend(id, { strategy, reason });
      if (wait) session = await waitFor(context, session, ["suspended", "resuming", "active"]);
      printSession(context, session);
      return wait && session.status !== "suspended" ? EXIT.user : EXIT.ok;
    },
  }),
  defineCommand({
    name: "sessions resume",
    summary: "Resume a suspended session",
    description: "What was kept and what was lost is in the session's log as a receipt; with --wait it is shown.",
    args: [SESSION],
    options: {
      provider: text("NAME", "with this sandbox provider instead of its own"),
      selector: text("CONDITIONS", "on a host with these labels instead of its own"),
      capsule: text("CAPSULE", "go on from this capsule (cap_…) instead of the latest state"),
      wait: flag("until it is active"),
      ...modelKeyOptions,
    },
    examples: [
      ["sessions resume sess_… --wait", ""],
      ["sessions resume sess_… --capsule cap_…", "files and conversation as they were then"],
    ],
    async run(context, { session: id = "" }, { provider, selector, capsule, wait, apiKeyEnv }) {
      const api_key = apiKeyEnv ? modelKey(context, "", apiKeyEnv) : undefined;
      let session = await context.client.sessions.resume(id, { provider, selector, capsule_id: capsule, api_key });
      if (wait) session = await waitFor(context, session, ["active", "suspended"]);
      printSession(context, session);
      return wait && session.status !== "active" ? EXIT.user : EXIT.ok;
    },
  }),
  defineCommand({
    name: "sessions capsules",
    summary: "List the states that a session can be resumed or forked from",
    args: [SESSION],
    options: { ...listOptions },
    examples: [["sessions capsules sess_…", "one at every task's end and every suspension"]],
    async run(context, { session: id = "" }, chosen) {
      await printList(context, chosen, (limit) => context.client.sessions.capsules(id, { limit }), capsuleColumns, "capsules");
    },
  }),
  defineCommand({
    name: "sessions capsules create",
    summary: "Keep the session's state now, to resume or fork from it",
    description: "Takes a capsule of the files and the conversation as they are; what runs goes on. Waits until it is kept.",
    args: [SESSION],
    options: {},
    examples: [["sessions capsules create sess_…", "before something that may go wrong; `sessions fork --at cap_…` goes on from it"]],
    async run(context, { session: id = "" }) {
      const { sessions } = context.client;
      const asked = await sessions.takeCapsule(id);
      for await (const { type, data } of sessions.events(id, { after: asked.seq, follow: true, types: ["workspace.synced", "workspace.sync_failed"] })) {
        if ((type !== "workspace.synced" && type !== "workspace.sync_failed") || data.capsule_id !== asked.id) continue;
        if (type === "workspace.sync_failed") throw new UserError(`The capsule could not be taken: ${data.error.message}`);
        const capsule = await sessions.getCapsule(id, asked.id);
        if (capsule.torn) context.out.note("Files changed while they were read: it may hold some of before and some of after.");
        if (context.out.quiet && !context.out.structured) context.out.line(capsule.id);
        else context.out.one(capsule, () => context.out.fields(capsuleFields(capsule)));
        return EXIT.ok;
      }
      throw new UserError("The session ended before the capsule was kept");
    },
  }),
  defineCommand({
    name: "sessions fork",
    summary: "Make a new session from a point of this one",
    description: "The new session has a workspace of its own with the files, and the conversation, as of that point. The session itself is left as it is.",
    args: [SESSION],
    options: { at: text("POINT", "an event's number, a task or a capsule (default: the latest state)"), name: text("NAME", "a name for the new session"), ...modelKeyOptions },
    examples: [
      ["sessions fork sess_… --at task_…", "as it was when that task ended"],
      ["sessions fork sess_… --at 1042 --name retry", "as of that event"],
    ],
    async run(context, { session: id = "" }, { at, name, apiKeyEnv }) {
      printSession(context, await context.client.sessions.fork(id, { ...pointOf(at), name, api_key: apiKeyEnv ? modelKey(context, "", apiKeyEnv) : undefined }));
    },
  }),
];
