import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentWorkspace } from "../sandbox/contracts.ts";
import { createLocalSandboxProvider } from "../sandbox/local.ts";
import { textOf, toolFromZod, type Tool, type ToolResult } from "../tool.ts";
import * as z from "zod";
import { createTools } from "./create.ts";

let directory: string;
let workspace: AgentWorkspace;
let tools: Tool[];
const progress: string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "marco-tools-"));
  const opened = await createLocalSandboxProvider({ directory }).materialize("tools");
  workspace = opened.workspace;
  await opened.image.hydrate({ version: "1", files: { "SOUL.md": "identity" } });
  tools = createTools({ workspace });
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function call(name: string, input: unknown, signal: AbortSignal = new AbortController().signal): Promise<ToolResult> {
  const tool = tools.find((each) => each.name === name);
  const parsed = tool?.parse(input);
  if (tool === undefined || parsed === undefined) throw new Error(`no tool ${name}`);
  if (!parsed.ok) return { content: parsed.issues.join("\n"), isError: true };
  try {
    const result = await tool.execute(parsed.value, { callId: "1", signal, progress: (text) => progress.push(text) });
    return typeof result === "string" ? { content: result } : result;
  } catch (error) {
    return { content: error instanceof Error ? error.message : String(error), isError: true };
  }
}
const text = async (name: string, input: unknown) => textOf((await call(name, input)).content);
const at = (path: string) => join(workspace.root, path);

describe("the tools", () => {
  it("have names once, and schemas that refuse unknown fields", () => {
    expect(tools.map(({ name }) => name)).toEqual(["exec", "exec_output", "exec_kill", "read_file", "list_dir", "write_file", "edit_file", "delete_file", "grep", "glob", "remember", "recall"]);
    for (const tool of tools) expect(tool.parse({ no_such_field: 1 }), `${tool.name}`).toMatchObject({ ok: false });
    const twin = toolFromZod({ name: "exec", description: "", input: z.strictObject({}), execute: () => "" });
    expect(() => createTools({ workspace, extra: [twin] })).toThrow("two tools are called 'exec'");
  });
});

describe("exec", () => {
  it("answers with output and exit code, and shows output as it comes", async () => {
    progress.length = 0;
    expect(await call("exec", { command: "echo out; echo err >&2; exit 4" })).toMatchObject({ isError: true, content: expect.stringMatching(/out[^]*\[exit code 4\]$/) as string });
    expect(progress.join("")).toContain("out\n");
    for (const command of ["grep -c nothing /dev/null; exit 1", "test -e nowhere", "false"]) expect(await call("exec", { command })).toMatchObject({ isError: false, content: expect.stringContaining("exit code 1]") as string });
    for (const command of ["echo why >&2; exit 1", "exit 2", "kill -9 $$"]) expect(await call("exec", { command })).toMatchObject({ isError: true });
    expect(await text("exec", { command: "true" })).toBe("[no output, exit code 0]");
    expect(await text("exec", { command: "pwd", cwd: "/etc" })).toContain("is not in /workspace");
  });
  it("keeps head and tail of output without end, in bounded memory", async () => {
    progress.length = 0;
    const content = await text("exec", { command: "seq 1 2000000" });
    expect(progress.join("").length).toBeLessThan(201_000);
    expect(progress.at(-1)).toContain("not shown while the command runs");
    expect(content.length).toBeLessThan(32_000);
    expect(content).toMatch(/^1\n2\n/);
    expect(content).toMatch(/\n1999999\n2000000$/);
    expect(content).toMatch(/\n\[… \d+ characters left out …\]\n/);
    expect((await text("exec", { command: "head -c 3000000 /dev/urandom" })).isWellFormed()).toBe(true);
    expect((await text("exec", { command: "head -c 1000000 /dev/zero | tr '\\0' x" })).length).toBeLessThan(32_000);
  });
  it("joins characters that come in pieces", async () => {
    expect(await text("exec", { command: "printf '\\342\\202'; sleep 0.1; printf '\\254'" })).toBe("€");
  });
  it("kills what takes too long, and what is canceled", async () => {
    expect(await text("exec", { command: "echo begun; sleep 60", timeout_seconds: 1 })).toMatch(/begun\n\[killed after 1 seconds/);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 100);
    expect(textOf((await call("exec", { command: "sleep 60" }, stop.signal)).content)).toContain("canceled");
  });
  it("goes on in the background, to be read later and killed", async () => {
    const started = await text("exec", { command: "echo up; sleep 60", background: true });
    const id = /job_[0-9a-f]{12}/.exec(started)?.[0] ?? "";
    expect(await text("exec_output", { job_id: id, wait_seconds: 10 })).toBe("up\n[running; read on from offset 3]");
    expect(await text("exec_output", {})).toContain(`${id}: running`);
    expect(await text("exec_kill", { job_id: id })).toContain("ended");
    // Pieces end where characters do, and an end that never becomes one is shown with the job's.
    const smile = /job_[0-9a-f]{12}/.exec(await text("exec", { command: `i=0; while [ $i -lt 9000 ]; do printf 'é😀'; i=$((i+1)); done; printf 'é\\342\\202'`, background: true }))?.[0] ?? "";
    let said = "";
    for (let next: string | undefined = "0"; next !== undefined; ) {
      const answer = await text("exec_output", { job_id: smile, offset: Number(next), wait_seconds: 10 });
      said += answer.slice(0, answer.lastIndexOf("["));
      next = /(?:more|read on) from offset (\d+)\]$/.exec(answer)?.[1];
    }
    expect(said.replaceAll("\n", "")).toBe(`${"é😀".repeat(9_000)}é\ufffd`);
    expect(await text("exec_output", { job_id: "job_none" })).toContain("no background job");
  });
});

