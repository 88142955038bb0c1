/** Owns where the real agents' command lines are for the tests, and what to say where they are not installed. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "../clis/node_modules");
const arch = process.arch === "arm64" ? "arm64" : "x64";

/** The native binaries, so that no install script and no wrapper is needed. */
export const CLIS = {
  claude: resolve(root, `@anthropic-ai/claude-code-linux-${arch}/claude`),
  codex: resolve(root, `@openai/codex-linux-${arch}/vendor/${arch === "x64" ? "x86_64" : "aarch64"}-unknown-linux-musl/bin/codex`),
  "codex-acp": resolve(root, "@agentclientprotocol/codex-acp/dist/index.js"),
} as const;

/** Null where it is installed, else the reason to skip with what to do. */
export function missingCli(name: keyof typeof CLIS): string | null {
  return existsSync(CLIS[name]) ? null : `${name} is not installed: run npm ci --prefix test/clis`;
}
