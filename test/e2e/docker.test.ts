import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { steps } from "../support/agents.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer } from "../support/model-server/index.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

const engine = new Docker();
const unavailable = await engine.ping().then(
  () => engine.getImage("marionette-runner:latest").inspect().then(() => null, () => "the image marionette-runner:latest is missing: npm run image"),
  () => "no Docker engine answers (Debian, Ubuntu: apt-get install docker.io)",
);

/** Kills the runner from inside its container, as a process of its own user would. */
const KILL = `const { readdirSync, readFileSync } = require("node:fs");
for (const pid of readdirSync("/proc").filter((name) => /^\\d+$/.test(name) && Number(name) !== process.pid && name !== "1"))
  try { if (readFileSync("/proc/" + pid + "/cmdline", "utf8").includes("runner.js")) process.kill(Number(pid), "SIGKILL"); } catch {}`;

describe.skipIf(unavailable !== null)(`a session in a container${unavailable === null ? "" : ` (${unavailable})`}`, () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({ providers: { default: "docker", docker: { resources: { memory: "256m", cpus: 1, pids: 128 } } } });
  });
  afterAll(async () => {
    await scene.close();
    const left = await engine.listContainers({ all: true, filters: { label: [`marionette.host=${scene.host.id}`] } });
    expect(left).toEqual([]);
  });

  it("goes through the whole loop, hardened as promised", async () => {
    const session = await scene.session({ agent: "example" });
    const task = await scene.task(session, "from inside");
    const asked = await scene.asked(task);
    const { runner } = await scene.client.sessions.get(session.id);
    expect(runner).toMatchObject({ provider: "docker", sandbox: "docker", isolation: expect.stringMatching(/^docker container: ordinary user, no capabilities, read-only root, system-call filter.*at most 256 MiB memory, 1 processors, 128 processes/) as unknown });

    const container = engine.getContainer(`marionette-${runner?.id}`);
    const { Config: config, HostConfig: limits, Mounts: mounts, State: state } = await container.inspect();
    expect(state.Running).toBe(true);
    expect(config.User).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(limits).toMatchObject({ ReadonlyRootfs: true, CapDrop: ["ALL"], Privileged: false, PidsLimit: 128, Memory: 256 * 1024 ** 2, MemorySwap: 256 * 1024 ** 2, NanoCpus: 1e9, IpcMode: "private" });
    expect(limits.CapAdd ?? []).toEqual([]);
    expect(limits.SecurityOpt).toEqual(expect.arrayContaining(["no-new-privileges", expect.stringMatching(/^seccomp=\{/)]));
    expect(Object.keys(limits.Tmpfs ?? {})).toContain("/tmp");
    // What can be written: the session's own directories.
    expect(mounts.filter(({ RW }) => RW).map(({ Destination }) => Destination).sort()).toEqual(["/home/agent", "/run/marionette", "/workspace"]);
    expect(config.Labels).toMatchObject({ "marionette.session": session.id, "marionette.runner": runner?.id, "marionette.tenant": scene.stack.tenantId });

    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    expect(await scene.client.sessions.files.text(session.id, "hello-marionette.md")).toBe("- from inside\n");
    await scene.client.sessions.terminate(session.id);
    await eventually("the container is gone", () => container.inspect().then(() => false, () => true));
  });

  it("ends a run that writes more than the workspace may have, with all its files there and the last capsule as it was", async () => {
    const session = await scene.session({ workspace_quota_mb: 1 });
    const first = await scene.end(await scene.task(session, steps(["write", "first.txt", "x".repeat(400_000)])));
    const full = await scene.end(await scene.task(session, steps(["write", "heap.txt", "x".repeat(400_000)], ["write", "more.txt", "x".repeat(400_000)], ["sleep", 600_000])));
    expect(full).toMatchObject({ status: "failed", error: { code: "quota_exceeded", message: expect.stringContaining("its quota is 1048576") as string } });
    expect((await scene.client.sessions.files.list(session.id)).map(({ name }) => name).sort()).toEqual(["first.txt", "heap.txt", "more.txt"]);
    const events = await eventually("the capsule of it is refused", async () => {
      const log = await all(scene.client.sessions.events(session.id));
      return of(log, "workspace.sync_failed").length > 0 ? log : null;
    });
    expect(of(events, "workspace.sync_failed")[0]).toMatchObject({ error: { code: "quota_exceeded" } });
    expect((await all(scene.client.sessions.capsules(session.id))).map(({ task_id }) => task_id)).toEqual([first.id]);
    await scene.client.sessions.terminate(session.id);
  });

  it("calls its model through the gateway, and holds no key of it", async () => {
    const needle = "sk-ant-docker-needle-7d1e5c";
    const model = await startModelServer();
    try {
      const session = await scene.session({ agent: "marco", base_url: model.anthropic, api_key: needle });
      const search = "echo gateway=$MARIONETTE_GATEWAY_URL; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; env; ls -la /run/marionette";
      const task = await scene.task(session, script([{ calls: [{ tool: "exec", input: { command: search } }] }, { text: "Searched." }], "Search"));
      await scene.client.permissions.approve((await scene.asked(task)).id);
      expect(await scene.end(task)).toMatchObject({ status: "completed", result: "Searched." });
      expect((await scene.client.sessions.get(session.id)).runner).toMatchObject({ provider: "docker" });
      const log = await scene.log(task);
      const found = of(log, "tool.result").map(({ output }) => output).join("\n");
      expect(found).toMatch(/gateway=http:\/\/127\.0\.0\.1:\d+/);
      expect(JSON.stringify(log)).not.toContain(needle);
      expect(model.requests.length).toBeGreaterThan(1);
      await eventually("the calls are counted", async () => (await scene.client.sessions.get(session.id)).usage.output_tokens > 0);
      await scene.client.sessions.terminate(session.id);
    } finally {
      await model.close();
    }
  });

  it("loses its runner to SIGKILL, keeps its workspace and tries the task again", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["write", `before.txt`, "kept"], ["ask", "Bash", { command: "curl https://example.org" }], ["write", "after.txt", "too"]), { max_retries: 1 });
    const first = await scene.asked(task);
    const { runner } = await scene.client.sessions.get(session.id);
    const exec = await engine.getContainer(`marionette-${runner?.id}`).exec({ Cmd: ["node", "-e", KILL] });
    await exec.start({ Detach: true });

    const second = await scene.asked(task, 2);
    expect(await scene.client.permissions.get(first.id)).toMatchObject({ status: "canceled" });
    expect((await scene.client.sessions.files.list(session.id)).map(({ name }) => name)).toEqual(["before.txt"]);
    await scene.client.permissions.approve(second.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 2 });
    expect((await all(scene.client.tasks.runs(task.id))).map(({ status }) => status)).toEqual(["lost", "completed"]);
    expect((await scene.client.sessions.files.list(session.id)).map(({ name }) => name).sort()).toEqual(["after.txt", "before.txt"]);
    const log = await all(scene.client.sessions.events(session.id));
    expect(log.map(({ seq }) => seq)).toEqual(log.map((_, i) => i + 1));
    expect(of(log, "run.status").map(({ status }) => status)).toEqual(["assigned", "running", "lost", "assigned", "running", "completed"]);
    expect(said(log)).toEqual(["Bash: approved"]);
  });

  const reach = (id: string, wanted: string) => eventually(`the session is ${wanted}`, async () => (await scene.client.sessions.get(id)).status === wanted);

  it("is paused by the freezer while its agent waits, and the same process goes on", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["ask", "Bash", { command: "curl https://example.org" }], ["text", "the same process"]));
    const asked = await scene.asked(task);
    const { runner } = await scene.client.sessions.get(session.id);
    const container = engine.getContainer(`marionette-${runner?.id}`);
    await scene.client.sessions.suspend(session.id, { strategy: "pause" });
    await reach(session.id, "suspended");
    expect((await container.inspect()).State).toMatchObject({ Paused: true });
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 1 });
    expect(said(await scene.log(task))).toEqual(["Bash: approved", "the same process"]);
    expect((await scene.client.sessions.get(session.id)).runner?.id).toBe(runner?.id);
    await scene.client.sessions.terminate(session.id);
  });

  it("is saved by a commit without its memory, and a new container goes on from there", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["write", "kept.txt", "kept"], ["ask", "Bash", { command: "curl https://example.org" }], ["text", "on"]));
    const asked = await scene.asked(task);
    const { runner } = await scene.client.sessions.get(session.id);
    await scene.client.sessions.suspend(session.id, { strategy: "snapshot" });
    await reach(session.id, "suspended");
    expect(await engine.getContainer(`marionette-${runner?.id}`).inspect().then(() => true, () => false)).toBe(false);
    expect(await engine.getImage(`marionette-saved:${runner?.id}`).inspect()).toBeTruthy();
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 2 });
    const log = await scene.log(task);
    expect(of(log, "permission.requested")).toHaveLength(1);
    expect(said(log).at(-1)).toBe("on");
    await scene.client.sessions.terminate(session.id);
    await eventually("nothing saved is left", () => engine.getImage(`marionette-saved:${runner?.id}`).inspect().then(() => false, () => true));
  });

  it("brings its files back on a host that has none of them", async () => {
    const session = await scene.session();
    await scene.end(await scene.task(session, steps(["write", "kept.txt", "kept"])));
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await reach(session.id, "suspended");
    expect(await scene.end(await scene.task(session, steps(["text", "again"])))).toMatchObject({ status: "completed" });
    expect(await scene.client.sessions.files.text(session.id, "kept.txt")).toBe("kept");
    await scene.client.sessions.terminate(session.id);
  });
});

describe("a session that wants a container where there can be none", () => {
  const cases = [
    { missing: "engine", docker: { host: "unix:///nowhere/docker.sock" }, words: /no Docker engine answers: start it/ },
    // Only an engine knows that it has no such image.
    ...(unavailable === null ? [{ missing: "image", docker: { image: "marionette-runner:never-built" }, words: /no image marionette-runner:never-built: npm run image/ }] : []),
  ];
  it.each(cases)("says in its task that there is no $missing, and what to do", async ({ docker, words }) => {
    await using scene = await startScene({ providers: { default: "process", docker } });
    const task = await scene.task(await scene.session({ provider: "docker" }), "hello");
    const waiting = await eventually("it says what it waits for", async () => (await scene.client.tasks.get(task.id)).waiting_for);
    expect(waiting).toMatch(words);
    expect(of(await scene.log(task), "task.status").at(-1)).toMatchObject({ status: "pending", reason: waiting });
  });
});
