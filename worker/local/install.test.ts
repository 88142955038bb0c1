import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inspect } from "./install.mjs";

describe("whether an install fits its lock", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "install-"));
    await lock({ "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "2.0.0", dev: true }, "node_modules/c": { version: "3.0.0", optional: true } });
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const lock = (packages: Record<string, unknown>) => writeFile(join(dir, "package-lock.json"), JSON.stringify({ packages: { "": {}, ...packages } }));
  async function installed(packages: Record<string, string>): Promise<void> {
    for (const name of Object.keys(packages)) await mkdir(join(dir, "node_modules", name), { recursive: true });
    const entries = Object.entries(packages).map(([name, version]) => [`node_modules/${name}`, { version }]);
    await writeFile(join(dir, "node_modules/.package-lock.json"), JSON.stringify({ packages: Object.fromEntries(entries) }));
  }

  it("does not where nothing is installed", () => {
    expect(inspect(dir, { dev: false })).toEqual({ fits: false, hasDev: false });
  });
  it("fits running without development dependencies, and tests only with them", async () => {
    await installed({ a: "1.0.0" });
    expect(inspect(dir, { dev: false })).toEqual({ fits: true, hasDev: false });
    expect(inspect(dir, { dev: true }).fits).toBe(false);
    await installed({ a: "1.0.0", b: "2.0.0" });
    expect(inspect(dir, { dev: true })).toEqual({ fits: true, hasDev: true });
  });
  it("does not where a version differs or a directory is gone, and still knows a development install", async () => {
    await installed({ a: "1.0.1", b: "2.0.0" });
    expect(inspect(dir, { dev: false })).toEqual({ fits: false, hasDev: true });
    await installed({ a: "1.0.0" });
    await rm(join(dir, "node_modules/a"), { recursive: true });
    expect(inspect(dir, { dev: false }).fits).toBe(false);
  });
});
