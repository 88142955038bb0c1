/** Owns one program as one task of a session: its output out of the task's log, its code out of the task's result. */

import * as z from "zod";
import { WorkspaceError, type ExecEnd } from "./contracts.ts";
import { task, type SessionApi } from "./session-api.ts";

const DEFAULT_SECONDS = 3_600;
const ASK_MS = 25;

export interface TaskProgram {
  argv: string[];
  cwd?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  stdin?: Uint8Array | undefined;
  timeout_ms: number | undefined;
  signal: AbortSignal | undefined;
}

const resultText = z.string().transform((text, context) => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    context.addIssue("not JSON");
    return z.NEVER;
  }
}).pipe(z.object({ code: z.number().int().nullable(), workspace: z.string(), error: z.string().optional() }));
const ENDED = new Set(["completed", "failed", "canceled", "timeout"]);

/** Runs it to its end. An abort or the limit cancels the task, which kills the program with all that it started. */
export async function runTask(api: SessionApi, sessionId: string, program: TaskProgram, take: (stream: "stdout" | "stderr", bytes: Uint8Array) => void): Promise<{ code: number | null; end: ExecEnd; root: string }> {
  const { argv, cwd = "", env = {}, stdin, timeout_ms: limit, signal } = program;
  if (signal?.aborted) return { code: null, end: "aborted", root: "" };
  const prompt = JSON.stringify({ argv, cwd, env, stdin: stdin === undefined ? null : Buffer.from(stdin).toString("base64") });
  const seconds = limit === undefined ? DEFAULT_SECONDS : Math.ceil(limit / 1_000) + 60;
  const { id } = await api.call("POST", `/sessions/${sessionId}/tasks`, task, { prompt, timeout_seconds: seconds });
  let end: ExecEnd = "exit";
  const cancel = (why: ExecEnd) => {
    if (end !== "exit") return;
    end = why;
    void api.call("POST", `/tasks/${id}/cancel`, z.unknown()).catch(() => {});
  };
  const aborted = () => cancel("aborted");
  const timer = limit === undefined ? undefined : setTimeout(() => cancel("timeout"), limit);
  signal?.addEventListener("abort", aborted, { once: true });
  if (signal?.aborted) aborted();
  try {
    for await (const text of api.output(id)) {
      const [, mark, base64 = ""] = /^\x1e([12]) ([A-Za-z0-9+/=]*)\s*$/.exec(text) ?? [];
      if (mark !== undefined) take(mark === "1" ? "stdout" : "stderr", Buffer.from(base64, "base64"));
    }
    for (;;) {
      const last = await api.call("GET", `/tasks/${id}`, task);
      if (!ENDED.has(last.status)) {
        await new Promise((resolve) => setTimeout(resolve, ASK_MS));
        continue;
      }
      const parsed = resultText.safeParse(last.result);
      if (end !== "exit") return { code: null, end, root: "" };
      if (last.status !== "completed" || !parsed.success) throw new WorkspaceError("unavailable", `the session could not run it: ${last.error?.message ?? `its task ended as ${last.status}, and its agent is not the shell of this provider`}`);
      return { code: parsed.data.code, end, root: parsed.data.workspace };
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", aborted);
  }
}
