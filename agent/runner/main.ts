/** Owns the runner's process: its spec and secrets in, its signals, its exit code. */

import { readFileSync } from "node:fs";
import * as z from "zod";
import { createRunner, type RunnerSecrets } from "./runner.ts";
import { EXIT, runnerSpec, type RunnerSpec } from "./spec.ts";

/** The daemon writes the secrets before anything else; one that does not is not waited for. */
const SECRETS_MS = 2_000;
const MAX_SECRETS_CHARS = 64 * 1024;
const secrets = z.object({ api_key: z.string().max(4_096).optional() });

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

/** One JSON line on stdin. Absent, late or empty is none; a malformed one is none and said so, without its contents. */
function readSecrets(): Promise<RunnerSecrets> {
  return new Promise((resolve) => {
    let text = "";
    const done = () => {
      clearTimeout(timer);
      process.stdin.removeAllListeners();
      process.stdin.destroy();
      const [line = ""] = text.split("\n", 1);
      text = "";
      if (line.trim() === "") return resolve({});
      try {
        resolve(secrets.parse(JSON.parse(line)));
      } catch {
        log("the line of secrets on stdin is not valid and was ignored");
        resolve({});
      }
    };
    const timer = setTimeout(done, SECRETS_MS);
    process.stdin.setEncoding("utf8");
    process.stdin.on("data", (chunk: string) => {
      text += chunk;
      if (text.includes("\n") || text.length > MAX_SECRETS_CHARS) done();
    });
    process.stdin.once("end", done);
    process.stdin.once("error", done);
  });
}

const [, , path] = process.argv;
const spec = path === undefined ? await loadAll() : readSpec(path);
const runner = await createRunner({ spec, secrets: await readSecrets(), log });
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => runner.stop("the host stops the runner"));
// Sent to a stopped process by the system, and to a thawed container by its host.
process.on("SIGCONT", () => runner.woken());
const end = await runner.ended;
log(`the runner ends: ${end.reason}`);
process.exit(end.kind === "stopped" ? EXIT.stopped : end.kind === "stale" ? EXIT.stale : end.kind === "version" ? EXIT.bad_spec : 1);
