import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { steps } from "../support/agents.ts";
import { eventually } from "../support/eventually.ts";
import { all, of, startScene, type Scene } from "../support/scene.ts";

const MCTL = resolve(import.meta.dirname, "../../sdk/cli/bin.mjs");
const SCRIPT = "/usr/bin/script";

interface Running {
  out: string;
  err: string;
  /** Written to its terminal or its stdin. */
  write(text: string): void;
  signal(name: NodeJS.Signals): void;
  /** Exit code, or the signal that ended it. */
  exited: Promise<number | NodeJS.Signals | null>;
}

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene.close());

function start(file: string, args: string[]): Running {
  const { url, apiKey } = scene.stack;
  const env = { PATH: process.env["PATH"], HOME: scene.stack.dir, TERM: "xterm", SHELL: "/bin/sh", MARIONETTE_API_URL: url, MARIONETTE_API_KEY: apiKey };
  const child = spawn(file, args, { cwd: scene.stack.dir, env, stdio: ["pipe", "pipe", "pipe"] });
  const running: Running = {
    out: "",
    err: "",
    write: (text) => void child.stdin.write(text),
    signal: (name) => void child.kill(name),
    exited: new Promise((end) => child.once("close", (code, signal) => end(code ?? signal))),
  };
  child.stdout.on("data", (part: Buffer) => (running.out += part.toString()));
  child.stderr.on("data", (part: Buffer) => (running.err += part.toString()));
  return running;
}

/** How it ended, with all that it said. */
async function ended(run: Running): Promise<{ code: number | NodeJS.Signals | null; out: string; err: string }> {
  return { code: await run.exited, out: run.out, err: run.err };
}

/** `mctl` with its output in pipes, as in a script. */
const mctl = (...args: string[]) => start(process.execPath, [MCTL, ...args]);
/** `mctl` in a terminal of its own; all that it shows is in `out`. */
const inTerminal = (...args: string[]) => start(SCRIPT, ["-qec", [process.execPath, MCTL, ...args].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(" "), "/dev/null"]);

async function json(...args: string[]): Promise<unknown> {
  const run = mctl(...args, "-o", "json");
  expect(await ended(run)).toMatchObject({ code: 0 });
  return JSON.parse(run.out);
}
const listed = z.array(z.looseObject({ id: z.string() }));

