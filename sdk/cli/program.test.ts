import { existsSync, readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { FakeApi } from "../../test/support/fake-api.ts";
import { FakeIo, type FakeIoOptions } from "../../test/support/fake-io.ts";
import { dashed } from "./command.ts";
import { script, SHELLS } from "./completion.ts";
import { commands } from "./program.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await new FakeApi().start();
});
afterEach(() => api.close());
const ioFor = (options: FakeIoOptions = {}) => new FakeIo({ ...options, env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey, ...options.env } });
async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = ioFor();
  const code = await io.run(...argv);
  return { code, out: io.out, err: io.err };
}

describe("help", () => {
  it("looks as it should", async () => {
    const golden = (await Promise.all([["--help"], ["sessions", "--help"], ["run", "--help"], ["tasks", "logs", "--help"]].map((argv) => run(...argv)))).map(({ out }) => out).join("\n--------\n");
    await expect(golden).toMatchFileSnapshot("help.golden.txt");
  });
  it("is there for every command, with an example of that command", async () => {
    for (const command of commands) {
      const { code, out } = await run(...command.name.split(" "), "--help");
      expect(code).toBe(0);
      expect(command.examples.length).toBeGreaterThan(0);
      for (const [line] of command.examples) expect(line).toContain(command.name);
      for (const name of Object.keys(command.options)) expect(out).toContain(`--${dashed(name)}`);
    }
  });
  it("no option of a command hides a global one or begins with no-", () => {
    const taken = ["output", "context", "url", "api-key", "color", "quiet", "verbose", "help", "version"];
    for (const command of commands) for (const [name, option] of Object.entries(command.options)) {
      expect(taken).not.toContain(dashed(name));
      expect(dashed(name)).not.toMatch(/^no-/);
      expect(["o", "q", "v", "h", "V"]).not.toContain(option.short);
    }
  });
});

describe("a command line that is wrong", () => {
  it.each([
    [["sesions", "list"], "unknown command 'sesions' (Did you mean sessions?)"],
    [["sessions", "lst"], "unknown command 'lst'"],
    [["sessions", "list", "--colour"], "unknown option '--colour'"],
    [["sessions", "get"], "missing required argument 'session'"],
    [["sessions", "create"], "--agent is missing"],
    [["sessions", "list", "--status", "x"], "--status cannot be 'x'"],
    [["sessions", "list", "--limit", "-1"], "--limit must be a whole number of at least 1"],
    [["sessions", "list", "-o", "xml"], "--output cannot be 'xml'"],
    [["tasks", "create", "-s", "sess_1"], "There is no prompt"],
    [["tasks", "create", "-s", "sess_1", "x", "--timeout", "soon"], "--timeout is not a time"],
    [["tasks", "logs", "task_1", "--types", "log,nope"], "--types does not know 'nope'"],
    [["run", "x", "--label", "oops"], "--label wants KEY=VALUE"],
    [["run", "--prompt-file", "/nowhere"], "Cannot read /nowhere"],
    [["run", "x", "--session", "sess_1", "--agent", "codex"], "--agent belongs to a new session"],
    [["run", "x", "--api-key-env", "NOPE"], "The variable NOPE is not set"],
    [["completion", "csh"], "No completion for 'csh'"],
  ])("%j is told in one line and exits with 1", async (argv, message) => {
    const { code, out, err } = await run(...argv);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/^mctl: /);
    expect(err).toContain(message);
    expect(api.seen("POST", "")).toEqual([]);
  });
});

describe("errors", () => {
  it("of the server come with hint and request id: 1 for the user's, 2 for the system's", async () => {
    const missing = await run("tasks", "get", "task_none");
    expect(missing).toMatchObject({ code: 1, out: "" });
    expect(missing.err).toBe("mctl: Nothing of that id here\n  hint: an id of another tenant is not found either; `mctl config view` shows which server is used\n  request: req_fake\n");
    api.fault("GET /hosts", ...Array.from({ length: 4 }, () => ({ status: 500, headers: { "retry-after": "61", "x-request-id": "req_9" } })));
    const broken = await run("hosts", "list");
    expect(broken.code).toBe(2);
    expect(broken.err).toContain("req_9");
  });
  it("of the network exit with 2", async () => {
    const io = ioFor({ env: { MARIONETTE_API_URL: "http://127.0.0.1:1" } });
    expect(await io.run("sessions", "list")).toBe(2);
    expect(io.err).toContain("Cannot reach http://127.0.0.1:1");
  });
  it("cannot carry control characters to the terminal", async () => {
    api.fault("GET /hosts", { status: 400, body: JSON.stringify({ error: { code: "bad_request", message: "\x1b[2Jboo\nmctl: fine" } }) });
    expect((await run("hosts", "list")).err.split("\n")[0]).toBe("mctl: ␛[2Jboo mctl: fine");
  });
});

