/** Owns building the dashboard: once for each state of its sources, as one module that the worker's bundle takes in. */

import { createHash } from "node:crypto";
import { existsSync, globSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { extname, join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const KEPT = join(ROOT, "node_modules/.cache/marionette");
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json", ".json": "application/json",
};

/** All that the dashboard is made of, as one hash. */
async function sourcesHash(): Promise<string> {
  const hash = createHash("sha256");
  const outside = /(^|[/])(dist|node_modules|screenshots)([/]|$)|[.]test[.]tsx?$|^sdk[/]cli([/]|$)/;
  const paths = globSync(["worker/ui/**/*.*", "sdk/**/*.ts", "package-lock.json"], { cwd: ROOT, exclude: (path) => outside.test(path) });
  for (const path of paths.sort()) hash.update(path).update("\0").update(await readFile(join(ROOT, path)));
  return hash.digest("hex");
}

/** Runs Vite and answers the module's text. */
async function make(): Promise<string> {
  const { build } = await import("vite");
  const made = await mkdtemp(join(KEPT, "building-"));
  try {
    await build({ root: join(ROOT, "worker/ui"), configFile: join(ROOT, "worker/ui/vite.config.ts"), logLevel: "warn", build: { outDir: made } });
    const paths = globSync("**/*.*", { cwd: made }).sort();
    const entries = await Promise.all(
      paths.map(async (path) => {
        const type = TYPES[extname(path)];
        const content = await readFile(join(made, path));
        return [`/${relative(".", path)}`, type ? { type, text: content.toString("utf8") } : { type: "application/octet-stream", base64: content.toString("base64") }];
      }),
    );
    return `export const files = ${JSON.stringify(Object.fromEntries(entries))};\n`;
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

/** Path of the module with the built dashboard; built where its sources have changed. Several may build at once. */
export async function dashboardModule(): Promise<string> {
  await mkdir(KEPT, { recursive: true });
  const path = join(KEPT, `dashboard-${(await sourcesHash()).slice(0, 16)}.js`);
  if (existsSync(path)) return path;
  const text = await make();
  await writeFile(`${path}.${process.pid}`, text);
  await rename(`${path}.${process.pid}`, path);
  return path;
}