describe("files", () => {
  it("are read with line numbers, in parts", async () => {
    await writeFile(at("lines.txt"), Array.from({ length: 5_000 }, (_, i) => `line ${i + 1}`).join("\n"));
    expect(await text("read_file", { path: "lines.txt", offset: 3, limit: 2 })).toBe("     3\tline 3\n     4\tline 4\n[5000 lines in all; read on with offset 5]");
    expect(await text("read_file", { path: "/workspace/lines.txt" })).toContain("read on with offset 2001");
    expect(await call("read_file", { path: "lines.txt", offset: 5_001 })).toMatchObject({ isError: true });
    await writeFile(at("long.txt"), `${"x".repeat(100_000)}\nend`);
    expect(await text("read_file", { path: "long.txt" })).toMatch(/98000 more characters\]\n {5}2\tend$/);
    await writeFile(at("empty"), "");
    expect(await text("read_file", { path: "empty" })).toBe("[/workspace/empty is empty]");
    expect(await text("read_file", { path: "/.marco/SOUL.md" })).toContain("identity");
  });
  it("that are images are shown, whatever they are called", async () => {
    const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
    await writeFile(at("picture.txt"), png);
    expect((await call("read_file", { path: "picture.txt" })).content).toEqual([expect.objectContaining({ type: "text" }), { type: "image", data: png.toString("base64"), mediaType: "image/png" }]);
    await writeFile(at("large.png"), Buffer.concat([png, Buffer.alloc(6_000_000)]));
    expect(await text("read_file", { path: "large.png" })).toContain("make it smaller");
  });
  it.each([
    ["binary", Buffer.from([1, 2, 0, 3]), "is a binary file of 4 bytes"],
    ["latin1", Buffer.from("caf\xe9 au lait", "latin1"), "is not UTF-8 text (byte 0xe9 at offset 3)"],
    ["utf16", Buffer.from("\ufeffhello", "utf16le"), "is UTF-16 text"],
    ["cut", Buffer.from("caf\xc3", "latin1"), "is not UTF-8 text"],
    ["huge", Buffer.alloc(11_000_000, "a\n"), "has 11000000 bytes, more than"],
  ])("that are %s are refused with words", async (name, bytes, words) => {
    await writeFile(at(name), bytes);
    expect(await call("read_file", { path: name })).toMatchObject({ isError: true, content: expect.stringContaining(words) as string });
    expect(await call("edit_file", { path: name, old_text: "a", new_text: "b" })).toMatchObject({ isError: true });
    expect(await readFile(at(name))).toEqual(bytes);
  });
  it("are written, with what changed", async () => {
    expect(await call("write_file", { path: "new/a.txt", content: "one\ntwo\n" })).toEqual({ content: "Created /workspace/new/a.txt (2 lines).", changes: [{ path: "new/a.txt", change: "created" }] });
    expect((await call("write_file", { path: "new/a.txt", content: "one\n2\n" })).changes).toEqual([{ path: "new/a.txt", change: "modified", diff: "@@ -1,2 +1,2 @@\n one\n-two\n+2" }]);
    expect(await text("write_file", { path: "/.marco/SOUL.md", content: "x" })).toContain("read-only");
    expect(await text("write_file", { path: "../x", content: "x" })).toContain("holds '..'");
    expect(await call("delete_file", { path: "new" })).toMatchObject({ isError: true, content: expect.stringContaining("not empty") as string });
    expect((await call("delete_file", { path: "new", recursive: true })).changes).toEqual([{ path: "new", change: "deleted" }]);
  });
  it("are edited exactly, once, or not at all", async () => {
    const source = "a = 1\nb = 1\r\n\tc = $1\naaa\n";
    await writeFile(at("edit.txt"), source);
    for (const [old, words] of [[" = 1", "2 times, at lines 1, 2"], ["aa", "overlapping"], ["b  =  1", "other spaces"], ["nothing", "is not in"], ["b = 1\n\tc", "\\r\\n"], ["     1\ta = 1", "line numbers"]] as const) {
      expect(await text("edit_file", { path: "edit.txt", old_text: old, new_text: "x" }), `${old}`).toContain(words);
    }
    expect(await text("edit_file", { path: "edit.txt", old_text: "a = 1", new_text: "a = 1" })).toContain("nothing to change");
    expect(await readFile(at("edit.txt"), "utf8")).toBe(source);
    expect((await call("edit_file", { path: "edit.txt", old_text: "\tc = $1", new_text: "$& $1" })).changes).toMatchObject([{ path: "edit.txt", change: "modified" }]);
    expect(await text("edit_file", { path: "edit.txt", old_text: " = 1", new_text: "=2", replace_all: true })).toContain("Replaced 2 places");
    expect(await readFile(at("edit.txt"), "utf8")).toBe("a=2\nb=2\r\n$& $1\naaa\n");
  });
  it("are listed, odd names in quotes", async () => {
    await mkdir(at("listed/dir"), { recursive: true });
    await writeFile(at("listed/a\nb"), "xy");
    await symlink("dir", at("listed/link"));
    execFileSync("mkfifo", [at("listed/pipe")]);
    expect(await text("list_dir", { path: "listed" })).toBe('dir/\n"a\\nb"\t2\nlink@\npipe\t[no file]');
  });
});

