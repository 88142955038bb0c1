import { chmod, chown, mkdir, mkdtemp, realpath, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../../sdk/protocol/index.ts";
import { directoryFault } from "../runner/directory.ts";
import { Directories, workerOf } from "./directories.ts";
import { listFiles } from "./files.ts";
import { Layout, makeDirectories } from "./layout.ts";

const root = process.getuid?.() === 0;
const sandboxed = { name: "docker", owner: { uid: 1000, gid: 1000 } };
const plain = { name: "process", owner: null };

let base: string;
let layout: Layout;
let roots: string[];
let directories: Directories;

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), "mrn-dirs-")));
  layout = new Layout(join(base, "work/.daemon"));
  await mkdir(join(base, "work/project/.git/hooks"), { recursive: true });
  await mkdir(join(base, "elsewhere"));
  await layout.make();
  roots = [join(base, "work")];
  directories = new Directories(layout, () => ({ roots, hidden: [layout.root] }));
});
afterEach(() => rm(base, { recursive: true, force: true }));

describe("a session's directory", () => {
  it("is one below a root, known by what it is", async () => {
    const path = join(base, "work/project");
    const claimed = await directories.claim(path, root ? sandboxed : plain);
    const { dev, ino } = await stat(path);
    expect(claimed).toMatchObject({ ok: true, path, identity: `${dev}:${ino}` });
  });

  it("is refused in words where it is none, lies elsewhere, or is the daemon's", async () => {
    await symlink(join(base, "elsewhere"), join(base, "work/out"));
    await writeFile(join(base, "work/file"), "");
    const why = async (path: string) => {
      const claimed = await directories.claim(path, root ? sandboxed : plain);
      return claimed.ok ? "" : claimed.message;
    };
    expect(await why(join(base, "elsewhere"))).toMatch(/lies in none of the directories that this host opens/);
    expect(await why(join(base, "work/../elsewhere"))).toMatch(/lies in none/);
    expect(await why(join(base, "work/out"))).toMatch(/lies in none/);
    expect(await why(join(base, "work/none"))).toMatch(/does not exist/);
    expect(await why(join(base, "work/file"))).toMatch(/is not a directory/);
    expect(await why(join(base, "work"))).toMatch(/holds the daemon's own data/);
    expect(await why(layout.root)).toMatch(/daemon's own files/);
    expect(await why(layout.sessions)).toMatch(/daemon's own files/);
    roots = [];
    expect(await why(join(base, "work/project"))).toMatch(/opens no directories/);
  });

  it("is worked in as its owner, never as root behind a sandbox", () => {
    expect(workerOf({ uid: 1234, gid: 50, mode: 0o700 }, sandboxed, 0)).toEqual({ uid: 1234, gid: 50 });
    expect(workerOf({ uid: 1234, gid: 0, mode: 0o700 }, sandboxed, 0)).toEqual({ uid: 1234, gid: 1000 });
    expect(workerOf({ uid: 0, gid: 0, mode: 0o755 }, sandboxed, 0)).toEqual({ uid: 1000, gid: 1000 });
    expect(workerOf({ uid: 0, gid: 0, mode: 0o755 }, plain, 0)).toBeNull();
    expect(workerOf({ uid: 1234, gid: 50, mode: 0o700 }, plain, 0)).toMatch(/runs agents as root here/);
    expect(workerOf({ uid: 1234, gid: 50, mode: 0o700 }, plain, 1234)).toBeNull();
  });

  it.runIf(root)("of root is said to be for reading, and refused where not even that", async () => {
    const path = join(base, "work/project");
    expect(await directories.claim(path, sandboxed)).toMatchObject({ ok: true, owner: { uid: 1000 }, notice: expect.stringContaining("not write there") as string });
    await chmod(path, 0o700);
    expect(await directories.claim(path, sandboxed)).toMatchObject({ ok: false, message: expect.stringContaining("may not look into it") as string });
    await chown(path, 1234, 1234);
    expect(await directories.claim(path, sandboxed)).toMatchObject({ ok: true, owner: { uid: 1234, gid: 1234 }, notice: "" });
  });

  it("is neither made nor given to anybody", async () => {
    const path = join(base, "work/project");
    if (root) await chown(path, 1234, 1234);
    const before = await stat(path);
    const places = layout.directories({ workspace_id: newId("workspace", 1), session_id: newId("session", 1), runner_id: newId("runner", 1), directory: { path } });
    expect(places).toMatchObject({ workspace: path, foreign: true });
    expect(await makeDirectories(places, root ? { uid: 4321, gid: 4321 } : null, {})).toEqual({ fresh: false });
    expect(await stat(path)).toMatchObject({ uid: before.uid, gid: before.gid, mode: before.mode, mtimeMs: before.mtimeMs });
    const missing = join(base, "work/missing");
    await makeDirectories({ ...places, workspace: missing }, null, {});
    await expect(stat(missing)).rejects.toThrow("ENOENT");
  });

  it("is read through its session's workspace, until the session ends, the root is closed, or a link stands there", async () => {
    const path = join(base, "work/project");
    const [workspace, session] = [newId("workspace", 1), newId("session", 1)];
    const names = async () => {
      const { root: at, options } = await directories.filesOf(workspace);
      const answer = await listFiles(at, "", options);
      return answer.ok ? answer.value.map(({ name }) => name) : answer.code;
    };
    expect(await names()).toBe("not_found");
    await directories.settle(workspace, session, path);
    expect(await names()).toEqual([".git"]);
    roots = [join(base, "elsewhere")];
    expect(await names()).toBe("not_found");
    roots = [join(base, "work")];
    await rename(path, join(base, "work/moved"));
    await symlink(join(base, "elsewhere"), path);
    expect(await names()).toBe("not_found");
    await rm(path);
    await rename(join(base, "work/moved"), path);
    await directories.ended(newId("session", 2));
    expect(await names()).toEqual([".git"]);
    await directories.ended(session);
    expect(await names()).toBe("not_found");
    await directories.settle(workspace, session, path);
    await directories.settle(workspace, session, null);
    expect(await names()).toBe("not_found");
  });

  it("that was replaced between the look and the start is not worked in", async () => {
    const path = join(base, "work/project");
    const claimed = await directories.claim(path, root ? sandboxed : plain);
    if (!claimed.ok) throw new Error(claimed.message);
    const { identity } = claimed;
    expect(directoryFault({ directory: { path, identity }, workspace: path })).toBeNull();
    await rename(path, `${path}-old`);
    expect(directoryFault({ directory: { path, identity }, workspace: path })).toMatch(/cannot be looked at/);
    await symlink(join(base, "elsewhere"), path);
    expect(directoryFault({ directory: { path, identity }, workspace: path })).toMatch(/was replaced meanwhile/);
  });
});
