/** Owns the proof of suspending over the whole stack: what a session has after days, another host, or a fork. */

import { existsSync } from "node:fs";
import { execFile } from "node:child_process";
import { readFile, rm, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiError, type Session, type SessionStatus } from "../../sdk/index.ts";
import { steps } from "../support/agents.ts";
import { killed, runnersOf } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";
import type { StackHost } from "../support/stack.ts";

const MCTL = join(import.meta.dirname, "../../sdk/cli/bin.mjs");
const mctl = promisify(execFile);
const engine = new Docker();
const noDocker = await engine.ping().then(
  () => engine.getImage("marionette-runner:latest").inspect().then(() => null, () => "the image marionette-runner:latest is missing: npm run image"),
  () => "no Docker engine answers (Debian, Ubuntu: apt-get install docker.io)",
);
const ASK = ["ask", "Bash", { command: "curl https://example.org" }] as [string, ...unknown[]];

let scene: Scene;
beforeAll(async () => {
  scene = await startScene({ providers: { default: "process", process: { suspend_config: { strategy: "pause" } } } });
});
afterAll(() => scene.close());

const is = (session: Session, wanted: SessionStatus) => eventually(`the session is ${wanted}`, async () => {
  const now = await scene.client.sessions.get(session.id);
  return now.status === wanted ? now : null;
});
const log = (session: Session) => all(scene.client.sessions.events(session.id));
const capsules = (session: Session) => all(scene.client.sessions.capsules(session.id));
/** Waits until the state as of a task's end can be gone back to. */
const kept = (session: Session, taskId: string) => eventually("the task's capsule is there", async () => (await capsules(session)).find(({ task_id, why }) => task_id === taskId && why === "task_end"));
const another = (labels: Record<string, string>): Promise<StackHost> => scene.stack.host({ labels, args: scene.agents.args, env: { PATH: `${scene.agents.path}${delimiter}${process.env["PATH"] ?? ""}` } });

describe("a suspended session", () => {
  it("has its files, its conversation, its question and its queue on another host when the daemon that froze it, and all that it had, is gone", async () => {
    const doomed = await another({ zone: "doomed" });
    const session = await scene.session({ selector: "zone=doomed", suspend_after_seconds: 1 });
    await scene.end(await scene.task(session, steps(["write", "kept.txt", "from the first host"], ["result", "done", "talk-1"])));
    const task = await scene.task(session, steps(["write", "during.txt", "the turn"], ASK, ["conversation"], ["write", "after.txt", "too"]));
    const next = await scene.task(session, steps(["text", "the queue"]));
    const asked = await scene.asked(task);
    // As a virtual environment has it: kept nowhere, as nothing that leads out of a tree is ever restored, and told.
    await symlink("/usr/bin/python3", join(doomed.dir, "workspaces", session.workspace_id, "python3"));
    // Nobody answers: its silence suspends it.
    expect(await is(session, "suspended")).toMatchObject({ suspension: { cause: "permission", strategy: "pause", host_id: doomed.id }, pending_permissions: 1, queued_tasks: 1, task_id: task.id });
    await doomed.stop();
    await rm(doomed.dir, { recursive: true, force: true });
    expect(await scene.client.permissions.get(asked.id)).toMatchObject({ status: "pending" });
    await scene.client.sessions.resume(session.id, { selector: "os=linux" });
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(await scene.end(next)).toMatchObject({ status: "completed" });
    expect(said(await scene.log(task))).toEqual(expect.arrayContaining(["Bash: approved", "talk-1"]));
    for (const [name, text] of [["kept.txt", "from the first host"], ["during.txt", "the turn"], ["after.txt", "too"]] as const) expect(await scene.client.sessions.files.text(session.id, name)).toBe(text);
    const events = await log(session);
    expect(of(events, "session.receipt")).toMatchObject([{ from_host_id: doomed.id, to_host_id: scene.host.id, lost: expect.arrayContaining([expect.stringContaining("processes"), expect.stringMatching(/left out of the capsule: python3: .*leads outside/)]) as unknown }]);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  });

  it("has what was approved for it by the next runner, and the one after that was killed, but a fork asks again", async () => {
    const session = await scene.session();
    const install = (name: string, ...more: [string, ...unknown[]][]) => steps(["ask", "Bash", { command: `npm install ${name}` }], ...more);
    const first = await scene.task(session, install("a", ["write", "a.txt", "a"]));
    await scene.client.permissions.approve((await scene.asked(first)).id, { scope: "session" });
    await scene.end(first);
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await is(session, "suspended");
    await scene.client.sessions.resume(session.id);
    expect(said(await scene.log(await scene.end(await scene.task(session, install("b")))))).toEqual(["Bash: approved"]);
    const [runner] = (await runnersOf(scene.host)).filter(({ session_id }) => session_id === session.id);
    expect(runner && killed(runner.pid)).toBe(true);
    expect(said(await scene.log(await scene.end(await scene.task(session, install("c"), { max_retries: 1 }))))).toEqual(["Bash: approved"]);
    expect(of(await log(session), "permission.requested")).toHaveLength(1);
    expect((await scene.client.sessions.get(session.id)).approvals).toMatchObject([{ scope: "session", keys: ["npm install"] }]);
    await kept(session, first.id);
    const fork = await scene.client.sessions.fork(session.id, {});
    const asks = await scene.task(fork, install("d"));
    await scene.client.permissions.deny((await scene.asked(asks)).id);
    await scene.end(asks);
    await scene.client.sessions.terminate(session.id);
    expect((await scene.client.sessions.get(session.id)).approvals).toEqual([]);
  });

  it("by idleness gives its runner back, and a task brings it up again", async () => {
    const session = await scene.session({ idle_timeout_seconds: 1, suspend_strategy: "release_to_pool" });
    await scene.end(await scene.task(session, steps(["write", "kept.txt", "here"])));
    const { suspension } = await is(session, "suspended");
    // A host that is no pool's machine has no such strategy, and does what it is configured to.
    expect(suspension).toMatchObject({ cause: "idle" });
    const task = await scene.task(session, steps(["text", "awake"]));
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(await scene.client.sessions.files.text(session.id, "kept.txt")).toBe("here");
    expect(of(await log(session), "session.status").map(({ status }) => status)).toEqual(expect.arrayContaining(["suspending", "suspended", "resuming", "active"]));
  });

  it("cannot be suspended twice, nor resumed when it has ended", async () => {
    const session = await scene.session();
    await scene.end(await scene.task(session, steps(["text", "one"])));
    await scene.client.sessions.suspend(session.id);
    await is(session, "suspended");
    await expect(scene.client.sessions.suspend(session.id)).rejects.toThrow(/suspended already; resume it/);
    await scene.client.sessions.terminate(session.id);
    const refused = await scene.client.sessions.resume(session.id).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ApiError);
    expect(refused).toMatchObject({ status: 409, details: { instead: ["fork"] } });
  });
});

