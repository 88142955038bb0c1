/** Owns what commands take from outside their options: prompts from files and stdin, the model's key from the environment. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { isLoopback } from "../config.ts";
import type { Context } from "../context.ts";
import { UserError, type Io } from "../io.ts";
import { text } from "../option.ts";

export const promptOptions = { promptFile: text("FILE", "read the prompt from a file; - is stdin") };

/** The prompt: words of the command line, or a file. */
export async function readPrompt(io: Io, given: readonly string[], promptFile: string | undefined): Promise<string> {
  const words = given.join(" ");
  if (promptFile === undefined) {
    if (words.trim() === "") throw new UserError("There is no prompt", 'give it in quotes, or with --prompt-file FILE (- is stdin)');
    return words;
  }
  if (words !== "") throw new UserError("Give the prompt or --prompt-file, not both");
  const prompt = promptFile === "-" ? await readAll(io) : readText(resolve(io.cwd, promptFile));
  if (prompt.trim() === "") throw new UserError(promptFile === "-" ? "stdin holds no prompt" : `${promptFile} is empty`);
  return prompt;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readAll(io: Io): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of io.stdin) chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : (chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}

export const modelKeyOptions = {   apiKeyEnv: text("NAME", "variable that holds the model provider's key; `none` gives none (default for claude: ANTHROPIC_API_KEY, codex: OPENAI_API_KEY, marco: by its model)") };

export const baseUrlOption = { baseUrl: text("URL", "where the key is valid, if not at the provider itself: https://openrouter.ai/api/v1, …") };

export const agentConfigOption = { agentConfig: text("NAME", "a config of the tenant with the model provider's key, instead of a key of one's own") };

const USUAL: Readonly<Record<string, string>> = { claude: "ANTHROPIC_API_KEY", codex: "OPENAI_API_KEY" };

/** The variable that usually holds the key of the agent's provider; marco's provider is chosen by its model. */
function usualKey(agent: string, model: string | undefined): string | undefined {
  return agent === "marco" ? ((model ?? "claude").startsWith("claude") ? "ANTHROPIC_API_KEY" : "OPENAI_API_KEY") : USUAL[agent];
}

/** The model provider's key for an agent, from the variable that was named or is usual for it; said on stderr where nobody named it. */
export function modelKey(context: Context, agent: string, named: string | undefined, model?: string): string | undefined {
  const { env } = context.io;
  if (named === "none") return undefined;
  if (named !== undefined) {
    if (named.startsWith("sk-")) throw new UserError("--api-key-env wants the name of a variable, not the key itself");
    const key = env[named];
    if (!key) throw new UserError(`The variable ${named} is not set`);
    warnOfPlainHttp(context);
    return key;
  }
  const usual = usualKey(agent, model);
  const key = usual && env[usual];
  if (!key) return undefined;
  context.out.note(`Using ${usual} of your environment as the agent's model key (--api-key-env none gives none).`);
  warnOfPlainHttp(context);
  return key;
}

function warnOfPlainHttp(context: Context): void {
  const { url } = context.endpoint;
  if (url.startsWith("http:") && !isLoopback(url)) context.out.note(`Warning: ${url} is not encrypted; the model key crosses the network in the clear.`);
}