describe("looking for things", () => {
  beforeAll(async () => {
    for (const [path, content] of Object.entries({ "src/a.ts": "const one = 1;\n// TODO: this\n", "src/deep/b.tsx": "todo\n\tTODO that\n", "src/c.md": "TODO docs", "node_modules/x/i.ts": "TODO", ".git/config": "TODO", "src/bin": "TODO\0", ".hidden/d.ts": "x" })) {
      await mkdir(join(at(`find/${path}`), ".."), { recursive: true });
      await writeFile(at(`find/${path}`), content);
    }
    await symlink("/etc", at("find/etc"));
  });
  it("finds lines by expression", async () => {
    expect(await text("grep", { pattern: "TODO\\b", path: "find" })).toBe("/workspace/find/src/a.ts:2:// TODO: this\n/workspace/find/src/c.md:1:TODO docs\n/workspace/find/src/deep/b.tsx:2:\tTODO that");
    expect(await text("grep", { pattern: "\\d;$", path: "/workspace/find/src/a.ts" })).toBe("/workspace/find/src/a.ts:1:const one = 1;");
    expect(await text("grep", { pattern: "todo", ignore_case: true, include: "*.{tsx,md}", path: "find" })).toBe("/workspace/find/src/c.md:1:TODO docs\n/workspace/find/src/deep/b.tsx:1:todo\n/workspace/find/src/deep/b.tsx:2:\tTODO that");
    expect(await text("grep", { pattern: "absent-everywhere", path: "find" })).toBe("No matches.");
  });
  it("refuses bad expressions and places, and reads nothing of them as shell", async () => {
    expect(await text("grep", { pattern: "(", path: "find" })).toMatch(/grep: .*parenthes/);
    expect(await text("grep", { pattern: "$(touch pwned) `touch pwned` '; touch pwned", path: "find" })).toBe("No matches.");
    expect(await text("grep", { pattern: "-e", path: "find" })).toBe("No matches.");
    expect(await text("grep", { pattern: "x", path: "find/etc" })).toContain("leaves the workspace");
    expect(await text("glob", { pattern: "*", path: "find/etc" })).toContain("leaves the workspace");
    expect(await text("glob", { pattern: "*", path: "/etc" })).toContain("is not in /workspace");
    expect(await workspace.stat("pwned")).toBeNull();
  });
  it("tells what it found where some files may not be read", async () => {
    const real = execFileSync("sh", ["-c", "command -v grep"]).toString().trim();
    await mkdir(at("bin"), { recursive: true });
    // As one that met a file of another user's.
    await writeFile(at("bin/grep"), `#!/bin/sh\n${real} "$@"; code=$?\ncase "$*" in *-q*) exit $code ;; esac\nexit 2\n`, { mode: 0o755 });
    const { workspace: limited } = await createLocalSandboxProvider({ directory: join(directory, "limited"), workspace: workspace.root, env: { PATH: `${at("bin")}:${process.env["PATH"] ?? ""}` } }).materialize("x");
    const grep = createTools({ workspace: limited }).find(({ name }) => name === "grep");
    const found = async (pattern: string) => grep?.execute({ pattern, path: "find" }, { callId: "1", signal: new AbortController().signal, progress: () => {} });
    expect(await found("TODO:")).toMatch(/^\/workspace\/find\/src\/a.ts:2:[^]*\[not all files could be searched: some may not be read\]$/);
    expect(await found("never there")).toBe("No matches.\n[not all files could be searched: some may not be read]");
    await expect(found("(")).rejects.toThrow(/grep: .*parenthes/);
    await rm(at("bin"), { recursive: true });
  });
  it("bounds what it finds", async () => {
    await writeFile(at("find/many.txt"), "needle\n".repeat(100_000));
    const found = await text("grep", { pattern: "needle", path: "find" });
    expect(found.split("\n")).toHaveLength(201);
    expect(found).toContain("more matches were left out");
  });
  it("finds files by pattern", async () => {
    expect((await text("glob", { pattern: "*.ts", path: "find" })).split("\n").sort()).toEqual(["/workspace/find/.hidden/d.ts", "/workspace/find/src/a.ts"]);
    expect((await text("glob", { pattern: "src/**/*.{tsx,md}", path: "find" })).split("\n").sort()).toEqual(["/workspace/find/src/c.md", "/workspace/find/src/deep/b.tsx"]);
    expect(await text("glob", { pattern: "*.none", path: "find" })).toBe("No files match.");
  });
});

