/** Owns a scripted agent that speaks the Agent Client Protocol through the official library: a prompt's JSON line says what it does. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { agent, methods, ndJsonStream, PROTOCOL_VERSION, type AgentContext, type PermissionOption, type SessionUpdate, type StopReason } from "@agentclientprotocol/sdk";

export type AcpStep =
  | { say: string }
  | { think: string }
  | { plan: string[] }
  | { run: string; unasked?: true }
  | { edit: string; content: string; asking?: true }
  | { read: string }
  | { look: true }
  | { hang: true }
  | { die: true }
  | { print: string; times?: number };

const MARK = "acp-script:";

/** A prompt that makes the scripted agent take these steps. */
export function acpScript(steps: readonly AcpStep[]): string {
  return `Do as scripted.\n${MARK} ${JSON.stringify(steps)}`;
}

interface Turn {
  /** What it is shown: kind and length of each image. */
  images: string[];
  client: AgentContext;
  sessionId: string;
  canceled: Promise<void>;
  isCanceled: () => boolean;
}

let calls = 0;

async function take(step: AcpStep, { images, client, sessionId, canceled, isCanceled }: Turn): Promise<StopReason | undefined> {
  const tell = (update: SessionUpdate) => client.notify(methods.client.session.update, { sessionId, update });
  const ask = async (toolCallId: string) => {
    const options: PermissionOption[] = [
      { optionId: "yes", name: "Allow", kind: "allow_once" },
      { optionId: "no", name: "Reject", kind: "reject_once" },
    ];
    const { outcome } = await client.request(methods.client.session.requestPermission, { sessionId, toolCall: { toolCallId }, options });
    return outcome.outcome === "selected" && outcome.optionId === "yes";
  };
  if ("say" in step) {
    for (const text of step.say.match(/\s*\S+\s*/g) ?? []) await tell({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });
  } else if ("think" in step) {
    await tell({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: step.think } });
  } else if ("plan" in step) {
    await tell({ sessionUpdate: "plan", entries: step.plan.map((content, i) => ({ content, priority: "medium", status: i === 0 ? "in_progress" : "pending" })) });
  } else if ("run" in step) {
    const toolCallId = `call-${++calls}`;
    await tell({ sessionUpdate: "tool_call", toolCallId, title: `Run ${step.run}`, kind: "execute", status: "pending", rawInput: { command: ["/bin/sh", "-c", step.run] } });
    if (!step.unasked && !(await ask(toolCallId))) {
      await tell({ sessionUpdate: "tool_call_update", toolCallId, status: "failed", content: [{ type: "content", content: { type: "text", text: "rejected" } }] });
      return "cancelled";
    }
    const text = execFileSync("/bin/sh", ["-c", step.run], { encoding: "utf8" });
    await tell({ sessionUpdate: "tool_call_update", toolCallId, status: "completed", content: [{ type: "content", content: { type: "text", text } }] });
  } else if ("edit" in step) {
    const toolCallId = `call-${++calls}`;
    const diff = { type: "diff" as const, path: step.edit, oldText: null, newText: step.content };
    await tell({ sessionUpdate: "tool_call", toolCallId, title: `Write ${step.edit}`, kind: "edit", status: "pending", content: [diff], locations: [{ path: step.edit }] });
    if (step.asking && !(await ask(toolCallId))) return "cancelled";
    try {
      await client.request(methods.client.fs.writeTextFile, { sessionId, path: step.edit, content: step.content });
      await tell({ sessionUpdate: "tool_call_update", toolCallId, status: "completed" });
    } catch (error) {
      await tell({ sessionUpdate: "tool_call_update", toolCallId, status: "failed", content: [{ type: "content", content: { type: "text", text: String(error) } }] });
    }
  } else if ("read" in step) {
    const text = await client.request(methods.client.fs.readTextFile, { sessionId, path: step.read }).then(({ content }) => content, String);
    await tell({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: `read: ${text}` } });
  } else if ("look" in step) {
    await tell({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: `images: ${images.join(", ")}` } });
  } else if ("hang" in step) {
    await canceled;
  } else if ("die" in step) {
    process.kill(process.pid, "SIGKILL");
  } else {
    for (let i = 0; i < (step.times ?? 1); i++) process.stdout.write(step.print);
  }
  return isCanceled() ? "cancelled" : undefined;
}

function main(): void {
  const store = join(process.env["HOME"] ?? "/", "acp-agent");
  const fileOf = (sessionId: string) => join(store, `${sessionId}.json`);
  const historyOf = (sessionId: string) => (existsSync(fileOf(sessionId)) ? (JSON.parse(readFileSync(fileOf(sessionId), "utf8")) as string[]) : null);
  const cancels = new Map<string, () => void>();
  const app = agent({ name: "scripted" })
    .onRequest(methods.agent.initialize, () => ({ protocolVersion: PROTOCOL_VERSION, agentCapabilities: { loadSession: true, promptCapabilities: { image: true } } }))
    .onRequest(methods.agent.session.new, () => {
      mkdirSync(store, { recursive: true });
      const sessionId = `scripted-${process.pid}-${Date.now()}`;
      writeFileSync(fileOf(sessionId), "[]");
      return { sessionId };
    })
    .onRequest(methods.agent.session.load, async ({ params, client }) => {
      const history = historyOf(params.sessionId);
      if (history === null) throw new Error(`no session ${params.sessionId}`);
      for (const text of history) await client.notify(methods.client.session.update, { sessionId: params.sessionId, update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } });
      return {};
    })
    .onNotification(methods.agent.session.cancel, ({ params }) => cancels.get(params.sessionId)?.())
    .onRequest(methods.agent.session.prompt, async ({ params, client }) => {
      const { sessionId } = params;
      const text = params.prompt.map((block) => (block.type === "text" ? block.text : "")).join("");
      const images = params.prompt.flatMap((block) => (block.type === "image" ? [`${block.mimeType} ${block.data.length}`] : []));
      const history = [...(historyOf(sessionId) ?? []), text];
      writeFileSync(fileOf(sessionId), JSON.stringify(history));
      let isCanceled = false;
      const canceled = new Promise<void>((resolve) => cancels.set(sessionId, () => ((isCanceled = true), resolve())));
      const line = text.split("\n").find((one) => one.startsWith(MARK));
      const steps = line ? (JSON.parse(line.slice(MARK.length)) as AcpStep[]) : [{ say: `Heard ${history.length}: ${text}` }];
      for (const step of steps) {
        const stopReason = await take(step, { images, client, sessionId, canceled, isCanceled: () => isCanceled });
        if (stopReason) return { stopReason };
      }
      return { stopReason: "end_turn" as const };
    });
  const connection = app.connect(ndJsonStream(Writable.toWeb(process.stdout) as WritableStream<Uint8Array>, Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>));
  void connection.closed.then(() => process.exit(0));
}

if (import.meta.main) main();
