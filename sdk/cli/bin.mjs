#!/usr/bin/env node
/** Owns the command `mctl`: runs the bundle, and in a source tree builds it first where it is missing or older than its sources. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const sdk = join(dirname(fileURLToPath(import.meta.url)), "..");
const bundle = join(sdk, "dist", "mctl.mjs");

/** The newest change below the package's sources; 0 where there are none, as in the published package. */
function newest(dir) {
  let latest = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (["node_modules", "dist"].includes(entry.name) || entry.name.includes(".test.")) continue;
    const path = join(dir, entry.name);
    if (entry.isDirectory()) latest = Math.max(latest, newest(path));
    else if (/\.ts$|^package\.json$/.test(entry.name)) latest = Math.max(latest, statSync(path).mtimeMs);
  }
  return latest;
}

const inSources = existsSync(join(sdk, "cli", "main.ts"));
if (inSources && (!existsSync(bundle) || newest(sdk) > statSync(bundle).mtimeMs)) {
  const { buildCli } = await import("../build.mjs");
  await buildCli(bundle);
}
await import(bundle);
