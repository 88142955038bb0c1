/** Owns what every provider must do: a suite that each one's test calls, and that others can call for theirs. Needs vitest. */

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IDENTITY, MAX_COMMAND_BYTES, WORKSPACE, WorkspaceError, type AgentWorkspace, type ExecEvent, type ExecOptions, type OpenSandbox, type Sandbox } from "./contracts.ts";

export interface ContractSubject {
  provider: Sandbox;
  /** A second provider over the same computers, as another process would have it. */
  again(): Sandbox;
  /** Ends what the test's own parts began. */
  end?(): Promise<void>;
}

export interface ContractOptions {
  make: () => Promise<ContractSubject>;
  /** Deviations: the test's name and why, in words. */
  skips?: Readonly<Record<string, string>>;
}

interface Ran {
  code: number | null;
  end: string;
  out: string;
  err: string;
}

async function ran(workspace: AgentWorkspace, command: string, options?: ExecOptions): Promise<Ran> {
  const events: ExecEvent[] = [];
  for await (const event of workspace.exec(command, options)) events.push(event);
  const exits = events.filter((event) => event.type === "exit");
  expect(exits).toHaveLength(1);
  expect(events.at(-1)).toBe(exits[0]);
  const text = (stream: string) => Buffer.concat(events.flatMap((event) => (event.type === "output" && event.stream === stream ? [event.bytes] : []))).toString();
  return { code: exits[0]?.code ?? null, end: exits[0]?.end ?? "", out: text("stdout"), err: text("stderr") };
}

const code = (promise: Promise<unknown>) => promise.then(() => "no error", (error: unknown) => (error instanceof WorkspaceError ? error.code : String(error)));

async function until<T>(ask: () => Promise<T | null>): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const answer = await ask();
    if (answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("waited in vain");
}

