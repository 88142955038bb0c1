/** Owns answering the permission requests of all sessions at the prompt, one after the other. */

import type { Context } from "../context.ts";
import { EXIT } from "../io.ts";
import { oneLine } from "../output/terminal.ts";
import { answer, ask, type Question } from "./ask.ts";
import { LineReader } from "./lines.ts";

/** Asks until Ctrl-C or the end of input; the exit code. Requests that somebody else answers disappear. */
export async function watchPermissions(context: Context, session: string | undefined): Promise<number> {
  const { client, io, out } = context;
  const stop = new AbortController();
  const release = io.onInterrupt(() => stop.abort(new Error("interrupted")));
  const lines = new LineReader(io.stdin);
  const queue = new Map<string, { question: Question; session: string }>();
  let asked: { id: string; abort: AbortController } | null = null;
  let wake: (() => void) | null = null;
  let failure: unknown = null;

  const add = (question: Question, from: string): void => {
    if (session !== undefined && from !== session) return;
    if (asked?.id !== question.permission_id) queue.set(question.permission_id, { question, session: from });
    wake?.();
  };
  const remove = (id: string): void => {
    queue.delete(id);
    if (asked?.id === id) asked.abort.abort();
  };
  const fail = (error: unknown): void => {
    if (!stop.signal.aborted) failure = error;
    stop.abort(error);
  };
  // Listed once the stream is open, and again after each cut: whatever was asked before is in one or the other.
  const listOpen = async (): Promise<void> => {
    for await (const open of client.permissions.list({ status: "pending", session_id: session, limit: 200 }, { signal: stop.signal })) add({ ...open, permission_id: open.id }, open.session_id);
  };
  const follow = async (): Promise<void> => {
    const events = client.events.follow(
      { types: ["permission.requested", "permission.answered", "permission.withdrawn"] },
      { signal: stop.signal, on_open: () => void listOpen().catch(fail), on_reconnect: () => out.debug("reconnecting") },
    );
    for await (const event of events) {
      if (event.type === "permission.requested") add(event.data, event.session_id);
      else if (event.type === "permission.answered" || event.type === "permission.withdrawn") remove(event.data.permission_id);
    }
  };

  out.note("Waiting for permission requests (Ctrl-C ends) …");
  const following = follow().catch(fail);
  stop.signal.addEventListener("abort", () => {
    asked?.abort.abort();
    wake?.();
  });
  try {
    while (!stop.signal.aborted && !lines.ended) {
      const next = queue.values().next().value;
      if (!next) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const id = next.question.permission_id;
      queue.delete(id);
      asked = { id, abort: new AbortController() };
      out.err(`${out.paintErr("dim", `${id} of ${oneLine(next.session)}`)}\n`);
      const given = await ask(next.question, lines, (text) => out.err(text), out.paintErr, asked.abort.signal);
      if (given === null) out.err(stop.signal.aborted || lines.ended ? "\n" : "\n  no longer open\n");
      else {
        const decided = await answer(client, id, given, stop.signal);
        if (decided) out.note(`  ${decided}`);
      }
      asked = null;
    }
    if (failure) throw failure;
    return stop.signal.aborted ? EXIT.interrupted : EXIT.ok;
  } finally {
    stop.abort(new Error("done"));
    await following;
    lines.close();
    release();
  }
}
