/** Owns where the runner's single-file program comes from, and its V8 compile cache. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type * as Esbuild from "esbuild";
import type { Owner } from "../providers/provider.ts";

const BUNDLER = "esbuild";
/** The programs that a sandbox is shown: the runner, its thread for files, and the agents that come with it. */
export const PROGRAMS = ["runner.js", "workspace.js", "example.js", "marco.js"] as const;

/**
 * A directory that holds `runner.js` and nothing that a sandbox should not see, named by its contents, so that a running sandbox keeps its version.
 * Copied from beside `runner`, or built from the sources at `sources` where there is no built one.
 */
export async function bundleDirectory(into: string, runner: string | undefined, beside: string, sources: string): Promise<string> {
  const given = runner ?? join(beside, "runner.js");
  const built = await exists(given);
  if (!built && runner !== undefined) throw new Error(`there is no runner at ${runner}`);
  const staging = join(into, `.new-${process.pid}`);
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true, mode: 0o755 });
  try {
    await (built ? copy(dirname(given), given, staging) : build(sources, staging));
    const hash = createHash("sha256");
    for (const name of (await readdir(staging)).sort()) hash.update(name).update(await readFile(join(staging, name)));
    const final = join(into, hash.digest("hex").slice(0, 16));
    if (!(await exists(join(final, "runner.js")))) await rename(staging, final);
    return final;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function copy(from: string, runner: string, into: string): Promise<void> {
  const others = PROGRAMS.filter((name) => name !== "runner.js");
  await copyFile(runner, join(into, "runner.js"));
  await Promise.all(others.map(async (name) => ((await exists(join(from, name))) ? copyFile(join(from, name), join(into, name)) : undefined)));
  await finish(into);
}

async function build(sources: string, into: string): Promise<void> {
  // Named at run time only, or a bundler would pull a bundler into the daemon.
  const { build: bundle } = await (import(BUNDLER) as Promise<typeof Esbuild>).catch(() => {
    throw new Error("there is no runner.js beside the daemon and no esbuild to build it with: give --runner-bundle PATH");
  });
  const entries = [["runner", join(sources, "runner/main.ts")], ["workspace", join(sources, "workspace/worker.ts")], ["example", join(sources, "runner/example.ts")], ["marco", join(sources, "runtime/session/main.ts")]] as const;
  const present = await Promise.all(entries.map(async ([, path]) => exists(path)));
  await bundle({
    entryPoints: Object.fromEntries(entries.filter((_, index) => present[index])),
    outdir: into, bundle: true, platform: "node", format: "esm", target: "node24", logLevel: "silent",
    // Packages in CommonJS ask for `require`, which a module has not.
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
  });
  await finish(into);
}

/** Readable for the sandbox's user, and modules although no package.json says so. */
async function finish(directory: string): Promise<void> {
  await writeFile(join(directory, "package.json"), '{ "type": "module" }\n');
  await Promise.all((await readdir(directory)).map((name) => chmod(join(directory, name), 0o644)));
  await chmod(directory, 0o755);
}

/**
 * Fills the compile cache by loading the runner once. Node keeps one cache per user, so the sandbox's user gets a second name for it.
 * The sandboxes see it read-only: what one agent writes, no other session's runner may execute. Never rejects.
 */
export async function fillCache(cache: string, bundle: string, owner: Owner | null): Promise<void> {
  if (await exists(cache)) return;
  await mkdir(cache, { recursive: true, mode: 0o755 });
  await new Promise<void>((resolve) => {
    const child = spawn(process.execPath, [join(bundle, "runner.js")], { cwd: "/", stdio: "ignore", timeout: 10_000, env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: cache } });
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  for (const name of await readdir(cache).catch(() => [])) {
    const files = await readdir(join(cache, name)).catch(() => []);
    await Promise.all([chmod(join(cache, name), 0o755), ...files.map((file) => chmod(join(cache, name, file), 0o644))].map((done) => done.catch(() => {})));
    const other = owner && name.replace(/-\d+$/, `-${owner.uid}`);
    if (other && other !== name) await symlink(name, join(cache, other)).catch(() => {});
  }
}

function exists(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(() => true, () => false);
}
