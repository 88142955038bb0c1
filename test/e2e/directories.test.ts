import { execFile } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import Docker from "dockerode";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Marionette, type SessionCreateParams } from "../../sdk/index.ts";
import { steps } from "../support/agents.ts";
import { missingBrowser } from "../support/browser.ts";
import { dashboardAt, overflowOf, violationsOf } from "../support/dashboard.ts";
import { eventually } from "../support/eventually.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

const run = promisify(execFile);
const MCTL = resolve(import.meta.dirname, "../../sdk/cli/bin.mjs");
const engine = new Docker();
const noDocker = await engine.ping().then(() => engine.getImage("marionette-runner:latest").inspect()).then(() => null, () => "no Docker engine with the image answers");
/** Where the tests run as root, directories belong to a user that is neither root nor the sandboxes' usual one. */
const USER = process.getuid?.() === 0 ? 1234 : null;

let base: string;
let root: string;
let project: string;
let scene: Scene;
let count = 0;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "marionette-directories-"));
  await chmod(base, 0o755);
  root = join(base, "anna");
  await mkdir(root);
  scene = await startScene({ browse_roots: [root] });
});
afterAll(async () => {
  await scene?.close();
  await rm(base, { recursive: true, force: true, maxRetries: 10 });
});
beforeEach(async () => {
  project = join(root, `project-${++count}`);
  await mkdir(join(project, ".git/hooks"), { recursive: true });
  await writeFile(join(project, "README.md"), "mine\n");
  await writeFile(join(base, "secret"), "not yours\n");
  if (USER !== null) for (const path of [root, project, join(project, ".git"), join(project, ".git/hooks"), join(project, "README.md")]) await chown(path, USER, USER);
});

const launch = (more: Partial<SessionCreateParams> = {}) => scene.session({ directory: { host_id: scene.host.id, path: project }, ...more });
const owner = async (path: string) => {
  const { uid, gid } = await stat(path);
  return `${uid}:${gid}`;
};
const owned = USER === null ? `${process.getuid?.() ?? ""}:${process.getgid?.() ?? ""}` : `${USER}:${USER}`;
const capsulesOf = (id: string, least: number) =>
  eventually(`${least} capsules are taken`, async () => {
    const taken = await all(scene.client.sessions.capsules(id));
    return taken.length >= least ? taken : undefined;
  });
const mctl = (...args: string[]) =>
  run(process.execPath, [MCTL, ...args], { cwd: project, env: { PATH: process.env["PATH"], HOME: base, MARIONETTE_API_URL: scene.stack.url, MARIONETTE_API_KEY: scene.stack.apiKey } });

describe("a host's directories", () => {
  it("are browsed and read below the roots, and nowhere else", async () => {
    const { id } = scene.host;
    expect((await scene.client.hosts.get(id)).browse_roots).toEqual([root]);
    const names = async (path: string) => (await all(scene.client.hosts.browse(id, { root, path, limit: 2 }))).map(({ name }) => name);
    expect(await names(`project-${count}`)).toEqual([".git", "README.md"]);
    expect(new TextDecoder().decode(await scene.client.hosts.readBrowsed(id, root, `project-${count}/README.md`))).toBe("mine\n");
    await symlink(join(base, "secret"), join(project, "out"));
    for (const path of ["..", "../secret", `project-${count}/../../secret`, `project-${count}/out`]) {
      await expect(scene.client.hosts.readBrowsed(id, root, path)).rejects.toMatchObject({ code: "bad_request" });
    }
    await expect(names("../")).rejects.toMatchObject({ code: "bad_request" });
    await expect(all(scene.client.hosts.browse(id, { root: base }))).rejects.toMatchObject({ code: "bad_request", message: expect.stringContaining(`expected one of ${root}`) as string });
    expect((await mctl("hosts", "browse", id, root, `project-${count}`)).stdout).toMatch(/directory.*\.git\/\n.*README\.md/);
    expect((await mctl("hosts", "browse", id)).stdout).toContain(root);
  });

  it("are nobody else's: not another tenant's, and not of a key without admin", async () => {
    const { id } = scene.host;
    const directory = { host_id: id, path: project };
    const other = new Marionette({ url: scene.stack.url, apiKey: (await scene.stack.tenant("other")).apiKey });
    await expect(all(other.hosts.browse(id, { root }))).rejects.toMatchObject({ status: 404 });
    await expect(other.hosts.readBrowsed(id, root, "x")).rejects.toMatchObject({ status: 404 });
    await expect(other.sessions.create({ agent: "scripted", directory })).rejects.toMatchObject({ status: 404 });
    const { key } = await scene.client.keys.create({ name: "writer", scopes: ["read", "write", "approve"] });
    const writer = new Marionette({ url: scene.stack.url, apiKey: key });
    await expect(all(writer.hosts.browse(id, { root }))).rejects.toMatchObject({ status: 403 });
    await expect(writer.sessions.create({ agent: "scripted", directory })).rejects.toMatchObject({ status: 403 });
    const session = await launch();
    await scene.end(await scene.task(session, steps(["text", "hi"])));
    await capsulesOf(session.id, 1);
    await expect(writer.sessions.fork(session.id)).rejects.toMatchObject({ status: 403 });
    await scene.client.sessions.terminate(session.id);
  });

  it("that lead elsewhere, or are not there, are not worked in", async () => {
    await symlink(base, join(project, "up"));
    for (const [path, words] of [[base, "lies in none"], [join(project, "up"), "a link leaves"], [join(project, "none"), "does not exist"], [join(project, "README.md"), "not a directory"], ["/etc", "lies in none"]] as const) {
      await expect(scene.session({ directory: { host_id: scene.host.id, path } })).rejects.toMatchObject({ code: "bad_request", message: expect.stringContaining(words) as string });
    }
  });

  it.skipIf(USER === null)("that the agent may not look into are refused by the host, in the task's words", async () => {
    const closed = join(project, "closed");
    await mkdir(closed, { mode: 0o700 });
    const session = await scene.session({ directory: { host_id: scene.host.id, path: closed } });
    const task = await scene.end(await scene.task(session, steps(["write", "x", "x"])));
    expect(task).toMatchObject({ status: "failed", error: { code: "provider_failed", message: expect.stringContaining("may not look into it") as string } });
    expect(await readdir(closed)).toEqual([]);
    await scene.client.sessions.terminate(session.id);
  });
});

