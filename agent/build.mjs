/** Owns the package's build: the runtime as a library that brings its model providers along, and its types. */

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const agent = dirname(fileURLToPath(import.meta.url));
const runtime = join(agent, "runtime");
/** What its user has or does without: zod must be theirs, for their schemas; the others are loaded where they are used. */
const EXTERNAL = ["zod", "dockerode", "@modelcontextprotocol/sdk", "drizzle-orm", "vitest"];

/** Builds the library into `outdir`: three entries over shared chunks, so that classes are the same in all, and their types. */
export async function buildRuntime(outdir = join(agent, "dist"), { types = true } = {}) {
  await build({
    entryPoints: { runtime: join(runtime, "index.ts"), postgres: join(runtime, "persistence", "postgres.ts"), conformance: join(runtime, "conformance.ts") },
    outdir,
    bundle: true,
    splitting: true,
    platform: "node",
    target: "node22",
    format: "esm",
    external: EXTERNAL.flatMap((name) => [name, `${name}/*`]),
    minifySyntax: true,
    legalComments: "none",
    logLevel: "warning",
    // Bundled CommonJS asks for Node's own modules with require.
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
  });
  if (!types) return;
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const told = spawnSync(process.execPath, [tsc, "-p", runtime, "--noEmit", "false", "--emitDeclarationOnly", "--declaration", "--rootDir", runtime, "--outDir", join(outdir, "types")], { stdio: "inherit" });
  if (told.status !== 0) throw new Error("the types could not be built");
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  rmSync(join(agent, "dist"), { recursive: true, force: true });
  await buildRuntime();
}
