import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sandboxContract } from "../../agent/runtime/sandbox/contract.ts";
import type { Sandbox } from "../../agent/runtime/sandbox/contracts.ts";
import { createSessionSandboxProvider } from "../../agent/runtime/sandbox/session.ts";
import { startStack, type Stack } from "../support/stack.ts";

const JOBS = "a runner ends what a task leaves running, so a session has no background jobs";
const BESIDE = "the test uses files while its command runs; tasks of a session queue (its own test is below)";
const SHELL = resolve(import.meta.dirname, "../../agent/runtime/sandbox/session-shell.mjs");

let directory: string;
let stack: Stack;
const make = () => createSessionSandboxProvider({ url: stack.url, apiKey: stack.apiKey });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "marco-session-"));
  const config = join(directory, "marionette.yaml");
  await writeFile(config, `agents:\n  custom:\n    shell: { binary: ${process.execPath}, args: ["${SHELL}"] }\n`);
  stack = await startStack();
  await stack.host({ args: ["--config", config] });
});
afterAll(async () => {
  await stack?.close();
  await rm(directory, { recursive: true, force: true, maxRetries: 10 });
});

sandboxContract("session", {
  make: async () => ({ provider: make(), again: make }),
  skips: {
    "is one when it is asked for by many at once": "two processes may each make a session: the API finds one by label, and makes none under a name",
    "keeps background jobs, their output and their codes": JOBS,
    "tells a job's end once all that it said can be read, and where what it left behind could say more, soon after": JOBS,
    "kills a job with all that it forked": JOBS,
    "bounds what a job says": JOBS,
    "shows output while the command runs": BESIDE,
    "ends a command on abort, and when its reader leaves": BESIDE,
    "passes much output on whole": "a session's log is kept: twenty megabytes of zeros do not belong there",
    "holds identity files that nobody can write": "identity files are served from memory, and secrets are refused (its own test is below)",
    "keeps files and what was installed when it is stopped, and nothing when it is destroyed": "a session suspends by its own rules; what ends it keeps its log (its own test is below)",
  },
});

describe("a session sandbox by its own rules", () => {
  let provider: Sandbox;
  beforeAll(() => {
    provider = make();
  });

  it("shows output as it comes, and ends a command on abort and when its reader leaves", async () => {
    const { workspace } = await provider.materialize("own-abort");
    const stop = new AbortController();
    const ends: string[] = [];
    for await (const event of workspace.exec("echo begun; sleep 947 & setsid sleep 946 & sleep 945", { signal: stop.signal })) {
      if (event.type === "output") stop.abort();
      else ends.push(event.end);
    }
    expect(ends).toEqual(["aborted"]);
    for await (const event of workspace.exec("echo here; sleep 944")) if (event.type === "output") break;
    let out = "";
    for await (const event of workspace.exec("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -oE 'sleep 94[4-7] ' || echo none")) if (event.type === "output") out += Buffer.from(event.bytes).toString();
    expect(out).toBe("none\n");
    await provider.destroy("own-abort");
  });

  it("serves identity files that nobody can write, and refuses what it cannot keep", async () => {
    const { workspace, image } = await provider.materialize("own-identity");
    expect(await image.hydrate({ version: "1", files: { "SOUL.md": "me", "skills/a/SKILL.md": "a" } })).toBe(true);
    expect((await workspace.list("/.marco")).map(({ name }) => name)).toEqual(["skills", "SOUL.md"]);
    expect(Buffer.from((await workspace.read("/.marco/skills/a/SKILL.md")).bytes).toString()).toBe("a");
    expect(await workspace.stat("/.marco/none")).toBeNull();
    await expect(workspace.read("/.marco/none")).rejects.toMatchObject({ code: "not_found" });
    await expect(workspace.write("/.marco/SOUL.md", "x")).rejects.toMatchObject({ code: "read_only" });
    await expect(image.hydrate({ version: "2", files: {}, secrets: { A: { reveal: () => "b" } } })).rejects.toMatchObject({ code: "unsupported" });
    await expect(workspace.startJob("sleep 1")).rejects.toMatchObject({ code: "unsupported" });
    await expect(workspace.write("large", "x".repeat(800_000))).rejects.toMatchObject({ code: "too_large" });
    await expect(provider.stop("own-identity")).rejects.toMatchObject({ code: "unsupported" });
    await provider.destroy("own-identity");
  });

  it("keeps files for whoever comes next, until it is destroyed", async () => {
    const first = await provider.materialize("own-life");
    expect(first.fresh).toBe(true);
    await first.workspace.write("kept.txt", "still here");
    const second = await make().materialize("own-life");
    expect(second.fresh).toBe(false);
    expect(Buffer.from((await second.workspace.read("kept.txt")).bytes).toString()).toBe("still here");
    expect(await provider.destroy("own-life")).toBe(true);
    expect(await provider.status("own-life")).toBe("absent");
  });

  it("says that its server or its key is not right", async () => {
    await expect(createSessionSandboxProvider({ url: "http://127.0.0.1:1", apiKey: "mk_x" }).materialize("x")).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("cannot be reached") as string });
    await expect(createSessionSandboxProvider({ url: stack.url, apiKey: "mk_wrong" }).materialize("x")).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("401") as string });
  });
});