const PROVIDERS = [["process", null], ["docker", noDocker]] as const;
for (const [provider, missing] of PROVIDERS) {
  describe.skipIf(missing !== null)(`a session in a directory, with the ${provider} provider${missing === null ? "" : ` (${missing})`}`, () => {
    it("edits the user's files as their owner, and leaves them when it ends", async () => {
      const session = await launch({ provider });
      expect(session).toMatchObject({ directory: { host_id: scene.host.id, path: project } });
      const task = await scene.task(session, steps(["write", "README.md", "edited\n"], ["write", "new.txt", "new\n"], ["text", "done"]));
      expect(await scene.end(task)).toMatchObject({ status: "completed" });
      expect(said(await scene.log(task))).toContain("done");
      expect(await readFile(join(project, "README.md"), "utf8")).toBe("edited\n");
      expect([await owner(project), await owner(join(project, "README.md")), await owner(join(project, "new.txt")), await owner(join(project, ".git/hooks"))]).toEqual([owned, owned, owned, owned]);
      expect(await scene.client.sessions.files.text(session.id, "new.txt")).toBe("new\n");
      await expect(scene.client.sessions.files.read(session.id, "../README.md")).rejects.toMatchObject({ code: "bad_request" });

      // The capsule has the conversation and says why it has no files.
      const [capsule] = await capsulesOf(session.id, 1);
      expect(capsule).toMatchObject({ workspace: { files: 0 }, left_out: [{ path: project, why: expect.stringContaining("stay there") as string }] });

      await scene.client.sessions.terminate(session.id);
      await eventually("the session's files are closed", () => scene.client.sessions.files.list(session.id).then(() => false, () => true));
      expect((await readdir(project)).sort()).toEqual([".git", "README.md", "new.txt"]);
      expect(await owner(project)).toBe(owned);
    });

    it("is suspended with its files discarded and resumed from an older capsule, and nothing of the directory is", async () => {
      const session = await launch({ provider });
      const first = await scene.end(await scene.task(session, steps(["write", "a.txt", "1"])));
      await scene.end(await scene.task(session, steps(["write", "a.txt", "2"])));
      const capsules = await capsulesOf(session.id, 2);
      await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
      await eventually("it is suspended", async () => (await scene.client.sessions.get(session.id)).status === "suspended");
      expect(await readFile(join(project, "a.txt"), "utf8")).toBe("2");
      await expect(scene.client.sessions.resume(session.id, { selector: "os=plan9" })).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining(`works in ${project} on host ${scene.host.id}`) as string });
      const older = capsules.find(({ task_id }) => task_id === first.id);
      await scene.client.sessions.resume(session.id, { capsule_id: older?.id ?? "" });
      const task = await scene.task(session, steps(["write", "b.txt", "3"]));
      expect(await scene.end(task)).toMatchObject({ status: "completed" });
      expect([await readFile(join(project, "a.txt"), "utf8"), await readFile(join(project, "README.md"), "utf8"), await readFile(join(project, "b.txt"), "utf8")]).toEqual(["2", "mine\n", "3"]);
      const receipts = of(await all(scene.client.sessions.events(session.id)), "session.receipt");
      expect(receipts.at(-1)?.survived.join("\n")).toContain(`the files of ${project}`);

      const fork = await scene.client.sessions.fork(session.id, { capsule_id: older?.id });
      expect(fork).toMatchObject({ directory: { path: project } });
      expect(await scene.end(await scene.task(fork, steps(["write", "c.txt", "4"])))).toMatchObject({ status: "completed" });
      expect((await readdir(project)).sort()).toEqual([".git", "README.md", "a.txt", "b.txt", "c.txt"]);
      await scene.client.sessions.terminate(fork.id);
      await scene.client.sessions.terminate(session.id);
    });
  });
}

