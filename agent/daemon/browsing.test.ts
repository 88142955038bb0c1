import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { browse, MAX_PAGE, readBrowsed, rootFault, type BrowseRoots } from "./browsing.ts";
import { openInside } from "./inside.ts";

let base: string;
let root: string;
let from: BrowseRoots;

beforeAll(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), "mrn-browse-")));
  root = join(base, "home");
  for (const path of ["home/project/src", "home/.config", "home/data/secrets", "home/many", "home-other"]) await mkdir(join(base, path), { recursive: true });
  await writeFile(join(root, "project/a.txt"), "hello");
  await writeFile(join(root, ".hidden"), "shown");
  await writeFile(join(root, "data/token"), "rtok_");
  await writeFile(join(base, "secret"), "no");
  await writeFile(join(base, "home-other/secret"), "no");
  await symlink(base, join(root, "up"));
  await symlink("../home-other", join(root, "sibling"));
  await symlink("project", join(root, "inside"));
  await symlink("data", join(root, "to-data"));
  await symlink("loop", join(root, "loop"));
  await symlink(root, join(base, "alias"));
  await symlink("/proc/self/environ", join(root, "environ"));
  execFileSync("mkfifo", [join(root, "pipe")]);
  for (let i = 0; i < 25; i++) await writeFile(join(root, "many", `f${String(i).padStart(2, "0")}`), "");
  from = { roots: [root], hidden: [join(root, "data")] };
});
afterAll(() => rm(base, { recursive: true }));

const list = async (path: string, offset = 0, limit = 100, of = from, at = root) => {
  const answer = await browse(of, at, path, offset, limit);
  return answer.ok ? answer.value.items.map(({ name }) => name) : `${answer.code}: ${answer.message}`;
};
const text = async (path: string) => {
  const answer = await readBrowsed(from, root, path, 0, 100);
  return answer.ok ? Buffer.from(answer.value.base64, "base64").toString() : answer.code;
};

describe("a browse root", () => {
  it("is listed, directories first, with hidden files, without the daemon's own", async () => {
    expect(await list("")).toEqual([".config", "many", "project", ".hidden", "environ", "inside", "loop", "pipe", "sibling", "to-data", "up"]);
    expect(await list("project/")).toEqual(["src", "a.txt"]);
    expect(await list("inside")).toEqual(["src", "a.txt"]);
    expect(await text("project/a.txt")).toBe("hello");
    expect(await text("project/src/../a.txt")).toBe("hello");
  });

  it("is listed page by page", async () => {
    const page = await browse(from, root, "many", 20, 10);
    expect(page).toMatchObject({ ok: true, value: { total: 25 } });
    expect(await list("many", 20, 10)).toEqual(["f20", "f21", "f22", "f23", "f24"]);
    expect(await list("many", 1_000)).toEqual([]);
    for (const [offset, limit] of [[-1, 10], [0, 0], [0, MAX_PAGE + 1], [0.5, 1], [Number.NaN, 1]] as const) expect(await list("many", offset, limit)).toMatch(/^bad_request: (offset|limit)/);
  });

  it.each(["..", "../secret", "project/../../secret", "/../secret", "up", "up/secret", "sibling", "sibling/secret", "data", "data/token", "to-data", "to-data/token", "environ", "project\0", "a/".repeat(3_000)])("is not left by %j", async (path) => {
    expect(await list(path)).toMatch(/^(bad_request|not_found): /);
    expect(await text(path)).toMatch(/^(bad_request|not_found)$/);
  });
  it("has no loops, pipes or directories that could be read", async () => {
    expect(await text("loop")).toBe("not_found");
    expect(await text("pipe")).toBe("bad_request");
    expect(await text("project")).toBe("bad_request");
    expect(await text("/etc/passwd")).toBe("not_found");
  });

  it("must be one that the configuration names, as it names it", async () => {
    for (const other of [base, join(root, "project"), `${root}/`, "/", "", "."]) expect(await list("", 0, 10, from, other)).toMatch(/^bad_request: root: expected one of/);
    expect(await list("", 0, 10, { roots: [], hidden: [] })).toMatch(/opens no directories/);
    expect(await list("project", 0, 10, { roots: [join(base, "alias")], hidden: [] }, join(base, "alias"))).toEqual(["src", "a.txt"]);
  });

  it("must be a directory, and neither all of the machine nor the kernel's", async () => {
    expect(await rootFault(root)).toBeNull();
    expect(await rootFault(join(root, "none"))).toBe("there is no such directory");
    expect(await rootFault(join(root, ".hidden"))).toBe("not a directory");
    expect(await rootFault("/")).toMatch(/whole file system/);
    expect(await rootFault("/proc/self")).toMatch(/kernel/);
  });

  it("is not left while somebody swaps a directory for a link to what lies outside", async () => {
    const [there, aside, link] = [join(root, "swap"), join(base, "aside"), join(base, "link")];
    await mkdir(there);
    await writeFile(join(there, "secret"), "mine");
    await symlink(join(base, "home-other"), link);
    const swap = { on: true };
    const swapping = (async () => {
      while (swap.on) {
        await rename(there, aside);
        await rename(link, there);
        await rename(there, link);
        await rename(aside, there);
      }
    })();
    const seen = new Set<string>();
    for (let i = 0; i < 400; i++) seen.add(await text("swap/secret"));
    swap.on = false;
    await swapping;
    expect([...seen].filter((each) => !["mine", "not_found", "bad_request"].includes(each))).toEqual([]);
  });

  it("that was pinned is not followed once it is a link", async () => {
    expect(await openInside(join(base, "alias"), "project", { pinned: true })).toMatchObject({ ok: false, code: "not_found" });
    const opened = await openInside(root, "project", { pinned: true });
    if (opened.ok) await opened.handle.close();
    expect(opened.ok).toBe(true);
  });
});
