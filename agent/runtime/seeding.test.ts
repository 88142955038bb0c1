import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { readDocument } from "./front-matter.ts";
import { createLocalSandboxProvider } from "./sandbox/local.ts";
import { WorkspaceError, type AgentWorkspace } from "./sandbox/contracts.ts";
import { SEED_RECORD, seedWorkspace } from "./seeding.ts";
import { MAX_TEXT_BYTES, readText } from "./workspace-text.ts";

let dir: string;
let workspace: AgentWorkspace;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "marco-seeding-"));
  const sandbox = createLocalSandboxProvider({ directory: dir });
  ({ workspace } = await sandbox.materialize("w"));
  return async () => {
    await sandbox.stop("w");
    await rm(dir, { recursive: true, force: true });
  };
});
const inside = (path: string) => join(dir, "w/workspace", path);
const text = (path: string) => readFile(inside(path), "utf8");

describe("seeding", () => {
  const files = { "/workspace/AGENTS.md": "one", "/workspace/memory/MEMORY.md": "# Memory" };
  it("writes once, also where several do it at once", async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => seedWorkspace(workspace, files)));
    expect(all.flatMap(({ warnings }) => warnings)).toEqual([]);
    expect([await text("AGENTS.md"), await text("memory/MEMORY.md")]).toEqual(["one", "# Memory"]);
    expect(await seedWorkspace(workspace, files)).toEqual({ written: [], warnings: [] });
  });
  it("leaves what was there before, what was changed and what was deleted", async () => {
    await writeFile(inside("AGENTS.md"), "mine");
    await seedWorkspace(workspace, files);
    expect(await text("AGENTS.md")).toBe("mine");
    await rm(inside("memory/MEMORY.md"));
    expect(await seedWorkspace(workspace, { ...files, "/workspace/AGENTS.md": "two", "/workspace/memory/MEMORY.md": "# New" })).toEqual({ written: [], warnings: [] });
    expect(await text("AGENTS.md")).toBe("mine");
    await expect(text("memory/MEMORY.md")).rejects.toThrow("ENOENT");
  });
  it("says what it cannot write, and mends its own record", async () => {
    expect(await seedWorkspace(workspace, { "/workspace/../outside": "x", "/workspace/ok": "y" })).toMatchObject({ written: ["/workspace/ok"], warnings: [expect.stringContaining("cannot be seeded")] });
    await writeFile(inside(".marco-seed.json"), "{");
    await writeFile(inside("ok"), "changed");
    const { warnings } = await seedWorkspace(workspace, { "/workspace/ok": "z" });
    expect(warnings).toEqual([expect.stringContaining(`${SEED_RECORD} is not readable and is written anew: `)]);
    expect(await text("ok")).toBe("changed");
  });
  it("warns of whatever stands where its record should, and of a workspace that cannot be written", async () => {
    await writeFile(inside(".marco-seed.json"), Buffer.from([0xff, 0, 0xfe]));
    expect(await seedWorkspace(workspace, files)).toMatchObject({ written: Object.keys(files), warnings: [expect.stringContaining("is not UTF-8 text")] });
    await rm(inside(".marco-seed.json"));
    await mkdir(inside(".marco-seed.json"));
    expect((await seedWorkspace(workspace, files)).warnings).toEqual([expect.stringContaining("is not a file"), expect.stringContaining("cannot be written")]);
    const readOnly = Object.assign(Object.create(workspace) as AgentWorkspace, { write: () => Promise.reject(new WorkspaceError("read_only", "no")), read: workspace.read.bind(workspace), stat: workspace.stat.bind(workspace) });
    expect((await seedWorkspace(readOnly, { "/workspace/new": "x" })).warnings).toHaveLength(3);
    const gone = Object.assign(Object.create(workspace) as AgentWorkspace, { read: () => Promise.reject(new WorkspaceError("unavailable", "no sandbox")) });
    await expect(seedWorkspace(gone, files)).rejects.toThrow("no sandbox");
  });
});

describe("front matter", () => {
  it("is read with its body, or refused in words", () => {
    expect(readDocument("\uFEFF---\r\nname: a\r\n---\r\n\r\nBody\r\n")).toEqual({ fields: { name: "a" }, body: "Body\n" });
    expect(readDocument("# Only a body")).toEqual({ fields: {}, body: "# Only a body" });
    expect(readDocument("---\n---\nx")).toEqual({ fields: {}, body: "x" });
    const warn = vi.spyOn(process, "emitWarning");
    for (const wrong of ["---\n!!js/function x\n---\n", "---\nname: a", "---\n- a\n---\n", "---\na: &x [1]\nb: *x\n---\n", "---\na: [\n---\n", `---\n${"a: 1 #".repeat(5_000)}\n---\n`]) expect(readDocument(wrong)).toHaveProperty("wrong");
    // What a workspace holds is told in events, not on the stderr of whoever uses this.
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });
});

describe("a text of the workspace", () => {
  it("is read as far as it goes, whole characters only", async () => {
    await writeFile(inside("long"), `a${"é".repeat(MAX_TEXT_BYTES)}`);
    const read = await readText(workspace, "/workspace/long");
    expect(read?.cut).toBe(true);
    expect(read?.text).toMatch(/^aé+$/);
    expect(await readText(workspace, "/workspace/none")).toBeNull();
    await writeFile(inside("latin"), Buffer.from([0xe9, 0x74, 0xe9]));
    await expect(readText(workspace, "/workspace/latin")).rejects.toThrow("is not UTF-8 text");
  });
});