describe("output", () => {
  it("is a table, a wider table, JSON or YAML", async () => {
    const { out: id } = await run("sessions", "create", "--agent", "claude", "--name", "api", "--label", "team=web", "-q");
    Object.assign(api.sessions.get(id.trim()) ?? {}, { name: "api\x1b[2J" });
    const rows = (await run("sessions", "list")).out.split("\n");
    expect(rows[0]).toMatch(/^ID +NAME +AGENT +STATUS +QUEUED +ASKS +RUNNER +AGE +REASON$/);
    expect(rows[1]).toContain("api␛[2J");
    expect(rows[1]).toContain("3m");
    expect((await run("sessions", "list", "-o", "wide")).out).toContain("team=web");
    const json = JSON.parse((await run("sessions", "list", "-o", "json")).out) as { id: string }[];
    expect(json.map((session) => session.id)).toEqual([id.trim()]);
    expect(parse((await run("sessions", "get", id.trim(), "-o", "yaml")).out)).toMatchObject({ id: id.trim(), labels: { team: "web" } });
  });
  it("is never coloured where it is no terminal, or the user wants none", async () => {
    await run("sessions", "create", "--agent", "claude");
    const listed = async (options: FakeIoOptions, ...more: string[]) => {
      const io = ioFor(options);
      await io.run("sessions", "list", ...more);
      return io.out.includes("\x1b[");
    };
    expect([await listed({}), await listed({ tty: true }), await listed({ tty: true, env: { NO_COLOR: "1" } }), await listed({ tty: true }, "--no-color")]).toEqual([false, true, false, false]);
  });
  it("of a list is bounded by --limit, and whole with --all", async () => {
    for (let i = 0; i < 60; i++) await run("sessions", "create", "--agent", "claude", "-q");
    const count = async (...argv: string[]) => (await run("sessions", "list", "-q", ...argv)).out.trim().split("\n").length;
    expect([await count(), await count("--limit", "7"), await count("--all")]).toEqual([50, 7, 60]);
    expect((await run("sessions", "list", "--limit", "7")).err).toBe("7 of 60 sessions; --all shows the rest.\n");
  });
  it("of files is byte for byte, and a copy goes nowhere but into its target", async () => {
    const id = (await run("sessions", "create", "--agent", "claude", "-q")).out.trim();
    api.files.set("src/main.ts", "ü\x1b[2J\n").set("README.md", "hi\n");
    expect((await run("sessions", "files", "cat", id, "src/main.ts")).out).toBe("ü\x1b[2J\n");
    expect((await run("sessions", "files", "ls", id)).out).toMatch(/directory .* src\/\nfile .* README.md\n$/s);
    const io = ioFor();
    expect(await io.run("sessions", "files", "pull", id)).toBe(0);
    expect(readFileSync(join(io.cwd, "src/main.ts"), "utf8")).toBe("ü\x1b[2J\n");
    expect(await io.run("sessions", "files", "pull", id)).toBe(1);
    expect(io.err).toContain("--force writes over it");
    expect(await io.run("sessions", "files", "pull", id, "README.md", "copy.md")).toBe(0);
    expect(readFileSync(join(io.cwd, "copy.md"), "utf8")).toBe("hi\n");
    api.files.set("src\\..\\..\\evil", "x");
    expect(await io.run("sessions", "files", "pull", id, "", "out")).toBe(1);
    expect(io.err).toContain("unsafe name");
  });
  it("of a runner token is the command with which a machine joins", async () => {
    const { out } = await run("hosts", "token", "create", "--name", "rack", "--pool", "gpu");
    expect(out).toMatch(new RegExp(`^marionette-agent --server ${api.url} --token rtok_[\\w-]{43} --pool gpu\n$`));
    expect((await run("keys", "create", "--name", "ci", "--scopes", "read,write", "-q")).out).toMatch(/^mk_[\w-]{43}\n$/);
  });
});

describe("completion", () => {
  it.each(SHELLS)("for %s knows every command and option", (shell) => {
    const text = script(shell, commands);
    for (const command of commands) for (const word of [...command.name.split(" "), ...Object.keys(command.options).map(dashed)]) expect(text).toContain(word);
  });
  it("completes in a real bash", () => {
    const ask = (line: string) => {
      const words = line.split(" ");
      const program = `${script("bash", commands)}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _mctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync("bash", ["-c", program], { encoding: "utf8" }).stdout.trim().split("\n");
    };
    expect(ask("mctl se")).toEqual(["sessions"]);
    expect(ask("mctl -q sessions ")).toContain("terminate");
    expect(ask("mctl sessions files ")).toEqual(["ls", "cat", "pull"]);
    expect(ask("mctl tasks logs task_1 --fo")).toEqual(["--follow"]);
    expect(ask("mctl permissions approve perm_1 --scope ")).toEqual(["once", "turn", "session"]);
    expect(ask("mctl sessions list -o ")).toEqual(["table", "wide", "json", "yaml"]);
  });
});

describe("the installed command", () => {
  it("builds itself where it is missing, runs on this Node, and survives a reader that leaves", () => {
    const bin = join(import.meta.dirname, "bin.mjs");
    const env = { ...process.env, HOME: "/nonexistent" };
    const version = spawnSync(process.execPath, [bin, "version"], { encoding: "utf8", env });
    expect([version.status, version.stdout]).toEqual([0, `mctl 0.1.0 (Node ${process.version})\n`]);
    expect(existsSync(join(import.meta.dirname, "../dist/mctl.mjs"))).toBe(true);
    const piped = spawnSync("bash", ["-c", `set -o pipefail; "$0" "$1" completion fish | head -c 10`, process.execPath, bin], { encoding: "utf8", env });
    expect([piped.stderr, piped.stdout.length]).toEqual(["", 10]);
    const none = spawnSync(process.execPath, [bin, "sessions", "list"], { encoding: "utf8", cwd: "/", env: { PATH: process.env["PATH"], HOME: "/nonexistent" } });
    expect([none.status, none.stdout]).toEqual([1, ""]);
    expect(none.stderr).toContain("mctl: No server is configured");
  });
});
