/** Owns the runner's process: its spec in, its signals, its exit code. */

import { readFileSync } from "node:fs";
import { directoryFault } from "./directory.ts";
import { createRunner } from "./runner.ts";
import { EXIT, runnerSpec, type RunnerSpec } from "./spec.ts";


function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`);
}

function die(code: number, why: string): never {
  log(why);
  process.exit(code);
}

/** Started without anything to do, it loads all that it may ever need: so the compile cache that a host fills once covers what is loaded late. */
async function loadAll(): Promise<never> {
  const { ADAPTER_NAMES, loadAdapter } = await import("../adapters/registry.ts");
  await Promise.allSettled([import("./service.ts"), import("./journal-read.ts"), ...ADAPTER_NAMES.map(loadAdapter)]);
  return die(EXIT.bad_spec, "usage: runner.js RUNNER.JSON");
}

function readSpec(path: string): RunnerSpec {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    return die(EXIT.bad_spec, `${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = runnerSpec.strict().safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => (issue.code === "unrecognized_keys" ? `${issue.keys.join(", ")}: unknown field` : `${issue.path.join(".")}: ${issue.message}`));
  return die(EXIT.bad_spec, `${path} is not valid: ${fields.join("; ")}`);
}

const [, , path] = process.argv;
const spec = path === undefined ? await loadAll() : readSpec(path);
const fault = directoryFault(spec);
if (fault !== null) die(EXIT.wrong_directory, fault);
const runner = await createRunner({ spec, log });
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => runner.stop("the host stops the runner"));
// Sent to a stopped process by the system, and to a thawed container by its host.
process.on("SIGCONT", () => runner.woken());
const end = await runner.ended;
log(`the runner ends: ${end.reason}`);
process.exit(end.kind === "stopped" ? EXIT.stopped : end.kind === "stale" ? EXIT.stale : end.kind === "version" ? EXIT.bad_spec : 1);
