import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Marionette } from "../../sdk/index.ts";
import { startS3 } from "../support/s3.ts";
import { startStack, type Stack } from "../support/stack.ts";

const MCTL = resolve(import.meta.dirname, "../../sdk/cli/bin.mjs");

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "marionette-workspaces-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function tree(root: string): Promise<void> {
  await mkdir(join(root, "src/deep"), { recursive: true });
  await mkdir(join(root, "empty"));
  await writeFile(join(root, "README.md"), "# hello\n");
  await writeFile(join(root, "src/deep/ü ∂.txt"), "names\n");
  await writeFile(join(root, "src/run.sh"), "#!/bin/sh\n");
  await chmod(join(root, "src/run.sh"), 0o755);
  await writeFile(join(root, "large.bin"), randomBytes(12 * 1024 * 1024));
  await symlink("../README.md", join(root, "src/link"));
  for (let i = 0; i < 300; i++) await writeFile(join(root, `src/f${i}.txt`), `file ${i}\n`.repeat(i));
}

/** What lies below a directory: paths, kinds, and contents by hash. */
async function shape(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return (await Promise.all(entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    return `${path.slice(root.length)} ${entry.isFile() ? (await readFile(path)).toString("base64").slice(-64) : entry.isSymbolicLink() ? "link" : "directory"}`;
  }))).sort();
}

function mctlOf(stack: Stack) {
  return (...args: string[]): Promise<{ code: number | null; out: string; err: string }> =>
    new Promise((done) => {
      const child = spawn(process.execPath, [MCTL, ...args], { cwd: dir, env: { PATH: process.env["PATH"], HOME: dir, MARIONETTE_API_URL: stack.url, MARIONETTE_API_KEY: stack.apiKey } });
      const said = { out: "", err: "" };
      child.stdout.on("data", (part: Buffer) => (said.out += part.toString()));
      child.stderr.on("data", (part: Buffer) => (said.err += part.toString()));
      child.once("close", (code) => done({ code, ...said }));
    });
}

