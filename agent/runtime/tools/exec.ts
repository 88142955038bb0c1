/** Owns the tools that run commands: `exec`, and `exec_output` and `exec_kill` for those that go on in the background. */

import * as z from "zod";
import type { AgentWorkspace, JobStatus } from "../sandbox/contracts.ts";
import { withoutHalf } from "../workspace-text.ts";
import { toolFromZod, type Tool, type ToolContext, type ToolResult } from "../tool.ts";
import { HeadTail } from "./bounded.ts";

const DEFAULT_SECONDS = 120;
const MAX_SECONDS = 3_600;
const JOB_PIECE = 30_000;
/** Characters shown while a command runs; who watches needs no more, and the log keeps all of it. */
const MAX_SHOWN = 200_000;
/** How long `exec_output` may wait for news, and how often it looks, in milliseconds. */
const MAX_WAIT_SECONDS = 60;
const LOOK_MS = 250;

export function execTools(workspace: AgentWorkspace): Tool[] {
  const exec = toolFromZod({
    name: "exec",
    description:
      `Runs a line of shell (bash where there is one) in the sandbox and answers with its output, both streams together, and its exit code. It begins in ${workspace.root} unless cwd says otherwise; each call is a shell of its own, so set variables and directories in the same line. ` +
      `Stdin is empty. Very long output is cut in its middle. After timeout_seconds (${DEFAULT_SECONDS} by default) the command is killed with everything it started. ` +
      (workspace.capabilities.jobs ? "For servers and long work set background: the call answers at once with a job id for exec_output and exec_kill." : ""),
    input: z.strictObject({
      command: z.string().min(1),
      cwd: z.string().max(4_096).optional().describe("A directory of the workspace"),
      timeout_seconds: z.number().min(1).max(MAX_SECONDS).optional(),
      ...(workspace.capabilities.jobs && { background: z.boolean().optional() }),
    }),
    async execute({ command, cwd, timeout_seconds: seconds = DEFAULT_SECONDS, ...rest }, context) {
      if ("background" in rest && rest.background === true) {
        const job = await workspace.startJob(command, { cwd });
        return `Started in the background as ${job.id}. Read what it says with exec_output.`;
      }
      return run(workspace, command, cwd, seconds, context);
    },
  });
  return workspace.capabilities.jobs ? [exec, outputTool(workspace), killTool(workspace)] : [exec];
}

/** Code 1 without a word on stderr is how programs say no: `grep` that finds nothing, `test`, `diff`. That is an answer, and no failure of the call. */
const NO = 1;

async function run(workspace: AgentWorkspace, command: string, cwd: string | undefined, seconds: number, context: ToolContext): Promise<ToolResult> {
  const output = new HeadTail();
  let complained = false;
  // A character may come in two pieces, so each stream has its own decoder.
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  const say = (text: string) => {
    if (text === "") return;
    const room = MAX_SHOWN - output.length;
    if (room > 0) context.progress(text.length < room ? text : `${text.slice(0, room).toWellFormed()}\n[more output is not shown while the command runs]\n`);
    output.push(text);
  };
  for await (const event of workspace.exec(command, { cwd, timeout_ms: seconds * 1_000, signal: context.signal })) {
    if (event.type === "output") {
      if (event.stream === "stderr") complained = true;
      say(decoders[event.stream].decode(event.bytes, { stream: true }));
      continue;
    }
    for (const decoder of Object.values(decoders)) say(decoder.decode());
    const how = event.end === "timeout" ? `killed after ${seconds} seconds; give it more time with timeout_seconds, or run it in the background` : event.end === "aborted" ? "canceled" : event.code === null ? "ended without a code" : `exit code ${event.code}`;
    const text = output.toString().trimEnd();
    return { content: event.code === 0 && text !== "" ? text : `${text}${text === "" ? "" : "\n"}[${text === "" ? "no output, " : ""}${how}]`, isError: event.end !== "exit" || (event.code !== 0 && (event.code !== NO || complained)) };
  }
  return { content: "[the sandbox did not tell the command's end]", isError: true };
}

function outputTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "exec_output",
    polling: true,
    description: "Reads what a background job has said, from an offset on (its first byte where absent), and says whether it still runs and where to read on. Without a job id, lists the jobs. wait_seconds waits for news or the job's end.",
    input: z.strictObject({ job_id: z.string().max(100).optional(), offset: z.number().int().min(0).optional(), wait_seconds: z.number().min(0).max(MAX_WAIT_SECONDS).optional() }),
    async execute({ job_id: id, offset = 0, wait_seconds: wait = 0 }, { signal }) {
      if (id === undefined) {
        const jobs = await workspace.jobs();
        return jobs.length === 0 ? "No background jobs." : jobs.map((job) => `${job.id}: ${state(job)}, ${job.size} bytes: ${job.command.slice(0, 200)}`).join("\n");
      }
      let read = await workspace.readJob(id, { offset, length: JOB_PIECE });
      for (let left = wait * 1_000; left > 0 && read.bytes.byteLength === 0 && read.state === "running" && !signal.aborted; left -= LOOK_MS) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(LOOK_MS, left)));
        read = await workspace.readJob(id, { offset, length: JOB_PIECE });
      }
      const goesOn = read.next_offset < read.size || read.state === "running";
      // A character that is not whole yet belongs to the next piece.
      const shown = goesOn ? withoutHalf(read.bytes) : read.bytes;
      const text = new TextDecoder().decode(shown);
      const next = offset + shown.byteLength;
      const more = next < read.size ? `; more from offset ${next}` : goesOn ? `; read on from offset ${next}` : "";
      return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}[${state(read)}${more}]`;
    },
  });
}

function killTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "exec_kill",
    description: "Kills a background job with everything it started.",
    input: z.strictObject({ job_id: z.string().max(100) }),
    async execute({ job_id: id }) {
      return `${id}: ${state(await workspace.killJob(id))}`;
    },
  });
}

function state({ state, exit_code: code }: JobStatus): string {
  return state === "running" ? "running" : state === "exited" ? `ended with exit code ${code ?? "?"}` : "ended, killed or lost with its sandbox";
}