describe("memory", () => {
  it("keeps entries and an index, also when many are written at once", async () => {
    expect(await text("recall", {})).toContain("Nothing is remembered");
    expect(await text("recall", { query: "x" })).toContain("No entry holds");
    const names = ["user-preferences", "build", "deploy-steps", ...Array.from({ length: 8 }, (_, i) => `a${i}`)];
    const answers = await Promise.all(names.map((name) => text("remember", { name, description: `about ${name}`, content: `Content of ${name}.` })));
    expect(answers).toEqual(names.map((name) => `Remembered as ${name}.`));
    const index = await readFile(at("memory/MEMORY.md"), "utf8");
    for (const name of names) expect(index).toContain(`- [${name}](${name}.md): about ${name}\n`);
    expect(await text("remember", { name: "build", description: "how to build", content: "npm run build" })).toBe("Replaced as build.");
    expect((await readFile(at("memory/MEMORY.md"), "utf8")).match(/\(build\.md\)/g)).toHaveLength(1);
    expect(await text("recall", { name: "build" })).toBe("npm run build\n");
    expect(await text("recall", { query: "STEPS content" })).toContain("## deploy-steps");
    expect(await text("recall", { query: " \n" })).toBe(await text("recall", {}));
    expect(await call("recall", { name: "none" })).toMatchObject({ isError: true });
  });
  it("changes no line of the index but the entry's own, and none of one that it cannot read whole", async () => {
    await text("remember", { name: "hub", description: "see [the spoke](spoke.md)", content: "x" });
    await text("remember", { name: "spoke", description: "of the hub", content: "y" });
    const index = await readFile(at("memory/MEMORY.md"), "utf8");
    expect(index).toContain("- [hub](hub.md): see [the spoke](spoke.md)\n- [spoke](spoke.md): of the hub\n");
    const long = `${index}${"- somebody's line\n".repeat(60_000)}`;
    await writeFile(at("memory/MEMORY.md"), long);
    expect(await call("remember", { name: "more", description: "d", content: "c" })).toMatchObject({ isError: true, content: expect.stringContaining("shorten it first") as string });
    expect(await readFile(at("memory/MEMORY.md"), "utf8")).toBe(long);
    await writeFile(at("memory/MEMORY.md"), index);
  });
  it.each(["../x", "a/b", "MEMORY", "memory", "", "a b", "-x"])("refuses an entry called '%s'", async (name) => {
    expect(await call("remember", { name, description: "d", content: "c" })).toMatchObject({ isError: true });
  });
});