describe("mctl run --dir", () => {
  it("works in a directory by its host, or by its path where the machine is the only host", async () => {
    const made = await mctl("run", "--agent", "scripted", "--dir", `${scene.host.id}:${project}/`, "--rm", steps(["write", "one.txt", "1"]));
    expect(made.stderr).toContain("Session sess_");
    await mctl("run", "--agent", "scripted", "--dir", ".", "--rm", steps(["write", "two.txt", "2"]));
    expect((await readdir(project)).sort()).toEqual([".git", "README.md", "one.txt", "two.txt"]);
    await expect(mctl("run", "--agent", "scripted", "--dir", "..", "--dir", "/etc", "x")).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining("lies in none") as string });
  });
});

describe.skipIf(missingBrowser() !== null)(`the page of files (${missingBrowser() ?? "in Chromium"})`, () => {
  it("browses the roots of hosts and launches an agent there, also on a phone", async () => {
    const name = `project-${count}`;
    const dashboard = await dashboardAt(scene.stack.url, scene.stack.apiKey);
    try {
      const page = await dashboard.visit(`/files?root=${encodeURIComponent(`${scene.host.id}:${root}`)}`, { viewport: { width: 360, height: 740 } });
      await page.getByRole("button", { name, exact: true }).click();
      await page.getByRole("button", { name: "README.md" }).click();
      await page.locator(".code").getByText("mine").waitFor();
      expect(await overflowOf(page)).toBeLessThanOrEqual(0);
      expect(await violationsOf(page)).toEqual([]);
      await page.getByRole("button", { name: "Launch here" }).click();
      await page.getByRole("combobox", { name: "Agent", exact: true }).selectOption("scripted");
      await page.getByLabel("Prompt").fill(steps(["write", "made.txt", "from the dashboard"]));
      await page.getByRole("button", { name: "Launch", exact: true }).click();
      await page.waitForURL(/sessions\/sess_/);
      await page.getByRole("group", { name: "View" }).getByRole("button", { name: "About" }).click();
      await page.locator(".session-side.in-main").getByText(project, { exact: true }).waitFor();
      await eventually("the agent has written there", () => readFile(join(project, "made.txt"), "utf8").then((text) => text === "from the dashboard", () => false));
      const { key } = await scene.client.keys.create({ name: "reader", scopes: ["read"] });
      const reader = await dashboard.visit("/files", { key });
      await reader.getByRole("heading", { name: "Files" }).waitFor();
      await reader.getByLabel("Session or directory").waitFor();
      expect(await reader.getByLabel("Session or directory").innerText()).not.toContain(root);
      expect(dashboard.faults()).toEqual([]);
    } finally {
      await dashboard.close();
    }
  });
});

describe("protected paths", () => {
  it("of the directory ask, as in any workspace", async () => {
    const session = await launch({ edit_mode: "session" });
    const task = await scene.task(session, steps(["ask", "Write", { file_path: "/workspace/.git/hooks/pre-commit", content: "x" }]));
    const asked = await scene.asked(task);
    expect(["high", "critical"]).toContain(asked.risk);
    await scene.client.permissions.deny(asked.id, { reason: "no" });
    await scene.end(task);
    const plain = await scene.task(session, steps(["ask", "Write", { file_path: "/workspace/plain.txt", content: "x" }]));
    expect(await scene.end(plain)).toMatchObject({ status: "completed" });
    await scene.client.sessions.terminate(session.id);
  });
});
