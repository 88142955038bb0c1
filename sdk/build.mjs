/** Owns the package's builds: the library for publishing and mctl as one file. */

import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const sdk = dirname(fileURLToPath(import.meta.url));

/** Bundles mctl with all that it needs into one file for Node 20 or later; replaces it at once, so that a running one is never half. */
export async function buildCli(outfile = join(sdk, "dist", "mctl.mjs")) {
  mkdirSync(dirname(outfile), { recursive: true });
  const next = `${outfile}.${process.pid}.tmp`;
  await build({
    entryPoints: [join(sdk, "cli", "main.ts")],
    outfile: next,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    minifySyntax: true,
    legalComments: "none",
    logLevel: "warning",
    // Bundled CommonJS (commander, yaml) asks for Node's own modules with require.
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
  });
  renameSync(next, outfile);
}

/** Builds the library: two entries over shared chunks, so that classes are the same in both, and their types. */
export async function buildLibrary(outdir = join(sdk, "dist")) {
  await build({
    entryPoints: { index: join(sdk, "index.ts"), protocol: join(sdk, "protocol", "index.ts") },
    outdir,
    bundle: true,
    splitting: true,
    platform: "neutral",
    target: "es2022",
    format: "esm",
    sourcemap: true,
    external: ["zod"],
    logLevel: "warning",
  });
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const types = spawnSync(process.execPath, [tsc, "-p", join(sdk, "tsconfig.json"), "--noEmit", "false", "--emitDeclarationOnly", "--declaration", "--rootDir", sdk, "--outDir", join(outdir, "types")], { stdio: "inherit" });
  if (types.status !== 0) throw new Error("the types could not be built");
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  rmSync(join(sdk, "dist"), { recursive: true, force: true });
  await buildLibrary();
  await buildCli();
}