describe("a fork", () => {
  it("has the files and the conversation as of a task's end, an event or a capsule, also of a session that has ended; and not what came after", async () => {
    const session = await scene.session({ env: { WORD: "carried" } });
    const first = await scene.end(await scene.task(session, steps(["write", "notes.txt", "one"], ["result", "done", "talk-1"])));
    const capsule = await kept(session, first.id);
    const second = await scene.end(await scene.task(session, steps(["write", "notes.txt", "two"], ["write", "more.txt", "x"], ["result", "done", "talk-2"])));
    await kept(session, second.id);
    await scene.client.sessions.terminate(session.id);
    const looks = steps(["conversation"], ["env", "WORD"]);
    for (const [at, notes, talk] of [[{ task_id: first.id }, "one", "talk-1"], [{ seq: capsule.seq + 1 }, "one", "talk-1"], [{}, "two", "talk-2"]] as const) {
      const fork = await scene.client.sessions.fork(session.id, { ...at, name: "again" });
      expect(fork).toMatchObject({ name: "again", forked_from: { session_id: session.id } });
      expect(fork.workspace_id).not.toBe(session.workspace_id);
      // Also before its first sync: what it begins with is the other workspace's manifest.
      const copy = join(scene.host.dir, `copy-${notes}`);
      const { stderr } = await mctl(process.execPath, [MCTL, "workspaces", "pull", fork.workspace_id, copy, "--force"], { env: { PATH: process.env["PATH"], HOME: scene.host.dir, MARIONETTE_API_URL: scene.stack.url, MARIONETTE_API_KEY: scene.stack.apiKey } });
      expect([stderr, await readFile(join(copy, "notes.txt"), "utf8")]).toEqual([expect.stringContaining("Copied"), notes]);
      const task = await scene.task(fork, looks);
      expect(await scene.end(task)).toMatchObject({ status: "completed" });
      expect(said(await scene.log(task))).toEqual([talk, "carried"]);
      expect(await scene.client.sessions.files.text(fork.id, "notes.txt")).toBe(notes);
      await scene.client.sessions.terminate(fork.id);
    }
    await expect(scene.client.sessions.fork(session.id, { seq: 1 })).rejects.toMatchObject({ status: 409, details: { points: [{ task_id: second.id }, { task_id: first.id }] } });
  });
});

describe.skipIf(noDocker !== null)(`a session in a container${noDocker === null ? "" : ` (${noDocker})`}`, () => {
  let inside: Scene;
  beforeAll(async () => {
    inside = await startScene({ providers: { default: "docker", docker: { resources: { memory: "256m", cpus: 1, pids: 128 }, suspend_config: { strategy: "pause", fallback: "terminate_preserve_storage", max_duration: "2s" } } } });
  });
  afterAll(() => inside.close());

  it("is frozen, then demoted when its time is up, and goes on with all that a capsule has", async () => {
    const session = await inside.session();
    const task = await inside.task(session, steps(["write", "kept.txt", "inside"], ASK, ["text", "done"]));
    const asked = await inside.asked(task);
    await inside.client.sessions.suspend(session.id);
    const { runner } = await inside.client.sessions.get(session.id);
    await eventually("the container is frozen", async () => (await engine.getContainer(`marionette-${runner?.id}`).inspect()).State.Paused);
    await eventually("it is demoted", async () => (await inside.client.sessions.get(session.id)).suspension?.runner_id === null || (await inside.client.sessions.get(session.id)).suspension?.strategy !== "pause");
    await inside.client.permissions.approve(asked.id);
    expect(await inside.end(task)).toMatchObject({ status: "completed" });
    expect(await inside.client.sessions.files.text(session.id, "kept.txt")).toBe("inside");
    await inside.client.sessions.terminate(session.id);
    expect(existsSync(join(inside.host.dir, "workspaces", session.workspace_id))).toBe(true);
  });
});
