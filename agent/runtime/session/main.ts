/** Owns the agent `marco` as a program: one task of a session on its stdin, records on its stdout, every tool call asked about. */

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { createInterface } from "node:readline";
import { join } from "node:path";
import * as z from "zod";
import { createAgent } from "../agent.ts";
import { isFinal, type FinalEvent } from "../events.ts";
import type { Prompt } from "../history/messages.ts";
import type { CallAsked, Verdict } from "../hooks.ts";
import { createLocalSandboxProvider } from "../sandbox/local.ts";
import { createTavilySearch } from "../search/tavily.ts";
import { ConversationLog, openConversation } from "./conversations.ts";
import { gateInput, type Places } from "./gate-call.ts";
import { planTool } from "./plan.ts";
import { idOf, recordsOf, teller, type SessionRecord } from "./records.ts";
import { settingsOf } from "./settings.ts";

const line = z.discriminatedUnion("type", [
  z.object({ type: z.literal("task"), task_id: z.string(), prompt: z.string(), conversation: z.string().nullable(), notice: z.string().nullish(), workspace: z.string(), model: z.string().nullable(), attachments: z.array(z.object({ path: z.string(), media_type: z.string() })).default([]) }),
  z.object({ type: z.literal("permission_response"), id: z.string(), decision: z.enum(["approved", "denied"]), reason: z.string().nullable() }),
  z.object({ type: z.literal("interrupt") }),
]);
type Task = Extract<z.infer<typeof line>, { type: "task" }>;

const EXIT = { completed: 0, failed: 1, canceled: 130 } as const;
const IDENTITY = { id: "marco", displayName: "marco" } as const;

const canceled = new AbortController();
const asked = new Map<string, (verdict: Verdict) => void>();
let serial = 0;
/** Nothing is left but to say so. */
let over = false;

/** Resolves when there is room for more. */
function write(record: SessionRecord): Promise<void> | void {
  if (!process.stdout.write(`${JSON.stringify(record)}\n`)) return new Promise((resolve) => process.stdout.once("drain", resolve));
}

/** The gate's verdict. The call is told first, for its event may come later than the question. */
async function ask({ callId, tool, input, path, parents, signal }: CallAsked, places: Places): Promise<Verdict> {
  const id = `ask-${++serial}`;
  const place = { names: path, calls: parents };
  const answer = new Promise<Verdict>((resolve) => asked.set(id, resolve));
  signal.addEventListener("abort", () => asked.get(id)?.({ allow: false, reason: "the task is being ended" }), { once: true });
  for (const record of recordsOf({ type: "tool-call", callId, tool, input }, place)) await write(record);
  await write({ type: "permission_request", id, tool, input: gateInput(tool, input, places), call_id: idOf(callId, place) });
  const verdict = await answer;
  asked.delete(id);
  return verdict;
}

/** What the person said and showed. */
async function promptOf({ prompt, attachments }: Task): Promise<Prompt> {
  if (attachments.length === 0) return prompt;
  const images = await Promise.all(attachments.map(async ({ path, media_type }) => ({ type: "image" as const, mediaType: media_type, data: await readFile(path, "base64") })));
  return [...images, { type: "text", text: `<attached_images>\n${attachments.map(({ path }) => path).join("\n")}\n</attached_images>` }, { type: "text", text: prompt }];
}

async function work(task: Task): Promise<FinalEvent> {
  const home = homedir();
  const conversation = task.conversation ?? `marco-${task.task_id}`;
  const settings = settingsOf(process.env, task.model);
  const { history, open } = openConversation(home, conversation, task.task_id);
  const sandbox = createLocalSandboxProvider({ directory: join(home, ".marco", "computer"), workspace: task.workspace, env: settings.commands });
  const places: Places = { workspace: task.workspace, identity: join(home, ".marco", "computer", "session", "identity") };
  const tavily = process.env["TAVILY_API_KEY"];
  const { agent } = await createAgent({
    agent: IDENTITY, context: { agentId: IDENTITY.id, workspaceId: "session", source: "session" },
    sandbox, modelProvider: settings.providerFor(settings.model), model: settings.model, providerFor: settings.providerFor,
    budget: settings.budget, contextTokens: settings.contextTokens, maxOutputTokens: settings.maxOutputTokens, reasoning: settings.reasoning,
    // The workspace is somebody's project: nothing is put there unasked.
    seed: false,
    tools: [planTool((items) => void write({ type: "plan", items }))],
    ...(tavily && { search: createTavilySearch({ apiKey: tavily }) }),
    onToolCall: (call) => ask(call, places),
    history,
  });
  const log = new ConversationLog(home, conversation, task.task_id);
  const options = { signal: canceled.signal, ...(task.notice && { notice: task.notice }), record: (entry: Parameters<ConversationLog["record"]>[0]) => log.record(entry) };
  let end: FinalEvent | null = null;
  const tell = teller();
  for await (const event of open.length > 0 ? agent.resume(open, options) : agent.stream(await promptOf(task), options)) {
    for (const record of tell(event)) await write(record);
    if (isFinal(event)) end = event;
  }
  log.end({ completed: end?.type === "done" && end.reason === "completed" });
  over = true;
  if (end === null) throw new Error("the turn did not end");
  await write({ type: "result", text: end.type === "done" ? end.text : null, conversation });
  return end;
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (text) => {
  let parsed: z.ZodSafeParseResult<z.infer<typeof line>>;
  try {
    parsed = line.safeParse(JSON.parse(text));
  } catch {
    return;
  }
  if (!parsed.success) return void process.stderr.write(`a line on stdin is not understood: ${z.prettifyError(parsed.error)}\n`);
  const told = parsed.data;
  if (told.type === "interrupt") return canceled.abort();
  if (told.type === "permission_response") return asked.get(told.id)?.(told.decision === "approved" ? { allow: true } : { allow: false, reason: told.reason ?? "a person denied it" });
  work(told).then(
    (end) => leave(end.type === "error" ? (end.code === "aborted" ? EXIT.canceled : EXIT.failed) : end.reason === "completed" ? EXIT.completed : EXIT.failed),
    async (error: unknown) => {
      await write({ type: "error", message: error instanceof Error ? error.message : String(error) });
      leave(EXIT.failed);
    },
  );
});
// The runner is gone, and with it whoever could be asked or told: what runs ends here, and is taken up by the next attempt.
lines.on("close", () => {
  if (!over) process.exit(EXIT.failed);
});
process.on("SIGINT", () => canceled.abort());
// The sandbox is being suspended, or nobody waits any longer: the turn stays open, to be gone on with.
process.on("SIGTERM", () => process.exit(EXIT.failed));

/** Ends when all that was said is out; background jobs are the runner's to end. */
function leave(code: number): void {
  process.stdout.write("", () => process.exit(code));
}
