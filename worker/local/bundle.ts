/** Owns the bundles that one machine runs: the worker, the host's daemon and runner, and mctl. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";

export const ROOT = join(import.meta.dirname, "../..");

const settings: BuildOptions = { bundle: true, format: "esm", logLevel: "silent", legalComments: "none", absWorkingDir: ROOT };

/** The worker as one ES module, for workerd. */
export async function bundleWorker(): Promise<string> {
  const result = await build({
    ...settings,
    entryPoints: ["worker/index.ts"],
    write: false,
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".html": "text", ".svg": "text", ".sql": "text" },
  });
  const output = result.outputFiles?.[0];
  if (!output) throw new Error("esbuild gave no worker");
  return output.text;
}

/** A Node program as one file. CommonJS packages inside call `require`, which an ES module has to be given. */
async function bundleNode(entry: string, outfile: string, target: string): Promise<void> {
  const banner = `import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);`;
  await build({
    ...settings,
    entryPoints: [entry],
    outfile,
    platform: "node",
    target,
    sourcemap: "linked",
    // Native parts of dockerode's ssh2, which does without them.
    external: ["cpu-features", "*.node"],
    banner: { js: banner },
  });
}

export interface AgentBundle {
  daemon: string;
  runner: string;
}

/** Builds the host's two programs, daemon and runner, into `dir`, for the Node that runs this. */
export async function bundleAgent(dir: string): Promise<AgentBundle> {
  const bundle = { daemon: join(dir, "marionette-agent.mjs"), runner: join(dir, "runner.mjs") };
  const target = `node${process.versions.node.split(".")[0]}`;
  await Promise.all([bundleNode("agent/main.ts", bundle.daemon, target), bundleNode("agent/runner/main.ts", bundle.runner, target)]);
  return bundle;
}

export const MCTL = join(ROOT, "sdk/dist/mctl.mjs");

/** Builds mctl for any Node from 20 on; `npx mctl` runs it. */
export async function bundleMctl(): Promise<string> {
  await bundleNode("sdk/cli/main.ts", MCTL, "node20");
  return MCTL;
}

/** Whether every source that the bundles start from is here. */
export function missingEntries(): string[] {
  return ["worker/index.ts", "agent/main.ts", "agent/runner/main.ts", "sdk/cli/main.ts"].filter((entry) => !existsSync(join(ROOT, entry)));
}
