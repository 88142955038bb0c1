import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Event, EventType, Session } from "../../sdk/index.ts";
import { steps } from "../support/agents.ts";
import { CLIS, missingCli } from "../support/clis.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer } from "../support/model-server/index.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";
import type { StackHost } from "../support/stack.ts";

describe("a capsule", () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({ providers: { default: "process", process: { suspend_config: { strategy: "terminate_preserve_storage" } } } });
  });
  afterAll(() => scene.close());

  /** The `nth` event of these types, once it is there. */
  async function next<T extends EventType>(session: Session, types: T[], nth = 1): Promise<Extract<Event, { type: T }>> {
    let count = 0;
    for await (const event of scene.client.sessions.events(session.id, { follow: true, types })) if (++count === nth) return event as Extract<Event, { type: T }>;
    throw new Error(`the log ended after ${count} of ${types.join(", ")}`);
  }
  const status = (session: Session, wanted: Session["status"]) => eventually(`the session is ${wanted}`, async () => ((await scene.client.sessions.get(session.id)).status === wanted ? true : null));
  /** Another host like the first, with the same agents. */
  const another = (labels: Record<string, string> = {}): Promise<StackHost> => scene.stack.host({ labels, args: scene.agents.args, env: { PATH: `${scene.agents.path}${delimiter}${process.env["PATH"] ?? ""}` } });

  it("is taken at the end of every task, and sends only what has changed", async () => {
    const session = await scene.session();
    await scene.end(await scene.task(session, steps(["write", "big.bin", randomBytes(300_000).toString("base64")], ["text", "one"])));
    const first = await next(session, ["workspace.synced", "workspace.sync_failed"]);
    expect(first).toMatchObject({ type: "workspace.synced", data: { why: "task_end", torn: false, workspace: { files: 1, bytes: 400_000 } } });
    const task = await scene.task(session, steps(["write", "small.txt", "two"], ["text", "two"]));
    await scene.end(task);
    const second = await next(session, ["workspace.synced", "workspace.sync_failed"], 2);
    expect(second).toMatchObject({ type: "workspace.synced", task_id: task.id, data: { workspace: { files: 2 } } });
    expect(second.type === "workspace.synced" && second.data.workspace.sent_bytes).toBeLessThan(10_000);
    expect((await all(scene.client.sessions.capsules(session.id))).map(({ task_id }) => task_id)).toContain(task.id);
  });

  it("is taken when somebody asks, also while the agent works, and the end of its task has its own", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["write", "early.txt", "1"], ["ask", "Bash", { command: "curl https://example.org" }], ["write", "late.txt", "22"], ["text", "done"]));
    const question = await scene.asked(task);
    const asked = await scene.client.sessions.takeCapsule(session.id);
    expect(await next(session, ["workspace.synced", "workspace.sync_failed"])).toMatchObject({ type: "workspace.synced", task_id: task.id, data: { capsule_id: asked.id, why: "manual", torn: true, workspace: { files: 1 } } });
    const fork = await scene.client.sessions.fork(session.id, { capsule_id: asked.id });
    // Asked for right before the end, it does not keep the task's own from being taken.
    const again = await scene.client.sessions.takeCapsule(session.id);
    await scene.client.permissions.approve(question.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    const ended = await eventually("the task's capsule is there", async () => (await all(scene.client.sessions.capsules(session.id))).find(({ why }) => why === "task_end"));
    expect(ended).toMatchObject({ task_id: task.id, workspace: { files: 2 } });
    const told = (await all(scene.client.sessions.events(session.id, { types: ["workspace.synced", "workspace.sync_failed"] }))).filter(({ data }) => "capsule_id" in data && data.capsule_id === again.id);
    expect(told).toHaveLength(1);
    expect(await scene.end(await scene.task(fork, steps(["text", "on"])))).toMatchObject({ status: "completed" });
    expect((await scene.client.sessions.files.list(fork.id)).map(({ name }) => name)).toEqual(["early.txt"]);
  });

  it("brings a session up on another host with its files and its conversation, when its own host is gone with everything", async () => {
    const first = await another({ zone: "a" });
    const session = await scene.session({ selector: "zone=a" });
    await scene.end(await scene.task(session, steps(["write", "kept.txt", "from the first host"], ["result", "done", "talk-1"])));
    await next(session, ["workspace.synced"]);
    await scene.client.sessions.suspend(session.id, { strategy: "terminate_preserve_storage" });
    await status(session, "suspended");
    await first.stop();
    await rm(first.dir, { recursive: true, force: true });
    await scene.client.sessions.resume(session.id, { selector: "os=linux" });
    const task = await scene.task(session, steps(["conversation"]));
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(said(await scene.log(task))).toContain("talk-1");
    expect((await scene.client.sessions.get(session.id)).runner?.host_id).toBe(scene.host.id);
    expect(of(await all(scene.client.sessions.events(session.id)), "workspace.restored").at(-1)).toMatchObject({ kept: false, workspace: { files: 1 } });
    expect(await scene.client.sessions.files.text(session.id, "kept.txt")).toBe("from the first host");
    const [receipt] = of(await all(scene.client.sessions.events(session.id)), "session.receipt");
    expect(of(await scene.log(task), "log").find(({ stream }) => stream === "system")?.text).toBe(receipt?.text);
  });

  it("lets the host's copies go where the strategy says so, and has everything", async () => {
    const session = await scene.session();
    await scene.end(await scene.task(session, steps(["write", "kept.txt", "still here"])));
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await status(session, "suspended");
    await eventually("the files are discarded", () => !existsSync(join(scene.host.dir, "sessions", session.id)) && !existsSync(join(scene.host.dir, "workspaces", session.workspace_id)));
    expect(await scene.end(await scene.task(session, steps(["text", "again"])))).toMatchObject({ status: "completed" });
    expect(await scene.client.sessions.files.text(session.id, "kept.txt")).toBe("still here");
  });

  it("keeps a question that waits: the agent that asks it again elsewhere gets the answer, without a second question", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["write", "before.txt", "x"], ["ask", "Bash", { command: "curl https://example.org" }], ["write", "after.txt", "y"]));
    const asked = await scene.asked(task);
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await status(session, "suspended");
    expect(await scene.client.permissions.get(asked.id)).toMatchObject({ status: "pending" });
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 2 });
    const log = await scene.log(task);
    expect(of(log, "permission.requested")).toHaveLength(1);
    expect(of(log, "permission.withdrawn")).toEqual([]);
    expect(said(log)).toContain("Bash: approved");
    expect(await scene.client.sessions.files.text(session.id, "after.txt")).toBe("y");
  });

  it("is not needed where the runner is paused: the same process goes on", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["ask", "Bash", { command: "curl https://example.org" }], ["text", "the same process"]));
    const asked = await scene.asked(task);
    await scene.client.sessions.suspend(session.id, { strategy: "pause" });
    await status(session, "suspended");
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 1 });
    expect(said(await scene.log(task))).toEqual(["Bash: approved", "the same process"]);
  });

  it("says when the workspace is over its quota, before anything is lost", async () => {
    const session = await scene.session({ workspace_quota_mb: 1 });
    for (const name of ["small.bin", "big.bin"]) await scene.end(await scene.task(session, steps(["write", name, randomBytes(350_000).toString("hex")], ["text", "done"])));
    const failed = await next(session, ["workspace.sync_failed"]);
    expect(failed).toMatchObject({ data: { error: { code: "quota_exceeded", message: expect.stringContaining("big.bin") as string } } });
    expect(await scene.client.sessions.files.text(session.id, "big.bin")).toHaveLength(700_000);
  });

  const claude = missingCli("claude");
  it.skipIf(claude !== null)(`goes on with the real Claude Code on another host, killed with its question waiting: the tool runs once${claude === null ? "" : ` (${claude})`}`, async () => {
    expect(existsSync(CLIS.claude)).toBe(true);
    const model = await startModelServer();
    const elsewhere = await another();
    try {
      const session = await scene.session({ agent: "claude", env: { ANTHROPIC_BASE_URL: model.anthropic, ANTHROPIC_API_KEY: "key-of-the-test" } });
      const task = await scene.task(session, script([{ text: "One.", calls: [{ tool: "Bash", input: { command: "curl -s --max-time 1 http://127.0.0.1:9 ; echo ran >> ran" } }] }, { text: "All done." }]));
      const asked = await scene.asked(task);
      await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
      await status(session, "suspended");
      await scene.client.permissions.approve(asked.id);
      expect(await scene.end(task)).toMatchObject({ status: "completed", result: "All done.", attempts: 2 });
      expect(of(await scene.log(task), "permission.requested")).toHaveLength(1);
      expect(await scene.client.sessions.files.text(session.id, "ran")).toBe("ran\n");
    } finally {
      await elsewhere.stop();
      await model.close();
    }
  });
});
