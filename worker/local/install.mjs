/** Owns installing what a command needs before anything of ours can run: plain JavaScript without dependencies, for any Node from 20 on. */

import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** The Node that everything runs on, whichever started this. */
export const NODE = join(ROOT, "node_modules/.bin/node");
const OLDEST_NODE = 20;

/** Ends the process in words where this Node is too old to go on. */
export function checkNode() {
  if (Number(process.versions.node.split(".")[0]) >= OLDEST_NODE) return;
  process.stderr.write(`Marionette needs Node ${OLDEST_NODE} or newer to start; this is ${process.version} (${process.execPath}). Get it from https://nodejs.org\n`);
  process.exit(1);
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages ?? {};
  } catch {
    return null;
  }
}

/**
 * Compares what is installed in `dir` with its lock: `fits`, or which kind of install it needs. Platform-dependent (optional) packages are left to npm.
 * @param {string} dir
 * @param {{ dev: boolean }} wanted whether the development dependencies are needed too
 * @returns {{ fits: boolean, hasDev: boolean }}
 */
export function inspect(dir, { dev }) {
  const lock = packagesOf(join(dir, "package-lock.json"));
  const installed = packagesOf(join(dir, "node_modules/.package-lock.json"));
  if (!lock) throw new Error(`${join(dir, "package-lock.json")} is missing or damaged`);
  if (!installed) return { fits: false, hasDev: false };
  const entries = Object.entries(lock).filter(([path, entry]) => path.startsWith("node_modules/") && !entry.optional && !entry.devOptional);
  const there = ([path, entry]) => installed[path] !== undefined && (entry.link ? installed[path].link === true : installed[path].version === entry.version) && existsSync(join(dir, path));
  return {
    fits: entries.filter(([, entry]) => dev || !entry.dev).every(there),
    hasDev: entries.some((entry) => entry[1].dev && there(entry)),
  };
}

/** Runs npm and shows one line that moves; npm's own words only where it fails. Resolves when it has succeeded. */
function npm(args, what) {
  const own = process.env.npm_execpath;
  const [command, first] = own && /\.[cm]?js$/.test(own) ? [process.execPath, [own]] : [process.platform === "win32" ? "npm.cmd" : "npm", []];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...first, ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, npm_config_update_notifier: "false" } });
    const began = Date.now();
    const words = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => words.push(chunk));
    const line = () => `${what} … ${Math.round((Date.now() - began) / 1000)} s`;
    const live = process.stderr.isTTY;
    if (!live) process.stderr.write(`${what} …\n`);
    const timer = live ? setInterval(() => process.stderr.write(`\r${line()}`), 200) : undefined;
    child.once("error", reject);
    child.once("exit", (code) => {
      clearInterval(timer);
      process.stderr.write(live ? `\r${line()}\n` : `${line()}: done\n`);
      if (code === 0) resolve();
      else reject(new Error(`npm ${args.join(" ")} failed:\n${Buffer.concat(words).toString().slice(0, 3_000)}`));
    });
  });
}

/**
 * Installs what is missing of this repository's dependencies; nothing where the install fits the lock. A development install is never cut down.
 * @param {{ dev: boolean }} wanted
 */
export async function install(wanted) {
  const { fits, hasDev } = inspect(ROOT, wanted);
  if (!fits) {
    const all = wanted.dev || hasDev;
    await npm(["ci", ...(all ? [] : ["--omit=dev"]), "--no-audit", "--no-fund"], all ? "Installing all dependencies" : "Installing what running needs");
  }
  if (!existsSync(NODE)) {
    throw new Error(`${NODE} is missing although its package is installed: npm was told not to run install scripts. Run: npm rebuild node esbuild workerd --ignore-scripts=false`);
  }
}

/** Installs the package in `dir`, with a lock of its own, where it is not installed as its lock says. */
export async function installIn(dir, what) {
  if (!inspect(join(ROOT, dir), { dev: true }).fits) await npm(["ci", "--prefix", dir, "--no-audit", "--no-fund"], what);
}