/** Describes the contract of `name`. Makes and destroys workspaces of its own, with random keys. */
export function sandboxContract(name: string, { make, skips = {} }: ContractOptions): void {
  const key = `contract-${randomBytes(6).toString("hex")}`;
  const test = (title: string, body: (at: { sandbox: OpenSandbox; workspace: AgentWorkspace; subject: ContractSubject }) => Promise<void>) =>
    it(title, async (context) => {
      const reason = skips[title];
      if (reason !== undefined) context.skip(reason);
      await body({ sandbox, workspace: sandbox.workspace, subject });
    });
  let subject: ContractSubject;
  let sandbox: OpenSandbox;

  describe(`a ${name} sandbox`, () => {
    beforeAll(async () => {
      subject = await make();
      sandbox = await subject.provider.materialize(key);
    });
    afterAll(async () => {
      await subject?.provider.destroy(key);
      await subject?.provider.close();
      await subject?.end?.();
    });

    test("is fresh once, and running", async ({ subject }) => {
      expect(sandbox.fresh).toBe(true);
      expect(await subject.provider.status(key)).toBe("running");
      expect((await subject.provider.materialize(key)).fresh).toBe(false);
      expect(await subject.provider.status(`${key}-none`)).toBe("absent");
      expect(await subject.provider.destroy(`${key}-none`)).toBe(false);
      await subject.provider.stop(`${key}-none`);
    });
    test("is one when it is asked for by many at once", async ({ subject }) => {
      const many = `${key}-many`;
      const opened = await Promise.all(Array.from({ length: 5 }, (_, i) => (i % 2 ? subject.provider : subject.again()).materialize(many)));
      await opened[0]?.workspace.write("one.txt", "1");
      for (const { workspace } of opened) expect((await workspace.read("one.txt")).size).toBe(1);
      expect(await subject.provider.destroy(many)).toBe(true);
      expect(await subject.provider.status(many)).toBe("absent");
    });
    test("refuses keys that could mean something else", async ({ subject }) => {
      for (const bad of ["", "..", ".hidden", "a/b", "a b", "a\0", "x".repeat(201), "-rf"]) expect(await code(subject.provider.materialize(bad)), `${bad}`).toBe("invalid");
    });

    test("writes, reads, lists and deletes files", async ({ workspace }) => {
      const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
      expect(await workspace.write("deep/er/bytes.bin", bytes)).toMatchObject({ created: true });
      expect(Buffer.from((await workspace.read(`${WORKSPACE}/deep/er/bytes.bin`)).bytes).equals(bytes)).toBe(true);
      expect(await workspace.read("deep/er/bytes.bin", { offset: 69_990, length: 100 })).toMatchObject({ size: 70_000, offset: 69_990, bytes: expect.toSatisfy((piece: Uint8Array) => piece.length === 10 && piece[0] === 69_990 % 256) as Uint8Array });
      expect((await workspace.read("deep/er/bytes.bin", { offset: 90_000 })).bytes).toHaveLength(0);
      expect(await workspace.write("deep/er/bytes.bin", "short")).toMatchObject({ created: false });
      expect(Buffer.from((await workspace.read("deep/er/bytes.bin")).bytes).toString()).toBe("short");
      await workspace.write("deep/empty", "");
      expect((await workspace.list("deep")).map(({ kind, path, size }) => [kind, path, kind === "file" ? size : 0])).toEqual([["directory", `${WORKSPACE}/deep/er`, 0], ["file", `${WORKSPACE}/deep/empty`, 0]]);
      expect(await workspace.stat("deep/er")).toMatchObject({ kind: "directory", name: "er" });
      expect(await workspace.stat("deep/none")).toBeNull();
      expect(await workspace.stat("deep/empty/x")).toBeNull();
      expect(await code(workspace.delete("deep"))).toBe("not_empty");
      await workspace.delete("deep/empty");
      await workspace.delete("deep", { recursive: true });
      expect(await workspace.stat("deep")).toBeNull();
      expect(await code(workspace.delete("deep"))).toBe("not_found");
      expect(await code(workspace.read("deep"))).toBe("not_found");
      expect(await code(workspace.list("deep"))).toBe("not_found");
    });
    test("reads many small files at once, each as it would be alone", async ({ workspace }) => {
      const names = ["a.txt", "$(id)", "a\nb", "empty", "deep/er/b.txt"];
      for (const name of names) await workspace.write(`many/${name}`, name === "empty" ? "" : `${name}\n`.repeat(20));
      const read = (path: string) => workspace.read(path, { length: 50 }).then(({ bytes, size, version }) => [Buffer.from(bytes).toString(), size, version], (error: unknown) => (error as { code: unknown }).code);
      const paths = [...names.map((name) => `many/${name}`), "many", "many/none", "none/at/all", "many/a.txt/x", "../many/a.txt", ".marco-none", `${WORKSPACE}/many/a.txt`];
      const together = await Promise.all(paths.map(read));
      const alone: unknown[] = [];
      for (const path of paths) alone.push(await read(path));
      expect(together).toEqual(alone);
      expect(together.slice(0, 2).concat(together.slice(5, 7))).toEqual([["a.txt\n".repeat(20).slice(0, 50), 120, expect.any(String)], ["$(id)\n".repeat(20).slice(0, 50), 120, expect.any(String)], "not_a_file", "not_found"]);
      await workspace.delete("many", { recursive: true });
    });
    test("keeps names that shells would take for something else", async ({ workspace }) => {
      for (const name of ["with space", "$(id)", "`id`", "-rf", "a'b", 'a"b', "a\nb", "ünïcödé 日本", "*", "\\n", "#x", "~", "a;b"]) {
        await workspace.write(`odd/${name}`, name);
        expect(Buffer.from((await workspace.read(`odd/${name}`)).bytes).toString()).toBe(name);
        expect((await workspace.list("odd")).map((entry) => entry.name)).toEqual([name]);
        await workspace.delete(`odd/${name}`);
      }
    });
    test("writes only over the version that the writer knows", async ({ workspace }) => {
      const { version } = await workspace.write("versioned", "1", { version: null });
      expect((await workspace.read("versioned")).version).toBe(version);
      expect(await code(workspace.write("versioned", "2", { version: null }))).toBe("changed");
      const next = await workspace.write("versioned", "22", { version });
      expect(await code(workspace.write("versioned", "3", { version }))).toBe("changed");
      await workspace.delete("versioned");
      expect(await code(workspace.write("versioned", "4", { version: next.version }))).toBe("changed");
    });
    test("keeps the rights of a file that is written again", async ({ workspace }) => {
      await workspace.write("tool.sh", "#!/bin/sh\necho one\n");
      expect((await ran(workspace, "chmod 755 tool.sh && ./tool.sh")).out).toBe("one\n");
      await workspace.write("tool.sh", "#!/bin/sh\necho two\n");
      expect((await ran(workspace, "./tool.sh")).out).toBe("two\n");
    });
    test("says what is no file and what is no directory", async ({ workspace }) => {
      await ran(workspace, "mkdir -p kinds/dir && echo x > kinds/file && mkfifo kinds/pipe");
      expect(await code(workspace.read("kinds/dir"))).toBe("not_a_file");
      expect(await code(workspace.read("kinds/pipe"))).toBe("not_a_file");
      expect(await code(workspace.write("kinds/dir", "x"))).toBe("not_a_file");
      expect(await code(workspace.write("kinds/pipe", "x"))).toBe("not_a_file");
      expect(await code(workspace.list("kinds/file"))).toBe("not_a_directory");
      expect(await code(workspace.write("kinds/file/x", "x"))).toBe("not_a_directory");
      expect(await code(workspace.read("kinds/file", { offset: -1 }))).toBe("invalid");
      expect(await code(workspace.read("kinds/file", { length: 1e9 }))).toBe("too_large");
    });
    test("refuses paths that leave", async ({ workspace }) => {
      for (const path of ["..", "../x", "a/../../x", "/etc/passwd", "/", "/workspacex/a", "/workspace/../etc/passwd", "/.marco/../etc/passwd", "a/..", "/proc/self/environ", "~/../x"]) {
        expect(await code(workspace.read(path)), `${path}`).toBe("outside");
        expect(await code(workspace.write(path, "x")), `${path}`).toBe("outside");
        expect(await code(workspace.list(path)), `${path}`).toBe("outside");
        expect(await code(workspace.delete(path, { recursive: true })), `${path}`).toBe("outside");
        expect(await code(workspace.stat(path)), `${path}`).toBe("outside");
      }
      expect(await code(workspace.read("a\0b"))).toBe("invalid");
      expect(await code(workspace.read("x/".repeat(5_000)))).toBe("invalid");
      expect(await code(workspace.delete(WORKSPACE, { recursive: true }))).toBe("invalid");
    });
    test("follows links that stay inside, and no others", async ({ workspace }) => {
      await ran(workspace, "mkdir -p links/real && echo in > links/real/file && cd links && ln -s real/file near && ln -s real dir && ln -s /etc/passwd far && ln -s /etc away && ln -s ../../.. up && ln -s loop loop && ln -s real/absent hanging");
      expect(Buffer.from((await workspace.read("links/near")).bytes).toString()).toBe("in\n");
      await workspace.write("links/dir/new", "through");
      expect((await workspace.read("links/real/new")).size).toBe(7);
      await workspace.write("links/near", "kept as a link");
      expect((await workspace.read("links/real/file")).size).toBe(14);
      expect((await workspace.list("links")).map(({ name: entry, kind }) => `${kind} ${entry}`)).toEqual(expect.arrayContaining(["symlink near", "symlink far", "symlink loop"]));
      for (const path of ["links/far", "links/away/passwd", "links/up/etc/passwd"]) {
        expect(await code(workspace.read(path)), `${path}`).toBe("outside");
        expect(await code(workspace.write(path, "x")), `${path}`).toBe("outside");
      }
      expect(await code(workspace.write("links/away/marco-was-here", "x"))).toBe("outside");
      expect(await code(workspace.delete("links/away/passwd"))).toBe("outside");
      expect(await code(workspace.list("links/away"))).toBe("outside");
      expect(await code(workspace.write("links/hanging", "x"))).toBe("outside");
      expect(await code(workspace.read("links/loop"))).toBe("not_found");
      expect(await code(ran(workspace, "pwd", { cwd: "links/away" }))).toBe("outside");
      await workspace.delete("links/away");
      await workspace.delete("links/dir", { recursive: true });
      expect((await workspace.read("links/real/new")).size).toBe(7);
    });

    test("runs commands in the workspace, with both streams and the code", async ({ workspace }) => {
      const plain = await ran(workspace, "pwd; echo err >&2; exit 3");
      expect(plain).toEqual({ code: 3, end: "exit", out: `${workspace.root}\n`, err: "err\n" });
      expect(await ran(workspace, "mkdir -p sub && cd sub && pwd", { cwd: WORKSPACE })).toMatchObject({ code: 0, out: `${workspace.root}/sub\n` });
      expect((await ran(workspace, "pwd", { cwd: "sub" })).out).toBe(`${workspace.root}/sub\n`);
      expect(await code(ran(workspace, "pwd", { cwd: "none" }))).toBe("not_found");
      expect(await ran(workspace, 'printf %s "$A"; cat', { env: { A: "it's $HOME" }, stdin: Buffer.from("in") })).toMatchObject({ code: 0, out: "it's $HOMEin" });
      expect(await ran(workspace, "cat; echo done")).toMatchObject({ out: "done\n" });
      expect((await ran(workspace, "kill -9 $$")).code).toBe(137);
      expect((await ran(workspace, "no-such-program-here")).code).toBe(127);
      expect((await ran(workspace, "printf 'a\\0b\\036c\\377'")).out).toBe("a\0b\x1ec�");
    });
    test("refuses commands that no shell takes", async ({ workspace }) => {
      expect(await code(ran(workspace, " "))).toBe("invalid");
      expect(await code(ran(workspace, "a\0b"))).toBe("invalid");
      expect(await code(ran(workspace, `: ${"x".repeat(MAX_COMMAND_BYTES)}`))).toBe("too_large");
      expect(await code(ran(workspace, ":", { env: { "A=B": "c" } }))).toBe("invalid");
      for (const timeout_ms of [-1, Number.NaN, Infinity, 2 ** 31]) expect(await code(ran(workspace, ":", { timeout_ms }))).toBe("invalid");
      expect((await ran(workspace, `: ${"x".repeat(MAX_COMMAND_BYTES - 10)}`)).code).toBe(0);
    });
    test("shows output while the command runs", async ({ workspace }) => {
      let early = false;
      for await (const event of workspace.exec("echo first; until [ -e go ]; do sleep 0.02; done; rm go; echo second")) {
        if (event.type === "output" && Buffer.from(event.bytes).toString().includes("first")) {
          early = true;
          await workspace.write("go", "");
        }
      }
      expect(early).toBe(true);
    });
    test("passes much output on whole", async ({ workspace }) => {
      let bytes = 0;
      for await (const event of workspace.exec("head -c 20000000 /dev/zero")) if (event.type === "output") bytes += event.bytes.byteLength;
      expect(bytes).toBe(20_000_000);
    });
    test("ends a command that takes too long, with all its children", async ({ workspace }) => {
      const result = await ran(workspace, "echo $$ > pid; (sleep 987 & sleep 986 & setsid sleep 985 & wait); sleep 984", { timeout_ms: 300 });
      expect(result).toMatchObject({ code: null, end: "timeout" });
      expect((await ran(workspace, "ps -eo args 2>/dev/null | grep -E '^sleep 98[4-7]' || cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -oE 'sleep 98[4-7] ' || echo none")).out).toContain("none");
    });
    test("ends a command on abort, and when its reader leaves", async ({ workspace }) => {
      const stop = new AbortController();
      const result = ran(workspace, "touch begun; trap '' TERM INT; sleep 977 & while :; do sleep 0.05; done", { signal: stop.signal });
      await until(async () => ((await workspace.stat("begun")) === null ? null : true));
      stop.abort();
      expect(await result).toMatchObject({ code: null, end: "aborted" });
      expect(await ran(workspace, "touch never", { signal: stop.signal })).toMatchObject({ end: "aborted" });
      expect(await workspace.stat("never")).toBeNull();
      for await (const event of workspace.exec("echo here; sleep 976 & sleep 975")) if (event.type === "output") break;
      expect((await ran(workspace, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -oE 'sleep 97[5-7] ' || echo none")).out).toBe("none\n");
    });
    test("does not wait for what a command left in the background", async ({ workspace }) => {
      expect(await ran(workspace, "sleep 30 & echo $! > left; echo out")).toMatchObject({ code: 0, end: "exit", out: "out\n" });
      await ran(workspace, "kill $(cat left)");
    });

    test("keeps background jobs, their output and their codes", async ({ workspace, subject }) => {
      const job = await workspace.startJob("echo one; until [ -e more ]; do sleep 0.02; done; echo two >&2; exit 7");
      expect(job).toMatchObject({ state: "running", exit_code: null });
      const first = await until(async () => {
        const read = await workspace.readJob(job.id);
        return read.bytes.length > 0 ? read : null;
      });
      expect(Buffer.from(first.bytes).toString()).toBe("one\n");
      expect(first).toMatchObject({ state: "running", next_offset: 4 });
      await workspace.write("more", "");
      const elsewhere = (await subject.again().materialize(key)).workspace;
      await until(async () => ((await elsewhere.readJob(job.id)).state === "exited" ? true : null));
      const rest = await elsewhere.readJob(job.id, { offset: 4 });
      expect(Buffer.from(rest.bytes).toString()).toBe("two\n");
      expect(rest).toMatchObject({ state: "exited", exit_code: 7, size: 8 });
      expect((await workspace.jobs()).map(({ id }) => id)).toContain(job.id);
      expect(await code(workspace.readJob("job_000000000000"))).toBe("not_found");
      expect(await code(workspace.readJob("../../etc"))).toBe("not_found");
    });
    test("tells a job's end once all that it said can be read, and where what it left behind could say more, soon after", async ({ workspace }) => {
      for (let time = 0; time < 5; time++) {
        const job = await workspace.startJob("seq 1 20000");
        const ended = await until(async () => (await workspace.jobs()).find(({ id, state }) => id === job.id && state === "exited") ?? null);
        expect(ended.size).toBe(108_894);
      }
      const held = await workspace.startJob("sleep 60 & echo held");
      await until(async () => ((await workspace.readJob(held.id)).state === "exited" ? true : null));
      expect(Buffer.from((await workspace.readJob(held.id)).bytes).toString()).toBe("held\n");
      await workspace.killJob(held.id);
    });
    test("kills a job with all that it forked", async ({ workspace }) => {
      const job = await workspace.startJob("trap '' TERM; sleep 967 & setsid sleep 966 & echo up; sleep 965");
      await until(async () => ((await workspace.readJob(job.id)).bytes.length > 0 ? true : null));
      expect((await workspace.killJob(job.id)).state).not.toBe("running");
      expect((await ran(workspace, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -oE 'sleep 96[5-7] ' || echo none")).out).toBe("none\n");
    });
    test("bounds what a job says", async ({ workspace }) => {
      const job = await workspace.startJob("head -c 30000000 /dev/zero | tr '\\0' x; echo the end");
      const status = await until(async () => {
        const [found] = (await workspace.jobs()).filter(({ id, size, state }) => id === job.id && state === "exited" && size > 9_000_000);
        return found ?? null;
      });
      expect(status.size).toBeLessThan(14_000_000);
      const last = await workspace.readJob(job.id, { offset: status.size - 8, length: 100 });
      expect(Buffer.from(last.bytes).toString()).toBe("the end\n");
    });

    test("holds identity files that nobody can write", async ({ workspace, sandbox }) => {
      expect(await sandbox.image.version()).toBeNull();
      const secret = { reveal: () => "s3cret-value" };
      expect(await sandbox.image.hydrate({ version: "1", files: { "SOUL.md": "who I am", "skills/a/SKILL.md": "a" }, secrets: { API_TOKEN: secret } })).toBe(true);
      expect(await sandbox.image.hydrate({ version: "1", files: { "SOUL.md": "changed" }, secrets: { API_TOKEN: secret } })).toBe(false);
      expect(Buffer.from((await workspace.read(`${IDENTITY}/SOUL.md`)).bytes).toString()).toBe("who I am");
      expect((await workspace.list(IDENTITY)).map(({ name: entry }) => entry)).toEqual(["skills", "SOUL.md"]);
      expect((await ran(workspace, `cat ${workspace.identity}/SOUL.md; printf %s "$API_TOKEN"`)).out).toBe("who I ams3cret-value");
      expect(await code(workspace.write(`${IDENTITY}/SOUL.md`, "x"))).toBe("read_only");
      expect(await code(workspace.write(`${IDENTITY}/new`, "x"))).toBe("read_only");
      expect(await code(workspace.delete(`${IDENTITY}/SOUL.md`))).toBe("read_only");
      if (workspace.capabilities.isolation === "container") expect((await ran(workspace, "echo x > /.marco/SOUL.md || rm -rf /.marco/SOUL.md || mount -o remount,rw /.marco || chmod 777 /.marco")).code).not.toBe(0);
      await ran(workspace, "mkdir -p links; ln -sf /.marco/SOUL.md links/soul");
      expect(await code(workspace.write("links/soul", "x"))).toBeOneOf(["outside", "read_only"]);
      expect(await sandbox.image.hydrate({ version: "2", files: { "SOUL.md": "who I am now" }, secrets: { API_TOKEN: secret } })).toBe(true);
      expect(await sandbox.image.version()).toBe("2");
      expect((await workspace.list(IDENTITY)).map(({ name: entry }) => entry)).toEqual(["SOUL.md"]);
      expect(await code(sandbox.image.hydrate({ version: "3", files: { "../escape": "x" } }))).toBe("outside");
      expect(await code(sandbox.image.hydrate({ version: "3", files: { "/etc/x": "x" } }))).toBe("outside");
      expect(await sandbox.image.version()).toBe("2");
    });

    test("keeps files and what was installed when it is stopped, and nothing when it is destroyed", async ({ workspace, subject }) => {
      const own = `${key}-life`;
      const first = await subject.provider.materialize(own);
      expect(first.fresh).toBe(true);
      await first.image.hydrate({ version: "1", files: { "SOUL.md": "me" } });
      await first.workspace.write("kept.txt", "still here");
      if (workspace.capabilities.isolation === "container") await ran(first.workspace, "printf '#!/bin/sh\\necho installed\\n' > /usr/local/bin/mytool && chmod 755 /usr/local/bin/mytool");
      const job = await first.workspace.startJob("sleep 957");
      await subject.provider.stop(own);
      expect(await subject.provider.status(own)).toBe("stopped");
      expect(await code(first.workspace.read("kept.txt"))).toBe("unavailable");
      const other = subject.again();
      const second = await other.materialize(own);
      expect(second.fresh).toBe(false);
      expect(await second.image.version()).toBe("1");
      expect(Buffer.from((await second.workspace.read("kept.txt")).bytes).toString()).toBe("still here");
      if (workspace.capabilities.isolation === "container") expect((await ran(second.workspace, "mytool")).out).toBe("installed\n");
      expect(await second.workspace.readJob(job.id)).toMatchObject({ state: "lost" });
      expect(await other.destroy(own)).toBe(true);
      expect(await other.status(own)).toBe("absent");
      const third = await other.materialize(own);
      expect(third.fresh).toBe(true);
      expect(await third.workspace.list("/workspace")).toEqual([]);
      expect(await third.image.version()).toBeNull();
      await other.destroy(own);
    });
  });
}