for (const kind of ["disk", "r2", "s3"] as const) {
  describe(`workspaces over ${kind}`, () => {
    let stack: Stack;
    let end = async () => {};
    beforeAll(async () => {
      if (kind !== "s3") stack = await startStack({ objectStore: kind });
      else {
        const s3 = await startS3(join(dir, "s3"));
        const { endpoint, bucket, region, accessKeyId, secretAccessKey } = s3.settings;
        stack = await startStack({ vars: { MARIONETTE_OBJECT_STORE: "s3", MARIONETTE_S3_ENDPOINT: endpoint, MARIONETTE_S3_BUCKET: bucket, MARIONETTE_S3_REGION: region, MARIONETTE_S3_ACCESS_KEY_ID: accessKeyId, MARIONETTE_S3_SECRET_ACCESS_KEY: secretAccessKey } });
        end = () => s3.close();
      }
    });
    afterAll(async () => {
      await stack.close();
      await end();
    });

    it("push a tree, pull it back exactly, compare, go back and forth, and are collected and deleted", async () => {
      const mctl = mctlOf(stack);
      const root = join(dir, `tree-${kind}`);
      await tree(root);
      const id = (await mctl("workspaces", "create", "--name", "mine", "--label", "team=web", "-q")).out.trim();
      expect(id).toMatch(/^ws_/);
      expect(await mctl("workspaces", "pull", id)).toMatchObject({ code: 1, err: expect.stringContaining("never synced") });

      const first = await mctl("workspaces", "push", id, root, "-q");
      expect(first).toMatchObject({ code: 0 });
      const one = first.out.trim();
      expect(await mctl("workspaces", "push", id, root)).toMatchObject({ code: 0, err: expect.stringContaining("Nothing has changed") });
      expect(await mctl("workspaces", "pull", id, `copy-${kind}`)).toMatchObject({ code: 0 });
      expect(await shape(join(dir, `copy-${kind}`))).toEqual(await shape(root));
      expect(await mctl("workspaces", "pull", id, `copy-${kind}`)).toMatchObject({ code: 1, err: expect.stringContaining("--force") });

      await writeFile(join(root, "README.md"), "# changed\n");
      await rm(join(root, "large.bin"));
      const second = await mctl("workspaces", "push", id, root, "-o", "json");
      const pushed = JSON.parse(second.out) as { id: string; sent_bytes: number };
      expect(pushed.sent_bytes).toBeLessThan(1024 * 1024);
      const diff = await mctl("workspaces", "diff", id, one);
      expect(diff.out.split("\n").slice(1).map((line) => line.trim().split(/ +/).slice(0, 2)).filter(([sign]) => sign)).toEqual([["~", "README.md"], ["-", "large.bin"]]);
      expect((await mctl("workspaces", "manifests", id)).out).toMatch(new RegExp(`${pushed.id} +current[^]*${one}`));

      expect((await mctl("workspaces", "cat", id, "README.md")).out).toBe("# changed\n");
      expect((await mctl("workspaces", "cat", id, "README.md", "-m", one)).out).toBe("# hello\n");
      expect((await mctl("workspaces", "ls", id, "src/deep")).out).toContain("ü ∂.txt");
      expect(await mctl("workspaces", "restore", id, one)).toMatchObject({ code: 0, err: expect.stringContaining(`goes on from ${one}`) });
      expect((await mctl("workspaces", "get", id)).out).toContain(one);
      expect((await mctl("workspaces", "list")).out).toContain("mine");

      expect((await mctl("workspaces", "gc", "--dry-run")).out).toContain("would be marked now");
      expect(await mctl("workspaces", "delete", id)).toMatchObject({ code: 0, err: expect.stringContaining("with 2 manifests") });
      expect(await mctl("workspaces", "gc")).toMatchObject({ code: 0 });
      expect((await mctl("workspaces", "get", id)).code).toBe(1);
    });

    it.runIf(process.platform === "linux")("show names that are no UTF-8 in a spelling by which they are read", async () => {
      const mctl = mctlOf(stack);
      const root = join(dir, `odd-${kind}`);
      const odd = (...names: (string | number)[]) => Buffer.concat([`${root}/`, ...names].map((name) => (typeof name === "number" ? Buffer.of(name) : Buffer.from(name))));
      await mkdir(root);
      await mkdir(odd("ü", 0xff));
      await writeFile(odd("ü", 0xff, "/a.txt"), "deep\n");
      await writeFile(odd("bad", 0xfe), "bytes\n");
      await writeFile(join(root, "bad\\xfe.txt"), "text\n");
      const id = (await mctl("workspaces", "create", "-q")).out.trim();
      expect(await mctl("workspaces", "push", id, root)).toMatchObject({ code: 0 });
      expect((await mctl("workspaces", "ls", id, "-q")).out.split("\n").filter(Boolean).sort()).toEqual(["\\xc3\\xbc\\xff", "bad\\xfe", "bad\\xfe.txt"]);
      expect((await mctl("workspaces", "ls", id, "\\xc3\\xbc\\xff", "-q")).out).toBe("\\xc3\\xbc\\xff/a.txt\n");
      for (const [path, text] of [["bad\\xfe", "bytes"], ["bad\\xfe.txt", "text"], ["\\xc3\\xbc\\xff/a.txt", "deep"]] as const) expect(await mctl("workspaces", "cat", id, path)).toMatchObject({ code: 0, out: `${text}\n` });
      expect((await mctl("workspaces", "cat", id, "bad\\xfd")).code).toBe(1);
      expect((await mctl("workspaces", "ls", id, "bad\\xfe")).code).toBe(1);
    });

    it("stand among the lists with the sessions that made them", async () => {
      const client = new Marionette({ url: stack.url, apiKey: stack.apiKey });
      const session = await client.sessions.create({ agent: "claude", retention_days: 3 });
      const found = await client.workspaces.get(session.workspace_id);
      expect(found).toMatchObject({ id: session.workspace_id, retention_days: 3, manifest_id: null });
      await expect(client.workspaces.delete(found.id)).rejects.toMatchObject({ status: 409 });
      await expect(client.workspaces.restore(found.id, "mfst_000000000000000000000")).rejects.toMatchObject({ status: 404 });
      const other = await stack.tenant("other");
      await expect(new Marionette({ url: stack.url, apiKey: other.apiKey }).workspaces.get(found.id)).rejects.toMatchObject({ status: 404 });
    });
  });
}