describe("mctl against a real server", () => {
  it("runs a prompt, streams what the agent says, approves with --yes, and exits with 0", async () => {
    const run = mctl("run", "write me down", "--agent", "example", "--yes");
    expect(await ended(run)).toMatchObject({ code: 0 });
    expect(run.out).toContain("Hello! I am Marionette's example agent.");
    expect(run.out).toContain("Done: your task is noted in hello-marionette.md.");
    expect(run.out).not.toContain("\u001b[");
    expect(run.err).toMatch(/Session sess_\w+ \(example\)/);
    const [, id = ""] = /Session (sess_\w+) /.exec(run.err) ?? [];
    expect(await scene.client.sessions.files.text(id, "hello-marionette.md")).toContain("write me down");

    const again = mctl("run", "--session", id, "and once more", "--yes", "--rm");
    expect(await ended(again)).toMatchObject({ code: 0 });
    expect(again.out).toContain("Hello again!");
    expect((await scene.client.sessions.get(id)).status).toBe("terminated");
  });

  it("exits with 1 where the task fails, and says why", async () => {
    const run = mctl("run", steps(["stderr", "I cannot"], ["exit", 4]), "--agent", "scripted");
    expect(await ended(run)).toMatchObject({ code: 1 });
    expect(run.err).toContain("exit code 4");
    const unknown = mctl("run", "hello", "--agent", "nonesuch");
    expect(await ended(unknown)).toMatchObject({ code: 1 });
    expect(unknown.err).toContain("agents.custom");
  });

  it("prints events as JSON lines, and nothing else on stdout", async () => {
    const run = mctl("run", "hello", "--agent", "scripted", "-o", "json");
    expect(await ended(run)).toMatchObject({ code: 0 });
    const events = run.out.trimEnd().split("\n").map((line) => z.looseObject({ seq: z.number(), type: z.string() }).parse(JSON.parse(line)));
    expect(events.map(({ type }) => type)).toContain("message");
    expect(events.at(-1)).toMatchObject({ type: "task.status", data: { status: "completed" } });
  });

  it("cancels the task on Ctrl-C and exits with 130", async () => {
    const run = mctl("run", steps(["text", "waiting"], ["ask", "Bash", { command: "curl https://example.org" }]), "--agent", "scripted");
    await eventually("it waits", () => run.err.includes("waiting for an answer to perm_"));
    run.signal("SIGINT");
    expect(await ended(run)).toMatchObject({ code: 130 });
    const [, id = ""] = /Session (sess_\w+) /.exec(run.err) ?? [];
    expect(of(await all(scene.client.sessions.events(id)), "task.status").at(-1)).toMatchObject({ status: "canceled" });
  });

  it("lists and shows what there is", async () => {
    const session = await scene.session({ name: "listed" });
    const task = await scene.task(session, steps(["ask", "Bash", { command: "curl https://example.org" }]));
    const asked = await scene.asked(task);
    const has = (id: string, ...args: string[]) => eventually(`mctl ${args.join(" ")} has ${id}`, async () => listed.parse(await json(...args)).some((each) => each.id === id));
    const { runner } = await scene.client.sessions.get(session.id);
    await has(session.id, "sessions", "list");
    await has(task.id, "tasks", "list", "--session", session.id);
    await has(asked.id, "permissions", "list");
    await has(runner?.id ?? "", "runners", "list");
    await has(scene.host.id, "hosts", "list");
    expect(listed.parse(await json("keys", "list")).length).toBeGreaterThan(0);
    expect(await json("sessions", "get", session.id)).toMatchObject({ id: session.id, name: "listed", pending_permissions: 1 });
    const table = mctl("sessions", "list");
    expect(await ended(table)).toMatchObject({ code: 0 });
    expect(table.out).toMatch(/^\S.*\n(.*\n)*.*listed/);

    const follow = mctl("tasks", "logs", "--follow", task.id);
    const answer = mctl("permissions", "deny", asked.id, "--reason", "not today");
    expect(await ended(answer)).toMatchObject({ code: 0 });
    expect(await ended(follow)).toMatchObject({ code: 0 });
    expect(follow.out).toContain("Bash: denied: not today");
    const late = mctl("permissions", "approve", asked.id);
    expect(await ended(late)).toMatchObject({ code: 1 });
    expect(late.err).toContain("denied");
  });

  it("says what to do where the server is not there or the key is wrong", async () => {
    const wrong = mctl("sessions", "list", "--api-key", "mk_nonsense");
    expect(await ended(wrong)).toMatchObject({ code: 1 });
    expect(wrong.err).toMatch(/key|token/i);
    const nobody = mctl("sessions", "list", "--url", "http://127.0.0.1:1");
    expect([1, 2]).toContain(await nobody.exited);
    expect(nobody.err).toContain("127.0.0.1:1");
  });

  it.skipIf(!existsSync(SCRIPT))("asks at the prompt of a terminal, and takes the answer", async () => {
    const yes = inTerminal("run", "at the prompt", "--agent", "example");
    await eventually("it asks", () => yes.out.includes("allow?"));
    expect(yes.out).toContain(">> hello-marionette.md");
    yes.write("y\n");
    expect(await ended(yes)).toMatchObject({ code: 0 });
    expect(yes.out).toContain("Done: your task is noted");

    const no = inTerminal("run", "at the prompt", "--agent", "example");
    await eventually("it asks", () => no.out.includes("allow?"));
    no.write("n I would rather not\n");
    expect(await ended(no)).toMatchObject({ code: 0 });
    expect(no.out).toContain("You would rather I did not (I would rather not).");

    const gone = inTerminal("run", "at the prompt", "--agent", "example");
    await eventually("it asks", () => gone.out.includes("allow?"));
    gone.write("\u0003");
    expect(await ended(gone)).toMatchObject({ code: 130 });
  });
});
