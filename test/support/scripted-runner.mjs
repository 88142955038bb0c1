/** Owns a runner for tests of providers and daemon: it does what the script in its runner.json says, and nothing else. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const spec = JSON.parse(readFileSync(process.argv[2], "utf8"));
let stdin = "";
for await (const chunk of process.stdin) stdin += chunk;
const AsyncFunction = (async () => {}).constructor;
const script = spec.script ?? spec.env?.SCRIPT ?? "await forever()";
await new AsyncFunction("require", "spec", "stdin", "forever", script)(createRequire(import.meta.url), spec, stdin, () => new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1)));
