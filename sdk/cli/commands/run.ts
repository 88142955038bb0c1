/** Owns `mctl run`: from a prompt to its result in one command. */

import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { followTask } from "../follow/task.ts";
import { EXIT, UserError } from "../io.ts";
import { flag, text } from "../option.ts";
import { directoryOf } from "./directories.ts";
import { imageOption, readImages, sendImages } from "./images.ts";
import { modelKey, readPrompt } from "./input.ts";
import { sessionOptions } from "./sessions.ts";
import { isInteractive, taskOptions } from "./tasks.ts";
import type { Session } from "../../protocol/index.ts";
import { budgetOf } from "./usage.ts";

const { promptFile, timeout, retries } = taskOptions;

export const runCommand = defineCommand({
  name: "run",
  summary: "Give an agent a prompt, follow it live, exit with its result",
  description:
    "Creates a session, gives it the prompt and shows what happens. What the agent says goes to stdout, everything else to stderr. " +
    "Where it asks for permission, answer at the prompt; without a terminal the request's id is printed and the task waits for somebody's answer. " +
    "Ctrl-C cancels the task, a second Ctrl-C leaves it running. Exits with 0 if the task completed, 1 if not, 130 after Ctrl-C.",
  args: [{ name: "prompt", summary: "the prompt, in quotes", optional: true, rest: true }],
  options: {
    agent: text("AGENT", "claude, codex, marco, example or a custom agent's name (default claude)", { short: "a" }),
    session: text("SESSION", "go on in this session instead of a new one", { short: "s" }),
    ...sessionOptions,
    promptFile,
    ...imageOption,
    timeout,
    retries,
    yes: flag("approve everything that it asks", { short: "y" }),
    rm: flag("end the session afterwards (else it is kept, to be continued)"),
  },
  examples: [
    ['run "Add a health endpoint with a test" --agent claude', "with ANTHROPIC_API_KEY of the environment"],
    ['run --session sess_… "And document it"', "goes on in the same conversation"],
    ['run --agent marco --model deepseek/deepseek-chat --base-url https://openrouter.ai/api/v1 "Fix the tests"', "any model, with OPENAI_API_KEY of the environment"],
    ['run "Why does it look like this?" --image shot.png', "the agent sees the image"],
    ['run --dir . "Fix the tests"', "in this directory, where this machine is the host and opens it"],
    ["run --agent codex --prompt-file - --yes --rm -o json < prompt.md", "for a script: events as JSON lines"],
    ['run --agent example "try it"', "needs no model key"],
  ],
  async run(context, _, options, given) {
    const { client, io, out } = context;
    const prompt = await readPrompt(io, given, options.promptFile);
    const images = await readImages(context, options.image);
    const early = new AbortController();
    const release = io.onInterrupt(() => early.abort(new Error("interrupted")));
    let session: Session;
    let following: Promise<number>;
    try {
      session = options.session ? await reuse(context, options.session, options, early.signal) : await create(context, options, early.signal);
      const attachments = await sendImages(context, session.id, images, early.signal);
      const task = await client.tasks.create(session.id, { prompt, attachments, timeout_seconds: options.timeout, max_retries: options.retries, labels: options.label }, { signal: early.signal });
      out.debug(`task ${task.id}`);
      following = followTask(context, task, { yes: options.yes, interactive: isInteractive(context) && options.promptFile !== "-" });
    } catch (error) {
      if (early.signal.aborted) return EXIT.interrupted;
      throw error;
    } finally {
      release();
    }
    const code = await following;
    if (options.rm && code !== EXIT.interrupted) await client.sessions.terminate(session.id);
    else out.note(out.paintErr("dim", `Session ${session.id} is kept; go on with: mctl run --session ${session.id} "…"`));
    return code;
  },
});

interface Chosen {
  agent: string | undefined;
  name: string | undefined;
  label: Record<string, string> | undefined;
  model: string | undefined;
  apiKeyEnv: string | undefined;
  baseUrl: string | undefined;
  agentConfig: string | undefined;
  maxCost: string | undefined;
  maxTokens: string | undefined;
  env: Record<string, string> | undefined;
  pool: string | undefined;
  provider: string | undefined;
  selector: string | undefined;
  dir: string | undefined;
  editMode: "off" | "turn" | "session" | undefined;
}

async function create(context: Context, chosen: Chosen, signal: AbortSignal): Promise<Session> {
  const agent = chosen.agent ?? "claude";
  const session = await context.client.sessions.create(
    {
      agent, name: chosen.name, model: chosen.model, pool: chosen.pool, provider: chosen.provider, selector: chosen.selector, env: chosen.env,
      labels: chosen.label, edit_mode: chosen.editMode, api_key: chosen.agentConfig ? undefined : modelKey(context, agent, chosen.apiKeyEnv, chosen.model), base_url: chosen.baseUrl,
      agent_config: chosen.agentConfig, budget: budgetOf(chosen), directory: await directoryOf(context, chosen.dir),
    },
    { signal },
  );
  context.out.note(context.out.paintErr("dim", `Session ${session.id} (${agent})`));
  return session;
}

async function reuse(context: Context, id: string, chosen: Chosen, signal: AbortSignal): Promise<Session> {
  const fixed = (["agent", "name", "model", "baseUrl", "env", "pool", "provider", "selector", "dir"] as const).filter((option) => chosen[option] !== undefined);
  if (fixed.length > 0) throw new UserError(`--${fixed[0] === "baseUrl" ? "base-url" : fixed[0]} belongs to a new session; ${id} has its own`, "leave it out, or leave --session out");
  const patch = { ...(chosen.editMode && { edit_mode: chosen.editMode }), ...(chosen.apiKeyEnv && { api_key: modelKey(context, "", chosen.apiKeyEnv) }) };
  return Object.keys(patch).length > 0 ? context.client.sessions.update(id, patch, { signal }) : context.client.sessions.get(id, { signal });
}
