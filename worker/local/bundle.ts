/** Owns the bundles that one machine runs: the worker with its dashboard, and a host's programs. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";
import { dashboardModule } from "./ui.ts";

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
    // As in wrangler.toml: the S3 client's reader of XML for browsers wants a DOMParser, which workerd has not; its other one wants nothing.
    alias: { "#dashboard": await dashboardModule(), "@aws-sdk/xml-builder": "@aws-sdk/xml-builder/dist-cjs/index.js" },
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
    // Native parts of dockerode's ssh2, which does without them.
    external: ["cpu-features", "*.node"],
    banner: { js: banner },
  });
}

/** Program of a host → its source. The daemon looks for the others beside itself. */
const PROGRAMS = { "marionette-agent.js": "agent/main.ts", "runner.js": "agent/runner/main.ts", "workspace.js": "agent/workspace/worker.ts", "example.js": "agent/runner/example.ts", "marco.js": "agent/runtime/session/main.ts" };

/** Builds a host's programs into `dir` for the Node that runs this, and answers the daemon's path. */
export async function bundleAgent(dir: string): Promise<string> {
  const target = `node${process.versions.node.split(".")[0]}`;
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "package.json"), '{ "type": "module" }\n');
  await Promise.all(Object.entries(PROGRAMS).map(([name, entry]) => bundleNode(entry, join(dir, name), target)));
  return join(dir, "marionette-agent.js");
}
