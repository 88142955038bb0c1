import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listFiles, MAX_READ_BYTES, readFile } from "./files.ts";

let root: string;
let workspace: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mrn-files-"));
  workspace = join(root, "ws");
  await mkdir(join(workspace, "src/deep"), { recursive: true });
  await mkdir(join(root, "ws-other"));
  await writeFile(join(workspace, "a.txt"), "hello world");
  await writeFile(join(workspace, "src/b.txt"), "b");
  await writeFile(join(root, "secret"), "no");
  await writeFile(join(root, "ws-other/secret"), "no");
  await symlink(join(root, "secret"), join(workspace, "out"));
  await symlink("../ws-other", join(workspace, "sibling"));
  await symlink("a.txt", join(workspace, "in"));
  await symlink("loop", join(workspace, "loop"));
  execFileSync("mkfifo", [join(workspace, "pipe")]);
});
afterAll(() => rm(root, { recursive: true }));

const text = async (path: string, offset = 0, length = 100) => {
  const answer = await readFile(workspace, path, offset, length);
  return answer.ok ? Buffer.from(answer.value.base64, "base64").toString() : answer.code;
};

describe("a workspace's files", () => {
  it("are listed, directories first, links as links", async () => {
    const answer = await listFiles(workspace, "");
    expect(answer.ok && answer.value.map(({ name, kind }) => `${kind} ${name}`)).toEqual(["directory src", "file a.txt", "symlink in", "symlink loop", "symlink out", "other pipe", "symlink sibling"]);
  });
  it.each(["src", "/src", "src/", "./src", "src/deep/.."])("are listed below a directory written as %s", async (path) => {
    const answer = await listFiles(workspace, path);
    expect(answer.ok && answer.value.map((entry) => entry.path)).toEqual(["src/deep", "src/b.txt"]);
  });
  it.runIf(process.platform === "linux")("are listed also by names that are no UTF-8, as a manifest shows them", async () => {
    const odd = join(workspace, "src/odd");
    await mkdir(odd);
    for (const name of [Buffer.from([0x62, 0xff]), Buffer.from("ü ∂"), Buffer.from("plain")]) await writeFile(Buffer.concat([Buffer.from(`${odd}/`), name]), "x");
    const answer = await listFiles(workspace, "src/odd");
    expect(answer.ok && answer.value.map(({ path, size }) => [path, size])).toEqual([["src/odd/b\\xff", 1], ["src/odd/plain", 1], ["src/odd/ü ∂", 1]]);
    await rm(odd, { recursive: true });
  });
  it("are read whole, in part, and past their end", async () => {
    expect(await text("a.txt")).toBe("hello world");
    expect(await text("a.txt", 6, 3)).toBe("wor");
    expect(await text("a.txt", 100)).toBe("");
    expect(await readFile(workspace, "a.txt", 6, 3)).toMatchObject({ value: { path: "a.txt", size: 11, offset: 6 } });
  });
  it("are read through a link that stays inside", async () => {
    expect(await text("in")).toBe("hello world");
  });
  it.each(["../secret", "..", "src/../../secret", "/../secret", "out", "sibling/secret", "src/../out"])("do not reach outside by %s", async (path) => {
    expect(await text(path)).toBe("bad_request");
    expect(await listFiles(workspace, path)).toMatchObject({ ok: false, code: "bad_request" });
  });
  it.each(["none", "a.txt/x", "loop", "src/none"])("do not exist as %s", async (path) => {
    expect(await text(path)).toBe("not_found");
  });
  it("refuse what is no file, without waiting for a pipe's writer", async () => {
    expect(await text("src")).toBe("bad_request");
    expect(await text("pipe")).toBe("bad_request");
    expect(await listFiles(workspace, "a.txt")).toMatchObject({ code: "bad_request" });
  });
  it("refuse a path with NUL, a path without end, and too much at once", async () => {
    expect(await text("a\0b")).toBe("bad_request");
    expect(await text("x/".repeat(5_000))).toBe("bad_request");
    expect(await text("a.txt", 0, MAX_READ_BYTES + 1)).toBe("payload_too_large");
    expect(await text("a.txt", -1)).toBe("bad_request");
    expect(await text("a.txt", 0.5)).toBe("bad_request");
  });
  it("are not there where the host does not hold the workspace", async () => {
    expect(await listFiles(join(root, "none"), "")).toMatchObject({ code: "not_found" });
  });
});
