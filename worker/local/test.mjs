/**
 * Owns `npm test`: installs what the tests need, checks types and style, runs all projects, and adds it all up in one last line.
 * `--install` stops after the first of these, `--checks` after the second; all other arguments go to vitest, and leave the checks out.
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { checkNode, install, installIn, NODE, ROOT } from "./install.mjs";

const SKIPPED = new Set(["node_modules", "dist", ".git", ".marionette", ".wrangler"]);
const totals = { passed: 0, failed: 0, skipped: 0 };

function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const path = `${dirname(NODE)}${delimiter}${process.env.PATH ?? ""}`;
    const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, PATH: path, ...env } });
    const pass = (signal) => child.kill(signal);
    const ended = (code) => {
      for (const signal of ["SIGINT", "SIGTERM"]) process.off(signal, pass);
      resolve(code);
    };
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, pass);
    child.once("error", (error) => {
      process.stderr.write(`${command}: ${error.message}\n`);
      ended(1);
    });
    child.once("exit", (code) => ended(code ?? 1));
  });
}

/** Each room is checked by itself, because the rooms run in different worlds. */
function rooms(dir = ROOT) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : rooms(join(dir, entry.name));
    return entry.name === "tsconfig.json" ? [relative(ROOT, dir)] : [];
  });
}

/** A check counts as one test. */
async function check(what, command, args) {
  process.stdout.write(`${what}\n`);
  totals[(await run(command, args)) === 0 ? "passed" : "failed"]++;
}

async function vitest(args) {
  const dir = mkdtempSync(join(tmpdir(), "marionette-results-"));
  const file = join(dir, "results.json");
  try {
    const code = await run("vitest", ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`, ...args]);
    const results = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
    totals.passed += results?.numPassedTests ?? 0;
    totals.failed += results?.numFailedTests ?? 0;
    totals.skipped += (results?.numPendingTests ?? 0) + (results?.numTodoTests ?? 0);
    // A file that does not load, or an error outside of any test, fails the run without failing a test.
    if (code !== 0 && !results?.numFailedTests) totals.failed++;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

checkNode();
try {
  await install({ dev: true });
  if (existsSync(join(ROOT, "test/clis/package-lock.json"))) await installIn("test/clis", "Installing the agents that the tests drive");
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}

const args = process.argv.slice(2);
if (args.includes("--install")) process.exit(0);
const only = args.includes("--checks");
if (args.length === 0 || only) {
  for (const room of rooms().sort()) await check(`types: ${room}`, "tsc", ["-p", room]);
  await check("lint", "oxlint", ["--type-aware"]);
}
if (!only) await vitest(args);
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
process.exit(totals.failed > 0 ? 1 : 0);
