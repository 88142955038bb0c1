/** Owns the configuration that Codex runs under: written afresh for each task, so that nothing in it comes from an earlier one. */

import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AdapterContext } from "./adapter.ts";
import { bringsOwn, gatewayEnvironment } from "./gateway-environment.ts";

/** What Codex itself reads of a project's instructions at most, in bytes. */
const MAX_INSTRUCTIONS = 32 * 1024;
const OPENAI = "https://api.openai.com/v1";

export interface CodexHome {
  /** CODEX_HOME */
  path: string;
  /** Whether Codex has any way to authenticate. */
  hasKey: boolean;
  /** Text of the project's AGENTS.md. */
  instructions: string | null;
}

/**
 * Prepares CODEX_HOME under the agent's home. Conversations and a login there stay; settings, hooks and allow-rules do not.
 * Tools that do not ask for approval are switched off. The workspace is named as not trusted: opening a thread there would
 * otherwise make it trusted, and its own settings could then start servers and allow commands past the gate. Codex leaves
 * out AGENTS.md together with them, so that comes back as instructions.
 */
export async function prepareCodexHome(context: Pick<AdapterContext, "home" | "workspace" | "env" | "gateway" | "model">): Promise<CodexHome> {
  const path = join(context.home, ".codex");
  await mkdir(path, { recursive: true, mode: 0o700 });
  for (const name of ["rules", "hooks.json", "requirements.toml"]) await rm(join(path, name), { recursive: true, force: true });
  const { env, gateway } = context;
  const ownKey = env["OPENAI_API_KEY"] !== undefined;
  const through = bringsOwn("openai", env) ? undefined : gatewayEnvironment(gateway, env)["OPENAI_BASE_URL"];
  const base = env["OPENAI_BASE_URL"] ?? (ownKey ? OPENAI : through);
  await writeFile(join(path, "config.toml"), configToml({ workspace: context.workspace, model: context.model, base, ownKey: ownKey || through !== undefined }), { mode: 0o600 });
  return { path, hasKey: base !== undefined || existsSync(join(path, "auth.json")), instructions: await instructionsOf(context.workspace) };
}

/** The text of `config.toml`. */
export function configToml({ workspace, model, base, ownKey }: { workspace: string; model: string | null; base: string | undefined; ownKey: boolean }): string {
  // A TOML basic string takes JSON's escapes.
  const quote = (text: string) => JSON.stringify(text);
  const provider = base === undefined ? [] : [`[model_providers.marionette]`, `name = "marionette"`, `base_url = ${quote(base)}`, `wire_api = "responses"`, ...(ownKey ? [`env_key = "OPENAI_API_KEY"`] : [])];
  return [
    ...(base === undefined ? [] : [`model_provider = "marionette"`]),
    ...(model === null ? [] : [`model = ${quote(model)}`]),
    `web_search = "disabled"`,
    `check_for_update_on_startup = false`,
    `[agents]`,
    `enabled = false`,
    `[analytics]`,
    `enabled = false`,
    `[features]`,
    ...["hooks", "apps", "plugins", "view_image", "image_generation", "goals"].map((feature) => `${feature} = false`),
    `[projects.${quote(workspace)}]`,
    `trust_level = "untrusted"`,
    ...provider,
    "",
  ].join("\n");
}

async function instructionsOf(workspace: string): Promise<string | null> {
  try {
    const text = (await readFile(join(workspace, "AGENTS.md"))).subarray(0, MAX_INSTRUCTIONS).toString("utf8");
    return text.trim() === "" ? null : `# AGENTS.md instructions of this project\n\n<INSTRUCTIONS>\n${text}\n</INSTRUCTIONS>`;
  } catch {
    return null;
  }
}
