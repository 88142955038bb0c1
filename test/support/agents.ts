/** Owns the agents that end-to-end tests register with a host: scripted ones in two protocols, broken ones, and where the real ones are. */

import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { stringify } from "yaml";
import { CLIS } from "./clis.ts";

/** One step of the `scripted` agent: its name and arguments, as `scripted-agent.ts` has them. */
export type Step = [string, ...unknown[]];

/** A prompt that makes the `scripted` agent take these steps. */
export function steps(...steps: Step[]): string {
  return `@@${JSON.stringify(steps)}@@`;
}

export interface RegisteredAgents {
  /** Arguments of a daemon that knows them. */
  args: string[];
  /** A directory with `claude` and `codex`, for a daemon's PATH. */
  path: string;
}

const SCRIPT = `#!/bin/sh
# Takes the task and tells what it was started with.
read -r task
printf '{"type":"message","text":"args %s; word %s; task %s"}\\n' "$*" "$WORD" "$(printf %s "$task" | grep -c '"type":"task"')"
printf '{"type":"result","text":"done"}\\n'
`;

/**
 * Builds and registers, in `dir`: `scripted` and `scripted-acp` (programs of this project), `shell` (a script of one's own with arguments and environment),
 * `absent` (no such program) and `broken` (a program that cannot be run). `more` is added to the top of marionette.yaml.
 */
export async function registerAgents(dir: string, more: object = {}): Promise<RegisteredAgents> {
  const programs = join(dir, "programs");
  const path = join(dir, "bin");
  await Promise.all([programs, path].map((each) => mkdir(each, { recursive: true, mode: 0o755 })));
  await build({
    entryPoints: ["scripted-agent", "acp-agent"].map((name) => join(import.meta.dirname, `${name}.ts`)),
    outdir: programs, outExtension: { ".js": ".mjs" }, bundle: true, platform: "node", format: "esm", target: "node24", logLevel: "silent",
  });
  await writeFile(join(programs, "shell-agent"), SCRIPT, { mode: 0o755 });
  await writeFile(join(programs, "broken-agent"), "\u007fELF is what it is not", { mode: 0o755 });
  // Whatever the umask says: the sandbox's user must reach them.
  await Promise.all([dir, programs, path, join(programs, "shell-agent"), join(programs, "broken-agent")].map((each) => chmod(each, 0o755)));
  await Promise.all((["claude", "codex"] as const).map((name) => symlink(CLIS[name], join(path, name))));
  const config = {
    agents: {
      custom: {
        scripted: { binary: process.execPath, args: [join(programs, "scripted-agent.mjs")] },
        "scripted-acp": { adapter: "acp", binary: process.execPath, args: [join(programs, "acp-agent.mjs")] },
        shell: { binary: join(programs, "shell-agent"), args: ["--one", "two words"], env: { WORD: "from the host's file" } },
        absent: { binary: "no-such-agent", how_to_get: "brew it yourself" },
        broken: { binary: join(programs, "broken-agent") },
      },
    },
    ...more,
  };
  const file = join(dir, "marionette.yaml");
  await writeFile(file, stringify(config));
  return { args: ["--config", file, "--max-runners", "64"], path };
}
