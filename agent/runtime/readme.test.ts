import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { script, startModelServer, type ModelServer } from "../../test/support/model-server/index.ts";
import { buildRuntime } from "../build.mjs";

const modules = dirname(dirname(createRequire(import.meta.url).resolve("@types/node/package.json")));
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
const examples = [...readFileSync(join(import.meta.dirname, "README.md"), "utf8").matchAll(/```ts\n([^]*?)\n```\n/g)].map(([, code]) => code ?? "");

const dir = mkdtempSync(join(tmpdir(), "marco-readme-"));
const installed = join(dir, "node_modules", "@marionette", "agent");
const zod = dirname(createRequire(import.meta.url).resolve("zod/package.json"));
let server: ModelServer;
beforeAll(async () => {
  // As an installation lays it out: the package and zod, nothing else.
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
  writeFileSync(join(installed, "package.json"), readFileSync(join(import.meta.dirname, "../package.json")));
  symlinkSync(zod, join(dir, "node_modules", "zod"));
  [server] = await Promise.all([startModelServer(), buildRuntime(join(installed, "dist"))]);
  for (const [i, code] of examples.entries()) writeFileSync(join(dir, `example-${i}.ts`), code);
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await server.close();
});

function run(file: string, prompt: string): Promise<{ code: number | null; out: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file, prompt], { cwd: dir, env: { PATH: process.env["PATH"], OPENAI_BASE_URL: server.openai, OPENAI_API_KEY: "sk-test", ANTHROPIC_BASE_URL: server.anthropic, ANTHROPIC_API_KEY: "sk-test" } });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => (out += part.toString()));
    child.once("close", (code) => resolve({ code, out }));
  });
}

function bytes(path: string): number {
  return statSync(path).isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytes(join(path, name)), 0) : statSync(path).size;
}

describe("the README", () => {
  it("has an example that runs as it is written", async () => {
    const prompt = script([{ calls: [{ tool: "write_file", input: { path: "hello.txt", content: "hello\n" } }, { tool: "today", input: {} }, { tool: "delete_file", input: { path: "AGENTS.md" } }] }, { text: "It says hello." }]);
    const { code, out } = await run("example-0.ts", prompt);
    expect(out).toMatch(/^15 tools, \d+ characters of prompt\n/);
    for (const word of ["→ write_file", "← Created", new Date().toISOString().slice(0, 4), "not allowed: nothing is deleted here", "It says hello.", "completed after 2 model calls"]) expect(out).toContain(word);
    expect(code).toBe(0);
    expect(readFileSync(join(dir, "computers/workspace-1/workspace/hello.txt"), "utf8")).toBe("hello\n");
    expect(existsSync(join(dir, "computers/workspace-1/workspace/AGENTS.md"))).toBe(true);
  });

  it("has one that goes on where it was", async () => {
    expect(await run("example-1.ts", script([{ text: "Hello Ann." }], "I am Ann."))).toEqual({ code: 0, out: "Hello Ann." });
    expect(await run("example-1.ts", script([{ text: "Ann." }], "Who am I?"))).toEqual({ code: 0, out: "Ann." });
    expect(JSON.stringify(server.asked("anthropic").at(-1)?.body)).toContain("I am Ann.");
  });

  it("has examples that a strict compiler takes, with and without checking our own types", () => {
    const types = join(dir, "node_modules", "@types");
    mkdirSync(types, { recursive: true });
    symlinkSync(join(modules, "node"), join(types, "node"));
    symlinkSync(join(dirname(modules), "undici-types"), join(dir, "node_modules", "undici-types"));
    writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: { strict: true, module: "nodenext", target: "es2022", noEmit: true, types: ["node"], exactOptionalPropertyTypes: true }, files: examples.map((_, i) => `example-${i}.ts`) }));
    for (const more of [["--skipLibCheck"], []]) {
      const { stdout, status } = spawnSync(process.execPath, [tsc, "-p", dir, ...more], { encoding: "utf8" });
      expect(`${stdout}${status}`).toBe("0");
    }
  });

  it("tells the truth about the size: at most 15 MB installed without the optional parts", () => {
    expect(bytes(join(installed, "dist")) + bytes(zod)).toBeLessThan(15e6);
  });
});
